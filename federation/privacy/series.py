"""Running totals over many releases, by the square root of the matrix that sums.

Releases 1, 2, …, t (quarters) each bring a table x_k of *new* people: a person counts in one release only, the first in
which they have a signal record. What readers want is the running total x_1 + … + x_t, and the newest table. In place of
either a partner measures, with fresh independent noise of one fixed scale,

    w_t = c_0 x_t + c_1 x_{t-1} + … + c_{t-1} x_1,      c_j = round(256 f_j),  f_0 = 1,  f_j = f_{j-1} (2j - 1) / (2j).

The f_j are the power series of (1 - z)^(-1/2). Its square is 1 / (1 - z), which sums: up to rounding, summing is this
measurement twice over. One half stands before the noise and decides what a person moves, the other after it and decides
how the noise adds up, and both grow like the root of log t (Fichtenberger, Henzinger and Upadhyay 2023, "Constant
matters", ICML, arXiv:2202.11205; Henzinger, Upadhyay and Upadhyay 2023, SODA, arXiv:2211.05006). The c_j are public
integers and the decoder inverts exactly those, so rounding costs no bias and at most 0.02 % of standard deviation. No
state of the noise is kept: a partner needs its own x_1, …, x_t and nothing else.

Standard deviations where noise on a person's one contribution alone would have 1 (`standard_deviations`); `independent`
is the running total of x_k that were each given noise of their own, whose newest table has 1.00:

    releases   independent   running total   newest table
           4          2.00            1.49           1.37
          12          3.46            1.85           1.53
          40          6.32            2.24           1.69
          52          7.21            2.32           1.72
         156         12.49            2.67           1.84

*What it costs.* A person first counted in release k moves nothing before it and c_0, c_1, … from it on. So in whatever
releases one looks at, a person's shifts are different ones of c_0, c_1, …, and none is above c_0. Each release is
booked as a table that one person moves by c_0, whoever is new in it and whoever is not. That is more than anybody pays:
in n releases nobody moves more than c_0, …, c_{n-1}, whose squares come to 1.9 c_0^2 for twelve, where 12 c_0^2 are
booked. In return it needs no condition. It holds for a partner that comes late or misses a release, for noise that
changes from release to release, for a list of who has counted that was lost in between, and in whatever window a
ceiling is kept.

>>> coefficients(6)
(256, 128, 96, 80, 70, 63)
>>> x = np.array([[5, 0], [2, 1], [0, 4]])
>>> decode_total([encode(x[:t]) for t in (1, 2, 3)])[0]
array([7., 5.])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

SCALE: Final = 256
"""What one new person adds to the measurement of their first release."""
MOST_RELEASES: Final = 400
"""A century of quarters. The last coefficient is 7 then."""
_EXACT: Final = 2**53
"""Integers up to here are floats."""


def coefficients(length: int, scale: int = SCALE) -> tuple[int, ...]:
    """c_0, …, c_{length-1}: how much of each past release is in a measurement, newest first. They never rise.

    Args:
        length: how many.
        scale: c_0. f_j is the binomial coefficient of 2j and j over 4^j, so `scale * f_j` is rounded (half up) exactly.

    Raises:
        ValueError: if `length` is not in 1 … `MOST_RELEASES` or `scale` is below 1.
    """
    _check_release("length", length)
    if scale < 1:
        raise ValueError(f"scale is {scale}, expected at least 1")
    rounded, binomial = [], 1
    for j in range(length):
        rounded.append((2 * scale * binomial + 4**j) // (2 * 4**j))
        binomial = binomial * 2 * (2 * j + 1) // (j + 1)
    return tuple(rounded)


def encode(tables: Sequence[IntArray]) -> IntArray:
    """w_t, what a partner measures at release t, before noise.

    Args:
        tables: x_1, …, x_t, int64, all of one shape: new people by release, in units of people.

    Returns:
        int64, the same shape, in units of 1 / `SCALE` of a person.

    Raises:
        ValueError: if there is no table, one is not int64 or of another shape, or 64 bits are too few.
    """
    stacked = _stack("table", tables)
    weights = coefficients(len(tables))[::-1]
    # Python integers: the magnitude of the least int64 is no int64.
    reach = sum(c * max(abs(int(x.min())), abs(int(x.max()))) for c, x in zip(weights, stacked, strict=True) if x.size)
    if reach >= 2**63:
        raise ValueError("tables are too large: their weighted sum does not fit into 64 bits")
    total: IntArray = np.tensordot(np.array(weights, dtype=np.int64), stacked, axes=1)
    return total


def decode_total(measurements: Sequence[IntArray]) -> tuple[FloatArray, float]:
    """Unbiased estimate of the running total x_1 + … + x_t, and the variance of its noise.

    It is a weighted sum of the measurements (`total_weights`). All of them must be of the same partners: what a partner
    would have added to one that lacks it is missing from the estimate in that measurement's weight. A partner that
    counts nobody is no trouble.

    Args:
        measurements: w_1, …, w_t or their noisy sums over partners, int64, all of one shape.

    Returns:
        The total, float64, same shape, exact where there is no noise; and its variance if each measurement has
        independent noise of variance 1 in each entry. Where the variances differ (more partners survived in one sum
        than in another), it is the sum of `total_weights(t) ** 2` times them.

    Raises:
        ValueError: if there is no measurement, one is not int64 or of another shape, or an entry is beyond 2^53.
    """
    return _new_people(measurements).sum(axis=0), float(np.square(total_weights(len(measurements))).sum())


def decode_newest(measurements: Sequence[IntArray]) -> tuple[FloatArray, float]:
    """Unbiased estimate of x_t, the newest release's own people, and the variance of its noise.

    Arguments, return values and errors as for `decode_total`, with `newest_weights`.
    """
    return _new_people(measurements)[-1], float(np.square(newest_weights(len(measurements))).sum())


def total_weights(length: int) -> FloatArray:
    """Weights of w_1, …, w_length in the running total: the power series of 1 / ((1 - z) c(z)), reversed."""
    return np.cumsum(newest_weights(length)[::-1])[::-1]


def newest_weights(length: int) -> FloatArray:
    """Weights of w_1, …, w_length in the newest table: the power series of 1 / c(z), reversed."""
    _check_release("length", length)
    impulse = np.zeros((length, 1), dtype=np.int64)
    impulse[0] = 1
    return _new_people(list(impulse))[::-1, 0]


def standard_deviations(horizon: int) -> tuple[float, float]:
    """Of the running total at release `horizon` and of its newest table, for noise of 1 on a person's contribution.

    The noise in a measurement is as many times 1 as a person moves all measurements together, in Euclidean norm.
    """
    moved = math.hypot(*coefficients(horizon))
    return (moved * float(np.linalg.norm(total_weights(horizon))),
            moved * float(np.linalg.norm(newest_weights(horizon))))


def _new_people(measurements: Sequence[IntArray]) -> FloatArray:
    """x_1, …, x_t by forward substitution, shape (t, …).

    The weights never rise, so c(z) has no root inside the unit circle (Eneström-Kakeya) and errors do not grow. Without
    noise all numbers on the way are integers, and integers up to 2^53 come out exactly.
    """
    stacked = _stack("measurement", measurements)
    if stacked.size and max(-int(stacked.min()), int(stacked.max())) > _EXACT:
        raise ValueError("measurements are too large: an entry is beyond 2^53")
    weights = np.array(coefficients(len(measurements)), dtype=np.float64)
    found = stacked.astype(np.float64)
    for t in range(len(found)):
        found[t] = (found[t] - np.tensordot(weights[t:0:-1], found[:t], axes=1)) / SCALE
    return found


def _stack(name: str, tables: Sequence[IntArray]) -> IntArray:
    _check_release(f"number of {name}s", len(tables))
    for number, table in enumerate(tables, start=1):
        if table.dtype != np.int64 or table.shape != tables[0].shape:
            raise ValueError(f"{name} {number}: {table.dtype}{list(table.shape)}, "
                             f"expected int64{list(tables[0].shape)}")
    return np.stack(tables)


def _check_release(name: str, number: int) -> None:
    if not 1 <= number <= MOST_RELEASES:
        raise ValueError(f"{name} is {number}, expected 1 to {MOST_RELEASES}")
