"""The gates that a release must pass, small: on the code as it is, and on mutants that each must find.

`python -m simulations.releases.attacks` runs them at length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from federation.records import IndicatorMark, Label, RegionMention
from federation.statistics import IntArray, TableLayout
from federation.taxonomy import Family, LabelValue, Provenance, RegionRole, Task
from simulations.releases.attacks.bounds import best_event, epsilon_lower, lower_share, upper_share
from simulations.releases.attacks.classifier import features
from simulations.releases.attacks.equations import Contents, Equations
from simulations.releases.attacks.gates import AS_IT_IS, GATES, SMALL, Lab, lab
from simulations.releases.attacks.ranges import Ranges


@pytest.fixture(scope="module")
def place() -> Iterator[Lab]:
    with lab(seed=1) as found:
        yield found


@pytest.mark.parametrize("gate", GATES)
def test_gate(place: Lab, gate: str) -> None:
    lines = [line for part in GATES[gate] for line in part(place, SMALL)]
    assert [line for line in lines if not line.passed] == []
    builds = {line.build for line in lines}
    assert AS_IT_IS in builds
    assert len(builds) >= 3


def test_there_are_pairs_enough_and_those_that_count_nowhere_change_nothing(place: Lab) -> None:
    assert len({pair.name for pair in place.pairs}) >= 20
    assert set(SMALL.pairs) <= {pair.name for pair in place.pairs}
    moved = {}
    for pair in place.pairs:
        one, other = pair.vectors(place.counter)
        moved[pair.name] = int((one != other).sum())
    still = {name for name, entries in moved.items() if entries == 0}
    assert still == {
        "in a protected region", "in a place that is not counted", "in a role that is not counted",
        "outside the period", "a record id that is taken", "objected to", "kept no longer",
        "somebody who counts in half of the releases: release 2"}
    # C (1 + T) at each of three levels, T, C T (1 + tags), 1 + T, C, and 1 + T of the series.
    assert max(moved.values()) <= 3 * 2 * 2 + 1 + 2 * 3 + 2 + 2 + 2


@pytest.mark.parametrize("value", [-1, 2, math.nan, 0.5])
def test_an_indicator_is_seen_or_not(value: Any) -> None:
    with pytest.raises(ValidationError):
        IndicatorMark(value=value, source=Provenance.HUMAN_EXPERT)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_a_confidence_is_a_share(value: float) -> None:
    with pytest.raises(ValidationError):
        Label(task=Task.RECRUITMENT, value=LabelValue.POSITIVE, provenance=Provenance.WEAK, confidence=value)
    with pytest.raises(ValidationError):
        RegionMention(code="XA-001", role=RegionRole.ORIGIN, confidence=value)


def equations(place: Lab, publish: Any) -> Equations:
    """Equations of a release without people or noise."""
    zeros = TableLayout(place.plan).empty()
    return Equations(Contents(place.plan), zeros, zeros, publish)


def test_equations_find_what_is_determined(place: Lab) -> None:
    def publish(_: Contents, truth: IntArray, noise: IntArray) -> dict[str, Any]:
        seen = truth + noise
        return {"shown": int(seen[0]), "sum": int(seen[0] + seen[5]), "other": int(seen[7] + seen[8])}

    found = equations(place, publish)
    assert found.matrix.shape == (3, 2 * found.layout.length)
    assert [found.about(np.array(entries)) for entries in ([5], [7], [7, 8], [9])] == [1, 1, 1, 0]
    measured = np.hstack([np.eye(found.layout.length)] * 2)
    assert found.determined(measured[[0, 5, 7, 8, 9]]).tolist() == [True, True, False, False, False]
    truths = np.hstack([np.eye(found.layout.length), np.zeros((found.layout.length,) * 2)])
    assert not found.determined(truths).any()


def test_ranges_find_what_is_bounded_and_not_determined(place: Lab) -> None:
    """An exact margin of nobody: its parts are nobody, too, though no equation says so."""
    def publish(contents: Contents, truth: IntArray, _: IntArray) -> dict[str, Any]:
        layout = TableLayout(contents.plan)
        return {"nodes": [], "totals": layout.table(truth, Family.COUNTRIES)[..., 0].ravel().tolist()}

    found = equations(place, publish)
    regions = found.layout.table(np.arange(found.layout.length), Family.REGIONS)
    person, flagged = np.eye(2 * found.layout.length)[regions[1, 0]]
    assert not found.determined(np.stack([person, flagged])).any()
    assert Ranges(found).width(person) < 0.1
    assert Ranges(found).width(flagged) < 0.1
    noise = np.eye(2 * found.layout.length)[found.layout.length + regions[1, 0, 0]]
    assert Ranges(found).width(noise) > 100


def test_golden_values_of_the_bounds() -> None:
    # Clopper and Pearson 1934; computed with the functions of jax-privacy 2.0.0.
    assert epsilon_lower(60, 100, 5, 100, delta=1e-5) == pytest.approx(1.483065, abs=1e-6)
    assert (lower_share(0, 10, 0.025), upper_share(10, 10, 0.025)) == (0.0, 1.0)
    assert upper_share(0, 100, 0.025) == pytest.approx(1 - 0.025**0.01)
    assert epsilon_lower(0, 100, 5, 100, delta=0.0) == 0.0


def test_normal_variables_are_told_apart_as_well_as_they_can_be() -> None:
    # The Gaussian mechanism with noise multiplier 1 has these epsilons (Balle and Wang 2018, theorem 8).
    claimed, rng = {1e-5: 4.3772, 1e-2: 2.3178}, np.random.default_rng(5)
    bound = best_event(rng.normal(1.0, 1.0, 200_000), rng.normal(0.0, 1.0, 200_000), claimed)
    assert not bound.broken
    assert (bound.delta, round(bound.lower, 1)) == (1e-2, 2.0)
    assert best_event(rng.normal(1.3, 1.0, 200_000), rng.normal(0.0, 1.0, 200_000), claimed).broken


def test_features_are_all_numbers_and_words() -> None:
    found = dict(features({"a": [1, {"b": None, "c": "word"}], "d": 2.5, "e": True}))
    assert found == {"/a/0": 1.0, "/a/1/b=None": 1.0, "/a/1/c=word": 1.0, "/d": 2.5, "/e=True": 1.0}
