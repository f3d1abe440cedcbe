"""`leelight partner join` and `start`: keys that stay, files that only the partner can read, and what goes wrong."""

from __future__ import annotations

import fcntl
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from clients.console import app
from clients.deployment import running
from clients.deployment.gate import Gate
from clients.deployment.network import join, network_of
from clients.deployment.running import node_processes
from clients.node import NodeHome
from federation.deployment.certificates import make_authority, node_public_key
from federation.deployment.exchange import Enrolment, Invitation
from federation.errors import InputError
from federation.identity import SigningKey
from tests.federation.deployment.test_certificates import handshake
from tests.worlds import COORDINATOR, make_home, roster


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder, "a")
    return (folder / "ca.crt").read_text()


def invite(path: Path, authority: str, *, key: SigningKey = COORDINATOR, address: str = "a.example.org:8443") -> Path:
    path.write_bytes(Invitation.sign(key, coordinator="desk", address=address, authority=authority).to_text())
    return path


@pytest.fixture
def invitation(tmp_path: Path, authority: str) -> Path:
    return invite(tmp_path / "invitation.json", authority)


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return make_home(tmp_path, 0)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def contents(home: NodeHome) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home.path / "network").iterdir()}


def test_joining_makes_keys_of_which_only_public_ones_leave(home: NodeHome, invitation: Path) -> None:
    enrolment = join(home, invitation)
    assert enrolment == Enrolment.read(home.path / "enrolment.json")
    assert enrolment.entry == roster(1)[0]
    assert enrolment.synthetic
    assert enrolment.node_key == node_public_key(home.path / "network")
    folder = home.path / "network"
    assert set(contents(home)) == {"invitation.json", "coordinator.crt", "node.key", "ca.crt", "ca.key", "server.crt",
                                   "server.key", "superexec.secret"}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir() if path.name != "ca.crt"} == {0o600}
    for name in ("node.key", "ca.key", "server.key", "superexec.secret"):
        secret = (folder / name).read_bytes()
        assert secret[len(secret) // 2:][:16] not in (home.path / "enrolment.json").read_bytes()
    handshake(folder, folder, "127.0.0.1")


def test_joining_again_keeps_every_key_and_takes_the_new_address(home: NodeHome, invitation: Path, authority: str,
                                                                 ) -> None:
    first = join(home, invitation)
    before = contents(home)
    assert join(home, invite(invitation, authority, address="b.example.org:1")) == first
    after = contents(home)
    assert {name for name in before if before[name] != after[name]} == {"invitation.json"}
    assert network_of(home).invitation(COORDINATOR.public).address == "b.example.org:1"


def test_a_new_key_is_only_the_nodes(home: NodeHome, invitation: Path) -> None:
    first = join(home, invitation)
    before = contents(home)
    second = join(home, invitation, new_key=True)
    assert second.node_key != first.node_key
    assert second.entry == first.entry
    assert {name for name, data in contents(home).items() if before[name] != data} == {"node.key"}


@pytest.mark.parametrize("missing", ["coordinator.crt", "invitation.json", "node.key", "server.crt", "superexec.secret",
                                     "ca.crt"])
def test_joining_again_brings_back_what_a_crash_left_out(home: NodeHome, invitation: Path, missing: str) -> None:
    join(home, invitation)
    (home.path / "network" / missing).unlink()
    if missing == "ca.crt":
        (home.path / "network" / "server.crt").unlink()
    if missing != "invitation.json":
        with pytest.raises(InputError, match="leelight partner join") as caught:
            network_of(home)
        assert missing == "ca.crt" or missing in caught.value.problem
    join(home, invitation)
    assert network_of(home).invitation(COORDINATOR.public).address == "a.example.org:8443"
    handshake(home.path / "network", home.path / "network", "127.0.0.1")


def test_another_coordinators_invitation_leaves_no_trace(home: NodeHome, tmp_path: Path, authority: str) -> None:
    other = invite(tmp_path / "other.json", authority, key=SigningKey.generate())
    found = run("join", other, "--home", home.path)
    assert found.exit_code == 2
    assert "telephone" in found.output
    assert not (home.path / "network").exists()
    assert not (home.path / "enrolment.json").exists()


def test_join_says_what_to_do_next_or_json(home: NodeHome, invitation: Path) -> None:
    found = run("join", invitation, "--home", home.path)
    assert found.exit_code == 0, found.output
    for words in ("enrolment.json", home.signing_key().public, "leelight partner start"):
        assert words in found.output
    said = json.loads(run("join", invitation, "--home", home.path, "--json").output)
    assert said == {"enrolment": str(home.path / "enrolment.json"), "public_key": home.signing_key().public}


@pytest.mark.parametrize("case", ["no home", "no file", "a folder", "not json", "no key", "read only"])
def test_join_says_what_is_wrong_with_what_it_was_given(home: NodeHome, invitation: Path, tmp_path: Path, case: str
                                                       ) -> None:
    given, where, words = invitation, home.path, ""
    match case:
        case "no home":
            where, words = tmp_path / "nowhere", "there is no node home"
        case "no file":
            given, words = tmp_path / "none.json", "cannot be read"
        case "a folder":
            given, words = tmp_path, "cannot be read"
        case "not json":
            given.write_text("hello")
            words = "is not an invitation"
        case "no key":
            (home.path / "identity.key").unlink()
            words = "identity.key: secret file is missing"
        case "read only":
            (home.path / "network").write_text("")
            words = "network: cannot be used (File exists)"
    found = run("join", given, "--home", where)
    assert found.exit_code == 2
    assert words in found.output
    assert "Traceback" not in found.output
    assert found.exception is None or isinstance(found.exception, SystemExit)


@pytest.mark.parametrize("case", ["no home", "not joined", "no rules", "moved", "running"])
def test_start_says_why_it_cannot(home: NodeHome, invitation: Path, tmp_path: Path, case: str,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        raise RuntimeError("it started")

    monkeypatch.setattr(running.Keeper, "keep", never)
    where, words = home.path, ""
    if case != "not joined":
        join(home, invitation)
    match case:
        case "no home":
            where, words = tmp_path / "nowhere", "there is no node home"
        case "not joined":
            words = "leelight partner join"
        case "no rules":
            (home.path / "policy.yaml").unlink()
            words = "policy.yaml"
        case "moved":
            text = (home.path / "node.yaml").read_text()
            (home.path / "node.yaml").write_text(text.replace(COORDINATOR.public, SigningKey.generate().public))
            words = "telephone"
        case "running":
            words = "is running already"
            (home.path / "run").mkdir()
    with (home.path / "run" / "keeper.lock").open("w") if case == "running" else nullcontext() as lock:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        found = run("start", "--home", where)
    assert found.exit_code == 2
    assert words in found.output
    assert "Stop it with Ctrl-C" not in found.output, "nothing is said to run that does not"
    assert "Traceback" not in found.output


def test_a_node_says_that_it_runs_and_what_its_gate_refused(home: NodeHome, invitation: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    gates: list[Gate] = []
    shown: list[str] = []

    def gate(*given: Any, **more: Any) -> Gate:
        gates.append(Gate(*given, **more))
        return gates[0]

    async def keep(*_: object) -> None:
        gates[0]._tell("plan 12… (spring) is not approved here")
        shown.append(run("status", "--home", home.path).output)
        gates[0]._note("")
        shown.append(run("status", "--home", home.path).output)

    join(home, invitation)
    monkeypatch.setattr(running, "Gate", gate)
    monkeypatch.setattr(running.Keeper, "keep", keep)
    found = run("start", "--home", home.path)
    assert found.exit_code == 0, found.output
    assert "partner-0 is running. Stop it with Ctrl-C" in found.output
    said = "a study was refused at the gate"
    assert [said in one for one in shown] == [True, False]
    assert "(spring) is not approved here" in shown[0]


def test_the_nodes_programs_get_no_secret_on_their_command_line_and_ask_only_the_gate(home: NodeHome, invitation: Path
                                                                                      ) -> None:
    join(home, invitation)
    warm, node, executor = node_processes(home, network_of(home), gate=7001, runtime=7002)
    secrets = [(home.path / "network" / name).read_bytes() for name in ("node.key", "superexec.secret")]
    assert warm.environment["PATH"].startswith(str(home.path.resolve() / "run" / "bin"))
    for one in (warm, node, executor):
        said = " ".join(one.command).encode()
        assert not any(secret.strip() in said for secret in secrets)
        assert one.environment["FLWR_TELEMETRY_ENABLED"] == "0"
        assert one.folder == home.path.resolve() / "run" / "flower"
        assert "a.example.org" not in said.decode()
    arguments = list(node.command)
    assert arguments[arguments.index("--superlink") + 1] == "127.0.0.1:7001"
    assert arguments[arguments.index("--isolation") + 1] == "process"
    assert arguments[arguments.index("--host") + 1] == "127.0.0.1"
    assert node.least_pause > 60
