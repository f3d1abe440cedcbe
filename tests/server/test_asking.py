"""Who is a partner, whose answer counts, and who is asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, RecordDict

from federation.messages import HELLO, OK, TABLE, TRAIN, Reply, Request, reply_content
from federation.plan import StudyPlan
from federation.signed_replies import sign_reply
from server.asking import BAD_REPLY, BAD_SIGNATURE, Answers, Partners
from server.post import most_bytes
from tests.server.scripted import Node, ScriptedGrid, Ticking, no_sleep, partner
from tests.worlds import make_plan, partner_key

__all__ = ["no_sleep"]
pytestmark = pytest.mark.usefixtures("no_sleep")
PLAN = make_plan(3, deadline=50)
QUESTION = Request(plan_sha256=PLAN.sha256, round_number=1)


def met(grid: ScriptedGrid, plan: StudyPlan = PLAN, step: float = 1.0) -> tuple[Partners, Answers[int]]:
    partners = Partners(grid, plan, Ticking(step))
    return partners, partners.greet(lambda *_: None)


def ask(partners: Partners, accept: Callable[[Reply], Any] = lambda reply: reply.code, action: str = TRAIN,
        names: tuple[str, ...] = ("partner-0", "partner-1", "partner-2")) -> Answers[Any]:
    return partners.ask(action, dict.fromkeys(names, QUESTION), accept, lambda *_: None)


def three() -> dict[int, Node]:
    return {number + 1: partner(number) for number in range(3)}


def test_nodes_are_known_by_what_they_sign() -> None:
    _, told = met(ScriptedGrid({7: partner(2), 8: partner(0), 9: partner(1)}))
    assert told == Answers(accepted={"partner-0": 8, "partner-1": 9, "partner-2": 7})
    assert list(told.accepted) == ["partner-0", "partner-1", "partner-2"]


def claims(number: int, key: int | None) -> Node:
    """A node that claims to be a partner, and signs with another's key or not at all."""
    def answer(request: Request, action: str) -> Reply:
        reply = Reply(code=OK, partner=f"partner-{number}")
        return reply if key is None else sign_reply(reply, request, action, partner_key(key))

    return answer


@pytest.mark.parametrize("key", [None, 1, 40])
@pytest.mark.parametrize("first", [True, False])
def test_an_impostor_is_refused_and_keeps_nobody_out(key: int | None, first: bool) -> None:
    nodes = {1: claims(0, key), 2: partner(0)} if first else {1: partner(0), 2: claims(0, key)}
    partners, told = met(ScriptedGrid({**nodes, 3: partner(1), 4: partner(2)}))
    true = 2 if first else 1
    assert told.accepted == {"partner-0": true, "partner-1": 3, "partner-2": 4}
    assert told.refused == {f"node {3 - true}": BAD_SIGNATURE}
    assert ask(partners).accepted.keys() == told.accepted.keys()


def test_an_impostor_that_comes_first_does_not_end_the_wait_for_the_true_partner() -> None:
    grid = ScriptedGrid({1: partner(0), 2: partner(1), 3: claims(2, None), 4: claims(2, 0)})
    looks = iter(range(100))

    def later() -> None:
        if next(looks) == 2:
            grid.nodes[5] = partner(2)

    grid.on_look = later
    _, told = met(grid)
    assert told.accepted == {"partner-0": 1, "partner-1": 2, "partner-2": 5}


def test_a_signature_of_an_earlier_greeting_is_no_proof() -> None:
    heard: list[Reply] = []

    def listening(request: Request, action: str) -> Reply:
        made = partner(0)(request, action)
        heard.append(made)
        return made

    _, told = met(ScriptedGrid({1: listening, 2: lambda *_: heard[0], 3: partner(1), 4: partner(2)}))
    assert told.accepted["partner-0"] == 1
    assert told.refused == {"node 2": BAD_SIGNATURE}


