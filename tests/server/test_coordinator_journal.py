"""What the coordinator writes down about plans and studies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from federation.canonical import sha256_hex
from federation.errors import InputError
from federation.journal import (
    Opened,
    PlanSigned,
    ReleaseDrafted,
    Side,
    StudyRun,
    head_path,
    read_head,
    read_journal,
    verify_journal,
)
from federation.model import initial_model, model_arrays
from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.statistics import Measurements, TableLayout
from server.app import app
from server.coordinator import CoordinatorHome, plan_signed
from server.rounds import StudyOutcome
from tests.worlds import COORDINATOR, make_plan, sign

PLAN = make_plan()


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    return CoordinatorHome.create(tmp_path / "coordinator", key=COORDINATOR)


def outcome(plan: StudyPlan) -> StudyOutcome:
    layout, partners = TableLayout(plan), ("partner-2", "partner-0")
    values = np.arange(layout.length, dtype=np.int64) - 7
    return StudyOutcome(model=model_arrays(initial_model(plan)), stages=(), measurements=Measurements(
        layout=layout, values=values, variances=table_variances(plan, len(partners)), partners=partners))


def acts(home: CoordinatorHome) -> list[object]:
    path = home.path / "journal.jsonl"
    report = verify_journal(read_journal(path), public_key=COORDINATOR.public, head=read_head(head_path(path)))
    assert report.problem is None
    opened = report.entries[0].facts
    assert opened == Opened(owner="coordinator", side=Side.COORDINATOR, public_key=COORDINATOR.public)
    return [entry.facts for entry in report.entries[1:]]


def test_a_plan_is_signed_once_however_often_it_is_kept(home: CoordinatorHome) -> None:
    for _ in range(2):
        home.keep_plan(sign(PLAN))
    other = make_plan(learning_rate=2.0)
    home.keep_plan(sign(other))
    assert acts(home) == [PlanSigned(
        plan_sha256=plan.sha256, study="test", period_start=plan.statistics.period_start, period_end=plan.period_end)
        for plan in (PLAN, other)]
    assert home.signed_plan() == sign(other)


def test_a_study_is_written_down_with_what_it_left(home: CoordinatorHome) -> None:
    home.keep(sign(PLAN), outcome(PLAN))
    study = home.study(PLAN.sha256)
    salted = study.salt_path.read_bytes() + study.measurements_path.read_bytes()
    assert acts(home) == [
        plan_signed(sign(PLAN)),
        StudyRun(plan_sha256=PLAN.sha256, partners=("partner-0", "partner-2"),
                 measurements_sha256=sha256_hex(salted), model_sha256=sha256_hex(study.model_path.read_bytes()))]
    home.note_run(sign(PLAN))
    assert len(acts(home)) == 2


def test_the_coordinators_journal_takes_what_is_done_with_a_release(home: CoordinatorHome) -> None:
    drafted = ReleaseDrafted(plan_sha256=PLAN.sha256, content_sha256="a" * 64, previous_release_sha256=None)
    home.journal(PLAN).append(drafted)
    assert acts(home) == [drafted]


def test_without_a_journal_nobody_is_asked_and_no_outcome_is_lost(home: CoordinatorHome) -> None:
    class Grid:
        def __getattr__(self, name: str) -> object:
            return pytest.fail("a partner was asked")

    path = home.path / "journal.jsonl"
    path.mkdir()
    config = {"plan": sign(PLAN).to_json()}
    context = Context(run_id=1, node_id=0, node_config={"coordinator-home": str(home.path)}, state=RecordDict(),
                      run_config=config)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"journal\.jsonl"):
        app(Grid(), context)  # type: ignore[arg-type]
    # It can also break while the study runs.
    path.rmdir()
    home.keep_plan(sign(PLAN))
    path.write_bytes(b"")
    result = outcome(PLAN)
    with pytest.raises(InputError, match=r"journal\.jsonl"):
        home.keep(sign(PLAN), result)
    np.testing.assert_array_equal(home.model()["output.weight"], result.model["output.weight"])
    np.testing.assert_array_equal(home.measurements().values, result.measurements.values)


def test_a_study_that_has_run_asks_nobody_again(home: CoordinatorHome) -> None:
    class Grid:
        def __getattr__(self, name: str) -> object:
            return pytest.fail("a partner was asked")

    home.keep(sign(PLAN), outcome(PLAN))
    context = Context(run_id=1, node_id=0, node_config={"coordinator-home": str(home.path)}, state=RecordDict(),
                      run_config={"plan": sign(PLAN).to_json()})
    with pytest.raises(InputError, match="its study has run"):
        app(Grid(), context)  # type: ignore[arg-type]


def test_times_in_a_rehearsal_can_be_repeated_and_others_are_real(home: CoordinatorHome, tmp_path: Path) -> None:
    home.keep_plan(sign(PLAN))
    assert {entry.at for entry in home.entries()} == {datetime(2026, 7, 30, tzinfo=UTC)}
    real = CoordinatorHome.create(tmp_path / "real", key=COORDINATOR)
    before = datetime.now(UTC).replace(microsecond=0)
    real.keep_plan(sign(PLAN.model_copy(update={"rehearsal": False})))
    assert all(before <= entry.at <= datetime.now(UTC) for entry in real.entries())


def test_a_damaged_journal_stops_whoever_reads_it(home: CoordinatorHome) -> None:
    home.keep_plan(sign(PLAN))
    path = home.path / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"coordinator", b"coordinat0r", 1))
    with pytest.raises(InputError, match=r"journal\.jsonl: line 1 "):
        home.entries()
