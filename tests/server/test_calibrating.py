"""The model's calibration from a study's measurements, and where it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from federation.calibration import bin_edges, bins_of
from federation.messages import Arrays
from federation.plan import StudyPlan
from federation.plan_statistics import ScoresSpec
from federation.privacy.guarantee import table_variances
from federation.statistics import Measurements, TableLayout
from federation.taxonomy import Family, Task
from server.calibrating import calibrations_of
from server.coordinator import CoordinatorHome
from server.release.decide import thresholds_of
from server.rounds import StudyOutcome
from tests.worlds import COORDINATOR, make_plan, sign

PLAN = make_plan(statistics={"scores": ScoresSpec(bins=12, reach=0.6)})
MODEL: Arrays = {"output.weight": np.full((2, 65), 0.5, dtype=np.float32)}
NORM = 0.5 * 65**0.5


def measured(plan: StudyPlan) -> Measurements:
    """4,000 people without and 1,000 with a signal for recruitment, and nobody for distress."""
    layout, rng = TableLayout(plan), np.random.default_rng(4)
    values = layout.empty()
    if plan.statistics.scores is not None:
        edges = bin_edges(plan.statistics.scores, MODEL)[:1]
        for label, (mean, people) in enumerate(((-0.6, 4000), (0.9, 1000))):
            scores = rng.normal(mean, 0.5, people)[:, None]
            layout.table(values, Family.SCORES)[0, label] = np.bincount(bins_of(scores, edges)[:, 0], minlength=12)
    return Measurements(layout=layout, values=values, variances=table_variances(plan, 3),
                        partners=tuple(entry.name for entry in plan.roster))


def test_a_task_is_calibrated_by_its_own_rows_and_one_without_people_not_at_all() -> None:
    found = calibrations_of(measured(PLAN), MODEL)
    assert set(found) == {Task.RECRUITMENT}
    one = found[Task.RECRUITMENT]
    width = 1.2 * NORM / 12
    assert one.slope == pytest.approx(1.5 / (0.25 + width**2 / 12), rel=0.1)
    assert one.threshold(0.0) == pytest.approx(0.15, abs=0.05)
    assert one.prior == pytest.approx(np.log(0.25), abs=0.01)


def test_a_plan_without_scores_has_no_calibration() -> None:
    plan = make_plan()
    assert calibrations_of(measured(plan), MODEL) == {}


def test_no_number_of_the_scores_is_ever_shown() -> None:
    variances = table_variances(PLAN, 3)
    assert Family.SCORES in variances
    assert Family.SCORES not in thresholds_of(PLAN, variances)


@pytest.mark.parametrize("plan", [PLAN, make_plan()])
def test_a_study_keeps_its_calibration_beside_the_model(tmp_path: Path, plan: StudyPlan) -> None:
    home = CoordinatorHome.create(tmp_path, key=COORDINATOR)
    outcome = StudyOutcome(model=MODEL, measurements=measured(plan), stages=())
    home.keep(sign(plan), outcome)
    kept = home.study(plan.sha256).path / "calibration.json"
    assert kept.exists() == (plan.statistics.scores is not None)
    assert home.calibrations() == calibrations_of(outcome.measurements, MODEL)
    if kept.exists():
        (said,) = json.loads(kept.read_text()).values()
        one = home.calibrations()[Task.RECRUITMENT]
        assert said == {"slope": one.slope, "intercept": one.intercept, "prior": one.prior,
                        "threshold": one.threshold(one.prior)}
