"""Where randomness comes from, in one type with two doors.

`RandomStream.from_os()` is keyed by the operating system and protects people. `RandomStream.derived(root, ...)` gives
the same bytes for the same root and is for what must reproduce: a simulation, a choice that has to come out the same
each time. Both are the ChaCha20 key stream (RFC 8439), so neither can be run backwards from its output.
"""

from __future__ import annotations

import secrets

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_ZEROS = memoryview(bytes(2**20))
"""What is encrypted to get the key stream. Kept: fresh zeros cost three times the cipher."""


class RandomStream:
    """An endless stream of uniform bytes."""

    def __init__(self, key: bytes) -> None:
        """Start a stream under a 32-byte key. One key, one stream: never make two from the same key."""
        if len(key) != 32:
            raise ValueError(f"key of {len(key)} bytes, expected 32")
        self._cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()

    @classmethod
    def from_os(cls) -> RandomStream:
        """A fresh stream keyed by the operating system."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def derived(cls, root: bytes, *context: str) -> RandomStream:
        """The stream that `root` and `context` stand for (HKDF-SHA256, RFC 5869).

        The context parts are length-prefixed, so `("ab", "c")` and `("a", "bc")` are different streams.
        """
        info = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in ("leelight-stream", *context))
        return cls(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(root))

    def bytes(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count <= len(_ZEROS):
            return self._cipher.update(_ZEROS[:count])
        return b"".join(self.bytes(min(len(_ZEROS), count - start)) for start in range(0, count, len(_ZEROS)))

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """The next `count` uniform 64-bit words."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8")