def test_who_declines_under_its_key_is_not_waited_for() -> None:
    clock = Ticking(1)
    partners = Partners(ScriptedGrid({1: partner(0), 2: partner(1, code="not_approved"), 3: partner(2)}), PLAN, clock)
    told = partners.greet(lambda *_: None)
    assert told.refused == {"partner-1": "not_approved"}
    assert clock.now < 10


def test_who_declines_without_a_signature_is_named_by_its_node() -> None:
    _, told = met(ScriptedGrid({1: partner(0), 2: partner(1), 3: lambda *_: Reply(code="not_configured")}))
    assert told == Answers(accepted={"partner-0": 1, "partner-1": 2}, refused={"node 3": "not_configured"})


def test_a_stranger_is_no_partner() -> None:
    _, told = met(ScriptedGrid({1: partner(0), 2: partner(1), 3: partner(9)}))
    assert told.refused == {"node 3": "not_in_roster"}


# --- whose answer counts


@pytest.mark.parametrize(("lie", "code"), [
    (lambda made, request, action: Reply(code=OK, partner="partner-1"), BAD_SIGNATURE),
    (lambda made, request, action: sign_reply(Reply(code=OK, partner="partner-1"), request, action, partner_key(0)),
     BAD_SIGNATURE),
    (lambda made, request, action: sign_reply(Reply(code=OK, partner="partner-0"), request, action, partner_key(1)),
     BAD_SIGNATURE),
    (lambda made, request, action: sign_reply(Reply(code=OK, partner="partner-1"), Request(
        plan_sha256=request.plan_sha256, round_number=request.round_number), action, partner_key(1)), BAD_SIGNATURE),
    (lambda made, request, action: sign_reply(Reply(code=OK, partner="partner-1"), Request(
        plan_sha256=request.plan_sha256, round_number=2, nonce=request.nonce), action, partner_key(1)), BAD_SIGNATURE),
    (lambda made, request, action: sign_reply(Reply(code=OK, partner="partner-1"), Request(
        plan_sha256="0" * 64, round_number=1, nonce=request.nonce), action, partner_key(1)), BAD_SIGNATURE),
    (lambda made, request, action: sign_reply(Reply(code=OK, partner="partner-1"), request, TABLE, partner_key(1)),
     BAD_SIGNATURE),
    (lambda made, request, action: Reply(code="busy2", partner="partner-1"), "failed"),
    (lambda made, request, action: Reply(code="not_ready"), "not_ready"),
    (lambda made, request, action: Error(code=2, reason="row 17"), "failed"),
    (lambda made, request, action: Error(code=8, reason="row 17"), "failed"),
    (lambda made, request, action: sign_reply(Reply(code=OK, partner="partner-1", payload=b"bad"), request, action,
                                              partner_key(1)), BAD_REPLY),
], ids=["unsigned", "another's key", "another's name", "another nonce", "another round", "another plan",
        "another action", "unknown code", "unsigned refusal", "error", "crash", "bad"])
def test_an_answer_that_is_not_the_partners_own_is_refused(lie: Any, code: str) -> None:
    def accept(reply: Reply) -> str:
        if reply.payload is not None:
            raise ValueError("not what was asked for")
        return reply.code

    def liar(request: Request, action: str) -> Any:
        made = partner(1)(request, action)
        return made if action == HELLO else lie(made, request, action)

    partners, _ = met(ScriptedGrid(three() | {2: liar}))
    found = ask(partners, accept)
    assert found.accepted == {"partner-0": OK, "partner-2": OK}
    assert found.refused == {"partner-1": code}


def huge(entries: int) -> RecordDict:
    content = reply_content(Reply(code=OK, partner="partner-1"))
    data = Array(np.zeros(1, dtype=np.float32)).data + bytes(4 * entries)
    content["arrays"] = ArrayRecord({"w": Array(dtype="float32", shape=(entries + 1,), stype="numpy.ndarray",
                                                data=data)})
    return content


def raw(**fields: Any) -> RecordDict:
    return RecordDict({"reply": ConfigRecord({"code": OK, "partner": "partner-1", "signature": "0" * 128} | fields)})


