"""What two partners have in common: the key of their mask, and sealed boxes from one to the other.

Keys come from X25519 and HKDF-SHA256 (RFC 5869) whose info holds the purpose, the session, the transcript and both
names. Boxes are ChaCha20-Poly1305 (RFC 8439) with session, transcript, sender and recipient as associated data.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federation.secagg.errors import Code, ProtocolError
from federation.secagg.shamir import SHARE_BYTES
from federation.secagg.wire import frame

NONCE_BYTES, TAG_BYTES = 12, 16
BOX_BYTES = NONCE_BYTES + 2 * SHARE_BYTES + TAG_BYTES
"""Bytes of a sealed box with two shares."""


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What every derived key and box is bound to: the session's id and its transcript, 32 bytes each."""

    session_id: bytes
    transcript: bytes

    def mask_key(self, private: X25519PrivateKey, public: bytes, *, between: tuple[str, str]) -> bytes:
        """Key (32 bytes) of the mask that two partners have in common; both sides get the same.

        Raises:
            ProtocolError: `weak_key` if the shared secret is zero.
        """
        first, second = sorted(between)
        return self._derive("mask", agree(private, public), first, second)

    def personal_key(self, seed: bytes, name: str) -> bytes:
        """Key (32 bytes) of a partner's personal mask."""
        return self._derive("personal-mask", seed, name, name)

    def commitment(self, seed: bytes, name: str) -> bytes:
        """SHA-256 by which a personal seed can be recognised, and by which nothing is learned about it.

        The seed is 32 uniform bytes, so the hash hides it.
        """
        return hashlib.sha256(b"leelight/secagg-commitment/v1\n" + frame(
            self.session_id, self.transcript, name.encode(), seed)).digest()

    def seal(self, shares: bytes, agreed: bytes, *, sender: str, recipient: str) -> bytes:
        """Encrypt two shares to `recipient`, under the secret that both agreed on."""
        cipher = self._cipher(agreed, sender, recipient)
        # The key serves for one box. The random nonce is for a stored state that was set back: then it serves for two.
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + cipher.encrypt(nonce, shares, self._context(sender, recipient))

    def open(self, box: bytes, agreed: bytes, *, sender: str, recipient: str) -> bytes:
        """Decrypt a box that `sender` made for `recipient` in this session.

        Raises:
            ProtocolError: `unreadable_box` if it is anything else.
        """
        cipher = self._cipher(agreed, sender, recipient)
        try:
            return cipher.decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], self._context(sender, recipient))
        except InvalidTag:
            raise ProtocolError(Code.UNREADABLE_BOX, "delivery",
                                f"the box from {sender} was not made for {recipient} in this session") from None

    def _cipher(self, agreed: bytes, sender: str, recipient: str) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(self._derive("box", agreed, sender, recipient))

    def _context(self, sender: str, recipient: str) -> bytes:
        return frame(self.session_id, self.transcript, sender.encode(), recipient.encode())

    def _derive(self, purpose: str, secret: bytes, first: str, second: str) -> bytes:
        info = frame(b"leelight-secagg", purpose.encode(), self.session_id, self.transcript, first.encode(),
                     second.encode())
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """The secret (32 bytes) that this private key and the other side's public key give; both sides get the same.

    Raises:
        ProtocolError: `weak_key` if it is zero.
    """
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # an all-zero result (RFC 7748, section 6.1)
        raise ProtocolError(Code.WEAK_KEY, "signed_keys", "a key gives a secret that anybody knows") from None
