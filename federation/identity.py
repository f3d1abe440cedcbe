"""Who signed this: Ed25519 keys in files of mode 0600, and signatures bound to a purpose.

Every signature covers `leelight/<purpose>/v1\\n` before the message, so that one made for a plan can never pass for one
made for a release (domain separation; RFC 8032 for Ed25519 itself).
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from federation.errors import InputError

_KEY_BYTES = 32  # RFC 8032: an Ed25519 seed


def write_secret(path: Path, data: bytes) -> None:
    """Create `path` with mode 0600 and `data`, on disk when this returns. Never overwrites.

    Raises:
        FileExistsError: if something is there already.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_secret(path: Path, *, lost: str = "bring it back from a backup") -> bytes:
    """Read a secret file, refusing one that others on the machine can read.

    Args:
        path: the file.
        lost: what to do if it is gone. No secret can be made again, so only its owner knows what is left to do.

    Raises:
        InputError: if it is missing or its mode gives anything to group or others.
    """
    if not path.is_file():
        raise InputError(str(path), "secret file is missing", remedy=lost)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise InputError(str(path), f"secret file has mode {mode:04o}", bound="0600",
                         remedy=f"chmod 600 {path}, and rotate the secret if others could have read it")
    return path.read_bytes()


def _framed(purpose: str, message: bytes) -> bytes:
    if not purpose.isascii() or "\n" in purpose:
        raise ValueError(f"purpose {purpose!r} must be one ASCII line")
    return f"leelight/{purpose}/v1\n".encode() + message


class SigningKey:
    """An Ed25519 private key. Its bytes are never printed."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> SigningKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, raw: bytes) -> SigningKey:
        """From 32 raw bytes (RFC 8032 seed)."""
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    @classmethod
    def load(cls, path: Path, *, lost: str = "bring it back from a backup") -> SigningKey:
        """Read the key in `path`; `lost` as for `read_secret`.

        Raises:
            InputError: as `read_secret`, and if the file does not hold 32 bytes.
        """
        raw = read_secret(path, lost=lost)
        if len(raw) != _KEY_BYTES:
            raise InputError(str(path), f"holds {len(raw)} bytes", bound=f"exactly {_KEY_BYTES}", remedy=lost)
        return cls.from_bytes(raw)

    def save(self, path: Path) -> None:
        write_secret(path, self._key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()))

    @property
    def public(self) -> str:
        """The public key as 64 hexadecimal digits."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()

    def sign(self, purpose: str, message: bytes) -> str:
        """Signature over `message` for `purpose`, 128 hexadecimal digits."""
        return self._key.sign(_framed(purpose, message)).hex()


@lru_cache(maxsize=64)
def _public_key(public: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))


def verify(public: str, purpose: str, message: bytes, signature: str) -> bool:
    """Whether `signature` was made over `message` for `purpose` by the key `public`. Malformed input is False."""
    try:
        key = _public_key(public)
        key.verify(bytes.fromhex(signature), _framed(purpose, message))
    except (InvalidSignature, ValueError):
        return False
    return True
