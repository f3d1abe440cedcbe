"""Drift by local statistics: how often it is flagged when there is none, and when there is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test as reference

from clients.drift import FALSE_ALARMS, FEWEST, Seen, drift, permutation_test


def _rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def _seen(rng: np.random.Generator, *, people: int = 60, shift: float = 0.0, positive: float = 0.3,
          expected: float = 0.3) -> Seen:
    return Seen(texts=rng.normal(shift, 1.0, (people, 8)), labels=(rng.random(people) < positive).astype(float),
                expected=np.full(people, expected))


def test_agreement_with_a_reference() -> None:
    rng = _rng()
    before, after = rng.normal(0, 1, 30), rng.normal(0.4, 1, 40)
    theirs = reference((before, after), lambda x, y, axis: np.abs(x.mean(axis=axis) - y.mean(axis=axis)),
                       n_resamples=9999, alternative="greater", vectorized=True, rng=_rng(2)).pvalue
    ours = permutation_test(before[:, None], after[:, None], _rng(3), permutations=9999)
    assert ours == pytest.approx(theirs, abs=0.02)


def test_false_alarms_are_as_rare_as_said() -> None:
    """300 pairs without a change; 12 or more flags have a chance below 1e-4 at a rate of 1 %."""
    flags = sum(bool(drift(_seen(rng), _seen(rng), rng).flagged) for rng in map(_rng, range(300)))
    assert flags < 12
    assert FALSE_ALARMS == 0.01


def test_p_values_are_even_when_nothing_changes() -> None:
    values = [permutation_test(rng.normal(size=(20, 3)), rng.normal(size=(25, 3)), rng, permutations=199)
              for rng in map(_rng, range(200))]
    assert 0.4 < np.mean([value for value in values if value is not None]) < 0.6


@pytest.mark.parametrize(("changes", "flagged"), [
    ({"shift": 0.8}, ("texts",)),
    ({"positive": 0.9, "expected": 0.9}, ("labels",)),
    ({"expected": 0.95}, ("fit",)),
])
def test_a_change_is_flagged_by_its_name(changes: dict[str, float], flagged: tuple[str, ...]) -> None:
    rng = _rng(5)
    assert drift(_seen(rng), _seen(rng, **changes), rng).flagged == flagged


def test_too_few_people_say_nothing() -> None:
    rng = _rng()
    few = _seen(rng, people=FEWEST - 1, shift=50.0)
    found = drift(_seen(rng), few, rng)
    assert (found.texts, found.labels, found.fit, found.flagged) == (None, None, None, ())


def test_people_without_labels_are_left_out_of_labels() -> None:
    rng = _rng()
    before = _seen(rng)
    unlabelled = Seen(texts=before.texts, labels=np.full(60, np.nan), expected=np.full(60, np.nan))
    found = drift(before, unlabelled, rng)
    assert found.texts == 1.0
    assert found.labels is found.fit is None


def test_constant_values_are_no_change() -> None:
    same = np.full((30, 2), 0.1)
    assert permutation_test(same, same.copy(), _rng()) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    broken = np.zeros((30, 2))
    broken[3, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        permutation_test(np.zeros((30, 2)), broken, _rng())


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected alike"):
        permutation_test(np.zeros((30, 2)), np.zeros((30, 3)), _rng())
