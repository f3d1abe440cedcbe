"""A classifier that guesses from a final content which of two neighbouring data sets it was made of.

After DP-Sniper (Bichsel et al. 2021, "DP-Sniper: black-box discovery of differential privacy violations using
classifiers"): whatever tells the two apart, a rate or the mere reason for which a number is withheld, is a feature, a
logistic regression learns which of them do, and its guesses on further contents bound epsilon from below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from federation.plan import StudyPlan
from federation.randomness import RandomStream
from federation.statistics import IntArray, Measurements
from federation.taxonomy import Family
from server.release import decide
from server.release.gate import REASONS, Reasons, Withheld, dominated, records_reasons
from server.release.nodes import Nodes
from simulations.releases.attacks.bounds import ALPHA, Bound, epsilon_lower
from simulations.releases.attacks.pairs import Pair
from simulations.releases.attacks.people import Counter
from simulations.releases.attacks.worlds import Mechanism, content_of, measurements, unpriced

PARTS = ("nodes", "cells", "indicators", "corridors", "series", "calibration", "suppression")
"""What of a content depends on data at all."""
TO_LEARN = 0.4
"""Share of the contents to learn from. The bound rests on the number of the others."""
Leak = Callable[[Measurements], AbstractContextManager[Any]]
"""A mistake in the gate, made with the true numbers at hand."""


def features(content: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number by its place, and every word as a number of its own."""
    match content:
        case Mapping():
            for key, value in content.items():
                yield from features(value, f"{path}/{key}")
        case list():
            for i, value in enumerate(content):
                yield from features(value, f"{path}/{i}")
        case str() | bool() | None:
            yield f"{path}={content}", 1.0
        case _:
            yield path, float(content)


@dataclass(frozen=True)
class Guess:
    """What the classifier of one pair showed: how many contents it was right about, and the bound that follows."""

    accuracy: float
    bound: Bound


def guess(contents: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]], *, delta: float, claimed: float,
          alpha: float) -> Guess:
    """Learn from the first of either side's contents and guess the others."""
    found = [[dict(features({part: content[part] for part in PARTS})) for content in side] for side in contents]
    learnt = [int(TO_LEARN * len(side)) for side in found]
    learned = [each for side, first in zip(found, learnt, strict=True) for each in side[:first]]
    tried = [each for side, first in zip(found, learnt, strict=True) for each in side[first:]]
    names = {name: i for i, name in enumerate(dict.fromkeys(name for each in learned for name in each))}
    answers = np.repeat([1, 0], learnt)
    scaler = StandardScaler().fit(_matrix(learned, names))
    model = LogisticRegression(C=0.1, max_iter=300).fit(scaler.transform(_matrix(learned, names)), answers)
    said = model.predict(scaler.transform(_matrix(tried, names)))
    yes = len(found[0]) - learnt[0]
    bound = max(_bound(said[:yes], said[yes:], delta, alpha / 2),
                _bound(1 - said[yes:], 1 - said[:yes], delta, alpha / 2))
    right = np.concatenate([said[:yes], 1 - said[yes:]])
    return Guess(float(right.mean()), Bound(delta=delta, lower=bound, claimed=claimed))


def _matrix(rows: Sequence[Mapping[str, float]], names: Mapping[str, int]) -> npt.NDArray[np.float64]:
    matrix = np.zeros((len(rows), len(names)))
    for i, row in enumerate(rows):
        for name, value in row.items():
            if name in names:
                matrix[i, names[name]] = value
    return matrix


def _bound(one: npt.NDArray[np.int64], two: npt.NDArray[np.int64], delta: float, alpha: float) -> float:
    return epsilon_lower(int(one.sum()), len(one), int(two.sum()), len(two), delta=delta, alpha=alpha)


def contents_of(plan: StudyPlan, vector: IntArray, *, releases: int, stream: RandomStream,
                leak: Leak | None = None) -> list[dict[str, Any]]:
    """So many final contents of one data set."""
    noisy = Mechanism(plan=plan).releases(vector, releases, stream)
    with leak(measurements(plan, vector)) if leak else nullcontext():
        return [content_of(plan, values) for values in noisy]


def classify(pairs: Sequence[Pair], counter: Counter, claimed: float, *, releases: int, seed: int,
             leak: Leak | None = None) -> dict[str, Guess]:
    """Guess each pair from so many contents of either side.

    Where the person counts nowhere, the two are made of the same numbers, and there is nothing to guess.

    Args:
        pairs: of neighbouring data sets.
        counter: counts their people.
        claimed: epsilon of the tables at the plan's delta.
        releases: contents of each data set.
        seed: of the noise.
        leak: a mistake to make.
    """
    found = {}
    with unpriced():
        for pair in pairs:
            one, other = pair.vectors(counter)
            delta = pair.plan.privacy.delta
            if np.array_equal(one, other):
                found[pair.name] = Guess(0.5, Bound(delta=delta, lower=0.0, claimed=claimed))
                continue
            streams = [RandomStream.derived(seed.to_bytes(8, "big"), "classifier", pair.name, side) for side in "ab"]
            contents = tuple(contents_of(pair.plan, vector, releases=releases, stream=stream, leak=leak)
                             for vector, stream in zip((one, other), streams, strict=True))
            found[pair.name] = guess((contents[0], contents[1]), delta=delta, claimed=claimed, alpha=ALPHA / len(pairs))
    return found


# Mistakes


def reason_of_true_records(truth: Measurements) -> AbstractContextManager[Any]:
    """Say "too few records" where there truly are fewer than k, and show all others."""
    counts = Nodes.of(truth).reviewed
    few = 1 + REASONS.index(Withheld.TOO_FEW_RECORDS)

    def leaky(reviewed: npt.NDArray[np.float64], **rules: Any) -> Reasons:
        found = records_reasons(np.full_like(reviewed, np.inf), **rules)
        found[(found == 0) & (counts < truth.layout.plan.release.minimum_count)] = few
        return found

    return patch.object(decide, "records_reasons", leaky)


def true_dominance(truth: Measurements) -> AbstractContextManager[Any]:
    """Judge by the true numbers of people whether one partner makes up a place."""
    def leaky(_: IntArray, *args: Any, **rules: Any) -> npt.NDArray[np.bool_]:
        return dominated(truth.table(Family.DOMINANCE), *args, **rules)

    return patch.object(decide, "dominated", leaky)


LEAKS: dict[str, tuple[Leak, str]] = {
    "a reason that depends on the true count": (reason_of_true_records, "the k-th of a region"),
    "dominance by true numbers": (true_dominance, "at the share of one partner"),
}
"""Mistakes, each with the pair that shows it."""
