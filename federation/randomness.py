"""Where randomness comes from, in one type with two doors.

`RandomStream.from_os()` is keyed by the operating system and protects people. `RandomStream.derived(root, ...)` gives
the same bytes for the same root and is for what must reproduce: a simulation, a choice that has to come out the same
each time. Both are the ChaCha20 key stream (RFC 8439), so neither can be run backwards from its output.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from scipy.special import ndtri

FloatArray = npt.NDArray[np.float64]


class RandomStream:
    """An endless stream of uniform bytes, and the few distributions that are drawn from it."""

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
        return self._cipher.update(bytes(count))

    def _words(self, count: int) -> npt.NDArray[np.uint64]:
        return np.frombuffer(self.bytes(8 * count), dtype="<u8")

    def uniform(self, shape: Sequence[int]) -> FloatArray:
        """Uniform in the open interval (0, 1): the midpoints of 2^52 equal cells, each of them exact in float64."""
        words = self._words(int(np.prod(shape, dtype=np.int64))) >> np.uint64(12)
        return ((words.astype(np.float64) + 0.5) * 2.0**-52).reshape(shape)

    def normal(self, shape: Sequence[int]) -> FloatArray:
        """Standard normal by the inverse distribution function; the tail is cut at 8.2."""
        values: FloatArray = ndtri(self.uniform(shape))
        return values

    def below(self, bound: int) -> int:
        """A uniform integer in `[0, bound)`, exactly uniform by rejection."""
        if bound < 1:
            raise ValueError(f"bound is {bound}, expected at least 1")
        width = (bound - 1).bit_length()
        size = (width + 7) // 8
        while True:
            value = int.from_bytes(self.bytes(size), "little") & ((1 << width) - 1)
            if value < bound:
                return value
