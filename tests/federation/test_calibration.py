"""What scores mean: bins, the fit against a twin and against logistic regression, and shares drawn to the declared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from federation.calibration import (
    PSEUDO_PEOPLE,
    SHARES,
    Calibration,
    bin_edges,
    bins_of,
    calibrate,
    middles_of,
    own_prior,
)
from federation.plan_statistics import ScoresSpec

MIDDLES = np.linspace(-2.75, 2.75, 12)


def test_edges_are_of_equal_width_between_the_reaches_of_each_task() -> None:
    model = {"output.weight": np.array([[3.0, 4.0], [0.0, 1.0]], dtype=np.float32)}
    edges = bin_edges(ScoresSpec(bins=4, reach=0.5), model)
    assert edges.tolist() == [[-1.25, 0.0, 1.25], [-0.25, 0.0, 0.25]]
    assert middles_of(edges).tolist() == [[-1.875, -0.625, 0.625, 1.875], [-0.375, -0.125, 0.125, 0.375]]


def test_a_score_on_an_edge_is_above_it_and_the_outer_bins_have_no_end() -> None:
    edges = np.array([[-1.0, 0.0, 1.0]])
    scores = np.array([[-1e9], [-1.0], [-0.5], [0.0], [np.nextafter(1.0, 0)], [1.0], [1e9]])
    assert bins_of(scores, edges).ravel().tolist() == [0, 1, 1, 2, 2, 3, 3]


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.lists(st.floats(-3, 3), min_size=3, max_size=9))
def test_bins_are_those_of_a_twin_that_goes_through_the_edges(scores: list[float], edges: list[float]) -> None:
    edges.sort()
    found = bins_of(np.array(scores)[:, None], np.array([edges]))
    assert found.ravel().tolist() == [sum(score >= edge for edge in edges) for score in scores]


def test_the_fit_is_linear_discriminant_analysis_of_the_middles() -> None:
    rng = np.random.default_rng(3)
    at = np.arange(12)
    counts = np.array([rng.integers(20, 60, 12) * (at < 9), rng.integers(5, 30, 12) * (at > 4)])
    found = calibrate(counts, middles=MIDDLES, noise_variance=0.0)
    assert found is not None
    values = np.repeat(np.tile(MIDDLES, 2), counts.ravel())[:, None]
    labels = np.repeat([0, 1], counts.sum(axis=1))
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(values, labels)
    assert found.slope == pytest.approx(float(reference.coef_[0, 0]), rel=1e-9)
    assert found.intercept + found.prior == pytest.approx(float(reference.intercept_[0]), rel=1e-9)
    assert found.prior == pytest.approx(math.log(labels.sum() / (1 - labels).sum()))


def test_normal_scores_give_back_their_likelihood_ratio_through_noise() -> None:
    # Means -1 and 1 and variance 0.64: slope 2 / 0.64, intercept 0 (Fisher 1936; the bins add 0.5^2 / 12 to it).
    rng, found = np.random.default_rng(5), []
    edges = np.linspace(-3, 3, 13)[1:-1]
    scores = [rng.normal(mean, 0.8, people)[:, None] for mean, people in ((-1.0, 4000), (1.0, 1000))]
    true = np.array([np.bincount(bins_of(one, edges[None])[:, 0], minlength=12) for one in scores])
    for _ in range(200):
        one = calibrate(true + np.rint(rng.normal(0, 20, true.shape)).astype(np.int64), middles=MIDDLES,
                        noise_variance=400.0)
        assert one is not None
        found.append((one.slope, one.threshold(0.0), one.prior))
    slope, threshold, prior = np.median(found, axis=0)
    assert slope == pytest.approx(2 / (0.64 + 0.25 / 12), rel=0.05)
    assert threshold == pytest.approx(0.0, abs=0.05)
    assert prior == pytest.approx(math.log(1 / 4), abs=0.05)


def test_calibrated_odds_and_threshold_agree() -> None:
    one = Calibration(slope=2.5, intercept=-0.7, prior=-1.1)
    at = one.threshold(-1.1)
    assert one.log_odds(np.array([at, at + 1]), -1.1) == pytest.approx([0.0, 2.5])
    assert one.threshold(1.0) < one.threshold(0.0) < one.threshold(-1.0)


@pytest.mark.parametrize("counts", [
    np.zeros((2, 12)), [[50] * 12, [0] * 12], [[0] * 12, [50] * 12], [[-5] * 12, [-5] * 12],
    [[50] * 12, [50] * 12],  # no higher with a signal than without
    [[0] * 6 + [50] * 6, [50] * 6 + [0] * 6], [[60] * 12, [-3, 3] * 6],
])
def test_counts_that_speak_for_nothing_give_no_calibration(counts: list[list[int]]) -> None:
    assert calibrate(np.array(counts, dtype=np.int64), middles=MIDDLES, noise_variance=25.0) is None


def test_few_people_in_much_noise_give_no_calibration_and_many_do() -> None:
    shape = np.array([[4] * 8 + [0] * 4, [0] * 4 + [2] * 8])
    assert calibrate(shape, middles=MIDDLES, noise_variance=100.0) is None
    assert calibrate(shape * 100, middles=MIDDLES, noise_variance=100.0) is not None


def test_noise_in_bins_where_nobody_is_does_not_count() -> None:
    counts = np.array([[0, 0, 0, 300, 400, 300, 50, 0, 0, 0, 0, 0], [0, 0, 0, 0, 50, 200, 300, 200, 60, 0, 0, 0]])
    noisy = counts.copy()
    noisy[:, [0, 11]] += np.array([[-30, 28], [25, -20]])
    clean, found = (calibrate(one, middles=MIDDLES, noise_variance=400.0) for one in (counts, noisy))
    assert clean == found is not None


def test_everybody_in_one_place_is_no_calibration_and_neither_is_a_model_of_zeros() -> None:
    counts = np.zeros((2, 12), dtype=np.int64)
    counts[:, 6] = 500
    assert calibrate(counts, middles=MIDDLES, noise_variance=4.0) is None
    edges = bin_edges(ScoresSpec(bins=12, reach=0.6), {"output.weight": np.zeros((1, 3), dtype=np.float32)})
    assert calibrate(counts, middles=middles_of(edges)[0], noise_variance=4.0) is None


@pytest.mark.parametrize(("counts", "variance", "problem"), [
    (np.zeros((2, 11), dtype=np.int64), 1.0, r"\[2, 11\] for 12 bins"),
    (np.zeros((3, 12), dtype=np.int64), 1.0, "expected"), (np.zeros(12, dtype=np.int64), 1.0, "expected"),
    *((np.zeros((2, 12), dtype=np.int64), variance, "noise_variance is") for variance in (-1.0, math.nan, math.inf)),
])
def test_what_is_no_table_of_scores_is_refused(counts: np.ndarray, variance: float, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        calibrate(counts, middles=MIDDLES, noise_variance=variance)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 0.99))
def test_a_share_lies_between_the_count_and_what_was_declared(positives: float, negatives: float, declared: float,
                                                              ) -> None:
    share = 1 / (1 + math.exp(-own_prior(positives=positives, negatives=negatives, declared=declared)))
    counted = positives / (positives + negatives) if positives + negatives else declared
    low, high = sorted((counted, declared))
    assert max(low, SHARES[0]) - 1e-9 <= share <= min(high, SHARES[1]) + 1e-9


def test_few_people_hardly_move_a_share_and_many_decide_it() -> None:
    assert own_prior(positives=0, negatives=0, declared=0.25) == pytest.approx(math.log(1 / 3))
    assert own_prior(positives=PSEUDO_PEOPLE, negatives=0, declared=0.5) == pytest.approx(math.log(3))
    assert own_prior(positives=8_000, negatives=2_000, declared=0.1) == pytest.approx(math.log(4), abs=0.01)
    assert own_prior(positives=0, negatives=1e9, declared=0.5) == pytest.approx(math.log(SHARES[0] / (1 - SHARES[0])))


@pytest.mark.parametrize(("changes", "problem"), [
    ({"positives": -1.0}, "positives is -1"), ({"positives": math.nan}, "positives is nan"),
    ({"negatives": math.inf}, "negatives is inf"), ({"negatives": -0.5}, "negatives is -0.5"),
    *(({"declared": value}, "declared is") for value in (0.0, 1.0, -0.1, math.nan)),
])
def test_a_share_of_what_is_no_count_is_refused(changes: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        own_prior(**{"positives": 3.0, "negatives": 4.0, "declared": 0.5, **changes})


def test_a_label_of_fewer_people_than_noise_can_make_gives_no_calibration() -> None:
    # 12 bins with a deviation of 10: 3 x 10 x sqrt(12) = 103.9 people might be nobody.
    at = np.arange(12)
    few, enough = (np.array([np.full(12, 1000), people * (at == 9)]) for people in (103, 104))
    assert calibrate(few, middles=MIDDLES, noise_variance=100.0) is None
    assert calibrate(enough, middles=MIDDLES, noise_variance=100.0) is not None


def test_people_of_one_bin_lie_anywhere_in_it() -> None:
    # Labels in neighbouring bins of width 0.5, each all in one: v = 0.5^2 / 12, so the slope is 0.5 / v = 24.
    found = calibrate(np.array([500 * (np.arange(12) == 5), 500 * (np.arange(12) == 6)]), middles=MIDDLES,
                      noise_variance=0.0)
    assert found is not None
    assert found.slope == pytest.approx(24.0)
