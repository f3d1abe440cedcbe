"""Poisson sampling over slots.

Every slot enters a step by its own coin, whether a person sits in it or not, so the size of a batch depends on the
public number of slots and on coins alone. Shuffling or fixed-size batches would not have the amplification that the
accounting claims (Chua et al. 2024, "How private are DP-SGD implementations?", arXiv:2403.17673).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from federation.randomness import RandomStream


def sample_slots(slots: int, sampling_probability: float, stream: RandomStream) -> npt.NDArray[np.int64]:
    """Which slots enter a step, ascending; each independently with `sampling_probability`.

    Raises:
        ValueError: if `slots` is below 1 or the probability is outside (0, 1].
    """
    if slots < 1:
        raise ValueError(f"slots is {slots}, expected at least 1")
    if not 0 < sampling_probability <= 1:
        raise ValueError(f"sampling_probability is {sampling_probability}, expected a number in (0, 1]")
    if sampling_probability == 1:
        return np.arange(slots)
    # Rounded down to a multiple of 2^-64: never more often than stated.
    return np.flatnonzero(stream.words(slots) < np.uint64(math.floor(Fraction(sampling_probability) * 2**64)))
