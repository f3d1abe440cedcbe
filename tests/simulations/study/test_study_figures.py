"""Figures of scores made by hand, against golden values and naive twins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.study.figures import FEWEST, Judged, figures_of, flagged_share, threshold_at_precision

Scores = list[tuple[int, bool]]


def judged(truth: list[float], *, held_out: list[bool] | None = None, partner: list[str] | None = None,
           unseen: list[bool] | None = None, groups: dict[str, list[bool]] | None = None) -> Judged:
    size = len(truth)
    return Judged(truth=np.array(truth), held_out=np.array(held_out or [True] * size),
                  partner=np.array(partner or ["one"] * size), unseen=np.array(unseen or [False] * size),
                  groups={name: np.array(mask) for name, mask in (groups or {}).items()})


def naive(scores: Scores, precision: float) -> float:
    """Every score as a threshold, from the lowest on."""
    for threshold in sorted({score for score, _ in scores}):
        flagged = [signal for score, signal in scores if score >= threshold]
        if any(signal for _, signal in scores) and sum(flagged) / len(flagged) >= precision:
            return threshold
    return math.inf


@pytest.mark.filterwarnings("error")
def test_a_threshold_by_hand() -> None:
    # From 3 on two of four flags are signals, from 2 on two of five, from 1 on three of six. Ties go together.
    score = np.array([5.0, 4.0, 3.0, 3.0, 2.0, 1.0])
    assert threshold_at_precision(score, np.array([1.0, 0.0, 1.0, 0.0, 0.0, 0.0])) == 3.0
    assert threshold_at_precision(score, np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])) == 1.0
    assert threshold_at_precision(score, np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])) == math.inf
    assert threshold_at_precision(score, np.zeros(6)) == math.inf


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30),
       st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_a_threshold_is_that_of_a_naive_search(scores: Scores, precision: float) -> None:
    found = threshold_at_precision(np.array([float(score) for score, _ in scores]),
                                   np.array([float(signal) for _, signal in scores]), precision)
    assert found == naive(scores, precision)


def test_a_share_of_too_few_is_left_out() -> None:
    score = np.arange(10.0)
    few, enough = score < FEWEST - 1, score < FEWEST
    assert math.isnan(flagged_share(score, few, 2.0))
    assert flagged_share(score, enough, 2.0) == pytest.approx(3 / 5)
    assert flagged_share(score, few, 2.0, fewest=1) == pytest.approx(2 / 4)


def test_figures_by_hand() -> None:
    # Threshold 4: three signals among six flags.
    score = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    truth = [1.0, 0, 0, 1, 0, 1, 0, 0, 0, 0]
    found = figures_of(score, None, judged(truth, groups={"odd": [True, True, True, False, True, False, True, True,
                                                                  False, False]}))
    assert found["prevalence"] == pytest.approx(0.3)
    assert found["recall"] == 1.0
    assert found["auc"] == pytest.approx((7 + 5 + 4) / 21)
    assert found["pr_auc"] == pytest.approx((1 / 1 + 2 / 4 + 3 / 6) / 3)
    assert found["false_alarms:odd"] == pytest.approx(3 / 5)
    assert math.isnan(found["calibration_error"])
    assert math.isnan(found["unseen_recall"])


def test_only_people_held_out_count_and_unseen_templates_of_all() -> None:
    score = np.array([4.0, 3, 2, 1, *[2.5] * 4, 0.5, 0.5])
    truth = [1.0, 0, 1, 0, *[1.0] * 6]
    held_out = [True] * 4 + [False] * 6
    found = figures_of(score, None, judged(truth, held_out=held_out, unseen=[False] * 4 + [True] * 6))
    assert found["auc"] == pytest.approx(3 / 4)
    # The threshold is 1: all four held out, of whom two are signals.
    assert found["recall"] == 1.0
    assert found["unseen_recall"] == pytest.approx(4 / 6)


def test_records_without_a_known_truth_do_not_count() -> None:
    score, truth = np.array([3.0, 2, 1, 0]), [1.0, 0, 1, 0]
    more = figures_of(np.append(score, [9.0, -9.0]), None, judged([*truth, math.nan, math.nan]))
    assert more == pytest.approx(figures_of(score, None, judged(truth)), nan_ok=True)


@pytest.mark.parametrize("truth", [[1.0, 1.0], [0.0, 0.0], [math.nan, 1.0]])
def test_one_class_says_nothing(truth: list[float]) -> None:
    assert figures_of(np.array([1.0, 2.0]), None, judged(truth)) == {}


def test_partners_with_enough_of_either_class_are_compared() -> None:
    # One ranks all right, one all wrong, and one has too few signals.
    right, wrong = [1.0] * 5 + [0.0] * 5, [0.0] * 5 + [1.0] * 5
    score = np.tile(np.arange(10.0)[::-1], 3)
    found = figures_of(score, np.full(30, 0.5), judged([*right, *wrong, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
                                                       partner=["a"] * 10 + ["b"] * 10 + ["c"] * 10))
    assert (found["lowest_auc"], found["highest_auc"]) == (0.0, 1.0)
    assert found["highest_pr_auc"] == 1.0
    assert found["calibration_error"] == pytest.approx(abs(0.5 - 14 / 30))
