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
from server.run_state import RunState
from server.stages import StageReport
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
    said: list[str] = []
    with pytest.raises(InputError, match=words):
        asyncio.run(asyncio.wait_for(run_coordinator(home, lambda: said.append("it listens")), 60))
    assert said == ["it listens"]
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
    assert run_study(home, Network(home), lambda _: None) == (end, said)
    assert stand.answers == []


def test_a_coordinator_that_is_gone_is_an_end(home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch) -> None:
    home.keep_plan(sign(make_plan()))
    states: list[Any] = [{"ready": True, "superlink": 1}, None]
    stand = Stand("running", LATE)
    monkeypatch.setattr(studies, "Control", lambda **_: stand)
    monkeypatch.setattr(studies, "running_state", lambda _: states.pop(0))
    monkeypatch.setattr(studies, "_ASK_SECONDS", 0.0)
    assert run_study(home, Network(home), lambda _: None) == (
        StudyEnd.FAILED, "The coordinator's server ended before it.")
    assert states == []


class Runs:
    """States of a run, one for each look; the last one stays."""

    def __init__(self, *states: RunState) -> None:
        self.states = list(states)

    def __call__(self, _plan: str) -> RunState:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def stage(name: str, *answered: str, late: tuple[str, ...] = (), refused: tuple[tuple[str, str], ...] = ()
          ) -> StageReport:
    return StageReport(stage=name, answered=answered, late=late, refused=refused, seconds=12.4)


def test_each_stage_is_told_once_when_it_begins_and_when_it_is_over(home: CoordinatorHome,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    home.keep_plan(sign(make_plan()))
    before, hello = stage("hello", "a"), stage("hello", "a", "b", late=("c",))
    first = stage("round 1", "a", refused=(("b", "budget_exhausted"),))
    greeting = RunState(stages=(before,), running=True, stage="hello")
    monkeypatch.setattr(home, "run_state", Runs(
        RunState(stages=(before,)), RunState(stages=(before,)), RunState(stages=(before,), running=True), greeting,
        greeting,
        RunState(stages=(before, hello), running=True, stage="round 1"), RunState(stages=(before, hello, first))))
    monkeypatch.setattr(studies, "Control", lambda **_: Stand(*["running"] * 5, "finished:failed:below the quorum"))
    monkeypatch.setattr(studies, "running_state", lambda _: {"ready": True, "superlink": 1})
    monkeypatch.setattr(studies, "_ASK_SECONDS", 0.0)
    told: list[str] = []
    assert run_study(home, Network(home), told.append)[0] is StudyEnd.TOO_FEW
    assert "Ctrl-C here leaves it running" in told[0]
    assert [line.partition(";")[0] for line in told[1:]] == [
        "hello begins", "hello took 12 s", "round 1 begins", "round 1 took 12 s"]
    assert "after 20 s is not waited for" in told[1]
    assert told[2].endswith("answered: a, b; late or absent: c")
    assert told[4].endswith("answered: a; refused: b (budget_exhausted)")


def test_a_study_that_runs_is_not_begun_again(home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch) -> None:
    home.keep_plan(sign(make_plan()))
    monkeypatch.setattr(studies, "running_state", lambda _: {"ready": True, "superlink": 1})
    begun: list[Stand] = []

    def control(**_: Any) -> Stand:
        begun.append(Stand("finished:failed:the lock is held"))
        return begun[-1]

    monkeypatch.setattr(studies, "Control", control)
    monkeypatch.setattr(home, "run_state", Runs(RunState(running=True)))
    with pytest.raises(InputError, match=r"runs already.*leelight coordinator watch.*resume"):
        run_study(home, Network(home), lambda _: None)
    assert not begun
    # The other order was seen only after this one was given.
    monkeypatch.setattr(home, "run_state", Runs(RunState(), RunState(), RunState(running=True)))
    with pytest.raises(InputError, match="runs already"):
        run_study(home, Network(home), lambda _: None)
    assert len(begun) == 1


def test_who_stops_waiting_leaves_the_study_running(home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch) -> None:
    home.keep_plan(sign(make_plan()))

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studies, "Control", lambda **_: Stand("running", then=interrupt))
    monkeypatch.setattr(studies, "running_state", lambda _: {"ready": True, "superlink": 1})
    assert run_study(home, Network(home), lambda _: None) == (StudyEnd.LEFT, "")
    assert StudyEnd.LEFT.value == 130
    assert "still runs" in StudyEnd.LEFT.words


def test_a_study_that_is_kept_has_run_whatever_the_superlink_says(home: CoordinatorHome,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    signed = sign(make_plan())
    home.keep_plan(signed)
    stand = Stand("running", then=lambda: home.study(signed.sha256).path.mkdir(parents=True))
    monkeypatch.setattr(studies, "Control", lambda **_: stand)
    monkeypatch.setattr(studies, "running_state", lambda _: {"ready": True, "superlink": 1})
    assert run_study(home, Network(home), lambda _: None) == (StudyEnd.RAN, "")


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
