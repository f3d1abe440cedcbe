"""Error rates of the classifier: by hand, by limits, by property; what is not usable; what usable ones cover."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from server.release.calibration import Calibration

Z = 1.959963984540054


def of(tp: float, fn: float, fp: float, tn: float, sd: float = 5.0) -> Calibration:
    return Calibration.of(tp, fn, fp, tn, noise_variance=sd**2)


def test_worked_example_of_the_module() -> None:
    calibration = of(82, 18, 18, 382)
    assert calibration.sensitivity == pytest.approx(0.82)
    assert calibration.false_alarm_rate == pytest.approx(0.045)
    assert calibration.youden == pytest.approx(0.775)
    assert calibration.sensitivity_interval() == (pytest.approx(0.703, abs=5e-4), pytest.approx(0.925, abs=5e-4))
    assert calibration.false_alarm_interval() == (pytest.approx(0.018, abs=5e-4), pytest.approx(0.080, abs=5e-4))
    assert calibration.usable()


def test_variances_by_hand() -> None:
    # TP - s (TP + FN) is (1 - s) TP - s FN: noise of variance v ((1 - s)² + s²), and sampling.
    calibration = of(80, 20, 100, 1900)
    assert calibration.sensitivity_variance == pytest.approx((25 * (0.2**2 + 0.8**2) + 100 * 0.8 * 0.2) / 100**2)
    assert calibration.false_alarm_rate_variance == pytest.approx(
        (25 * (0.05**2 + 0.95**2) + 2000 * 0.05 * 0.95) / 2000**2)


def test_variance_is_what_it_varies_by() -> None:
    generator = np.random.default_rng(5)
    tp = generator.binomial(2000, 0.8, 50_000)
    many = Calibration.of(tp + generator.normal(0, 15, 50_000), 2000 - tp + generator.normal(0, 15, 50_000), 20, 380,
                          noise_variance=225)
    assert np.var(many.sensitivity) == pytest.approx(np.mean(many.sensitivity_variance), rel=0.03)


def test_without_noise_the_intervals_are_wilson() -> None:
    calibration = of(82, 18, 0, 400, sd=0.0)
    for (lower, upper), (flagged, people) in ((calibration.sensitivity_interval(), (82, 100)),
                                              (calibration.false_alarm_interval(), (0, 400))):
        wilson = binomtest(flagged, people).proportion_ci(method="wilson")
        assert (lower, upper) == (pytest.approx(wilson.low, abs=1e-9), pytest.approx(wilson.high, abs=1e-9))


@pytest.mark.parametrize("counts", [(82, 18, 18, 382), (70, 26, -4, 90), (104, -3, 30, 71)])
def test_intervals_hold_what_the_counts_do_not_contradict(counts: tuple[float, float, float, float]) -> None:
    calibration, share = of(*counts), np.linspace(-1, 2, 600_001)
    tp, fn, fp, tn = counts
    for (lower, upper), flagged, others in ((calibration.sensitivity_interval(0.9), tp, fn),
                                            (calibration.false_alarm_interval(0.9), fp, tn)):
        spread = 25 * ((1 - share) ** 2 + share**2) + (flagged + others) * np.maximum(share * (1 - share), 0)
        inside = share[((1 - share) * flagged - share * others) ** 2 <= 1.6448536269514722**2 * spread]
        assert (lower, upper) == (pytest.approx(inside[0], abs=1e-5), pytest.approx(inside[-1], abs=1e-5))


@pytest.mark.parametrize(("s", "people", "sd"), [(0.8, 100, 5), (0.95, 100, 15), (0.05, 400, 15), (0.02, 2000, 5)])
def test_coverage(s: float, people: int, sd: int) -> None:
    generator = np.random.default_rng([int(100 * s), people])
    tp = generator.binomial(people, s, 20_000)
    counts = [np.rint(count + generator.normal(0, sd, 20_000)) for count in (tp, people - tp)]
    lower, upper = Calibration.of(*counts, 20, 380, noise_variance=sd**2 + 1 / 12).sensitivity_interval()
    bounded = ~np.isnan(lower)
    assert bounded.mean() > 0.95
    assert 0.94 <= np.mean((lower <= s)[bounded] & (upper >= s)[bounded]) <= 0.96


class TestUsable:
    @pytest.mark.parametrize(("why", "counts"), [
        ("no signal is found among those with one", (0, 100, 5, 395)),
        ("no better than chance", (30, 70, 120, 280)),
        ("worse than chance", (10, 90, 360, 40)),
        ("too many false alarms", (95, 5, 300, 100)),
        ("too few people with a signal", (9, 2, 20, 380)),
        ("too few people without", (82, 18, 1, 11)),
        ("a negative number of people with a signal", (-8, -4, 20, 380)),
        ("a negative number of people without", (82, 18, -30, 10)),
        ("perhaps nobody with a signal, though many are flagged", (20, -8, 20, 380)),
        ("perhaps nobody without, though few are flagged", (82, 18, -8, 20)),
        ("nobody with a signal", (0, 0, 20, 380)),
        ("nobody at all", (0, 0, 0, 0)),
        ("may have looked good by luck", (12, 12, 20, 380)),
    ])
    def test_not(self, why: str, counts: tuple[float, float, float, float]) -> None:
        assert not of(*counts).usable(), why

    @pytest.mark.parametrize("counts", [(82, 18, 18, 382), (82, 18, -3, 390), (104, -3, 20, 380), (70, 30, 60, 340)])
    def test_usable(self, counts: tuple[float, float, float, float]) -> None:
        assert of(*counts).usable()

    def test_the_least_youden_is_the_least(self) -> None:
        known = of(0.4e9, 0.6e9, 0.1e9, 0.9e9, sd=0.0)
        assert known.youden == pytest.approx(0.3)
        assert known.usable(0.2999999)
        assert not known.usable(0.3000001)

    def test_the_lower_end_is_above_half_of_it(self) -> None:
        # s - f = 0.6 - 0.1; the lower end of its interval, by hand from the two variances, for ever fewer people.
        for people in (20, 40, 60, 80, 120, 200):
            calibration = of(0.6 * people, 0.4 * people, 0.1 * people, 0.9 * people)
            lower = 0.5 - Z * math.sqrt(calibration.sensitivity_variance + calibration.false_alarm_rate_variance)
            if abs(lower - 0.15) > 0.05:
                assert calibration.usable() == (lower > 0.15)

    def test_arrays_give_what_their_parts_give(self) -> None:
        rows = [(82, 18, 18, 382), (0, 0, 20, 380), (9, 2, 20, 380)]
        many = Calibration.of(*np.array(rows).T, noise_variance=25)
        assert many.usable().tolist() == [bool(of(*row).usable()) for row in rows] == [True, False, False]
        assert np.isnan(many.sensitivity).tolist() == [False, True, False]

    @given(tp=st.integers(-50, 300), fn=st.integers(-50, 300), fp=st.integers(-50, 300), tn=st.integers(-50, 300),
           sd=st.floats(0, 40))
    def test_whatever_the_noise_did_there_is_an_answer(self, tp: int, fn: int, fp: int, tn: int, sd: float) -> None:
        calibration = of(tp, fn, fp, tn, sd)
        assert np.isnan(calibration.sensitivity) == (tp + fn <= 0) == np.isnan(calibration.sensitivity_variance)
        assert np.isnan(calibration.false_alarm_rate) == (fp + tn <= 0)
        if calibration.usable():
            assert calibration.youden >= 0.3
            assert not np.isnan([*calibration.sensitivity_interval(), *calibration.false_alarm_interval()]).any()


def test_youden_above_is_the_lower_end_of_an_interval() -> None:
    calibration = of(60, 40, 10, 90)
    passed = [bool(calibration.youden_above(value)) for value in np.linspace(-0.5, 1.0, 301)]
    assert passed == sorted(passed, reverse=True)
    lower = np.linspace(-0.5, 1.0, 301)[sum(passed) - 1]
    # Newcombe's method 10 on the same shares, and the plain normal interval, are no more than 0.02 away.
    spread = Z * math.sqrt(calibration.sensitivity_variance + calibration.false_alarm_rate_variance)
    assert lower == pytest.approx(0.5 - spread, abs=0.02)
    assert calibration.youden_above(lower + 0.02, confidence=0.8)
    assert not calibration.youden_above(lower + 0.02)


@pytest.mark.parametrize("bad", [{"tp": math.inf}, {"fn": math.inf}, {"fp": -math.inf}, {"tn": [5.0, math.inf]},
                                 {"noise_variance": -1.0}, {"noise_variance": math.inf}])
def test_bad_counts_are_refused(bad: dict[str, Any]) -> None:
    good: dict[str, Any] = {"tp": 82, "fn": 18, "fp": 18, "tn": 382, "noise_variance": 25}
    with pytest.raises(ValueError, match="must"):
        Calibration.of(**good | bad)


def test_too_few_labelled_people_leave_nothing_usable() -> None:
    withheld = Calibration.of(*[math.nan] * 4, noise_variance=25.0)
    assert not withheld.usable()
    assert np.isnan([*withheld.sensitivity_interval(), *withheld.false_alarm_interval()]).all()


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_bad_confidence_is_refused(confidence: float) -> None:
    calibration = of(82, 18, 18, 382)
    for ask in (calibration.sensitivity_interval, calibration.false_alarm_interval):
        with pytest.raises(ValueError, match="confidence"):
            ask(confidence)
    with pytest.raises(ValueError, match="confidence"):
        calibration.youden_above(0.0, confidence=confidence)
