"""Integers modulo 2^32 or 2^64, where a uniform mask hides a value perfectly and sums come out exactly.

Worked example: 200 partners with entries of magnitude at most 10,000,000 sum to at most 2,000,000,000, which is below
2^31, so the words have 32 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from federation.errors import InputError

Words = npt.NDArray[np.unsignedinteger[Any]]
"""A vector in the ring: little-endian uint32 or uint64."""


@dataclass(frozen=True, kw_only=True)
class Ring:
    """The integers modulo 2^bits."""

    bits: Literal[32, 64]

    @property
    def word_bytes(self) -> int:
        """Bytes an entry takes."""
        return self.bits // 8

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """Little-endian words, on every machine."""
        return np.dtype("<u4" if self.bits == 32 else "<u8")

    @property
    def largest(self) -> int:
        """The largest magnitude that a sum may have to come back as it is."""
        return int(2 ** (self.bits - 1) - 1)

    def encode(self, values: npt.NDArray[np.int64], *, bound: int) -> Words:
        """Take integers into the ring; a negative one goes to 2^bits minus its magnitude.

        Args:
            values: int64, shape (length,).
            bound: the largest magnitude that one entry may have.

        Returns:
            A new array, same shape.

        Raises:
            InputError: if it is not a vector of int64, or an entry is beyond the bound.
        """
        if not isinstance(values, np.ndarray) or values.dtype != np.int64 or values.ndim != 1:
            raise InputError("vector", "is not a one-dimensional array of int64",
                             remedy="round and convert it before it is aggregated")
        # min and max, since the magnitude of the least int64 is no int64
        if values.size and not (-bound <= int(values.min()) and int(values.max()) <= bound):
            raise InputError("vector", "holds an entry that is too large", bound=f"-{bound} to {bound}",
                             remedy="clip it before it is aggregated, or state a larger bound in the plan")
        return values.astype(self.dtype)

    def decode(self, words: Words) -> npt.NDArray[np.int64]:
        """The integers of least magnitude that `words` stand for (centre-lift). Shape as given."""
        signed = np.dtype("<i4" if self.bits == 32 else "<i8")
        return np.ascontiguousarray(words, dtype=self.dtype).view(signed).astype(np.int64)


def ring_for(partners: int, bound: int) -> Ring:
    """The narrowest ring in which `partners` integers of magnitude at most `bound` sum without wrapping.

    Raises:
        InputError: if either is below 1, or their product is above 2^63 - 1.
    """
    for name, value in (("partners", partners), ("bound", bound)):
        if value < 1:
            raise InputError(name, f"is {value}", bound="at least 1", remedy="correct it in the plan")
    narrow, wide = Ring(bits=32), Ring(bits=64)
    if partners * bound <= narrow.largest:
        return narrow
    if partners * bound <= wide.largest:
        return wide
    raise InputError("bound", f"is {bound}, and {partners} such entries could sum to more than 64 bits hold",
                     bound=f"at most {wide.largest // partners} for {partners} partners",
                     remedy="use a coarser grid, so that entries are smaller integers")
