"""What the release's estimates take in: whole arrays of numbers, variances, a confidence.

NaN stands for a number that is withheld, and whatever would be made of it comes out as NaN.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def numbers(name: str, values: ArrayLike) -> FloatArray:
    """The values as float64, of any shape.

    Raises:
        ValueError: if one of them is infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    if np.isinf(array).any():
        raise ValueError(f"{name} must not be infinite")
    return array


def variances(name: str, values: ArrayLike) -> FloatArray:
    """The values as float64, of any shape.

    Raises:
        ValueError: if one of them is infinite or below 0.
    """
    array = numbers(name, values)
    if (array < 0.0).any():
        raise ValueError(f"{name} must be >= 0")
    return array


def two_sided_quantile(confidence: float) -> float:
    """The z that a standard normal quantity stays within, up and down, with probability `confidence`.

    Raises:
        ValueError: if the confidence is not within (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} must be within (0, 1)")
    return NormalDist().inv_cdf(0.5 + confidence / 2.0)