@pytest.mark.parametrize("content", [
    RecordDict(), RecordDict({"reply": ConfigRecord()}), raw(code=3), raw(partner=b"x"), raw(signature=["a"]),
    raw(signature="z"), raw(code="x" * 10_000), huge(0), huge(most_bytes(PLAN)),
    RecordDict({"reply": ArrayRecord({"x": Array(np.zeros(1))})}),
    reply_content(Reply(code=OK, partner="partner-1", payload=bytes(most_bytes(PLAN) + 1))),
    RecordDict(dict(raw()) | {"payload": ConfigRecord({"payload": "text"})}),
    RecordDict(dict(raw()) | {"payload": ConfigRecord({"other": b"x"})}),
    RecordDict(dict(raw()) | {"table": ArrayRecord({"other": Array(np.zeros(1, dtype=np.int64))})}),
    RecordDict(dict(raw()) | {"table": ArrayRecord({"table": Array(np.array(["text"]))})}),
    RecordDict(dict(raw()) | {"arrays": ArrayRecord({"w": Array(dtype="float32", shape=(2**40,), stype="numpy.ndarray",
                                                                data=b"")})}),
], ids=lambda _: "")
def test_whatever_a_node_sends_the_others_go_on(content: RecordDict) -> None:
    partners, _ = met(ScriptedGrid(three() | {
        2: lambda request, action: partner(1)(request, action) if action == HELLO else content}))
    found = ask(partners)
    assert found.accepted == {"partner-0": OK, "partner-2": OK}
    assert found.refused["partner-1"] in ("failed", BAD_SIGNATURE)


def test_a_reply_that_flower_cannot_put_together_costs_nobody_else_an_answer() -> None:
    grid = ScriptedGrid(three())
    partners, _ = met(grid)
    grid.unreadable = {1}
    found = ask(partners)
    assert found.accepted == {"partner-1": OK, "partner-2": OK}
    assert found.refused == {"partner-0": "failed"}


@pytest.mark.parametrize("error", [OSError("no route"), httpx.ConnectError("no route")])
def test_a_link_that_is_out_of_reach_is_no_partners_fault(error: Exception) -> None:
    grid = ScriptedGrid(three())
    partners, _ = met(grid)

    def broken() -> None:
        raise error

    grid.on_pull = broken
    with pytest.raises(type(error)):
        ask(partners)


# --- who is asked again


@pytest.mark.parametrize("code", [3, 4, 5])
def test_who_could_not_be_reached_is_asked_again_until_the_answer(code: int) -> None:
    times = iter(range(100))

    def back_later(request: Request, action: str) -> Any:
        return partner(1)(request, action) if action == HELLO or next(times) == 2 else Error(code=code)

    grid = ScriptedGrid(three() | {2: back_later})
    partners, _ = met(grid)
    assert ask(partners).accepted.keys() == {"partner-0", "partner-1", "partner-2"}
    # Only who was away is asked again, and not at once.
    assert [node for node, action in grid.asked if action == TRAIN] == [1, 2, 3, 2, 2]
    assert partners._clock.now > 10  # type: ignore[attr-defined]


def test_who_stays_away_is_late_at_the_deadline() -> None:
    grid = ScriptedGrid(three())
    partners, _ = met(grid)
    del grid.nodes[2]
    found = ask(partners)
    assert (found.accepted.keys(), found.refused) == ({"partner-0", "partner-2"}, {})
    asked = [node for node, action in grid.asked if action == TRAIN]
    assert asked.count(2) in range(5, 12)  # every five of fifty seconds
    assert asked.count(1) == asked.count(3) == 1


def test_every_letter_has_a_nonce_of_its_own() -> None:
    nonces: list[str] = []

    def noting(number: int) -> Node:
        def answer(request: Request, action: str) -> Any:
            nonces.append(request.nonce)
            return partner(number)(request, action)

        return answer

    partners, _ = met(ScriptedGrid({number + 1: noting(number) for number in range(3)}))
    for _ in range(2):
        ask(partners)
    assert len(nonces) == len(set(nonces)) == 9


