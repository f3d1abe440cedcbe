"""What a node gets to see of a run, its software and its messages, and what of it is the partner's decision."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from flwr.proto.fab_pb2 import Fab, GetFabRequest, GetFabResponse
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import Message
from flwr.proto.run_pb2 import GetRunRequest, GetRunResponse, Run
from flwr.proto.transport_pb2 import Scalar
from starlette.responses import Response

from clients import approvals
from clients.approvals import Decision, approval_path, decide
from clients.deployment import gate as module
from clients.deployment.gate import ASK_SECONDS, BUSY_SECONDS, HOLD_SECONDS, IDLE_ASK_SECONDS, Gate
from clients.node import NodeHome
from federation.deployment.bundle import sha256_of
from federation.deployment.proxy import FLEET_PREFIX, Limits
from federation.deployment.serving import bound, port_of, served, trusting
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from tests.federation.deployment.stands import make_keys, response, saying, upstream
from tests.worlds import make_home, make_plan, sign

BUNDLE, NEWER = b"the software", b"the software, a version later"


@pytest.fixture(scope="module")
def plan() -> StudyPlan:
    return make_plan()


@pytest.fixture
def home(tmp_path: Path, plan: StudyPlan, monkeypatch: pytest.MonkeyPatch) -> NodeHome:
    """A partner that has approved the plan, together with `BUNDLE`."""
    made = make_home(tmp_path, 0)
    monkeypatch.setattr(approvals, "installed_bundle_sha256", lambda: sha256_of(BUNDLE))
    decide(made, sign(plan), Decision.APPROVED)
    return made


def run_of(plan: StudyPlan | str, *, number: int = 7, bundle: bytes = BUNDLE, **others: Any) -> Run:
    text = plan if isinstance(plan, str) else sign(plan).to_json()
    return Run(run_id=number, fab_hash=sha256_of(bundle), primary_task_type="flwr-serverapp",
               override_config={"plan": Scalar(string=text), **others})


def look(gate: Gate, name: str, body: bytes, content: bytes) -> httpx.Response | Response:
    found = httpx.Response(200, content=content)
    return asyncio.run(gate.look(FLEET_PREFIX + name, body, {}, found))


def get_run(gate: Gate, run: Run, *, asked: int = 7) -> int:
    return checked(look(gate, "get-run", GetRunRequest(run_id=asked).SerializeToString(),
                        GetRunResponse(run=run).SerializeToString()))


def get_fab(gate: Gate, content: bytes, *, asked: int = 7) -> int:
    return checked(look(gate, "get-fab", GetFabRequest(run_id=asked).SerializeToString(),
                        GetFabResponse(fab=Fab(content=content, hash_str=sha256_of(content))).SerializeToString()))


def checked(found: httpx.Response | Response) -> int:
    """The status; a refusal says nothing but that it is one."""
    if found.status_code == 200:
        assert isinstance(found, httpx.Response), "an answer passes as it came"
    else:
        assert isinstance(found, Response)
        assert (found.status_code, found.body) == (403, b"not approved by the partner\n")
        assert [name for name, _ in found.raw_headers] == [b"content-length"]
    return found.status_code


# Runs


def test_an_approved_run_passes_and_its_software_too(home: NodeHome, plan: StudyPlan) -> None:
    gate = Gate(home)
    assert get_run(gate, run_of(plan)) == 200
    assert get_fab(gate, BUNDLE) == 200


@pytest.mark.parametrize("extra", [
    {"epsilon": Scalar(double=100.0)}, {"plan-override": Scalar(string="{}")}, {"privacy.total_epsilon": Scalar()},
    {"": Scalar(string="x")}, {"plan ": Scalar(string="x")}, {"Plan": Scalar(bool=True)},
])
def test_a_run_that_sets_anything_besides_the_plan_does_not_pass(home: NodeHome, plan: StudyPlan,
                                                                 extra: dict[str, Scalar]) -> None:
    gate = Gate(home)
    assert get_run(gate, run_of(plan, **extra)) == 403
    alone = run_of(plan)
    del alone.override_config["plan"]
    assert get_run(gate, alone) == 403
    for name, value in extra.items():
        alone.override_config[name].CopyFrom(value)
    assert get_run(gate, alone) == 403
    assert get_fab(gate, BUNDLE) == 403


@pytest.mark.parametrize("value", [Scalar(), Scalar(string=""), Scalar(bool=True), Scalar(double=1.0),
                                   Scalar(string="null"), Scalar(string="[" * 5000), Scalar(string="\x00")])
def test_a_plan_that_is_none_does_not_pass(home: NodeHome, plan: StudyPlan, value: Scalar) -> None:
    run = run_of(plan)
    run.override_config["plan"].CopyFrom(value)
    assert get_run(Gate(home), run) == 403


def test_a_plan_that_nobody_decided_about_or_that_was_declined_does_not_pass(home: NodeHome, plan: StudyPlan) -> None:
    gate, other = Gate(home), make_plan(learning_rate=2.0)
    assert get_run(gate, run_of(other)) == 403
    decide(home, sign(other), Decision.DECLINED)
    assert get_run(gate, run_of(other)) == 403
    assert get_run(gate, run_of(plan)) == 200


def test_a_decision_counts_from_the_next_answer_on(home: NodeHome, plan: StudyPlan) -> None:
    gate = Gate(home)
    assert get_run(gate, run_of(plan)) == 200
    decide(home, sign(plan), Decision.DECLINED)
    assert get_run(gate, run_of(plan)) == 403
    assert get_fab(gate, BUNDLE) == 403, "the run is approved no more"
    decide(home, sign(plan), Decision.APPROVED)
    assert get_run(gate, run_of(plan)) == 200


def test_a_plan_that_was_approved_with_other_software_does_not_pass(home: NodeHome, plan: StudyPlan) -> None:
    gate = Gate(home)
    assert get_run(gate, run_of(plan, bundle=NEWER)) == 403
    assert get_fab(gate, NEWER) == 403


def test_a_plan_under_another_key_does_not_pass(home: NodeHome, plan: StudyPlan) -> None:
    assert get_run(Gate(home), run_of(SignedPlan.sign(plan, SigningKey.generate()).to_json())) == 403


def test_a_plan_of_which_one_byte_was_changed_does_not_pass(home: NodeHome, plan: StudyPlan) -> None:
    gate, text = Gate(home), sign(plan).to_json()
    for place in range(0, len(text), max(1, len(text) // 150)):
        changed = text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1:]
        assert get_run(gate, run_of(changed)) == 403, f"byte {place}"
    raised = text.replace('"noise_multiplier":5', '"noise_multiplier":1')
    assert raised != text
    assert get_run(gate, run_of(raised)) == 403


@pytest.mark.parametrize("damage", [
    lambda path: path.write_bytes(path.read_bytes().replace(b'"approved"', b'"declined"')),
    lambda path: path.write_bytes(path.read_bytes().replace(sha256_of(BUNDLE).encode(), sha256_of(NEWER).encode())),
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(b""),
    lambda path: path.unlink(),
    lambda path: (path.unlink(), path.mkdir()),
])
@pytest.mark.parametrize("bundle", [BUNDLE, NEWER])
def test_an_approval_that_was_tampered_with_is_none(home: NodeHome, plan: StudyPlan, bundle: bytes,
                                                    damage: Callable[[Path], Any]) -> None:
    damage(approval_path(home, plan.sha256))
    assert get_run(Gate(home), run_of(plan, bundle=bundle)) == 403


def test_without_the_partners_own_key_nothing_passes(home: NodeHome, plan: StudyPlan) -> None:
    (home.path / "identity.key").unlink()
    assert get_run(Gate(home), run_of(plan)) == 403


def test_another_run_than_was_asked_for_does_not_pass(home: NodeHome, plan: StudyPlan) -> None:
    gate = Gate(home)
    assert get_run(gate, run_of(plan, number=8)) == 403
    assert get_fab(gate, BUNDLE) == get_fab(gate, BUNDLE, asked=8) == 403


def test_a_run_of_another_kind_does_not_pass(home: NodeHome, plan: StudyPlan) -> None:
    run = run_of(plan)
    run.primary_task_type = "flwr-agentapp"
    assert get_run(Gate(home), run) == 403


# Software


@pytest.mark.parametrize("content", [b"", b"The software", BUNDLE + b"\n", NEWER, BUNDLE[:-1]])
def test_other_bytes_than_were_approved_do_not_pass(home: NodeHome, plan: StudyPlan, content: bytes) -> None:
    gate = Gate(home)
    get_run(gate, run_of(plan))
    assert get_fab(gate, content) == 403


def test_software_passes_only_for_the_run_that_it_was_approved_for(home: NodeHome, plan: StudyPlan,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    gate, later = Gate(home), make_plan(learning_rate=2.0)
    monkeypatch.setattr(approvals, "installed_bundle_sha256", lambda: sha256_of(NEWER))
    decide(home, sign(later), Decision.APPROVED)
    assert get_run(gate, run_of(plan)) == 200
    assert get_run(gate, run_of(later, number=8, bundle=NEWER), asked=8) == 200
    assert get_fab(gate, BUNDLE, asked=8) == 403, "approved once, but the plan of this run was approved with another"
    assert get_fab(gate, NEWER, asked=7) == 403
    assert get_fab(gate, BUNDLE, asked=7) == 200
    assert get_fab(gate, NEWER, asked=8) == 200


def test_software_does_not_pass_before_its_run_was_looked_at(home: NodeHome) -> None:
    assert get_fab(Gate(home), BUNDLE) == 403


# Answers that cannot be read, and what the partner hears


@pytest.mark.parametrize("name", ["get-run", "get-fab", "pull-messages"])
@pytest.mark.parametrize("content", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05ab"])
def test_an_answer_that_cannot_be_read_does_not_pass(home: NodeHome, name: str, content: bytes) -> None:
    assert checked(look(Gate(home), name, b"", content)) == 403


@pytest.mark.parametrize("name", ["push-messages", "send-node-heartbeat", "pull-object", "activate-node"])
def test_the_other_answers_pass_as_they_are(home: NodeHome, name: str) -> None:
    found = look(Gate(home), name, b"", b"\xffanything")
    assert isinstance(found, httpx.Response)
    assert found.content == b"\xffanything"


def test_the_partner_is_told_once(home: NodeHome, caplog: pytest.LogCaptureFixture) -> None:
    gate, other = Gate(home), make_plan(learning_rate=2.0)
    with caplog.at_level(logging.INFO, "leelight"):
        for _ in range(3):
            get_run(gate, run_of(other))
            get_fab(gate, NEWER)
    assert len(caplog.messages) == 2
    assert f"plan {other.sha256[:16]}… (test) is not approved here" in caplog.text
    assert "leelight partner review" in caplog.text
    assert f"sent software {sha256_of(NEWER)[:16]}…" in caplog.text


def test_what_was_refused_last_is_noted_until_a_run_passes(home: NodeHome, plan: StudyPlan) -> None:
    noted: list[str] = []
    gate, other = Gate(home, told=noted.append), make_plan(learning_rate=2.0)
    for _ in range(3):
        get_run(gate, run_of(other))
    assert [f"plan {other.sha256[:16]}… (test) is not approved here" in words for words in noted] == [True]
    for _ in range(2):
        get_run(gate, run_of(plan))
    assert noted[1:] == [""]


def test_what_was_told_is_not_kept_without_end(home: NodeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOLD", 3)
    gate = Gate(home)
    for number in range(10):
        get_fab(gate, str(number).encode())
    assert len(gate._told) <= 3


def test_the_log_holds_nothing_of_a_plan_or_of_what_a_stranger_wrote(home: NodeHome, plan: StudyPlan,
                                                                     caplog: pytest.LogCaptureFixture) -> None:
    mark = "MARK\x1b[2J"
    signed = sign(plan).to_json()
    runs = [run_of(text) for text in (
        mark, f'{{"plan":"{mark}"}}', '{"MARK":1}', signed.replace('"test"', '"MARK"'),
        signed.replace(plan.purpose, "MARK"), signed[:-1] + ',"MARK":"MARK"}', "null")]
    unhashed = run_of(plan)
    unhashed.fab_hash = mark
    keyed = run_of(plan)
    keyed.override_config[mark].string = mark
    other = run_of(SignedPlan.sign(plan, SigningKey.generate()).to_json())
    with caplog.at_level(logging.DEBUG, "leelight"):
        for run in (*runs, unhashed, keyed, other):
            assert get_run(Gate(home), run) == 403
    assert caplog.text.count("refused at the gate") == len(runs) + 3
    assert "MARK" not in caplog.text
    assert "\x1b" not in caplog.text
    assert plan.purpose not in caplog.text


# Messages


@dataclass
class Clock:
    """Time that passes only by waiting."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


