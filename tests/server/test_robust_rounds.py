"""Liars in the real round loop: named to the coordinator, noted, and held."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Message, RecordDict

from federation.messages import TRAIN, Arrays
from federation.plan import StudyPlan
from federation.plan_parts import RobustRule, RobustSpec
from federation.update_norm import honest_norm, rounded_up
from server.app import LogObserver
from server.coordinator import CoordinatorHome
from server.rounds import RoundLoop, StageReport, StudyOutcome
from tests.server.test_rounds import homes, lying, signed_lie
from tests.worlds import COORDINATOR, make_plan, sign

BASE = make_plan(5, quorum=3)
BOUND = rounded_up(honest_norm(BASE.training, slots=32, model_size=BASE.model_size))
RULES = {
    None: None,
    "mean": RobustSpec(rule=RobustRule.MEAN, norm_bound=BOUND, trimmed_each_side=None, radius=None, iterations=None),
    "trimmed_mean": RobustSpec(rule=RobustRule.TRIMMED_MEAN, norm_bound=BOUND, trimmed_each_side=1, radius=None,
                               iterations=None),
    "centred_clipping": RobustSpec(rule=RobustRule.CENTRED_CLIPPING, norm_bound=BOUND, trimmed_each_side=None,
                                   radius=BOUND / 4, iterations=3)}


class Watch:
    def __init__(self) -> None:
        self.scaled: list[StageReport] = []

    def stage_done(self, report: StageReport) -> None:
        if report.scaled:
            self.scaled.append(report)


def lies(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Message, Message], RecordDict]:
    def lie(asked: Message, made: Message) -> RecordDict:
        record = made.content.array_records["arrays"]
        arrays = {name: change(array.numpy()).astype(np.float32) for name, array in record.items()}
        return signed_lie(arrays=arrays)(asked, made)

    return lie


def run(root: Path, rule: str | None, change: Callable[[np.ndarray], np.ndarray] | None,
        watch: Watch) -> tuple[StudyPlan, StudyOutcome]:
    plan = make_plan(5, quorum=3, robust=RULES[rule])
    nodes = homes(root, 5)
    grid = lying(plan, nodes, lies(change or (lambda value: value)), TRAIN)
    return plan, RoundLoop(grid, plan, watch).run()


def length(model: Arrays) -> float:
    return float(np.sqrt(sum(np.square(value.astype(np.float64)).sum() for value in model.values())))


@pytest.mark.parametrize("rule", ["mean", "trimmed_mean", "centred_clipping"])
def test_a_liar_is_named_in_each_round_and_the_study_goes_on(tmp_path: Path, rule: str) -> None:
    watch = Watch()
    plan, outcome = run(tmp_path, rule, lambda value: np.full_like(value, 1000.0), watch)
    assert [(report.stage, report.scaled) for report in watch.scaled] == [
        ("round 1", ("partner-0",)), ("round 2", ("partner-0",))]
    assert [stage.scaled for stage in outcome.stages] == [(), ("partner-0",), ("partner-0",), ()]
    assert [stage.answered for stage in outcome.stages[1:3]] == [tuple(e.name for e in plan.roster)] * 2
    # In two rounds no model gets further than two bounds from where it starts, which is zero.
    assert 0 < length(outcome.model) <= 2 * BOUND
    home = CoordinatorHome.create(tmp_path / "coordinator", key=COORDINATOR)
    home.keep(sign(plan), outcome)
    kept = json.loads((home.study(plan.sha256).path / "stages.json").read_text())
    assert [stage["scaled"] for stage in kept] == [[], ["partner-0"], ["partner-0"], []]


def test_without_a_bound_the_same_lie_is_the_model(tmp_path: Path) -> None:
    watch = Watch()
    _, outcome = run(tmp_path, None, lambda value: np.full_like(value, 1000.0), watch)
    assert watch.scaled == []
    # A fifth of the weight, of every weight 1,000, in the last round.
    assert length(outcome.model) > 0.9 * 200 * np.sqrt(BASE.model_size)


@pytest.mark.parametrize("rule", ["mean", "trimmed_mean", "centred_clipping"])
def test_honest_partners_are_never_scaled(tmp_path: Path, rule: str) -> None:
    watch = Watch()
    _, outcome = run(tmp_path, rule, None, watch)
    assert watch.scaled == []
    assert all(stage.scaled == () for stage in outcome.stages)


def test_the_coordinators_log_names_who_was_scaled(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="leelight.coordinator"):
        LogObserver().stage_done(StageReport(stage="round 3", answered=("a", "b"), late=(), refused=(), seconds=1.0,
                                             scaled=("a", "b")))
    assert caplog.messages == ["round 3: longer than the plan's norm bound, and scaled down to it: the updates of a, b"]
