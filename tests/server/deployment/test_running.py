"""A coordinator that cannot let its partners in; waiting for a study, whose coordinator may answer late or never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.control_pb2 import ListNodesResponse
from flwr.proto.node_pb2 import NodeInfo

from federation.deployment.certificates import make_authority
from federation.deployment.keeper import running_state
from federation.deployment.serving import free_port
from federation.errors import InputError
from server.coordinator import CoordinatorHome
from server.deployment import running, studies
from server.deployment.control import Control, Node
from server.deployment.enrolled import Enrolled
from server.deployment.network import CoordinatorSettings, Network, make_network
from server.deployment.running import admit, run_coordinator
from server.deployment.studies import StudyEnd, run_study
from tests.worlds import COORDINATOR, make_plan, sign


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    made = CoordinatorHome.create(tmp_path / "home", key=COORDINATOR)
    port = free_port()
    make_network(made, CoordinatorSettings(name="desk", address=f"localhost:{port}", listen=f"127.0.0.1:{port}"))
    return made


async def nothing(*_: object) -> None:
    """The SuperLink is up at once."""


def refuse(*_: object) -> None:
    raise InputError("SuperLink", "refused letting ngo in (409)", remedy="see its log")


async def late(*_: object) -> None:
    raise InputError("SuperLink", "was not ready within 90 s", remedy="see its log")


@pytest.mark.parametrize(("ready", "let_in", "words"), [(nothing, refuse, "letting ngo in"),
                                                        (late, lambda *_: None, "not ready")])
def test_a_coordinator_that_cannot_let_partners_in_ends_and_says_why(
    home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch, ready: Any, let_in: Any, words: str,
) -> None:
    monkeypatch.setattr(running, "_ready", ready)
    monkeypatch.setattr(running, "admit", let_in)
    monkeypatch.setattr(running, "coordinator_processes", lambda *_: [])
    with pytest.raises(InputError, match=words):
        asyncio.run(asyncio.wait_for(run_coordinator(home), 60))
    assert running_state(home.path) is None


class Stand:
    """A SuperLink's answers about a run, one after the other; an error is raised."""

    def __init__(self, *answers: str | InputError, then: Callable[[], None] = lambda: None) -> None:
        self.answers, self.then = list(answers), then

    def run(self, _signed: Any) -> int:
        return 7

    def status(self, run: int) -> str:
        assert run == 7
        answer = self.answers.pop(0)
        if not self.answers:
            self.then()
        if isinstance(answer, InputError):
            raise answer
        return answer


LATE = InputError("SuperLink", "did not answer about the state of the run (ReadTimeout)")


@pytest.mark.parametrize(("answers", "end", "said"), [
    (["running", LATE, "running", "finished:failed:round 1: the quorum is 3"], StudyEnd.TOO_FEW,
     "round 1: the quorum is 3"),
    ([LATE, "finished:failed:of something else"], StudyEnd.FAILED, "of something else"),
    (["finished:stopped"], StudyEnd.FAILED, "Flower says no more than finished:stopped.")])
def test_a_late_answer_is_no_end(home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch, answers: list[Any],
                                 end: StudyEnd, said: str) -> None:
    home.keep_plan(sign(make_plan()))
    stand = Stand(*answers)
    monkeypatch.setattr(studies, "Control", lambda **_: stand)
    monkeypatch.setattr(studies, "running_state", lambda _: {"ready": True, "superlink": 1})
    monkeypatch.setattr(studies, "_ASK_SECONDS", 0.0)
    assert run_study(home, Network(home)) == (end, said)
    assert stand.answers == []


def test_a_coordinator_that_is_gone_is_an_end(home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch) -> None:
    home.keep_plan(sign(make_plan()))
    states: list[Any] = [{"ready": True, "superlink": 1}, None]
    stand = Stand("running", LATE)
    monkeypatch.setattr(studies, "Control", lambda **_: stand)
    monkeypatch.setattr(studies, "running_state", lambda _: states.pop(0))
    monkeypatch.setattr(studies, "_ASK_SECONDS", 0.0)
    assert run_study(home, Network(home)) == (StudyEnd.FAILED, "The coordinator's server ended before it.")
    assert states == []


def test_a_study_that_is_kept_has_run_whatever_the_superlink_says(home: CoordinatorHome,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    signed = sign(make_plan())
    home.keep_plan(signed)
    stand = Stand("running", then=lambda: home.study(signed.sha256).path.mkdir(parents=True))
    monkeypatch.setattr(studies, "Control", lambda **_: stand)
    monkeypatch.setattr(studies, "running_state", lambda _: {"ready": True, "superlink": 1})
    assert run_study(home, Network(home)) == (StudyEnd.RAN, "")


def test_a_key_that_cannot_be_read_is_nobodys_and_shut_out(home: CoordinatorHome, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    out: list[int] = []

    class Link:
        def ListNodes(self, _: Any) -> Any:
            return ListNodesResponse(nodes_info=[
                NodeInfo(node_id=1, public_key=b"junk", status="online"), NodeInfo(node_id=2, public_key=b""),
                NodeInfo(node_id=3, public_key=key, status="offline"), NodeInfo(node_id=4, status="unregistered")])

    make_authority(tmp_path, "a")
    control = Control(port=1, authority=tmp_path / "ca.crt")
    monkeypatch.setattr(control, "_client", Link())
    monkeypatch.setattr(control, "shut_out", lambda node: out.append(node.number))
    assert [(one.number, bool(one.node_key), one.online) for one in control.nodes()] == [
        (1, False, True), (2, False, False), (3, True, False)]
    assert all(isinstance(one, Node) for one in control.nodes())
    admit(control, Enrolled(home))
    assert out == [1, 2, 3]