MESSAGE = PullMessagesResponse(messages_list=[Message()]).SerializeToString()
EMPTY = PullMessagesResponse().SerializeToString()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=made.sleep))
    return made


def asking(home: NodeHome, clock: Clock, *later: bytes | int | Exception) -> tuple[Gate, list[Any]]:
    """A gate whose coordinator answers so, one after the other, and what it was asked."""
    gate, asked, answers = Gate(home, clock=lambda: clock.now), [], iter(later)

    async def forward(*question: Any) -> httpx.Response:
        asked.append(question)
        answer = next(answers, EMPTY)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer) if isinstance(answer, int) else httpx.Response(200, content=answer)

    gate.proxy = SimpleNamespace(forward=forward)  # type: ignore[assignment]
    return gate, asked


def pull(gate: Gate, content: bytes) -> httpx.Response:
    found = look(gate, "pull-messages", b"who I am", content)
    assert isinstance(found, httpx.Response)
    return found


def test_a_message_is_given_at_once(home: NodeHome, clock: Clock) -> None:
    gate, asked = asking(home, clock)
    assert pull(gate, MESSAGE).content == MESSAGE
    assert (asked, clock.slept) == ([], [])


def test_an_answer_without_one_is_held_until_there_is_one(home: NodeHome, clock: Clock) -> None:
    gate, asked = asking(home, clock, EMPTY, MESSAGE, EMPTY)
    assert pull(gate, EMPTY).content == MESSAGE
    assert asked == [(FLEET_PREFIX + "pull-messages", b"who I am", {})] * 2
    assert clock.slept == [IDLE_ASK_SECONDS] * 2


