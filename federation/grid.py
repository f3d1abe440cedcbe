"""The grids on which the head computes, so that float64 makes no rounding error. See `federation.exact`."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

INPUT_BITS: Final = 12
"""Inputs of a layer are whole multiples of 2^-12."""
COEFFICIENT_BITS: Final = 16
"""A person's errors, in clip norms, are truncated to whole multiples of 2^-16."""
SUM_BITS: Final = INPUT_BITS + COEFFICIENT_BITS
"""One clip norm is 2^28 units of the integer sum of clipped gradients."""
WEIGHT_BITS: Final = 22
"""Weights are whole multiples of 2^-22."""
MAX_WEIGHT: Final = 1024.0
"""Largest magnitude of a weight that either side accepts. Models of unit features stay far below it."""
_FEW_COLUMNS: Final = 4
"""So few columns are faster one by one: a product of a matrix and a vector moves at the speed of memory."""
_SOME_COLUMNS: Final = 16
"""NumPy's product of a matrix with so few columns takes half as long again as torch's."""
_PIECE: Final = 512
"""Rows that one column after the other goes through, while they are in the cache."""
MAX_NORM: Final = 1.001
"""Encoders give vectors of norm 1; what is longer is not a feature vector and counts as nothing."""


def exact_inputs(features: npt.NDArray[np.float32], intercept: float) -> npt.NDArray[np.float32]:
    """Features `(N, D)` and the intercept constant as inputs `(N, D + 1)` on the grid.

    Rows that are longer than `MAX_NORM` or not finite become zero, constant included.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        usable = np.linalg.norm(features, axis=1) <= MAX_NORM
    constant = np.full((len(features), 1), intercept, dtype=np.float32)
    inputs = np.where(usable[:, None], np.hstack([features, constant]), np.float32(0))
    return np.round(inputs * np.float32(2.0**INPUT_BITS)) * np.float32(2.0**-INPUT_BITS)


def snap(weights: FloatArray) -> None:
    """Round weights to the grid 2^-22 and hold them within `MAX_WEIGHT`, in place. Public numbers, so free."""
    weights *= 2.0**WEIGHT_BITS
    np.rint(weights, out=weights)
    weights *= 2.0**-WEIGHT_BITS
    weights.clip(-MAX_WEIGHT, MAX_WEIGHT, out=weights)


def product(left: FloatArray, right: FloatArray) -> FloatArray:
    """`left @ right` in float64, by whichever way is fastest at the shape; on grids all are exact, hence equal.

    NumPy's library is held to one thread (`clients.threads`), so what has more goes to torch.
    """
    # Imported here: most users of this module need no torch.
    import torch

    narrow = min(left.shape[0], right.shape[1])
    if narrow > 1 and torch.get_num_threads() == 1 and narrow <= _FEW_COLUMNS:
        return _by_columns(left, right) if right.shape[1] == narrow else _by_rows(left, right)
    if 1 < narrow < _SOME_COLUMNS or (narrow > 1 and torch.get_num_threads() > 1):
        made: FloatArray = (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()
        return made
    return left @ right


def _by_columns(left: FloatArray, right: FloatArray) -> FloatArray:
    """`left @ right`, one column of `right` at a time."""
    made = np.empty((right.shape[1], len(left)))
    for start in range(0, len(left), _PIECE):
        piece = left[start : start + _PIECE]
        for column, out in zip(right.T, made, strict=True):
            np.dot(piece, column, out=out[start : start + _PIECE])
    return np.ascontiguousarray(made.T)


def _by_rows(left: FloatArray, right: FloatArray) -> FloatArray:
    """`left @ right`, one row of `left` at a time. Sums on grids may be split as one likes."""
    made = np.zeros((len(left), right.shape[1]))
    for start in range(0, len(right), _PIECE):
        piece = right[start : start + _PIECE]
        for row, out in zip(left, made, strict=True):
            out += row[start : start + _PIECE] @ piece
    return made
