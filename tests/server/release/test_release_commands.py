"""`leelight release` and `leelight audit release` as people type them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from federation.identity import SigningKey, write_secret
from leelight import audit_app
from server.console_release import app
from server.coordinator import CoordinatorHome
from tests.server.release.homes import COORDINATOR, PEOPLE, new_home, plan_in, plan_of, run_study

ROOT = Path(__file__).parents[3]


def release(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(argument) for argument in arguments])


def audit(*arguments: str | Path) -> Result:
    return CliRunner().invoke(audit_app(), ["release", *(str(argument) for argument in arguments)])


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Everybody's key files."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in PEOPLE:
        write_secret(folder / name, name.encode().ljust(32, b"."))
    write_secret(folder / "stranger", b"s" * 32)
    return folder


def test_a_signer_s_key_is_made_once_and_signs(tmp_path: Path) -> None:
    file = tmp_path / "anna.key"
    made = release("make-key", file, "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout) == {"file": str(file), "public_key": SigningKey.load(file).public}
    before = file.read_bytes()
    again = release("make-key", file)
    assert (again.exit_code, "never overwritten" in again.stderr, file.read_bytes() == before) == (2, True, True)
    nowhere = release("make-key", tmp_path / "nowhere" / "anna.key")
    assert (nowhere.exit_code, nowhere.stdout) == (2, "")


def test_from_a_draft_to_an_audit(drafted: CoordinatorHome, keys: Path) -> None:
    home = ("--home", drafted.path)
    made = release("draft", "--released-on", "2026-08-01", *home)
    assert made.exit_code == 0, made.output
    name = re.search(r"Draft ([0-9a-f]{16}) of north-coast-2026, to be published on 2026-08-01", made.stdout)
    assert name
    shown = release("dry-run", *home)
    assert shown.exit_code == 0, shown.output
    for words in ("one_partner_dominates", "Least noisy counts", "What it costs one person", "Signed by 0 of 2",
                  "Not before 2026-07-30"):
        assert words in shown.stdout
    early = release("publish", *home, "--released-on", "2026-08-01")
    assert (early.exit_code, "0 of 2 people have signed" in early.stderr) == (1, True)
    for number, person in enumerate(("anna", "ben"), start=1):
        signed = release("sign", name[1], "--key", keys / person, "--name", person, *home)
        assert signed.exit_code == 0, signed.output
        assert f"{person} signed draft {name[1]}: {number} of 2 signatures." in signed.stdout
    early = release("publish", *home, "--released-on", "2026-07-31")
    assert (early.exit_code, "that day stands in it" in early.stderr) == (1, True)
    out = release("publish", *home, "--released-on", "2026-08-01")
    assert out.exit_code == 0, out.output
    folder = Path(re.search(r"Published: (\S+)", out.stdout)[1])  # type: ignore[index]
    report = audit(folder, "--coordinator-key", COORDINATOR.public.upper(), "--previous",
                   sorted(drafted.releases.iterdir())[0])
    assert report.exit_code == 0, report.output
    assert "(SYNTHETIC, a rehearsal)" in report.stdout.splitlines()[0]
    assert report.stdout.count("\nok ") == 15
    assert "Nothing failed. 1 could not be made; they say why." in report.stdout


def test_everything_for_machines(drafted: CoordinatorHome, keys: Path) -> None:
    home = ("--home", drafted.path, "--json")
    made = json.loads(release("draft", "--released-on", "2026-07-30", *home).stdout)
    assert set(made) == {"draft", "content_sha256", "released_on", "path"}
    assert json.loads(release("dry-run", *home).stdout)["draft"] == made["draft"]
    signed = json.loads(release("sign", "--key", keys / "cleo", "--name", "cleo", *home).stdout)
    assert (signed["signed"], signed["wanted"]) == (["cleo"], 2)
    release("sign", "--key", keys / "anna", "--name", "anna", *home)
    out = json.loads(release("publish", *home, "--released-on", "2026-07-30").stdout)
    report = json.loads(audit(out["path"], "--json").stdout)
    assert (report["sound"], report["folder"]) == (True, out["path"])
    assert {check["outcome"] for check in report["checks"]} == {"passed", "not_checkable"}


def test_without_a_day_the_first_on_which_it_may_be_out(drafted: CoordinatorHome) -> None:
    """That day is past, so it is today."""
    from server.console_release import _today

    made = json.loads(release("draft", "--home", drafted.path, "--json").stdout)
    assert made["released_on"] == _today().isoformat()


def test_an_audit_that_fails_names_the_file(bundle: Path) -> None:
    path = bundle / "cells.csv"
    path.write_bytes(path.read_bytes().replace(b"high", b"low ", 1))
    report = audit(bundle)
    assert report.exit_code == 1
    assert "FAILED       Every file is there" in report.stdout
    assert "cells.csv: is not the file that was signed: it was changed" in report.stdout
    assert "2 of 16 checks FAILED: do not rely on this release" in report.stdout
    assert not json.loads(audit(bundle, "--json").stdout)["sound"]


def test_an_audit_with_the_measurements(bundle: Path, first_bundle: Path, released: CoordinatorHome) -> None:
    study = released.study(plan_in(bundle).sha256)
    report = audit(bundle, "--measurements", study.measurements_path, "--salt", study.salt_path, "--previous",
                   first_bundle, "--coordinator-key", COORDINATOR.public)
    assert report.exit_code == 0, report.output
    assert report.stdout.rstrip().endswith("Nothing failed.")


@pytest.mark.parametrize(("arguments", "words"), [
    (("--coordinator-key", "abc"), "is not a public key"),
    (("--coordinator-key", "z" * 64), "is not a public key"),
    (("--measurements", "x"), "both or neither"), (("--salt", "x"), "both or neither"),
    (("--measurements", "x", "--salt", "y"), "cannot be read"), (("--previous", "nowhere"), "cannot be read as a"),
])
def test_what_an_audit_cannot_use(bundle: Path, arguments: tuple[str, ...], words: str) -> None:
    report = audit(bundle, *arguments)
    assert (report.exit_code, words in report.stderr) == (2, True), report.output
    assert "Traceback" not in report.output


def test_there_is_something_to_audit(tmp_path: Path) -> None:
    assert audit(tmp_path / "nowhere").exit_code == 2
    empty = audit(tmp_path)
    assert empty.exit_code == 2
    assert "is not the folder of a release" in empty.stderr
    (tmp_path / "plan.json").write_text("{}")
    broken = audit(tmp_path)
    assert broken.exit_code == 1
    assert "release.json: is missing" in broken.stdout


@pytest.mark.parametrize(("arguments", "words"), [
    (("draft", "--released-on", "tomorrow"), "'tomorrow' is not a date"),
    (("draft", "--released-on", "2026-07-29"), "within the embargo"),
    (("dry-run", "0000"), "no such draft"),
    (("sign", "--name", "anna", "--key", "KEYS/nobody"), "secret file is missing"),
    (("sign", "--name", "anna", "--key", "KEYS/ben"), "another key in the plan"),
    (("sign", "--name", "dora", "--key", "KEYS/stranger"), "is not one of the people who may sign"),
    (("publish", "0000"), "no such draft"), (("publish", "--released-on", "x"), "is not a date"),
])
def test_what_the_coordinators_commands_cannot_use(
    drafted: CoordinatorHome, keys: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = release(*(argument.replace("KEYS", str(keys)) for argument in arguments), "--home", drafted.path)
    assert (result.exit_code, words in result.stderr) == (2, True), result.output
    assert "Traceback" not in result.output


def test_a_day_cannot_be_pretended_outside_a_rehearsal(tmp_path: Path) -> None:
    home = new_home(tmp_path / "real")
    run_study(home, plan_of(1, rehearsal=False))
    release("draft", "--home", home.path, "--released-on", "2026-05-01")
    result = release("publish", "--home", home.path, "--released-on", "2026-05-01")
    assert (result.exit_code, "is for rehearsals" in result.stderr) == (2, True)


@pytest.mark.parametrize("command", ["draft", "dry-run", "sign", "publish"])
def test_what_is_no_home_is_told(tmp_path: Path, keys: Path, command: str) -> None:
    more = ("--name", "anna", "--key", keys / "anna") if command == "sign" else ()
    for home in (tmp_path, tmp_path / "nowhere"):
        result = release(command, *more, "--home", home)
        assert (result.exit_code, "is not a coordinator's home" in result.stderr) == (2, True)


def test_a_full_disk_is_told(drafted: CoordinatorHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("server.release.drafts.write_synced", full)
    result = release("draft", "--home", drafted.path, "--released-on", "2026-08-09")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.output


def test_help_does_not_wait_for_libraries() -> None:
    """Commands are imported with the console; what they need is imported when they run."""
    script = ("import sys\nimport server.console_release, server.console_audit\n"
              "print([name for name in ('numpy', 'flwr', 'jinja2', 'torch') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
