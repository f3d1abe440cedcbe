"""Leaving a federation, and how a home stands before and after."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flwr.supercore.task_identity import TaskIdentity
from typer.testing import CliRunner, Result

from clients.approvals import Decision, approval_path, decide, find_approval, kept_plan_path
from clients.console import app
from clients.decisions import decisions
from clients.leaving import leave
from clients.node import NodeHome
from clients.status import Quarantine, Status, running_process, status_of
from federation.errors import RefusalCode
from federation.journal import Erased, Left, PlanApproved, PlanDeclined, read_journal, verify_journal
from federation.messages import HELLO, OK, TRAIN
from federation.model import initial_model, model_arrays
from federation.plan import StudyPlan
from tests.clients.erasing import PEOPLE, a_plan, answer, bytes_of, home_of, key_of, text_of
from tests.clients.test_app import ask
from tests.worlds import approve, make_home, make_plan, sign


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture(scope="module")
def plan() -> StudyPlan:
    return a_plan()


@pytest.fixture(scope="module")
def other() -> StudyPlan:
    return make_plan().model_copy(update={"study": "other"})


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return home_of(tmp_path)


def run(home: NodeHome, command: str, *arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, [command, "--home", str(home.path), *arguments], input=typed)


def acts(home: NodeHome) -> list[type]:
    return [type(entry.facts) for entry in verify_journal(read_journal(home.path / "journal.jsonl")).entries[1:]]


def decision(home: NodeHome, plan: StudyPlan) -> Decision | None:
    found = find_approval(home, plan.sha256)
    return found and found.decision


def finish(home: NodeHome, plan: StudyPlan) -> None:
    """Answer everything that a plan can ask."""
    answer(home, plan)
    for number in range(2, plan.training.rounds + 1):
        assert ask(home, plan, TRAIN, number=number, arrays=model_arrays(initial_model(plan))).code == OK


# Decisions


def test_decisions_are_listed_with_whether_their_plans_ended(home: NodeHome, plan: StudyPlan, other: StudyPlan) -> None:
    assert decisions(home) == ()
    approve(home, other)
    answer(home, plan)
    first, second = sorted(decisions(home), key=lambda one: one.study)
    assert (first.study, first.decision, first.ended, first.open) == ("other", Decision.APPROVED, False, True)
    assert (second.study, second.ended, second.problem) == ("test", False, "")
    finish(home, plan)
    assert [one.open for one in sorted(decisions(home), key=lambda one: one.study)] == [True, False]
    decide(home, sign(other), Decision.DECLINED)
    assert [one.decision for one in decisions(home) if one.study == "other"] == [Decision.DECLINED]


def test_a_decision_that_was_tampered_with_does_not_count(home: NodeHome, other: StudyPlan) -> None:
    approve(home, other)
    path = approval_path(home, other.sha256)
    path.write_bytes(path.read_bytes().replace(b'"total":', b'"total":1'))
    [one] = decisions(home)
    assert (one.decision, one.open, bool(one.problem)) == (None, False, True)


# Leaving


def test_leaving_declines_what_has_not_ended_and_nothing_runs_any_more(home: NodeHome, plan: StudyPlan,
                                                                       other: StudyPlan) -> None:
    finish(home, plan)
    approve(home, other)
    result = run(home, "leave", typed="partner-0\n")
    assert result.exit_code == 0, result.output
    assert "This declines other." in result.output
    assert "Declined: other." in result.stdout
    assert (decision(home, plan), decision(home, other)) == (Decision.APPROVED, Decision.DECLINED)
    assert acts(home)[-2:] == [PlanDeclined, Left]
    assert ask(home, other, HELLO, approved=False).code == RefusalCode.NOT_APPROVED
    for said in ("records.sqlite", "--erase-records", "ledger.sqlite", "person.secret", "cannot be called back",
                 "Tell the coordinator"):
        assert said in result.stdout
    assert home.store_path.exists()


@pytest.mark.parametrize("typed", ["", "yes\n", "partner-1\n"])
def test_anything_but_the_name_leaves_nothing(home: NodeHome, other: StudyPlan, typed: str) -> None:
    approve(home, other)
    assert run(home, "leave", "--erase-records", typed=typed).exit_code == 1
    assert decision(home, other) is Decision.APPROVED
    assert acts(home) == [PlanApproved]


def test_leaving_without_a_trace_of_records(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    result = run(home, "leave", "--erase-records", "--yes", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "declined": ["test"], "erased": {"records": 36, "series": 12, "rows": 12, "vectors": 36}, "problems": []}
    found = b"".join(bytes_of(home).values())
    for person in PEOPLE:
        for trace in (key_of(home, person), *(text_of(person, number) for number in range(4))):
            assert trace.encode() not in found
    assert acts(home)[-3:] == [PlanDeclined, Left, Erased]
    assert {"person.secret", "identity.key", "ledger.sqlite", "ledger.head", "journal.jsonl"} <= bytes_of(home).keys()
    again = run(home, "leave", "--erase-records", "--yes")
    assert (again.exit_code, "nothing, as no study was under way" in again.stdout) == (0, True)


def test_leaving_a_home_without_records(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0)
    assert run(home, "leave", "--erase-records", "--yes").exit_code == 0
    assert acts(home) == [Left]
    assert not home.store_path.exists()


@pytest.mark.parametrize("damage", ["gone", "other", "nonsense"])
def test_an_approval_whose_plan_is_lost_is_taken_back_too(home: NodeHome, plan: StudyPlan, other: StudyPlan,
                                                          damage: str) -> None:
    approve(home, other)
    kept = kept_plan_path(home, other.sha256)
    if damage == "gone":
        kept.unlink()
    else:
        kept.write_text(sign(plan).to_json() if damage == "other" else "{")
    assert leave(home).declined == (f"{other.sha256[:16]}…",)
    assert find_approval(home, other.sha256) is None


def test_a_journal_that_cannot_be_written_does_not_keep_a_plan_approved(home: NodeHome, other: StudyPlan) -> None:
    approve(home, other)
    (home.path / "journal.jsonl.head").unlink()
    result = run(home, "leave", "--yes")
    assert result.exit_code == 3
    assert "journal" in result.stderr
    assert decision(home, other) is Decision.DECLINED


def test_records_that_cannot_be_erased_are_named(home: NodeHome) -> None:
    (home.path / "ledger.lock").mkdir()
    result = run(home, "leave", "--erase-records", "--yes", "--json")
    assert result.exit_code == 3
    assert "cannot be held" in json.loads(result.stdout)["problems"][0]
    assert json.loads(result.stdout)["erased"] is None


# Status


def test_a_home_in_one_look(home: NodeHome, plan: StudyPlan, other: StudyPlan) -> None:
    answer(home, plan)
    decide(home, sign(other), Decision.DECLINED)
    with sqlite3.connect(home.store_path) as connection:
        connection.execute("UPDATE records SET retention_until = '2020-01-01' WHERE actor_key = ?",
                           (key_of(home, PEOPLE[0]),))
    connection.close()
    found = status_of(home)
    assert found.records is not None
    assert found.account is not None
    assert found.journal is not None
    assert (found.records.records, found.records.people, found.records.expired) == (36, 12, 3)
    assert found.records.labelled == {"recruitment": 36, "distress": 36}
    assert found.records.consent_basis == {"consent": 36}
    assert found.quarantine == Quarantine(files=1, rows=12, oldest=datetime.now(UTC).date(), too_old=0)
    assert {one.study: one.decision for one in found.decisions} == {
        "test": Decision.APPROVED, "other": Decision.DECLINED}
    assert found.account.total.epsilon > 0
    assert found.journal.sequence == len(acts(home))
    assert (found.process, found.state, found.problems) == (None, None, [])
    result = run(home, "status")
    assert result.exit_code == 0, result.output
    for said in ("36 of 12 people", "consent 36", "the retention of 3 records has ended", "12 rows in 1 file",
                 f"test ({plan.sha256[:16]}…): approved", "declined", "remain", found.journal.hash, "SYNTHETIC"):
        assert said in result.stdout
    told = json.loads(run(home, "status", "--json").stdout)
    assert told["records"]["records"] == 36
    assert told["decisions"][0]["decision"] in {"approved", "declined"}


def test_a_look_changes_nothing(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    before = bytes_of(home)
    status_of(home)
    after = bytes_of(home)
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {
        "records.sqlite-shm", "records.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite-wal"}


def test_a_home_in_which_nothing_happened(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0)
    before = bytes_of(home)
    found = status_of(home)
    assert found == replace(Status(at=found.at, partner="partner-0", synthetic=True),
                            quarantine=Quarantine(files=0, rows=0, oldest=None, too_old=0))
    assert bytes_of(home) == before
    result = run(home, "status")
    assert result.exit_code == 0
    for said in ("no file was taken in yet", "nothing waits", "none was decided on", "no study has begun", "not begun",
                 "none runs here"):
        assert said in result.stdout


def test_what_waits_for_a_sweep_is_told(home: NodeHome) -> None:
    found = status_of(home, datetime.now(UTC) + timedelta(days=31))
    assert found.quarantine is not None
    assert found.quarantine.too_old == 1


@contextmanager
def kept(home: NodeHome, state: str) -> Iterator[None]:
    """As a keeper leaves it: the lock held, and beside it what runs."""
    (home.path / "run").mkdir(exist_ok=True)
    (home.path / "run" / "state.json").write_text(state)
    with (home.path / "run" / "keeper.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_whether_a_node_runs(home: NodeHome) -> None:
    state = {"pid": 4711, "processes": [{"name": "flower-supernode", "pid": None}, {"name": "warm", "pid": 4712}]}
    with kept(home, json.dumps(state)):
        assert running_process(home) == 4711
        assert status_of(home).state == state
        shown = run(home, "status").stdout
        assert "runs as process 4711" in shown
        assert "flower-supernode is down" in shown
        assert "warm" not in shown
        assert "still runs" in run(home, "leave", "--yes").stdout
    # Whoever held the lock is gone, however it went; its file stayed.
    assert running_process(home) is None
    assert status_of(home).state is None
    assert "none runs here" in run(home, "status").stdout


@pytest.mark.parametrize("state", ["{", ""])
def test_a_keeper_that_has_not_written_yet(home: NodeHome, state: str) -> None:
    with kept(home, state):
        assert running_process(home) is None


@pytest.mark.parametrize("broken", ["records.sqlite", "ledger.sqlite", "policy.yaml", "journal.jsonl.head"])
def test_a_part_that_cannot_be_read_is_named_and_the_others_are_shown(home: NodeHome, plan: StudyPlan,
                                                                      broken: str) -> None:
    answer(home, plan)
    for more in ("-wal", "-shm"):
        (home.path / f"{broken}{more}").unlink(missing_ok=True)
    (home.path / broken).write_bytes(b"nothing of the kind" * 300)
    found = status_of(home)
    assert any(broken.split(".")[0] in problem for problem in found.problems)
    there = {"records.sqlite": found.records, "ledger.sqlite": found.account, "policy.yaml": found.account,
             "journal.jsonl.head": found.journal}
    assert all((value is None) == (there[broken] is value) for value in there.values())
    assert len(found.decisions) == 1
    result = run(home, "status")
    assert (result.exit_code, "What to do" in result.stderr) == (3, True)
    for false in ("nothing was spent", "no file was taken in", "not begun"):
        assert false not in result.stdout, "of what cannot be read nothing is said"


def test_a_budget_that_cannot_be_read_is_no_budget_of_nothing(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    (home.path / "ledger.head").unlink()
    found = status_of(home)
    assert (found.account, found.unreadable) == (None, ["account"])
    result = run(home, "status")
    assert result.exit_code == 3
    assert "Budget    cannot be read, so nothing is known of it" in result.stdout
    assert "nothing was spent" not in result.stdout
    assert "leelight ledger restore-head" in result.stderr
    assert json.loads(run(home, "status", "--json").stdout)["unreadable"] == ["account"]


@pytest.mark.parametrize("command", ["status", "leave"])
def test_a_home_that_is_none(tmp_path: Path, command: str) -> None:
    result = CliRunner().invoke(app, [command, "--home", str(tmp_path / "none")])
    assert (result.exit_code, "there is no node home here" in result.stderr) == (2, True)
