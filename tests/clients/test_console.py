"""The command a partner types, over a real node home."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from clients.console import app
from clients.node import NodeHome, NodeSettings
from clients.store import RecordStore
from tests.clients.ingest.helpers import rows, write_csv
from tests.worlds import make_home, make_plan, sign

NODE = {"name": "shelter", "kind": "ngo", "slots": 512, "regions": ["RO-IS"], "declared_prevalence": {"distress": 0.5},
        "coordinator_key": "ab" * 32}
ROOT = Path(__file__).parents[2]
LATER = "2900-01-01"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    NodeHome.create(tmp_path / "home", NodeSettings.model_validate(NODE))
    return tmp_path / "home"


def run(home: Path, file: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["ingest", str(file), "--mapping", "leelight", "--home", str(home), *more])


def test_all_accepted(home: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", rows(3, retention_until=LATER))
    result = run(home, file)
    assert result.exit_code == 0, result.output
    assert "accepted" in result.output
    with RecordStore(home / "records.sqlite") as store:
        assert len(store) == 3


def test_json_and_exit_code_3(home: Path, tmp_path: Path) -> None:
    content = rows(3, retention_until=LATER)
    content[0]["channel"] = "smoke"
    result = run(home, write_csv(tmp_path / "a.csv", content), "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    assert (report["accepted"], report["quarantined"]) == (2, {"unknown_value": 1})
    assert Path(report["quarantine_file"]).parent == home / "quarantine"


def test_refused(home: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", rows(3, retention_until=LATER, email="jo@example.com"))
    result = run(home, file)
    assert result.exit_code == 2
    assert "--exclude email" in result.stderr
    assert "jo@" not in result.output
    assert run(home, file, "--exclude", "email").exit_code == 0
    assert run(home, file, "--exclude", "email", "--retention-until", "soon").exit_code == 2
    assert run(tmp_path / "nowhere", file).exit_code == 2


def test_nothing_usable(home: Path, tmp_path: Path) -> None:
    result = run(home, write_csv(tmp_path / "a.csv", rows(3, retention_until=LATER, channel="smoke")))
    assert result.exit_code == 2
    assert "no row could be used" in result.output


@pytest.mark.parametrize("setting", [{"synthetic": True}, {"reproducible_noise": "cd" * 32}])
def test_a_simulations_home_takes_no_real_records(tmp_path: Path, setting: dict[str, object]) -> None:
    """Its person secret follows from a seed that anybody can know."""
    home = tmp_path / "simulated"
    NodeHome.create(home, NodeSettings.model_validate(NODE | setting))
    file = write_csv(tmp_path / "a.csv", rows(3, retention_until=LATER))
    result = run(home, file)
    assert result.exit_code == 2
    for said in (next(iter(setting)), "person secret", "leelight partner init", "--synthetic"):
        assert said in result.stderr
    assert not (home / "records.sqlite").exists()
    assert run(home, file, "--synthetic").exit_code == 0


def test_language_default(home: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", rows(1, retention_until=LATER, text="ok"))
    report = json.loads(run(home, file, "--json", "--language-default", "ro").stdout)
    assert report["languages"] == {"ro": 1}


@pytest.mark.parametrize(("given", "remedy"), [
    ("romanian", "write ro."), ("Romanian", "write ro."), ("xx", "ISO 639-1"), ("", "ISO 639-1"),
    ("ro RO", "ISO 639-1")])
def test_a_language_default_that_is_none_is_refused_at_once(home: Path, tmp_path: Path, given: str,
                                                            remedy: str) -> None:
    file = write_csv(tmp_path / "a.csv", rows(1, retention_until=LATER))
    result = run(home, file, "--language-default", given)
    assert result.exit_code == 2
    assert f"--language-default: {given!r} is not a language tag" in result.stderr
    assert remedy in result.stderr
    assert not (home / "records.sqlite").exists()
    for tag in ("und", "pt-BR", "ron"):
        assert run(home, file, "--language-default", tag).exit_code == 0


def test_a_home_for_real_records_takes_no_invented_ones(home: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", rows(3, retention_until=LATER))
    result = run(home, file, "--synthetic")
    assert result.exit_code == 2
    for said in ("node.yaml", "synthetic: false", "without --synthetic", "leelight partner init --synthetic"):
        assert said in result.stderr
    assert not (home / "records.sqlite").exists()
    assert run(home, file).exit_code == 0


def test_as_a_real_command(home: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", rows(2, retention_until=LATER))
    done = subprocess.run([sys.executable, "-c", "from clients.console import app; app()", "ingest", str(file),
                           "--mapping", "leelight", "--home", str(home), "--json"],
                          capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accepted"] == 2


CRASH = """
import typer
import clients.ingest.pipeline as pipeline
from clients.console import app
def broken(self, batch):
    held = [row.values["text"] for row in batch]
    raise RuntimeError("broken")
pipeline._Run.take = broken
above = typer.Typer()
above.add_typer(app, name="partner")
above()
"""


def test_a_crash_prints_no_text(home: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", rows(2, retention_until=LATER, text="xyzzyneedle"))
    done = subprocess.run([sys.executable, "-c", CRASH, "partner", "ingest", str(file), "--mapping", "leelight",
                           "--home", str(home)], capture_output=True, text=True, cwd=ROOT)
    assert "RuntimeError: broken" in done.stderr
    assert "xyzzyneedle" not in done.stderr + done.stdout


@pytest.mark.parametrize(("change", "told"), [
    ("", "holds no settings: the file is empty"), ("just words", "holds no settings"),
    ("slots: many", "setting slots is 'many', expected a whole number"),
    ("slots: 1.5", "setting slots is 1.5, expected a whole number"), ("speed: 3", "setting speed is unknown"),
    ("regions: RO-IS", "setting regions is 'RO-IS', expected a list"),
    ("synthetic: maybe", "setting synthetic is 'maybe', expected true or false")])
def test_settings_that_cannot_be_used_are_told_in_plain_words(home: Path, tmp_path: Path, change: str,
                                                              told: str) -> None:
    path = home / "node.yaml"
    kept = [line for line in path.read_text().splitlines() if not line.startswith(change.split(":")[0] + ":")]
    kept = [line for line in kept if not change.startswith("regions") or not line.startswith("- ")]
    path.write_text("\n".join([*kept, change]) if ":" in change else change)
    result = run(home, write_csv(tmp_path / "a.csv", rows(1, retention_until=LATER)))
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Input should" not in result.stderr


@pytest.mark.parametrize(("lost", "command", "left"), [
    ("person.secret", ["ingest", "a.csv", "--mapping", "leelight"], "take all records in again"),
    ("identity.key", ["approve", "plan.json", "--yes"], "enrol it as a new partner")])
def test_a_lost_secret_is_told_with_what_is_left_to_do(tmp_path: Path, lost: str, command: list[str],
                                                       left: str) -> None:
    home = make_home(tmp_path, 0, synthetic=False, noise_seed=None).path
    write_csv(tmp_path / "a.csv", rows(3, retention_until=LATER))
    (tmp_path / "plan.json").write_text(sign(make_plan()).to_json())
    (home / lost).unlink()
    command[1] = str(tmp_path / command[1])
    result = CliRunner().invoke(app, [*command, "--home", str(home)])
    assert result.exit_code == 2
    for said in (str(home / lost), "backup", "leelight partner init", left):
        assert said in result.stderr
