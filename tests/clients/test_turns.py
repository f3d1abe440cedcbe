"""A release of the year has one period: what a partner is not let approve."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from flwr.supercore.task_identity import TaskIdentity
from typer.testing import CliRunner

from clients.approvals import Decision, decide, find_approval
from clients.console import app
from clients.node import NodeHome
from clients.turns import check_turn
from federation.errors import InputError
from federation.plan import StudyPlan
from tests.clients.erasing import a_plan, answer, home_of
from tests.worlds import approve, sign


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    return home_of(tmp_path)


def numbered(plan: StudyPlan, number: int) -> StudyPlan:
    often = plan.statistics.appearances.model_copy(update={"release_of_year": number})
    return plan.model_copy(update={"statistics": plan.statistics.model_copy(update={"appearances": often})})


def test_two_periods_are_not_the_same_release_of_a_year(home: NodeHome) -> None:
    plan = numbered(a_plan(), 1)
    moved = plan.model_copy(update={"period_end": plan.period_end - timedelta(days=1)})
    decide(home, sign(plan), Decision.DECLINED)
    check_turn(home, moved)
    approve(home, plan)
    for free in (plan, plan.model_copy(update={"purpose": "The same again."}), numbered(moved, 2),
                 moved.model_copy(update={"study": "other"}),
                 moved.model_copy(update={"period_end": plan.period_end.replace(year=plan.period_end.year + 1)})):
        check_turn(home, free)
    with pytest.raises(InputError, match="release 1 of 4"):
        check_turn(home, moved)
    # Its number is free again if it was taken back before anything was answered, and only then.
    decide(home, sign(plan), Decision.DECLINED)
    check_turn(home, moved)
    answer(home, plan)
    decide(home, sign(plan), Decision.DECLINED)
    with pytest.raises(InputError, match="release 1 of 4"):
        check_turn(home, moved)


def test_approve_says_so_and_writes_nothing(home: NodeHome, tmp_path: Path) -> None:
    plan, path = a_plan(), tmp_path / "plan.json"
    approve(home, plan)
    moved = plan.model_copy(update={"period_end": plan.period_end - timedelta(days=1)})
    path.write_text(sign(moved).to_json())
    result = CliRunner().invoke(app, ["approve", str(path), "--home", str(home.path), "--yes"])
    assert (result.exit_code, "release_of_year" in result.output) == (2, True), result.output
    assert find_approval(home, moved.sha256) is None
