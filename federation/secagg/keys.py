"""The keys of one session: made for it, signed by the partner's lasting key, and checked against the roster.

Each partner has two X25519 pairs (RFC 7748). One encrypts shares to it, one makes the masks that it has in common with
another. The private key of the second is what the partners share among themselves, so a partner that vanishes can be
unmasked. Both public keys travel under one Ed25519 signature that binds them to the session: a coordinator that relays
keys of its own making is found out.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation.identity import SigningKey, verify
from federation.secagg.errors import Code, ProtocolError
from federation.secagg.session import SessionSpec
from federation.secagg.wire import NAME_BYTES, Kind, Reader, check_bytes, check_names, frame, header, name_bytes

KEY_BYTES, SIGNATURE_BYTES = 32, 64
_PURPOSE = "secagg-keys"
_FIELD = 2**255 - 19
# The points of order 1, 2, 4 and 8, on the curve and on its twist (RFC 7748, section 6.1): with one of these, the
# shared secret is zero whatever the other side's key is.
LOW_ORDER = frozenset({
    0, 1, _FIELD - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823})


def new_seed() -> bytes:
    """32 fresh bytes from the operating system: a private key, or the seed of a personal mask."""
    return secrets.token_bytes(KEY_BYTES)


def private_key(seed: bytes) -> X25519PrivateKey:
    """The X25519 private key that 32 bytes are."""
    return X25519PrivateKey.from_private_bytes(seed)


def public_bytes(seed: bytes) -> bytes:
    """The public key that belongs to a seed, 32 bytes."""
    return private_key(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@dataclass(frozen=True, kw_only=True)
class SignedKeys:
    """First message, partner to coordinator: its two public keys for this session.

    Attributes:
        sender: the partner.
        cipher_key: X25519 public key for shares sent to it, 32 bytes.
        mask_key: X25519 public key for masks, 32 bytes.
        signature: Ed25519, 64 bytes, by the key that the roster has for `sender`.
    """

    sender: str
    cipher_key: bytes
    mask_key: bytes
    signature: bytes

    @classmethod
    def sign(cls, spec: SessionSpec, name: str, *, cipher_seed: bytes, mask_seed: bytes, key: SigningKey) -> SignedKeys:
        """Sign the public keys of two seeds for this session."""
        cipher_key, mask_key = public_bytes(cipher_seed), public_bytes(mask_seed)
        signature = bytes.fromhex(key.sign(_PURPOSE, _statement(spec, name, cipher_key, mask_key)))
        return cls(sender=name, cipher_key=cipher_key, mask_key=mask_key, signature=signature)

    def body(self) -> bytes:
        """The entry without a header, as it also stands in a list."""
        return name_bytes(self.sender) + self.cipher_key + self.mask_key + self.signature

    def encode(self) -> bytes:
        return header(Kind.SIGNED_KEYS) + self.body()

    @classmethod
    def read(cls, reader: Reader) -> SignedKeys:
        """The next entry of a message."""
        return cls(sender=reader.name(), cipher_key=reader.take(KEY_BYTES), mask_key=reader.take(KEY_BYTES),
                   signature=reader.take(SIGNATURE_BYTES))

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> SignedKeys:
        """From bytes; the signature is for `check` to look at.

        Raises:
            ProtocolError: if it is not such a message, or from nobody of the roster.
        """
        reader = Reader(data, Kind.SIGNED_KEYS, limit=300)
        entry = cls.read(reader)
        reader.end()
        check_names("signed_keys", [entry.sender], spec)
        return entry

    def check(self, spec: SessionSpec) -> None:
        """Whether this partner made these keys for this session, and they are fit for use.

        Raises:
            ProtocolError: `unknown_name`, `wrong_type`, `malformed`, `weak_key`, `duplicate_key`, `bad_signature`.
        """
        check_names("signed_keys", [self.sender], spec)
        check_bytes("signature", self.signature, SIGNATURE_BYTES)
        for key in (self.cipher_key, self.mask_key):
            check_bytes("key", key, KEY_BYTES)
            _check_strong(key, self.sender)
        if self.cipher_key == self.mask_key:
            raise ProtocolError(Code.DUPLICATE_KEY, "signed_keys", f"{self.sender} uses one key for two things")
        statement = _statement(spec, self.sender, self.cipher_key, self.mask_key)
        if not verify(spec.public_keys[self.sender], _PURPOSE, statement, self.signature.hex()):
            raise ProtocolError(Code.BAD_SIGNATURE, "signed_keys",
                                f"the keys said to be those of {self.sender} are not signed by it for this session",
                                remedy="ask the coordinator and that partner, by another channel, what happened")


def _statement(spec: SessionSpec, name: str, cipher_key: bytes, mask_key: bytes) -> bytes:
    return frame(spec.session_id, name.encode(), cipher_key, mask_key)


def _check_strong(key: bytes, name: str) -> None:
    number = int.from_bytes(key, "little")
    # X25519 takes every string, and several may stand for one point. Honest keys are reduced, so only those pass.
    if number >= _FIELD or number in LOW_ORDER:
        raise ProtocolError(Code.WEAK_KEY, "signed_keys", f"a key of {name} would give secrets that anybody knows",
                            bound="a reduced X25519 key that is not of low order")


def check_key_list(spec: SessionSpec, entries: Sequence[SignedKeys], *, own: SignedKeys) -> None:
    """Check a whole list: each entry, that names ascend, that no key comes twice, and that the quorum is there.

    Args:
        own: what this partner sent, which must be in the list as it was sent.

    Raises:
        ProtocolError: as `SignedKeys.check`, or `duplicate_name`, `duplicate_key`, `below_quorum`, `own_entry`.
    """
    check_names("key_list", [entry.sender for entry in entries], spec)
    if len(entries) < spec.quorum:
        raise ProtocolError(Code.BELOW_QUORUM, "key_list", f"names {len(entries)} partners",
                            bound=f"at least {spec.quorum}")
    if own not in entries:
        raise ProtocolError(Code.OWN_ENTRY, "key_list", f"does not hold the keys that {own.sender} sent")
    for entry in entries:
        if entry != own:
            entry.check(spec)
    keys = {key for entry in entries for key in (entry.cipher_key, entry.mask_key)}
    if len(keys) != 2 * len(entries):
        raise ProtocolError(Code.DUPLICATE_KEY, "key_list", "holds one key under two names", bound="each key once")


def transcript_of(spec: SessionSpec, entries: Sequence[SignedKeys]) -> bytes:
    """SHA-256 (32 bytes) over the session and the list of keys: what all that follows is bound to."""
    return hashlib.sha256(b"leelight/secagg-transcript/v1\n" + frame(
        spec.session_id, *(entry.body() for entry in entries))).digest()


KEYS_BYTES = NAME_BYTES + 2 * KEY_BYTES + SIGNATURE_BYTES
"""Most bytes of one entry."""
