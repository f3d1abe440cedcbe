"""The coordinator against partners that lie: a right sum without them, or none."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.secagg import Aborted, Code, Collector, Stage
from federation.secagg.messages import Masked, Shares, SignedSurvivors, UnmaskReply, sign_bytes
from federation.secagg.pairs import Binding
from tests.federation.secagg.runs import Session, key_of, make_spec, names, vectors_for

SPEC = make_spec(7)
"""Seven partners, threshold and quorum 4."""
VECTORS = vectors_for(SPEC)
LOST = "p06"
HELD = SPEC.names[:6]


def summed(survivors: tuple[str, ...]) -> list[int]:
    return sum(VECTORS[name] for name in survivors).tolist()  # type: ignore[union-attr]


def session_with(liars: Callable[[Session, Stage, str, bytes], bytes | None]) -> Session:
    session = Session(SPEC, VECTORS, lambda stage, name, answer: (
        None if (stage, name) == (Stage.MASKED, LOST) else liars(session, stage, name, answer)))
    return session


def resigned(session: Session, name: str, reply: UnmaskReply) -> bytes:
    """A reply that was changed by its sender, who signs what it sends."""
    binding, holders = session.collector._binding, SPEC.names
    statement = UnmaskReply.statement(binding, holders, HELD, UnmaskReply.body(name, reply.personal, reply.vanished))
    return dataclasses.replace(reply, signature=sign_bytes(key_of(name), UnmaskReply.PURPOSE, statement)).encode()


def wrong(pairs: tuple[tuple[str, bytes], ...], chosen: set[str]) -> tuple[tuple[str, bytes], ...]:
    # Hashed: small regular errors can cancel, and then the sum is right in spite of them.
    return tuple((name, b"\0" + hashlib.sha256(share).digest() if name in chosen else share) for name, share in pairs)


@given(st.sets(st.sampled_from(HELD)), st.sets(st.sampled_from(SPEC.names)))
def test_wrong_shares_cost_the_liars_shares_or_the_sum(liars: set[str], about: set[str]) -> None:
    def change(session: Session, stage: Stage, name: str, answer: bytes) -> bytes:
        if stage is not Stage.UNMASK or name not in liars:
            return answer
        reply = UnmaskReply.decode(answer, SPEC)
        return resigned(session, name, dataclasses.replace(
            reply, personal=wrong(reply.personal, about), vanished=wrong(reply.vanished, about)))

    session = session_with(change)
    if about and len(liars) > len(HELD) - SPEC.threshold:
        with pytest.raises(Aborted, match=r"wrong shares.*cannot be put together") as caught:
            session.unmask()
        assert (caught.value.stage, caught.value.answered, caught.value.needed) == (Stage.UNMASK, 6, 4)
        return
    total = session.unmask()
    assert (total.survivors, total.values.tolist()) == (HELD, summed(HELD))
    assert session.collector.faults == ()


def test_a_reply_that_was_changed_on_the_way_is_no_reply() -> None:
    def change(_session: Session, stage: Stage, name: str, answer: bytes) -> bytes:
        if stage is Stage.UNMASK and name == "p01":
            reply = UnmaskReply.decode(answer, SPEC)
            return dataclasses.replace(reply, personal=wrong(reply.personal, {"p02"})).encode()
        return answer

    session = session_with(change)
    assert session.unmask().values.tolist() == summed(HELD)
    assert [(fault.code, fault.sender) for fault in session.collector.faults] == [(Code.BAD_SIGNATURE, "p01")]


@pytest.mark.parametrize("part", ["personal", "vanished"])
def test_a_reply_that_leaves_somebody_out_is_no_reply(part: str) -> None:
    def change(session: Session, stage: Stage, name: str, answer: bytes) -> bytes:
        if stage is Stage.UNMASK and name == "p01":
            reply = UnmaskReply.decode(answer, SPEC)
            return resigned(session, name, dataclasses.replace(reply, **{part: getattr(reply, part)[1:]}))
        return answer

    session = session_with(change)
    assert session.unmask().values.tolist() == summed(HELD)
    assert [(fault.code, fault.sender) for fault in session.collector.faults] == [(Code.WRONG_NAMES, "p01")]


def resigned_shares(session: Session, message: Shares) -> bytes:
    body = Shares.body(message.sender, message.boxes, message.commitment)
    signature = sign_bytes(key_of(message.sender), Shares.PURPOSE, Shares.statement(session.collector._binding, body))
    return dataclasses.replace(message, signature=signature).encode()


def test_a_commitment_to_something_else_is_never_summed() -> None:
    def change(session: Session, stage: Stage, name: str, answer: bytes) -> bytes:
        if (stage, name) == (Stage.SHARES, "p01"):
            return resigned_shares(session, dataclasses.replace(Shares.decode(answer, SPEC), commitment=bytes(32)))
        return answer

    with pytest.raises(Aborted, match="a secret of p01 cannot be put together"):
        session_with(change).unmask()


def test_a_mask_key_other_than_the_advertised_one_is_never_used() -> None:
    # The partner that vanishes had dealt shares of some other seed.
    session = session_with(lambda _session, _stage, _name, answer: answer)
    session.keys()
    state = session.partners[LOST]._state
    object.__setattr__(state, "mask_seed", bytes(32))
    key_list = Collector(SPEC).keys(session.sent[Stage.KEYS].values())
    deliveries = session.collector.shares([session.partners[name].shares(key_list) for name in SPEC.names])
    survivors = session.collector.masked([session.partners[name].masked(deliveries[name], VECTORS[name])
                                          for name in HELD])
    request = session.collector.survivors([session.partners[name].survivors(survivors) for name in HELD])
    with pytest.raises(Aborted, match=f"a secret of {LOST} cannot be put together"):
        session.collector.unmask([session.partners[name].unmask(request) for name in HELD])


@pytest.mark.parametrize("how", ["changed", "unsigned recipient", "missing box", "twice"])
def test_shares_that_are_not_in_order_put_their_sender_out(how: str) -> None:
    def change(session: Session, stage: Stage, name: str, answer: bytes) -> bytes:
        if (stage, name) != (Stage.SHARES, "p01"):
            return answer
        message = Shares.decode(answer, SPEC)
        match how:
            case "changed":
                return dataclasses.replace(message, commitment=bytes(32)).encode()
            case "unsigned recipient":
                return dataclasses.replace(message, sender="p02").encode()
            case "missing box":
                return resigned_shares(session, dataclasses.replace(message, boxes=message.boxes[1:]))
        first, *rest = message.boxes
        return resigned_shares(session, dataclasses.replace(message, boxes=(first, first, *rest)))

    session = session_with(change)
    total = session.unmask()
    assert total.survivors == tuple(name for name in HELD if name != "p01")
    assert total.values.tolist() == summed(total.survivors)
    assert len(session.collector.faults) == 1


@pytest.mark.parametrize("stage", [Stage.MASKED, Stage.SURVIVORS, Stage.UNMASK])
def test_a_signature_by_another_partner_does_not_count(stage: Stage) -> None:
    def change(_session: Session, at: Stage, name: str, answer: bytes) -> bytes | None:
        if at is not stage or name not in ("p01", "p02"):
            return answer
        kind = {Stage.MASKED: Masked, Stage.SURVIVORS: SignedSurvivors, Stage.UNMASK: UnmaskReply}[stage]
        # p02's answer under p01's name, and p01's own is lost.
        return (dataclasses.replace(kind.decode(answer, SPEC), sender="p01").encode()  # type: ignore[attr-defined]
                if name == "p02" else None)

    session = session_with(change)
    total = session.unmask()
    assert total.values.tolist() == summed(total.survivors)
    assert ("p01" in total.survivors) == (stage is not Stage.MASKED)
    assert [(fault.stage, fault.code) for fault in session.collector.faults] == [(stage, Code.BAD_SIGNATURE)]


def test_who_is_out_stays_out() -> None:
    session = session_with(lambda _session, _stage, _name, answer: answer)
    session.masked()
    statement = SignedSurvivors.statement(session.collector._binding, SPEC.names, HELD)
    late = SignedSurvivors(sender=LOST, signature=sign_bytes(key_of(LOST), SignedSurvivors.PURPOSE, statement))
    with pytest.raises(Aborted, match=r"stage survivors.*\(0 good answers, 4 needed\)"):
        session.collector.survivors([late.encode()])
    assert session.collector.faults[0].code is Code.NOT_A_MEMBER


def test_a_sum_that_honest_vectors_cannot_give_is_no_sum() -> None:
    spec = make_spec(3, length=2, bound=10)

    def change(stage: Stage, name: str, answer: bytes) -> bytes:
        if (stage, name) != (Stage.MASKED, "p01"):
            return answer
        message = Masked.decode(answer, spec)
        words = (message.vector(spec) + np.uint32(1000)).tobytes()
        signature = sign_bytes(key_of(name), Masked.PURPOSE, Masked.statement(
            session.collector._binding, spec.names, words))
        return dataclasses.replace(message, words=words, signature=signature).encode()

    session = Session(spec, vectors_for(spec), change)
    with pytest.raises(Aborted, match="beyond 30, so a partner went beyond the bound"):
        session.unmask()


def test_stages_come_in_order_and_once() -> None:
    collector = Collector(SPEC)
    with pytest.raises(RuntimeError, match="at keys was asked for masked"):
        collector.masked([])
    with pytest.raises(Aborted, match=r"stage keys.*\(0 good answers, 4 needed\).*new attempt"):
        collector.keys([])
    with pytest.raises(RuntimeError, match="at its end was asked for keys"):
        collector.keys([])


def test_a_recorded_answer_of_another_session_does_not_count() -> None:
    other = Session(make_spec(7, attempt=3), VECTORS)
    other.unmask()

    def change(_session: Session, stage: Stage, name: str, answer: bytes) -> bytes:
        return other.sent[stage]["p01"] if name == "p01" and stage is not Stage.KEYS else answer

    session = session_with(change)
    total = session.unmask()
    assert total.survivors == ("p00", "p02", "p03", "p04", "p05")
    assert total.values.tolist() == summed(total.survivors)
    assert session.collector.faults[0].code is Code.BAD_SIGNATURE


def test_the_order_of_answers_does_not_matter() -> None:
    session = Session(SPEC, VECTORS)
    ask = session.ask
    session.ask = lambda *arguments: ask(*arguments)[::-1]  # type: ignore[method-assign]
    total = session.unmask()
    assert total.survivors == tuple(names(7))
    assert total.values.tolist() == summed(total.survivors)


@pytest.mark.parametrize("liar", [None, Stage.KEYS, Stage.SHARES, Stage.MASKED, Stage.SURVIVORS, Stage.UNMASK])
def test_the_same_answers_give_another_collector_the_same_messages(liar: Stage | None) -> None:
    # What a coordinator that was killed has on disk takes the next one exactly to where the first one was.
    session = session_with(lambda _session, stage, name, answer: answer[:-1] if (stage, name) == (liar, "p03")
                           else answer)
    first, again = session.collector, Collector(SPEC)
    made: dict[Stage, object] = {}
    for stage in Stage:
        taken = getattr(first, stage.value)
        setattr(first, stage.value, lambda answers, stage=stage, taken=taken: made.setdefault(stage, taken(answers)))
    total = session.unmask()
    for stage in Stage:
        found = getattr(again, stage.value)(dict(sorted(session.sent[stage].items())).values())
        if stage is Stage.UNMASK:
            assert (found.survivors, found.values.tolist()) == (total.survivors, total.values.tolist())
        else:
            assert found == made[stage]
    assert again.faults == first.faults


def test_a_binding_is_of_one_session() -> None:
    one, other = Session(SPEC, VECTORS), Session(SPEC, VECTORS)
    one.keys()
    other.keys()
    assert isinstance(one.collector._binding, Binding)
    assert one.collector._binding != other.collector._binding
