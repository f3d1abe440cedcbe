"""A coordinator and three partners as real processes on loopback, on bad days: killed, cut off, lied to, intruded on.

Every study has a deadline and every wait here a limit, so nothing can hang. Studies are small, on invented records.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from flwr.cli.build import build_fab_from_files

from clients.approvals import approval_path
from clients.deployment.network import Network as NodeNetwork
from federation.deployment.bundle import app_files, sha256_of
from federation.deployment.certificates import SERVER_DAYS, make_server_certificate, node_public_key
from federation.deployment.exchange import Enrolment
from federation.deployment.keeper import running_state
from federation.deployment.proxy import FLEET_PATHS, Limits, Proxy
from federation.deployment.serving import bound, port_of, served, trusting
from server.deployment import control as control_module
from server.deployment.control import Control
from server.deployment.network import Network
from simulations.deployment import Deployment, Failed, in_process
from tests.system.stands import (
    AGENCY,
    NGO,
    PLATFORM,
    answered,
    begin,
    charges,
    ended,
    in_stage,
    kill,
    node_events,
    online,
    reach,
    running,
    watched,
)

pytestmark = pytest.mark.bad_days


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Everything is up; each test runs a study of its own."""
    with running(tmp_path_factory.mktemp("deployment")) as found:
        yield found


def test_an_undisturbed_study_equals_the_grid_and_its_release_is_verified(made: Deployment, tmp_path: Path) -> None:
    signed = made.plan("study.name=undisturbed")
    made.do("coordinator", "run", "--home", made.coordinator.path)
    study, other = made.coordinator.study(signed.sha256), in_process(tmp_path, made, signed)
    for name in ("model.safetensors", "measurements.json"):
        assert (study.path / name).read_bytes() == (other.path / name).read_bytes()
    assert (made.release() / "release.json").is_file()
    assert charges(made, NGO, signed) == (3, 0)


def test_a_partner_killed_in_training_is_missed_and_comes_back(made: Deployment) -> None:
    signed = made.plan("study.name=partner-killed", "study.stage_deadline_seconds=60")
    study = begin(made)
    reach(made, signed, in_stage("round 1"))
    kill(made, NGO)
    assert ended(study) == 0
    assert set(answered(made, signed)["table"]) == {AGENCY, PLATFORM}
    # At once: the SuperLink takes it back only after a minute, and the keeper outwaits that.
    made.start(NGO)
    made.wait(lambda: NGO in online(made), "the return of the partner", seconds=200)


@pytest.mark.parametrize(("stage", "exchange"), [("round 1", ""), ("table", "shares"), ("table", "masked")])
def test_a_killed_coordinator_goes_on_where_it_was(made: Deployment, stage: str, exchange: str) -> None:
    signed = made.plan(f"study.name=coordinator-killed-{stage.replace(' ', '')}-{exchange or 'x'}")
    study = begin(made)
    reach(made, signed, in_stage(stage, exchange))
    before = made.coordinator.run_state(signed.sha256)
    assert not before.finished
    kill(made, "coordinator")
    assert ended(study) != 0
    made.start("coordinator")
    made.wait(lambda: online(made) == {NGO, AGENCY, PLATFORM}, "the partners", seconds=200)
    study = begin(made, "resume")
    assert ended(study) == 0
    for name in (NGO, AGENCY, PLATFORM):
        assert charges(made, name, signed) == (3, 0)
    assert made.coordinator.run_state(signed.sha256).rounds_done == 2


def test_a_frozen_network_heals(made: Deployment) -> None:
    signed = made.plan("study.name=frozen")
    study = begin(made)
    reach(made, signed, in_stage("round 1"))
    made.running["coordinator"].send_signal(signal.SIGSTOP)
    asyncio.run(asyncio.sleep(15))
    made.running["coordinator"].send_signal(signal.SIGCONT)
    assert ended(study) == 0
    assert len(answered(made, signed)["table"]) == 3


def test_a_straggler_is_not_waited_for(made: Deployment) -> None:
    signed = made.plan("study.name=straggler", "study.stage_deadline_seconds=45")
    state = running_state(made.node(PLATFORM).path)
    assert state is not None
    frozen = [one["pid"] for one in state["processes"]]
    study = begin(made)
    reach(made, signed, in_stage("round 1"))
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert ended(study) == 0
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert set(answered(made, signed)["table"]) >= {NGO, AGENCY}
    made.wait(lambda: PLATFORM in online(made), "the straggler", seconds=200)