def test_nothing_is_held_longer_than_said(home: NodeHome, clock: Clock) -> None:
    gate, asked = asking(home, clock)
    assert pull(gate, EMPTY).content == EMPTY
    assert clock.now == HOLD_SECONDS == IDLE_ASK_SECONDS * len(asked)


def test_after_a_message_the_coordinator_is_asked_often_for_a_while(home: NodeHome, clock: Clock) -> None:
    gate, _ = asking(home, clock, MESSAGE)
    pull(gate, MESSAGE)
    pull(gate, EMPTY)
    assert clock.slept == [ASK_SECONDS]
    clock.now += BUSY_SECONDS - 1.0
    pull(gate, EMPTY)
    assert clock.slept[1:4] == [ASK_SECONDS] * 3
    assert clock.slept[-1] == IDLE_ASK_SECONDS
    assert sum(clock.slept[1:]) <= HOLD_SECONDS


@pytest.mark.parametrize("status", [401, 503])
def test_an_error_while_holding_passes(home: NodeHome, clock: Clock, status: int) -> None:
    gate, _ = asking(home, clock, EMPTY, status)
    assert pull(gate, EMPTY).status_code == status
    pull(gate, EMPTY)
    assert set(clock.slept) == {IDLE_ASK_SECONDS}, "an error is no message"


