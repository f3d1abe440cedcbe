"""`leelight partner erase` as a partner types it: what it asks, what it says, what it never shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from flwr.supercore.task_identity import TaskIdentity
from typer.testing import CliRunner, Result

from clients import asking, quiet
from clients.console import app
from clients.console_ledger import app as ledger_app
from clients.erasure import Wanted, look
from clients.ledger.files import LedgerFiles
from clients.node import NodeHome
from federation.privacy.units import up
from tests.clients.erasing import PEOPLE, a_plan, answer, bytes_of, home_of, ingest, key_of, rows_of, text_of
from tests.clients.ingest.helpers import write_csv
from tests.worlds import make_home

ROOT = Path(__file__).parents[2]
ANN = PEOPLE[3]


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return home_of(tmp_path)


def run(home: NodeHome, *arguments: str | Path, typed: str | None = None) -> Result:
    result = CliRunner().invoke(app, ["erase", "--home", str(home.path), *map(str, arguments)], input=typed)
    # Nothing that was typed or stored is ever printed again.
    for word in (key_of(home, ANN), text_of(ANN, 0), text_of(ANN, 3)):
        assert word not in result.output
    return result


def is_here(home: NodeHome, person: str = ANN) -> bool:
    return look(home, Wanted.people(home, [person])).records > 0


def test_somebody_is_shown_by_counts_asked_about_and_erased(home: NodeHome) -> None:
    result = run(home, "--person", ANN, typed="erase\n")
    assert result.exit_code == 0, result.output
    assert "Here: 3 records, 0 entries in running totals, 1 row in quarantine" in result.stdout
    assert "Erased: 3 records, 0 entries in running totals, 1 row in quarantine, 0 features." in result.stdout
    assert not is_here(home)
    for said in ("erasure list", "Nothing has left here yet", "ledger.sqlite", "source system", "inbox/", "backup"):
        assert said in result.stdout


def test_the_id_need_not_stand_on_the_command_line(home: NodeHome) -> None:
    result = run(home, "--person", "-", typed=f"{ANN}\nerase\n")
    assert result.exit_code == 0
    assert not is_here(home)


def test_the_id_is_not_shown_while_somebody_types_it(home: NodeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "somebody_there", lambda: True)
    result = run(home, "--person", "-", typed=f"{ANN}\nerase\n")
    assert result.exit_code == 0, result.output
    assert "The person's id (not shown as you type)" in result.stderr
    assert ANN not in result.output
    assert not is_here(home)


@pytest.mark.parametrize("typed", ["", "no\n", "yes\n", "erase it\n"])
def test_anything_but_the_word_erases_nothing(home: NodeHome, typed: str) -> None:
    before = bytes_of(home)
    result = run(home, "--person", ANN, typed=typed)
    assert result.exit_code == 1
    assert bytes_of(home).keys() == before.keys()
    assert is_here(home)


def test_a_dry_run_changes_nothing(home: NodeHome) -> None:
    result = run(home, "--person", ANN, "--dry-run")
    assert result.exit_code == 0
    assert "3 records" in result.stdout
    assert "Erased" not in result.stdout
    assert is_here(home)
    told = json.loads(run(home, "--person", ANN, "--dry-run", "--json").stdout)
    assert told == {"found": {"records": 3, "series": 0, "rows": 1, "rows_of_nobody_known": 0}, "unknown": 0,
                    "unknown_lines": [], "erased": None, "stays": []}


def test_what_left_is_told_with_its_price(home: NodeHome) -> None:
    answer(home, a_plan())
    result = run(home, "--person", ANN, "--yes", "--json")
    told = json.loads(result.stdout)
    assert told["erased"] == {"records": 3, "series": 1, "rows": 1, "vectors": 3}
    shown = CliRunner().invoke(ledger_app, ["show", "--home", str(home.path), "--json"])
    spent = json.loads(shown.stdout)["total"]["epsilon"]
    assert any(f"ε = {up(spent)} at δ = 1e-05" in reason for reason in told["stays"])


def test_an_account_that_cannot_be_read_does_not_keep_anybody(home: NodeHome) -> None:
    answer(home, a_plan())
    (home.path / "ledger.head").unlink()
    result = run(home, "--person", ANN, "--yes")
    assert result.exit_code == 0
    assert "bounded by what `leelight ledger show` says" in result.stdout


def test_people_from_a_file_and_those_who_are_not_here(home: NodeHome, tmp_path: Path) -> None:
    file = tmp_path / "objections.txt"
    file.write_text(f"\ufeff{ANN}\n\nclient-98\n{ANN.upper()}\n{PEOPLE[0]}\nclient-99\n", encoding="utf-8")
    result = run(home, "--persons-from", file, "--yes")
    assert result.exit_code == 3
    assert "Of 2 people there is nothing" in result.stdout
    assert f"{file}, line 3, 6." in result.stdout
    assert "Erased: 6 records" in result.stdout
    assert (is_here(home), is_here(home, PEOPLE[0]), is_here(home, PEOPLE[1])) == (False, False, True)
    # Whoever was not here is not listed: they can be taken in.
    assert look(home, Wanted.people(home, ["client-98"])).unknown
    assert run(home, "--persons-from", file, "--yes").exit_code == 3


def test_nobody_of_a_file_is_here(home: NodeHome, tmp_path: Path) -> None:
    file = tmp_path / "objections.txt"
    file.write_text("client-98\n")
    result = run(home, "--persons-from", file, "--yes", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["unknown_lines"] == [1]
    assert not (home.path / "journal.jsonl").exists()


def test_somebody_who_is_not_here(home: NodeHome) -> None:
    before = bytes_of(home)
    result = run(home, "--person", "client-99", "--yes")
    assert result.exit_code == 3
    assert "There is nothing here under this id" in result.stdout
    assert "client-99" not in result.output
    assert {name for name, data in bytes_of(home).items() if before.get(name) != data} <= {"records.sqlite-shm"}


def test_erasing_again_says_what_was_left_and_is_done(home: NodeHome) -> None:
    assert run(home, "--person", ANN, "--yes").exit_code == 0
    again = run(home, "--person", ANN, "--yes")
    assert again.exit_code == 0
    assert "Erased: 0 records" in again.stdout


def test_a_record_by_the_id_in_its_file(home: NodeHome) -> None:
    assert run(home, "--record", f"{ANN}/1", "--mapping", "leelight", "--yes").exit_code == 0
    assert look(home, Wanted.people(home, [ANN])).records == 2
    missing = run(home, "--record", f"{ANN}/77", "--mapping", "leelight", "--yes")
    assert missing.exit_code == 3
    assert "compared exactly" in missing.stdout


def test_a_record_can_be_typed_too(home: NodeHome) -> None:
    assert run(home, "--record", "-", "--mapping", "leelight", typed=f"{ANN}/1\nerase\n").exit_code == 0
    assert look(home, Wanted.people(home, [ANN])).records == 2


def test_allowing_somebody_again(home: NodeHome, tmp_path: Path) -> None:
    run(home, "--person", ANN, "--yes")
    assert ingest(home, write_csv(tmp_path / "again.csv", rows_of([ANN]))).accepted == 0
    taken = run(home, "--person", ANN, "--allow-again")
    assert taken.exit_code == 0
    assert "1 taken off the erasure list" in taken.stdout
    assert ingest(home, write_csv(tmp_path / "again.csv", rows_of([ANN]))).accepted == 3
    again = run(home, "--person", ANN, "--allow-again")
    assert again.exit_code == 3
    assert "Not on the erasure list" in again.stderr
    assert json.loads(run(home, "--person", ANN, "--allow-again", "--json").stdout) == {"taken_off_the_list": 0}


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "needs to know whom or what"),
    (["--person", "a", "--record", "b"], "one of --person, --persons-from and --record"),
    (["--person", "a", "--persons-from", "b"], "give one of the three"),
    (["--person", "a", "--mapping", "leelight"], "--mapping: goes with --record alone"),
    (["--person", ""], "is empty"),
    (["--person", " \u200b "], "is empty"),
    (["--record", "17"], "add --mapping"),
    (["--record", "17", "--mapping", "nowhere"], "nowhere"),
    (["--persons-from", "/nowhere/at/all"], "cannot be read"),
    (["--person", "-"], "nobody answered"),
])
def test_what_cannot_be_used_is_named(home: NodeHome, arguments: list[str], said: str) -> None:
    result = run(home, *arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert is_here(home)


@pytest.mark.parametrize(("content", "said"), [(b"", "names nobody"), (b"\n \n", "names nobody"),
                                               (b"\xff\xfe\x00", "is not text in UTF-8")])
def test_a_file_that_names_nobody(home: NodeHome, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "objections.txt").write_bytes(content)
    result = run(home, "--persons-from", tmp_path / "objections.txt", "--yes")
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_home_without_records_or_without_its_secret(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0)
    empty = run(home, "--person", ANN, "--yes")
    assert (empty.exit_code, "no file was taken in here yet" in empty.stderr) == (2, True)
    (home.path / "person.secret").unlink()
    lost = CliRunner().invoke(app, ["erase", "--home", str(home.path), "--person", ANN, "--yes"])
    assert (lost.exit_code, "secret file is missing" in lost.stderr) == (2, True)
    nowhere = CliRunner().invoke(app, ["erase", "--home", str(tmp_path / "none"), "--person", ANN])
    assert (nowhere.exit_code, "there is no node home here" in nowhere.stderr) == (2, True)


def test_a_home_that_is_busy_says_so(home: NodeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "WAIT_SECONDS", 0.05)
    ledger = LedgerFiles(home.path)
    with ledger.locked(0.0):
        result = run(home, "--person", ANN, "--yes")
    ledger.close()
    assert (result.exit_code, "a study is being answered here" in result.stderr) == (2, True)
    assert is_here(home)
    with quiet.alone(home):
        csv = write_csv(home.path.parent / "more.csv", rows_of([ANN]))
        taken = CliRunner().invoke(app, ["ingest", str(csv), "--mapping", "leelight", "--home", str(home.path),
                                         "--synthetic"])
    assert (taken.exit_code, "something is being erased here" in taken.stderr) == (2, True)


def test_the_real_command_line(home: NodeHome) -> None:
    def leelight(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "leelight", "partner", *arguments, "--home", str(home.path)],
                              input=typed, text=True, capture_output=True, cwd=ROOT, check=False, timeout=120)

    erased = leelight("erase", "--person", "-", typed=f"{ANN}\nerase\n")
    assert erased.returncode == 0, erased.stderr
    assert "Erased: 3 records" in erased.stdout
    assert ANN not in erased.stdout + erased.stderr
    assert leelight("sweep").returncode == 0
    status = leelight("status")
    assert status.returncode == 0, status.stderr
    assert "on the erasure list: 1" in status.stdout
    left = leelight("leave", typed="partner-0\n")
    assert left.returncode == 0, left.stderr
    assert "Tell the coordinator" in left.stdout