def test_what_was_not_approved_never_reaches_a_node(made: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that differs by a byte, a run that sets more than the plan, and a plan that somebody did not approve."""
    control = Control(port=(running_state(made.coordinator.path) or {})["superlink"],
                      authority=Network(made.coordinator).authority)
    signed = made.plan("study.name=changed-bundle", "study.stage_deadline_seconds=20")
    files = app_files()
    code = {**files, "clients/app.py": files["clients/app.py"] + b"\n"}
    wider = {**files, "pyproject.toml": files["pyproject.toml"].replace(b'plan = ""', b'plan = ""\nepsilon = 100.0')}
    for changed in (code, wider):
        assert changed != files
        bundle = build_fab_from_files(dict(changed))[0]
        monkeypatch.setattr(control_module, "build_bundle", lambda bundle=bundle: bundle)
        number = control.run(signed)
        made.wait(lambda number=number: control_module.has_ended(control.status(number)), "the run's end")
        assert all(sha256_of(bundle)[:16] in node_events(made, name) for name in (NGO, AGENCY, PLATFORM))
        assert not made.coordinator.study(signed.sha256).path.exists()
    for name in (NGO, AGENCY, PLATFORM):
        ledger = json.loads(made.do("ledger", "show", "--home", made.node(name).path, "--json"))
        assert signed.sha256 not in [one["plan_sha256"] for one in ledger["studies"]]
        # Not even unpacked.
        unpacked = made.node(name).path / "run" / "flower" / "apps"
        assert len(list(unpacked.iterdir())) == 1


def test_a_plan_that_one_did_not_approve_or_changed_runs_without_it(made: Deployment) -> None:
    signed = made.plan("study.name=not-by-all", "study.stage_deadline_seconds=90", approve=[AGENCY, PLATFORM, NGO])
    path = approval_path(made.node(NGO), signed.sha256)
    path.write_bytes(path.read_bytes().replace(b'"approved"', b'"declined"'))
    made.do("coordinator", "run", "--home", made.coordinator.path)
    assert set(answered(made, signed)["table"]) == {AGENCY, PLATFORM}
    assert "refused at the gate" in node_events(made, NGO)


def test_a_stranger_gets_nowhere(made: Deployment) -> None:
    """Every route of the SuperLink but a node's ten, from outside; and a node's ten without a key that is enrolled."""
    from flwr.superlink.main import create_app

    app = create_app()
    routes = {*app.openapi()["paths"], *(str(path) for one in app.routes if (path := getattr(one, "path", None)))}
    routes -= FLEET_PATHS | {"/health"}
    assert {"/v1/control/start-run", "/v1/fleet/register-node", "/v1/runtime/acquire-task"} <= routes
    base = f"https://127.0.0.1:{made.port}"
    with httpx.Client(verify=trusting(Network(made.coordinator).authority), trust_env=False) as client:
        assert client.get(f"{base}/health").status_code == 200
        for route in sorted(routes):
            for method in ("GET", "POST", "PUT", "DELETE"):
                assert client.request(method, base + route, content=b"").status_code == 404, (method, route)
        for route in sorted(FLEET_PATHS):
            found = client.post(base + route, content=b"", headers={"content-type": "application/protobuf"})
            assert found.status_code in (400, 401, 403, 415, 422), (route, found.status_code)


def most_held(pid: int) -> int:
    """Most bytes of memory that a process ever had."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def test_a_gigabyte_is_not_swallowed(made: Deployment) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield bytes(1_000_000)

    url = f"https://127.0.0.1:{made.port}/v1/fleet/push-object"
    with httpx.Client(verify=trusting(Network(made.coordinator).authority), trust_env=False, timeout=60) as client:
        held = most_held(made.running["coordinator"].pid)
        for headers in ({"content-length": "1000000000"}, {}):
            # It may be told while it is still sending.
            with suppress(httpx.WriteError):
                assert client.post(url, content=endless(), headers=headers).status_code == 413
        assert client.get(f"https://127.0.0.1:{made.port}/health").status_code == 200
        assert most_held(made.running["coordinator"].pid) - held < 2 * Limits().body_bytes


def test_who_is_not_enrolled_or_was_turned_away_stays_outside(made: Deployment, tmp_path: Path) -> None:
    """A home that joined and was never enrolled; then a partner that is revoked in the middle of everything."""
    stranger = tmp_path / "stranger"
    shutil.copytree(made.node(NGO).path, stranger, ignore=shutil.ignore_patterns("run", "logs", "network"))
    made.do("partner", "join", made.coordinator.path / "invitation.json", "--home", stranger)
    process = subprocess.Popen([str(Path(sys.executable).with_name("leelight")), "partner", "start", "--home",
                                str(stranger)])
    try:
        log = stranger / "logs" / "flower-supernode.log"
        made.wait(lambda: log.is_file() and "Failed to activate" in log.read_text(), "the refusal")
    finally:
        process.terminate()
        process.wait(timeout=60)
    made.do("coordinator", "revoke", AGENCY, "--node-key-only", "--home", made.coordinator.path)
    made.wait(lambda: AGENCY not in {one["name"] for one in watched(made)["partners"]}, "the revocation")
    with pytest.raises(Failed, match="was given up"):
        made.do("coordinator", "enrol", made.node(AGENCY).path / "enrolment.json", "--key",
                made.node(AGENCY).signing_key().public, "--home", made.coordinator.path)
    made.stop(AGENCY)
    made.do("partner", "join", made.coordinator.path / "invitation.json", "--new-key", "--home",
            made.node(AGENCY).path)
    made.do("coordinator", "enrol", made.node(AGENCY).path / "enrolment.json", "--key",
            made.node(AGENCY).signing_key().public, "--home", made.coordinator.path)
    made.start(AGENCY)
    made.wait(lambda: online(made) == {NGO, AGENCY, PLATFORM}, "the new key", seconds=200)


def test_an_expired_certificate_is_told_and_trusted_by_nobody(made: Deployment, tmp_path: Path) -> None:
    home = tmp_path / "coordinator"
    shutil.copytree(made.coordinator.path, home, ignore=shutil.ignore_patterns("run", "logs"))
    make_server_certificate(home / "network", ("localhost",), now=datetime.now(UTC) - timedelta(days=SERVER_DAYS + 1))
    with pytest.raises(Failed, match=r"expired 1 days? ago.*leelight coordinator renew"):
        made.do("coordinator", "start", "--home", home)

    async def knock() -> int:
        listener = bound("127.0.0.1", 0)
        authority = trusting(home / "network" / "ca.crt")
        behind = Proxy(f"https://127.0.0.1:{port_of(listener)}", tls=authority, paths=FLEET_PATHS, limits=Limits())
        front = bound("127.0.0.1", 0)
        async with (served(behind, listener, certificate=home / "network" / "server.crt",
                           key=home / "network" / "server.key"), served(behind, front),
                    httpx.AsyncClient(trust_env=False) as client):
            found = await client.post(f"http://127.0.0.1:{port_of(front)}/v1/fleet/pull-messages")
        await behind.close()
        return found.status_code

    assert asyncio.run(knock()) == 502


def test_the_keys_on_the_wire_are_those_that_were_enrolled(made: Deployment) -> None:
    for name in (NGO, AGENCY, PLATFORM):
        home = made.node(name)
        enrolment = Enrolment.read(home.path / "enrolment.json")
        assert enrolment.node_key == node_public_key(home.path / "network")
        assert NodeNetwork(home.path / "network").node_key.stat().st_mode & 0o777 == 0o600


_OUTSIDE = """
set -e
ip link set lo up
ip link add out0 type veth peer name in0
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 || true
ip addr add 192.0.2.2/24 dev out0
ip link set in0 up
ip link set out0 up
ip route add default via 192.0.2.1
sent() { ip -s link show out0 | awk 'after {print $2; exit} /TX:/ {after=1}'; }
before=$(sent)
"$@"
echo "packets: $(($(sent) - before))"
python3 -c 'import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b"here", ("198.51.100.1", 9))'
sleep 2
echo "then: $(($(sent) - before))"
"""


def test_nothing_calls_out(tmp_path: Path) -> None:
    """A whole study where the only way out is counted: not one packet takes it, not even to ask for a name."""
    done = subprocess.run(["unshare", "--net", "bash", "-c", _OUTSIDE, "-", sys.executable, "-m",
                           "simulations.deployment", str(tmp_path / "quiet"), "--rounds", "1"],
                          capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "packets: 0\n" in done.stdout
    # What would have been sent would have been counted.
    assert "then: 0\n" not in done.stdout