def test_an_answer_that_cannot_be_read_while_holding_does_not_pass(home: NodeHome, clock: Clock) -> None:
    gate, _ = asking(home, clock, EMPTY, b"\xff")
    assert checked(look(gate, "pull-messages", b"", EMPTY)) == 403


# With Flower's own client, over TLS


def test_flowers_client_gets_past_the_gate_only_what_the_partner_approved(
        home: NodeHome, plan: StudyPlan, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What a coordinator can answer to have its software run all the same: none of it reaches the node."""
    from flwr.supernode.fleet_http_client import FleetHttpClient

    of_coordinator, of_gate = make_keys(tmp_path, "coordinator"), make_keys(tmp_path, "gate")
    good = GetRunResponse(run=run_of(plan)).SerializeToString()
    evil = GetFabResponse(fab=Fab(content=NEWER)).SerializeToString()
    answers: dict[str, list[bytes]] = {
        FLEET_PREFIX + "get-run": [response(200, good)],
        FLEET_PREFIX + "get-fab": [response(200, GetFabResponse(fab=Fab(content=BUNDLE)).SerializeToString())]}

    def ask(port: int) -> tuple[Run, bytes]:
        with FleetHttpClient.from_server_address(f"127.0.0.1:{port}", False, (of_gate / "ca.crt").read_bytes(),
                                                 interceptors=[]) as client:
            run = client.GetRun(GetRunRequest(run_id=7)).run
            return run, client.GetFab(GetFabRequest(run_id=7, hash_str=run.fab_hash)).fab.content

    async def answer(asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[asked.path][-1])

    async def all_of_it() -> list[int]:
        async with upstream(of_coordinator, answer) as coordinator, upstream(of_gate, saying(response(200, evil))) as x:
            listener = bound("127.0.0.1", 0)
            proxy = Gate(home).before(f"127.0.0.1:{coordinator.port}", trusting(of_coordinator / "ca.crt"), Limits())
            async with served(proxy, listener, certificate=of_gate / "server.crt", key=of_gate / "server.key"):
                run, bundle = await asyncio.to_thread(ask, port_of(listener))
                assert (run.run_id, bundle) == (7, BUNDLE)
                refused = []
                away = f"location: https://127.0.0.1:{x.port}/v1/fleet/get-fab".encode()
                for bad in (response(200, evil), response(201, evil), response(299, evil), response(307, b"", away),
                            response(308, b"", away), response(302, b"", away)):
                    answers[FLEET_PREFIX + "get-fab"].append(bad)
                    with pytest.raises(httpx.HTTPStatusError) as caught:
                        await asyncio.to_thread(ask, port_of(listener))
                    refused.append(caught.value.response.status_code)
                assert x.asked == [], "the node went past the gate"
            await proxy.close()
            return refused

    with caplog.at_level(logging.WARNING, "leelight"):
        assert asyncio.run(asyncio.wait_for(all_of_it(), 60)) == [403, 502, 502, 502, 502, 502]
