"""Masks: a key stream over the whole ring, added in place.

The stream is AES-256 in counter mode from block 0 (NIST SP 800-38A), read as little-endian words. A mask word takes
every value of the ring equally often, so a masked word alone says nothing about what is below it. One key makes one
mask.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from federation.secagg.ring import Words

PIECE_BYTES = 2**16
"""What is made and added at a time: it stays in the processor's cache, and the stream is never kept."""
_ZEROS = memoryview(bytes(PIECE_BYTES))


def add_mask(words: Words, key: bytes, *, subtract: bool = False) -> None:
    """Add the mask of `key` to `words` in place, or subtract it.

    Args:
        words: little-endian uint32 or uint64, shape (length,), contiguous.
        key: 32 bytes, never used for anything else.
        subtract: the other partner of the pair takes away what the first adds.
    """
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    room = bytearray(PIECE_BYTES + 15)  # the cipher asks for a block less one byte to spare
    piece = np.frombuffer(room, dtype=words.dtype, count=PIECE_BYTES // words.itemsize)
    change = np.subtract if subtract else np.add
    for start in range(0, words.size, piece.size):
        part = words[start:start + piece.size]
        stream.update_into(_ZEROS[:part.nbytes], room)
        change(part, piece[:part.size], out=part)
