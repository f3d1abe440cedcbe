"""Intervals against a known truth: they must hold it about as often as they say, and not if part of the error is
forgotten.

A small number of releases of `simulations.releases.study`, so the bars are wider than the study's own: each leaves
room for four standard deviations of its figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.plan_statistics import AppearancesSpec, StatisticsSpec
from federation.taxonomy import AreaLevel, Family, RegionRole, Task
from server.release import derive
from server.release.calibration import Calibration
from server.release.intervals import Interval, corrected_interval
from simulations.releases.plans import PERIOD, invented_regions, priced_plan
from simulations.releases.study import country, figures, run

CONFIDENCE = 0.95
_INDEPENDENT = {AreaLevel.REGION: 10, AreaLevel.SUPER_REGION: 2, AreaLevel.COUNTRY: 1}
"""What the intervals of one release are worth, in independent ones."""
SCALES = {Family.REGIONS: 9.0, Family.SUPER_REGIONS: 20.0, Family.COUNTRIES: 28.0, Family.CONFUSION: 10.0,
          Family.DOMINANCE: 20.0}
"""As `study.study_plan(1.0)` has it, without the time that finding it takes."""


def coverage_plan() -> StudyPlan:
    """Fifty regions in ten super-regions, one role, one task."""
    codes, groups = invented_regions(50, 10)
    return priced_plan(
        StatisticsSpec(
            period_start=PERIOD[0], regions=codes, roles=(RegionRole.ORIGIN,), protected=(), super_regions=groups,
            indicators=None, corridors=(), series=None, aggregation=Aggregation.SECURE, noise_scales=SCALES,
            max_roles_per_person=1, flag_threshold=0.5,
            appearances=AppearancesSpec(releases_a_year=4, releases_per_person=4, release_of_year=2)),
        tasks=(Task.RECRUITMENT,), partners=6, study="coverage")


def shares_held(plan: StudyPlan, *, releases: int, seed: int,
                leak: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Mapping[str, float]:
    """How often intervals held the truth, by kind and level; of all that is measured."""
    with leak():
        found = figures(run(country(plan, seed=seed, people=800), releases=releases, seed=seed))
    return {name.removeprefix("coverage of measured: "): share for name, share in found.items()
            if name.startswith("coverage of measured")}


def misses(found: Mapping[str, float], releases: int) -> dict[str, float]:
    """Those that are further from 95 % than chance explains."""
    return {name: share for name, share in found.items() if abs(share - CONFIDENCE) > _room(name, releases)}


def _room(name: str, releases: int) -> float:
    # Places of one release share its calibration, so they do not count in full; small counts lie on a lattice, for
    # which a point is left.
    independent = releases * next(times for level, times in _INDEPENDENT.items() if name.endswith(f" {level}"))
    return 0.01 + 4 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / independent)


# Mistakes


def noise_forgotten() -> AbstractContextManager[Any]:
    """Intervals of rates as if nothing had been added to the counts."""
    def sampling_alone(flagged: Any, reviewed: Any, *, flagged_variance: Any, reviewed_variance: Any,
                       calibration: Calibration) -> Interval:
        return corrected_interval(flagged, reviewed, flagged_variance=0.0 * flagged_variance,
                                  reviewed_variance=0.0 * reviewed_variance, calibration=calibration)

    return patch.object(derive, "corrected_interval", sampling_alone)


def calibration_forgotten() -> AbstractContextManager[Any]:
    """Intervals of rates as if the model's errors were known exactly."""
    def sure(*counts: Any, calibration: Calibration, **variances: Any) -> Interval:
        tp, fn, fp, tn = (1e6 * each for each in (calibration.tp, calibration.fn, calibration.fp, calibration.tn))
        return corrected_interval(*counts, **variances, calibration=Calibration.of(tp, fn, fp, tn, noise_variance=0.0))

    return patch.object(derive, "corrected_interval", sure)


LEAKS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "noise forgotten in intervals": noise_forgotten, "errors of calibration forgotten": calibration_forgotten}
