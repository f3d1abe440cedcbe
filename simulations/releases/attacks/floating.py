"""Floating point: whether the last digits of what is published tell what noise was added to.

A normal number added to a float count leaves traces: with a count of 1 the sum is always a multiple of 2^-53, with a
count of 0 it often is not (Mironov 2012, "On significance of the least significant bits for differential privacy";
privacy.md 0.4). So counts and noise are whole here, and every real number that is published is the same function of
whole numbers, whatever the data. Three checks:

- `trace`: the event above, on noisy sums of two data sets, one of which has one person more;
- `unfounded`: every measured number in a content is whole, and all others follow from these;
- `values_apart`: over many contents of neighbouring data sets, no published number takes values (of a set, or of a
  remainder) under one that it hardly takes under the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from federation.canonical import canonical_json
from federation.plan import StudyPlan
from federation.privacy.noise import add_discrete_gaussian
from federation.randomness import RandomStream
from federation.statistics import IntArray, TableLayout
from server.release.rebuild import rebuild
from simulations.releases.attacks.bounds import ALPHA, Bound, epsilon_lower
from simulations.releases.attacks.classifier import PARTS, features
from simulations.releases.attacks.worlds import Mechanism, content_of

FloatArray = npt.NDArray[np.float64]
Noisy = Callable[[StudyPlan, IntArray, int, RandomStream], npt.NDArray[np.generic]]
"""From a plan and true sums to so many noisy ones."""
_REMAINDERS = (2, 3, 5)
_FINEST = 1000
"""Published numbers are multiples of a thousandth."""


def whole(plan: StudyPlan, vector: IntArray, count: int, stream: RandomStream) -> npt.NDArray[np.generic]:
    """As it is done: discrete noise on whole numbers."""
    return Mechanism(plan=plan).releases(vector, count, stream)


def trace(noisy: Noisy, plan: StudyPlan, *, releases: int, stream: RandomStream, delta: float, claimed: float) -> Bound:
    """The event of Mironov's attack, for an entry of nobody and of one person."""
    empty = TableLayout(plan).empty()
    found = []
    for count in (empty, empty + 1):
        values = noisy(plan, count, releases, stream).astype(np.float64)
        near = np.abs(values) < 0.25
        with np.errstate(over="ignore"):
            found.append(near & (np.ldexp(values, 53) != np.rint(np.ldexp(values, 53))))
    lower = epsilon_lower(int(found[0].sum()), found[0].size, int(found[1].sum()), found[1].size, delta=delta)
    return Bound(delta=delta, lower=lower, claimed=claimed)


def unfounded(plan: StudyPlan, content: dict[str, Any]) -> list[str]:
    """Measured numbers that are not whole, and parts of the content that do not follow from those that are."""
    found = [name for name, _ in features({part: content[part] for part in PARTS})
             if "/measured/" in name and not isinstance(_at(content, name), int)]
    again = rebuild(content, plan, None)
    return found + [key for key in content if canonical_json(again.get(key)) != canonical_json(content[key])]


def _at(content: Any, path: str) -> Any:
    for key in path.partition("=")[0].strip("/").split("/"):
        content = content[int(key)] if isinstance(content, list) else content[key]
    return content


def numbers(contents: Sequence[dict[str, Any]]) -> dict[str, FloatArray]:
    """Every published number by its place: one for each content, NaN where it is withheld."""
    found: dict[str, FloatArray] = {}
    for i, content in enumerate(contents):
        for name, value in features({part: content[part] for part in PARTS}):
            if "=" not in name:
                found.setdefault(name, np.full(len(contents), np.nan))[i] = value
    return found


def values_apart(one: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]], *, delta: float,
                 claimed: float) -> tuple[str, Bound]:
    """The number whose values differ most between the contents of two data sets, and what that shows."""
    sides = numbers(one), numbers(other)
    names = sorted(set(sides[0]) & set(sides[1]))
    alpha = ALPHA / (len(names) * (2 + sum(_REMAINDERS)) * 2)
    best, where = Bound(delta=delta, lower=0.0, claimed=claimed), ""
    for name in names:
        for a, b in ((sides[0][name], sides[1][name]), (sides[1][name], sides[0][name])):
            for hits, false in _events(a, b):
                lower = epsilon_lower(int(hits.sum()), len(hits), int(false.sum()), len(false), delta=delta,
                                      alpha=alpha)
                if lower > best.lower:
                    best, where = Bound(delta=delta, lower=lower, claimed=claimed), name
    return where, best


def _events(one: FloatArray, other: FloatArray) -> list[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Whether a number is of a value that only the one side had in its first half, or leaves some remainder."""
    half, half_other = len(one) // 2, len(other) // 2
    only = np.setdiff1d(one[:half], other[:half_other])
    found = [(np.isin(one[half:], only), np.isin(other[half_other:], only))]
    unit = 1 if all(np.array_equal(v[~np.isnan(v)], np.rint(v[~np.isnan(v)])) for v in (one, other)) else _FINEST
    with np.errstate(invalid="ignore"):
        scaled = [np.rint(v * unit) for v in (one, other)]
        found += [(scaled[0] % by == rest, scaled[1] % by == rest) for by in _REMAINDERS for rest in range(by)]
    return found


def final_values(plan: StudyPlan, vectors: tuple[IntArray, IntArray], noisy: Noisy, *, releases: int,
                 seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """So many contents of each of two data sets."""
    sides = []
    for vector, side in zip(vectors, "ab", strict=True):
        stream = RandomStream.derived(seed.to_bytes(8, "big"), "final-values", side)
        values = noisy(plan, vector, releases, stream)
        # A content refuses anything but whole numbers; a mistake that must be found would have done away with that.
        with nullcontext() if values.dtype == np.int64 else patch.object(TableLayout, "check"):
            sides.append([content_of(plan, each) for each in values])
    return sides[0], sides[1]


# Mistakes


def normal(plan: StudyPlan, vector: IntArray, count: int, stream: RandomStream) -> npt.NDArray[np.generic]:
    """Normal noise on float counts."""
    rng = np.random.default_rng(int(stream.words(1)[0]))
    return vector + rng.normal(0.0, Mechanism(plan=plan).spread(), (count, len(vector)))


def even(plan: StudyPlan, vector: IntArray, count: int, stream: RandomStream) -> npt.NDArray[np.generic]:
    """Noise of the right size on even numbers alone."""
    noise = np.zeros((count, len(vector)), dtype=np.int64)
    spread = Mechanism(plan=plan).spread()
    for scale in np.unique(spread):
        own = np.flatnonzero(spread == scale)
        noise[:, own] = 2 * add_discrete_gaussian(noise[:, own], float(scale) / 2, stream)
    return vector + noise
