"""Noise for integer tables: the discrete Gaussian, exact.

With an operating-system source, OpenDP's verified sampler draws it. For a simulation that must reproduce, the exact
rejection sampler of Canonne, Kamath and Steinke ("The Discrete Gaussian for Differential Privacy", NeurIPS 2020,
arXiv:2004.00010, Algorithms 1-3) draws the same distribution from a derived stream, in integers and fractions only.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from federation.randomness import RandomStream


def add_discrete_gaussian(
    table: npt.NDArray[np.int64], scale: float, stream: RandomStream | None = None
) -> npt.NDArray[np.int64]:
    """Return `table` plus independent discrete Gaussian noise in each entry.

    Args:
        table: int64, any shape.
        scale: the parameter sigma of the discrete Gaussian N_Z(0, sigma^2).
        stream: None draws with OpenDP from the operating system. A derived stream reproduces, and so protects nobody.

    Raises:
        ValueError: if `scale` is not a finite number above 0 or the table is not int64.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale is {scale}, expected a finite number above 0")
    if table.dtype != np.int64:
        raise ValueError(f"table is {table.dtype}, expected int64")
    if stream is None:
        return _opendp(table, scale)
    exact = Fraction(scale)
    noise = [_discrete_gaussian(exact, stream) for _ in range(table.size)]
    return table + np.array(noise, dtype=np.int64).reshape(table.shape)


def _opendp(table: npt.NDArray[np.int64], scale: float) -> npt.NDArray[np.int64]:
    # Imported here: the shared object is large, and most paths never need it.
    import opendp.prelude as dp

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T=float)
    mechanism = space >> dp.m.then_gaussian(scale=scale)
    released = np.array(mechanism(table.ravel().tolist()), dtype=np.int64)
    return released.reshape(table.shape)


def _bernoulli(chance: Fraction, stream: RandomStream) -> bool:
    return stream.below(chance.denominator) < chance.numerator


def _bernoulli_exp(gamma: Fraction, stream: RandomStream) -> bool:
    """True with probability exp(-gamma), gamma >= 0 (Algorithm 1)."""
    while gamma > 1:
        if not _bernoulli_exp(Fraction(1), stream):
            return False
        gamma -= 1
    count = 1
    while _bernoulli(gamma / count, stream):
        count += 1
    return count % 2 == 1


def _discrete_laplace(scale: int, stream: RandomStream) -> int:
    """Probability proportional to exp(-|x| / scale), over the integers (Algorithm 2)."""
    while True:
        low = stream.below(scale)
        if not _bernoulli_exp(Fraction(low, scale), stream):
            continue
        high = 0
        while _bernoulli_exp(Fraction(1), stream):
            high += 1
        magnitude = low + scale * high
        negative = stream.below(2) == 1
        if negative and magnitude == 0:
            continue
        return -magnitude if negative else magnitude


def _discrete_gaussian(sigma: Fraction, stream: RandomStream) -> int:
    """Probability proportional to exp(-x^2 / (2 sigma^2)), over the integers (Algorithm 3)."""
    laplace_scale = math.floor(sigma) + 1
    square = sigma * sigma
    while True:
        candidate = _discrete_laplace(laplace_scale, stream)
        gap = abs(candidate) - square / laplace_scale
        if _bernoulli_exp(gap * gap / (2 * square), stream):
            return candidate
