"""What may no longer be kept goes, what may stays, beside a running node and after a crash."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flwr.supercore.task_identity import TaskIdentity
from typer.testing import CliRunner, Result

from clients import accounts, databases
from clients.console import app
from clients.ledger.files import LedgerFiles
from clients.node import NodeHome
from clients.store import RecordStore
from clients.sweep import Swept, sweep_home
from federation.errors import InputError, Refusal
from federation.journal import head_path
from federation.messages import OK
from federation.plan import StudyPlan
from tests.clients.erasing import PEOPLE, a_plan, answer, bytes_of, home_of, key_of, text_of
from tests.worlds import make_home, make_records

TODAY = datetime.now(UTC).date()
ANN, BOB = PEOPLE[3], PEOPLE[4]


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture(scope="module")
def plan() -> StudyPlan:
    return a_plan()


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return home_of(tmp_path)


def sweep(home: NodeHome, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["sweep", "--home", str(home.path), *arguments])


def end_retention(home: NodeHome, person: str, on: date) -> None:
    """As if somebody's records had been taken in with another date."""
    with sqlite3.connect(home.store_path) as connection:
        connection.execute("UPDATE records SET retention_until = ? WHERE actor_key = ?",
                           (on.isoformat(), key_of(home, person)))
    connection.close()


def everything(home: NodeHome) -> bytes:
    return b"".join(bytes_of(home).values())