def test_who_is_busy_is_asked_again() -> None:
    times = iter(range(100))

    def busy(request: Request, action: str) -> Any:
        code = OK if action == HELLO or next(times) == 1 else "busy"
        return partner(1, code=code)(request, action)

    partners, _ = met(ScriptedGrid(three() | {2: busy}))
    assert "partner-1" in ask(partners).accepted
    assert ask(partners).refused == {"partner-1": "busy"}


def test_nobody_is_asked_twice_while_an_answer_is_out() -> None:
    grid = ScriptedGrid(three() | {2: lambda request, action: partner(1)(request, action) if action == HELLO else None})
    partners, _ = met(grid)
    assert ask(partners).accepted.keys() == {"partner-0", "partner-2"}
    assert [node for node, action in grid.asked if action == TRAIN] == [1, 2, 3]
    # In the next stage it is asked again.
    assert ask(partners).accepted.keys() == {"partner-0", "partner-2"}
    assert [node for node, action in grid.asked if action == TRAIN] == [1, 2, 3, 1, 2, 3]


def test_who_comes_later_is_greeted_and_takes_part() -> None:
    nodes = three()
    late = nodes.pop(2)
    grid = ScriptedGrid(nodes)
    partners, told = met(grid)
    assert told.accepted.keys() == {"partner-0", "partner-2"}
    assert ask(partners).accepted.keys() == {"partner-0", "partner-2"}
    grid.nodes[2] = late
    greeted = len([action for _, action in grid.asked if action == HELLO])
    assert ask(partners).accepted.keys() == {"partner-0", "partner-1", "partner-2"}
    ask(partners)
    # Only the new node is greeted, once.
    assert len([action for _, action in grid.asked if action == HELLO]) == greeted + 1


def test_a_partner_that_comes_back_as_another_node_is_asked_there_within_the_stage() -> None:
    grid = ScriptedGrid(three())
    partners, _ = met(grid)
    del grid.nodes[2]
    looks = iter(range(100))

    def back() -> None:
        if next(looks) == 3:
            grid.nodes[22] = partner(1)

    grid.on_pull = back
    assert ask(partners).accepted.keys() == {"partner-0", "partner-1", "partner-2"}
    assert (22, TRAIN) in grid.asked


def test_a_node_that_went_away_and_came_back_is_greeted_again() -> None:
    grid = ScriptedGrid(three() | {2: lambda *_: Reply(code="not_configured")})
    partners, told = met(grid)
    assert told.refused == {"node 2": "not_configured"}
    del grid.nodes[2]
    ask(partners)
    grid.nodes[2] = partner(1)
    assert "partner-1" in ask(partners).accepted


def test_pauses_grow_while_nothing_comes_and_end_at_half_a_second(no_sleep: list[float]) -> None:
    grid = ScriptedGrid(three() | {2: lambda request, action: partner(1)(request, action) if action == HELLO else None})
    partners, _ = met(grid)
    no_sleep.clear()
    ask(partners)
    assert no_sleep == sorted(no_sleep)
    assert no_sleep[0] == pytest.approx(0.05)
    assert no_sleep[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("part", ["payload", "arrays", "table"])
def test_what_is_too_large_is_not_unpacked_whoever_signed_it(part: str, over: int) -> None:
    most = most_bytes(PLAN)
    held: Any = {"payload": bytes(most + over), "arrays": {"w": np.zeros(most // 4 + over, dtype=np.float32)},
                 "table": np.zeros(most // 8 + over, dtype=np.int64)}[part]
    partners, _ = met(ScriptedGrid(three() | {2: lambda request, action: partner(
        1, **({} if action == HELLO else {part: held}))(request, action)}))
    found = ask(partners)
    assert ("partner-1" in found.accepted, found.refused) == ((False, {"partner-1": "failed"}) if over else (True, {}))


def test_the_most_that_is_unpacked_is_more_than_any_honest_reply() -> None:
    large = make_plan(30, slots=64)
    for plan in (PLAN, large):
        assert most_bytes(plan) >= 8 * plan.model_size
    assert most_bytes(large) > most_bytes(PLAN)
