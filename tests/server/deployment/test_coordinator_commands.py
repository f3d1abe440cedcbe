"""What a coordinator types, what is wrong with it, and what it reads then."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from federation import console_bundle
from federation.deployment.bundle import build_bundle, sha256_of
from federation.deployment.certificates import days_left, make_node_key, make_server_certificate, node_public_key
from federation.deployment.exchange import Enrolment, Invitation
from federation.deployment.serving import bound, port_of
from federation.identity import SigningKey
from leelight import _compose_enrolled
from server.console_coordinator import coordinator_app
from server.coordinator import CoordinatorHome
from server.deployment import running
from server.deployment.network import CoordinatorSettings, Network
from server.run_state import RunState
from server.stages import StageReport
from tests.worlds import partner_key, roster

ANNA, BEN = (SigningKey.from_bytes(name * 16).public for name in (b"an", b"be"))
SIGNERS = ("--signer", f"anna={ANNA}", "--signer", f"ben={BEN}")
PERIOD = ("study.period_start=2026-04-01", "study.period_end=2026-06-30")


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    return coordinator_app(_compose_enrolled)


@pytest.fixture
def run(app: typer.Typer) -> Any:
    def invoke(*arguments: object, app: typer.Typer = app) -> Result:
        return CliRunner().invoke(app, [str(one) for one in arguments])

    return invoke


@pytest.fixture
def home(tmp_path: Path, run: Any) -> CoordinatorHome:
    found = run("init", tmp_path / "home", "--name", "desk", "--address", "localhost:8443", "--listen",
                "127.0.0.1:8443")
    assert found.exit_code == 0, found.output
    return CoordinatorHome(tmp_path / "home")


@pytest.fixture(scope="module")
def enrolments(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("enrolments")
    for number, entry in enumerate(roster(3)):
        make_node_key(folder)
        made = Enrolment.sign(partner_key(number), entry=entry, node_key=node_public_key(folder), synthetic=True)
        (folder / f"{number}.json").write_bytes(made.to_text())
    return sorted(folder.glob("*.json"))


@pytest.fixture
def full(home: CoordinatorHome, run: Any, enrolments: list[Path]) -> CoordinatorHome:
    for number, path in enumerate(enrolments):
        found = run("enrol", path, "--key", partner_key(number).public, "--home", home.path)
        assert found.exit_code == 0, found.output
    return home


def fails(found: Result, *words: str) -> None:
    assert found.exit_code == 2, (found.output, found.exception)
    assert isinstance(found.exception, SystemExit), found.exception
    for word in words:
        assert word in found.output.replace("\n", " "), found.output
    assert "Traceback" not in found.output


# init


def test_init_makes_a_home_that_partners_can_be_invited_to(home: CoordinatorHome, run: Any, tmp_path: Path) -> None:
    invitation = Invitation.read(home.path / "invitation.json", coordinator_key=home.signing_key().public)
    assert (invitation.coordinator, invitation.address) == ("desk", "localhost:8443")
    network = Network(home)
    assert network.settings() == CoordinatorSettings(name="desk", address="localhost:8443", listen="127.0.0.1:8443")
    assert network.settings().listens_on() == ("127.0.0.1", 8443)
    assert invitation.authority == network.authority.read_text()
    assert home.path.stat().st_mode & 0o777 == network.folder.stat().st_mode & 0o777 == 0o700
    for path in (network.key, network.executor_secret, network.folder / "ca.key", home.path / "coordinator.key"):
        assert path.stat().st_mode & 0o777 == 0o600
    said = json.loads(run("init", tmp_path / "two", "--name", "two", "--address", "b.example.org:1", "--json").output)
    assert said["public_key"] == CoordinatorHome(tmp_path / "two").signing_key().public != home.signing_key().public
    assert Network(CoordinatorHome(tmp_path / "two")).settings().listens_on() == ("0.0.0.0", 1)  # noqa: S104


@pytest.mark.parametrize(("address", "host"), [
    ("localhost:8443", "127.0.0.1"), ("127.0.0.1:8443", "127.0.0.1"), ("127.0.0.7:8443", "127.0.0.1"),
    ("localhost.example.org:8443", "0.0.0.0"), ("192.0.2.1:8443", "0.0.0.0")])  # noqa: S104
def test_an_address_of_this_machine_alone_is_listened_on_here_alone(address: str, host: str) -> None:
    assert CoordinatorSettings(name="desk", address=address).listens_on() == (host, 8443)


@pytest.mark.parametrize(("option", "value"), [
    ("--name", "North Desk"), ("--name", ""), ("--name", "x" * 64), ("--address", "example.org"),
    ("--address", "example.org:0"), ("--address", "[::1]:1"), ("--address", "http://a:1"), ("--listen", "8443"),
    ("--listen", "a:b")])
def test_init_says_which_option_cannot_be_used(tmp_path: Path, run: Any, option: str, value: str) -> None:
    given = {"--name": "desk", "--address": "a.example.org:8443"} | {option: value}
    found = run("init", tmp_path / "home", *(part for pair in given.items() for part in pair))
    fails(found, option, "Allowed: a name of a-z, 0-9 and -; addresses as host:port")
    assert not (tmp_path / "home").exists()


def test_init_overwrites_nothing(home: CoordinatorHome, run: Any, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    given = ("--name", "x", "--address", "a:1")
    fails(run("init", home.path, *given), "something is there already", "a new or empty folder")
    fails(run("init", home.path / "coordinator.key", *given), "something is there already")
    fails(run("init", home.path / "coordinator.key" / "x", *given), "cannot be used (Not a directory)")
    assert before == {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    (tmp_path / "empty").mkdir()
    assert run("init", tmp_path / "empty", *given).exit_code == 0


# Every command that needs a home


@pytest.mark.parametrize("command", [
    ("enrol", "x.json", "--key", "0" * 16), ("revoke", "x"), ("renew",), ("start",), ("run",), ("resume",),
    ("watch", "--once"), ("plan",)])
def test_every_command_says_that_a_home_is_none(tmp_path: Path, run: Any, command: tuple[str, ...]) -> None:
    fails(run(*command, "--home", tmp_path / "nowhere"), "nowhere", "is not a coordinator's home", "What to do: ")
    CoordinatorHome.create(tmp_path / "simulated")
    fails(run(*command, "--home", tmp_path / "simulated"), "coordinator.yaml", "leelight coordinator init")


@pytest.mark.parametrize(("text", "words"), [
    ("", "Input should be"), ("[", "is not valid YAML"), ("\x00", "is not valid YAML"), ("name: desk", "address: "),
    ("name: desk\naddress: a:1\nother: 1", "other: "), ("name: desk\naddress: a", "address: 'a' is not host:port"),
    ("name: desk\naddress: a:1\nlargest_message: 1", "largest_message: "),
    ("name: desk\naddress: a:1\nrequests_a_second: .nan", "requests_a_second: "),
    ("name: desk\naddress: a:1\nrequests_a_second: 0", "requests_a_second: "),
    ("name: desk\naddress: a:1\nmetrics_port: 70000", "metrics_port: ")])
def test_settings_that_cannot_be_used_are_named(home: CoordinatorHome, run: Any, text: str, words: str) -> None:
    (home.path / "coordinator.yaml").write_text(text)
    for command in (("start",), ("watch", "--once"), ("renew",)):
        fails(run(*command, "--home", home.path), "coordinator.yaml", words)


# enrol, revoke


def test_enrol_and_revoke_say_what_became_of_it(home: CoordinatorHome, run: Any, enrolments: list[Path]) -> None:
    given = ("enrol", enrolments[0], "--key", partner_key(0).public[:16], "--home", home.path)
    assert "partner-0 is enrolled. It is let in when the coordinator starts." in run(*given).output
    assert "partner-0 is enrolled, as before." in run(*given).output
    assert json.loads(run(*given, "--json").output) == {"partner": "partner-0", "new": False, "let_in": False}
    fails(run("revoke", "partner-9", "--home", home.path), "partner-9: is not enrolled", "Allowed: partner-0")
    assert json.loads(run("revoke", "partner-0", "--home", home.path, "--json").output) == {
        "partner": "partner-0", "shut_out": False, "for_good": True}
    fails(run(*given), "was turned away for good")


def test_a_node_key_alone_can_be_shut_out(home: CoordinatorHome, run: Any, enrolments: list[Path]) -> None:
    given = ("enrol", enrolments[0], "--key", partner_key(0).public[:16], "--home", home.path)
    run(*given)
    said = run("revoke", "partner-0", "--node-key-only", "--home", home.path).output
    assert "leelight partner join --new-key" in said
    assert "for good" not in said
    fails(run(*given), "its node key was given up", "--new-key")


def test_enrol_says_what_is_wrong_with_a_file_or_a_key(home: CoordinatorHome, run: Any, enrolments: list[Path],
                                                       tmp_path: Path) -> None:
    key = partner_key(0).public
    fails(run("enrol", tmp_path / "none.json", "--key", key, "--home", home.path), "none.json: cannot be read")
    fails(run("enrol", tmp_path, "--key", key, "--home", home.path), "cannot be read")
    fails(run("enrol", home.path / "invitation.json", "--key", key, "--home", home.path), "is not an enrolment")
    changed = tmp_path / "changed.json"
    changed.write_text(enrolments[0].read_text().replace('"slots":32', '"slots":64'))
    fails(run("enrol", changed, "--key", key, "--home", home.path), "was changed after it was signed")
    for wrong in (key[:15], partner_key(1).public, "", "x" * 16):
        found = run("enrol", enrolments[0], "--key", wrong, "--home", home.path)
        fails(found, "--key", "telephone")
        assert key[:8] not in found.output
    assert not (home.path / "partners").exists()


# renew, start


def test_renew_makes_a_certificate_of_the_same_authority(home: CoordinatorHome, run: Any) -> None:
    network = Network(home)
    before = network.authority.read_bytes(), network.certificate.read_bytes()
    make_server_certificate(network.folder, ("localhost",), days=1)
    assert json.loads(run("renew", "--home", home.path, "--json").output) == {"days": 396}
    assert network.authority.read_bytes() == before[0]
    assert network.certificate.read_bytes() != before[1]
    assert days_left(network.certificate) > 300
    (network.folder / "ca.key").unlink()
    fails(run("renew", "--home", home.path), "ca.key", "backup")


def test_start_says_when_a_certificate_ends(home: CoordinatorHome, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    async def note(one: CoordinatorHome, listening: Any) -> None:
        listening()
        started.append(one.path)

    monkeypatch.setattr(running, "run_coordinator", note)
    monkeypatch.setattr("federation.deployment.logs.log_to", lambda _: None)
    found = run("start", "--home", home.path)
    assert found.exit_code == 0
    assert "desk listens on 127.0.0.1:8443 for localhost:8443" in found.output
    network = Network(home)
    make_server_certificate(network.folder, ("localhost",), days=10)
    assert "expires in 10 days: run `leelight coordinator renew`" in run("start", "--home", home.path).output
    assert started == [home.path] * 2
    network.certificate.unlink()
    fails(run("start", "--home", home.path), "server.crt", "leelight coordinator renew")
    make_server_certificate(network.folder, ("localhost",), now=datetime.now(UTC), days=1)
    monkeypatch.setattr("federation.deployment.certificates.datetime", _Later)
    fails(run("start", "--home", home.path), "expired 4 days ago", "leelight coordinator renew")
    assert started == [home.path] * 2


def test_start_does_not_say_that_it_listens_before_it_does(home: CoordinatorHome, run: Any,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("federation.deployment.logs.log_to", lambda _: None)
    with bound("127.0.0.1", 0) as taken:
        (home.path / "coordinator.yaml").write_text(f"name: desk\naddress: a:1\nlisten: 127.0.0.1:{port_of(taken)}\n")
        taken.listen()
        found = run("start", "--home", home.path)
    fails(found, "cannot be listened on")
    assert "desk listens on" not in found.output


class _Later(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.now(tz) + timedelta(days=5)


# plan, run, resume, watch


def test_a_plan_is_signed_for_everybody_who_is_enrolled(full: CoordinatorHome, run: Any) -> None:
    found = run("plan", "--home", full.path, *SIGNERS, "--role", "observed", "--rehearsal", *PERIOD, "world=synthetic",
                "--json")
    assert found.exit_code == 0, found.output
    signed = full.signed_plan()
    assert json.loads(found.output) == {"plan_sha256": signed.sha256, "study": signed.plan.study,
                                        "plan": str(full.plan_path)}
    assert [entry.name for entry in signed.plan.roster] == ["partner-0", "partner-1", "partner-2"]
    assert signed.plan.rehearsal
    assert [one.name for one in signed.plan.release.signers] == ["anna", "ben"]
    for command in ("run", "resume"):
        fails(run(command, "--home", full.path), "its coordinator is not running", "leelight coordinator start")


@pytest.mark.parametrize(("given", "words"), [
    ((*SIGNERS, "--role", "everywhere", *PERIOD), ("--role", "'everywhere' is no role", "observed")),
    (("--signer", "anna", *PERIOD), ("--signer", "'anna' is not NAME=PUBLIC-KEY", "64 hexadecimal digits")),
    (("--signer", f"anna={ANNA[:-1]}", *PERIOD), ("--signer", "64 hexadecimal digits")),
    (("--signer", f"An na={ANNA}", *PERIOD), ("--signer", "a name of a-z, 0-9 and -")),
    (("--signer", f"={ANNA}", *PERIOD), ("--signer", "a name of a-z, 0-9 and -")),
    (("--signer", f"anna={ANNA}", "--signer", f"anna={BEN}", *PERIOD), ("--signer", "anna is given twice")),
    (SIGNERS, ("study.period_start", "What to do: give it as")),
    ((*SIGNERS, *PERIOD, "nosuch.key=1"), ("settings", "leelight simulate --cfg job")),
    ((*SIGNERS, *PERIOD, "=="), ("settings",)),
])
def test_plan_says_what_makes_no_plan(full: CoordinatorHome, run: Any, given: tuple[str, ...], words: tuple[str, ...]
                                      ) -> None:
    fails(run("plan", "--home", full.path, *given), *words)
    assert not full.plan_path.exists()


def test_plan_needs_two_partners(home: CoordinatorHome, run: Any, enrolments: list[Path]) -> None:
    fails(run("plan", "--home", home.path, *SIGNERS, *PERIOD), "0 enrolled", "Allowed: at least two")
    run("enrol", enrolments[0], "--key", partner_key(0).public, "--home", home.path)
    fails(run("plan", "--home", home.path, *SIGNERS, *PERIOD), "1 enrolled", "leelight coordinator enrol")
    run("enrol", enrolments[1], "--key", partner_key(1).public, "--home", home.path)
    fails(run("plan", "--home", home.path, *SIGNERS, *PERIOD, "--rehearsal", "world=synthetic"),
          "2 partners, expected at least 3 for secure sums")


def test_run_and_resume_need_a_plan(home: CoordinatorHome, run: Any) -> None:
    for command in ("run", "resume"):
        fails(run(command, "--home", home.path), "plan.json", "no plan was signed")


def test_watch_shows_who_is_there(full: CoordinatorHome, run: Any) -> None:
    said = json.loads(run("watch", "--home", full.path, "--json").output)
    assert (said["coordinator"], said["address"], said["running"], said["processes"], said["study"]) == (
        "desk", "localhost:8443", False, [], None)
    assert [(one["name"], one["node"]) for one in said["partners"]] == [
        (f"partner-{number}", "unknown") for number in range(3)]
    found = run("watch", "--home", full.path, "--once")
    assert found.exit_code == 0
    for words in ("desk at localhost:8443: not running", "No plan is signed", "partner-2"):
        assert words in found.output


def test_watch_asks_of_whoever_is_silent_whether_it_has_approved(full: CoordinatorHome, run: Any,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    run("plan", "--home", full.path, *SIGNERS, "--role", "observed", "--rehearsal", *PERIOD, "world=synthetic")
    monkeypatch.setenv("COLUMNS", "200")

    def shown(**state: Any) -> dict[str, str]:
        monkeypatch.setattr(CoordinatorHome, "run_state", lambda *_: RunState(**state))
        lines = run("watch", "--home", full.path, "--once").output.splitlines()
        return {line.split()[0]: line for line in lines if line}

    since, asks = datetime(2026, 7, 1, tzinfo=UTC), "has it approved the plan?"
    met = StageReport(stage="hello", answered=("partner-0",), late=("partner-1",), refused=(), seconds=1.0)
    first = shown(running=True, stage="hello", since=since, answered=("partner-0",))
    assert [asks in first[f"partner-{number}"] for number in range(3)] == [False, True, True]
    later = shown(running=True, stage="round 1", since=since, stages=(met,))
    assert [asks in later[f"partner-{number}"] for number in range(3)] == [False, True, True]
    assert "it is being taken up" in shown(running=True, stages=(met,))["Study"]
    assert "None" not in shown(running=True)["Study"]
    assert "or was begun less than a minute ago" in shown()["Study"]


# bundle


def test_bundle_build_and_hash_agree(run: Any, tmp_path: Path) -> None:
    path, whole = tmp_path / "a.fab", sha256_of(build_bundle())
    assert run("build", path, app=console_bundle.app).output == f"{whole}  {path}\n"
    assert path.read_bytes() == build_bundle()
    assert json.loads(run("build", path, "--json", app=console_bundle.app).output) == {
        "file": str(path), "bytes": path.stat().st_size, "sha256": whole}
    assert run("hash", app=console_bundle.app).output == f"{whole}\n"
    listed = json.loads(run("hash", "--files", "--json", app=console_bundle.app).output)
    assert listed["sha256"] == whole
    assert "clients/app.py" in listed["files"]
    lines = run("hash", "--files", app=console_bundle.app).output.splitlines()
    assert lines[-1] == whole
    assert dict(reversed(line.split("  ")) for line in lines[:-1]) == listed["files"]


def test_bundle_build_says_where_it_cannot_write(run: Any, tmp_path: Path) -> None:
    fails(run("build", tmp_path, app=console_bundle.app), f"{tmp_path}: cannot be used (Is a directory).")
    fails(run("build", tmp_path / "none" / "a.fab", app=console_bundle.app), "cannot be used (No such file")