def test_a_record_goes_the_day_after_its_last(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    end_retention(home, ANN, TODAY)
    assert sweep_home(home, TODAY) == Swept()
    assert text_of(ANN, 0).encode() in everything(home)
    tomorrow = TODAY + timedelta(days=1)
    assert sweep_home(home, tomorrow, dry_run=True) == Swept(records=3, features=3)
    assert sweep_home(home, tomorrow) == Swept(records=3, features=3)
    assert text_of(ANN, 0).encode() not in everything(home)
    assert text_of(BOB, 0).encode() in everything(home)
    with RecordStore(home.store_path) as store:
        # Nobody is kept out for having expired.
        assert (len(store), store.erased()) == (33, 0)
    assert sweep_home(home, tomorrow) == Swept()


def test_who_has_counted_stays_noted(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    end_retention(home, ANN, TODAY - timedelta(days=1))
    sweep_home(home, TODAY)
    assert key_of(home, ANN).encode() in home.series_path.read_bytes()


@pytest.mark.parametrize(("days", "age", "gone"), [(30, 30, 0), (30, 31, 1), (1, 2, 1), (365, 200, 0)])
def test_rows_set_aside_go_by_their_age(tmp_path: Path, days: int, age: int, gone: int) -> None:
    home = home_of(tmp_path, quarantine_days=days)
    [path] = home.quarantine_dir.iterdir()
    own = home.quarantine_dir / "notes.jsonl"
    own.write_text("mine\n")
    later = datetime.now(UTC).date() + timedelta(days=age)
    assert sweep_home(home, later, dry_run=True).quarantine_files == gone
    assert path.exists()
    assert sweep_home(home, later).quarantine_files == gone
    assert (path.exists(), own.exists()) == (not gone, True)


@pytest.mark.parametrize("days", [0, -1, 4000, "soon", 1.5])
def test_an_age_that_is_none_is_refused(tmp_path: Path, days: Any) -> None:
    home = make_home(tmp_path, 0)
    with (home.path / "node.yaml").open("a") as file:
        file.write(f"quarantine_days: {days}\n")
    result = sweep(home)
    assert result.exit_code == 2
    assert "setting quarantine_days" in result.stderr


def test_replies_go_when_nobody_needs_them_and_what_they_cost_stays(home: NodeHome, plan: StudyPlan,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    before = answer(home, plan)
    assert before[0].code == OK
    spent = _spent(home)
    assert sweep_home(home, TODAY).replies == 0
    later = datetime.now(UTC) + timedelta(days=91)
    original = accounts.Ledger.open
    monkeypatch.setattr(accounts.Ledger, "open", lambda *a, **k: original(*a, **{**k, "clock": lambda: later}))
    assert sweep_home(home, TODAY, dry_run=True).replies == 2
    assert sweep_home(home, TODAY).replies == 2
    assert sweep_home(home, TODAY).replies == 0
    assert _spent(home) == spent
    assert [reply.code for reply in answer(home, plan)] == ["already_answered"] * 2


def _spent(home: NodeHome) -> float:
    with accounts.existing_account(home) as account:
        account.verify_full()
        return account.balance(home.policy().ceilings).total.epsilon


def test_while_a_request_is_answered_replies_wait_and_the_rest_goes(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    end_retention(home, ANN, TODAY - timedelta(days=1))
    ledger = LedgerFiles(home.path)
    with ledger.locked(0.0):
        assert sweep_home(home, TODAY) == Swept(records=3, features=3)
    ledger.close()


def test_what_a_crash_left_goes_after_an_hour(home: NodeHome) -> None:
    parts = [home.path / ".a.part", home.quarantine_dir / ".b.part"]
    for part in parts:
        part.write_text("half")
    old = home.quarantine_dir / ".c.part"
    old.write_text("half")
    now = old.stat().st_mtime
    os.utime(old, (now - 4000, now - 4000))
    assert sweep_home(home, TODAY, dry_run=True).parts == 1
    assert sweep_home(home, TODAY).parts == 1
    assert [old.exists(), *(part.exists() for part in parts)] == [False, True, True]
    assert sweep_home(home, TODAY, clock=lambda: now + 4000).parts == 2


def test_sessions_that_are_over_go(home: NodeHome) -> None:
    home.sessions_dir.mkdir(mode=0o700)
    session = home.sessions_dir / "a.session"
    session.write_text("over")
    now = session.stat().st_mtime
    sweep_home(home, TODAY, dry_run=True, clock=lambda: now + 10)
    assert session.exists()
    sweep_home(home, TODAY, clock=lambda: now + 10)
    assert not session.exists()


def test_a_home_in_which_nothing_ever_happened_is_swept(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0)
    before = bytes_of(home)
    assert sweep_home(home, TODAY) == Swept()
    assert bytes_of(home) == before


def test_what_fails_is_named_and_the_rest_is_done(home: NodeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "WAIT_SECONDS", 0.05)
    writer = sqlite3.connect(home.store_path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    later = TODAY + timedelta(days=40)
    found = sweep_home(home, later)
    writer.close()
    assert found.quarantine_files == 1
    assert len(found.problems) == 1
    assert "another process has been writing" in found.problems[0]


@pytest.mark.parametrize("broken", ["records.sqlite", "person.secret", "ledger.head"])
def test_the_command_names_what_could_not_be_deleted(home: NodeHome, plan: StudyPlan, broken: str) -> None:
    answer(home, plan)
    (home.path / broken).write_bytes(b"nothing of the kind" * 300)
    (home.path / broken).chmod(0o604 if broken == "person.secret" else 0o600)
    result = sweep(home, "--json")
    assert result.exit_code == 3
    [problem] = json.loads(result.stdout)["problems"]
    assert broken in problem or broken.split(".")[0] in problem
    told = sweep(home)
    assert told.exit_code == 3
    assert "What to do" in told.stderr


def test_the_command_in_words(home: NodeHome) -> None:
    end_retention(home, ANN, TODAY - timedelta(days=1))
    dry = sweep(home, "--dry-run")
    assert (dry.exit_code, "Would be deleted:\n  3 records whose" in dry.stdout) == (0, True)
    assert json.loads(sweep(home, "--dry-run", "--json").stdout) == {
        "dry_run": True, "records": 3, "features": 0, "quarantine_files": 0, "replies": 0, "parts": 0, "problems": []}
    done = sweep(home)
    assert (done.exit_code, "Deleted:\n  3 records whose" in done.stdout) == (0, True)
    assert "0 records" in sweep(home).stdout
    assert not head_path(home.path / "journal.jsonl").exists()


def test_a_home_that_is_none(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sweep", "--home", str(tmp_path / "none")])
    assert (result.exit_code, "there is no node home here" in result.stderr) == (2, True)


def test_a_node_that_works_meanwhile_is_not_disturbed(tmp_path: Path) -> None:
    """Readers and writers of the store beside a sweep: nobody is refused, and only what has expired goes."""
    home = make_home(tmp_path, 0, records=make_records(30, people=10))
    old = [one.model_copy(update={"retention_until": TODAY - timedelta(days=1)}) for one in make_records(30, seed=5)]
    with RecordStore(home.store_path) as store:
        store.add(old)
        reading = store.usable(TODAY)
        first = next(reading)
        assert sweep_home(home, TODAY).records == 30
        assert [first, *reading] == sorted(make_records(30, people=10), key=lambda one: one.record_id)
        assert store.add(make_records(5, seed=6)).accepted == 5


def test_an_account_that_says_no_for_another_reason_is_a_problem(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    (home.path / "ledger.sqlite").unlink()
    with pytest.raises((Refusal, InputError)):
        _spent(home)
    assert "ledger.sqlite" in sweep_home(home, TODAY).problems[0]
