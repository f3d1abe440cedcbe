"""Which way what is shown is off: the table of `docs/releases.md`, made again."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from server.release.calibration import Calibration
from server.release.gate import count_threshold, first_failed, rate_reasons
from server.release.inputs import FloatArray
from server.release.intervals import corrected_interval, signal_count
from tests.server.release.worlds import make_plan

NOISE, LABEL_NOISE, FOUND, ALARMS, WITH, WITHOUT = 40.0, 10.0, 0.8, 0.03, 800, 1600


def noisy(rng: np.random.Generator, counts: ArrayLike, sd: float) -> FloatArray:
    true = np.asarray(counts, dtype=np.float64)
    return true + np.rint(rng.normal(0.0, sd, true.shape))


def draw(people: int, places: int) -> tuple[FloatArray, FloatArray]:
    """True rates of places, and the decisions' `(3, places)`: rate, lower and upper end, NaN where withheld."""
    rng, rule = np.random.default_rng(people), make_plan().release
    truth = rng.beta(5.0, 90.0, places)
    signals = rng.binomial(people, truth)
    flagged = noisy(rng, rng.binomial(signals, FOUND) + rng.binomial(people - signals, ALARMS), NOISE)
    reviewed = noisy(rng, np.full(places, float(people)), NOISE)
    tp, fp = rng.binomial(WITH, FOUND, places), rng.binomial(WITHOUT, ALARMS, places)
    known = Calibration.of(*(noisy(rng, count, LABEL_NOISE) for count in (tp, WITH - tp, fp, WITHOUT - fp)),
                           noise_variance=LABEL_NOISE**2)
    variances = {"flagged_variance": NOISE**2, "reviewed_variance": NOISE**2}
    value, lower, upper = corrected_interval(flagged, reviewed, calibration=known, **variances)
    found, sd = signal_count(flagged, reviewed, calibration=known, minimum_count=rule.minimum_count, **variances)
    least = count_threshold(minimum_count=rule.minimum_count, noise_variance=NOISE**2,
                            false_publication=rule.false_publication)
    assert (reviewed >= least).all(), "records alone withhold nothing here"
    reasons = rate_reasons(first_failed({}, (places,)), usable=known.usable(rule.least_youden), signals=found, sd=sd,
                           value=value, lower=lower, upper=upper, rule=rule)
    return truth, np.where(reasons == 0, np.stack([value, lower, upper]), np.nan)


@pytest.mark.parametrize(("people", "shown", "too_high", "points", "held"), [
    (1000, 0.08, 1.00, 9.0, 0.70), (2500, 0.41, 0.80, 1.6, 0.94), (10_000, 0.83, 0.57, 0.2, 0.95)])
def test_what_is_shown_leans_high_and_the_more_so_the_less_is_shown(people: int, shown: float, too_high: float,
                                                                     points: float, held: float) -> None:
    truth, (value, lower, upper) = draw(people, 6000)
    seen = ~np.isnan(value)
    truth, value, lower, upper = truth[seen], value[seen], lower[seen], upper[seen]
    assert seen.mean() == pytest.approx(shown, abs=0.02)
    assert (value > truth).mean() == pytest.approx(too_high, abs=0.03)
    assert 100 * (value - truth).mean() == pytest.approx(points, rel=0.1, abs=0.1)
    assert ((lower <= truth) & (truth <= upper)).mean() == pytest.approx(held, abs=0.04)
    assert (value > truth).mean() > 0.5
