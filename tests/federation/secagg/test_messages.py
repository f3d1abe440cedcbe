"""Each message, well formed and then broken in each way that there is."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.secagg import Code, Collector, Participant, ProtocolError, Stage
from federation.secagg.keys import SignedKeys
from federation.secagg.messages import Masked, Shares, SignedSurvivors, UnmaskReply
from federation.secagg.relays import Delivery, KeyList, SurvivorList, UnmaskRequest
from tests.federation.secagg.runs import Session, key_of, make_spec, vectors_for

SPEC = make_spec(4, length=3)
KINDS = {kind.__name__: kind for kind in (
    SignedKeys, KeyList, Shares, Delivery, Masked, SurvivorList, SignedSurvivors, UnmaskRequest, UnmaskReply)}


@cache
def samples() -> dict[str, bytes]:
    """One of each, from a session in which p03 vanishes before its vector arrives."""
    session = Session(SPEC, vectors_for(SPEC), lambda stage, name, answer: (
        None if (stage, name) == (Stage.MASKED, "p03") else answer))
    kept: dict[str, bytes] = {}
    for kind, stage in (("KeyList", "keys"), ("Delivery", "shares"), ("SurvivorList", "masked"),
                        ("UnmaskRequest", "survivors")):
        def keep(answers: object, kind: str = kind, method: object = getattr(session.collector, stage)) -> object:
            said = method(answers)  # type: ignore[operator]
            kept[kind] = said["p00"] if isinstance(said, dict) else said
            return said
        setattr(session.collector, stage, keep)
    session.unmask()
    for kind, stage in (("SignedKeys", Stage.KEYS), ("Shares", Stage.SHARES), ("Masked", Stage.MASKED),
                        ("SignedSurvivors", Stage.SURVIVORS), ("UnmaskReply", Stage.UNMASK)):
        kept[kind] = session.sent[stage]["p00"]
    return kept


def code(kind: str, data: object) -> Code:
    with pytest.raises(ProtocolError) as caught:
        KINDS[kind].decode(data, SPEC)  # type: ignore[attr-defined]
    return caught.value.code


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_comes_back_as_it_was(kind: str) -> None:
    data = samples()[kind]
    message = KINDS[kind].decode(data, SPEC)  # type: ignore[attr-defined]
    assert message.encode() == data
    assert message == KINDS[kind].decode(data, SPEC)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_broken_in_any_way_is_refused(kind: str) -> None:
    data = samples()[kind]
    for end in range(len(data)):
        assert code(kind, data[:end]) is Code.MALFORMED
    assert code(kind, data + b"\0") is Code.TRAILING_DATA
    assert code(kind, data + bytes(100_000)) is Code.TOO_LONG
    assert code(kind, b"LSA2" + data[4:]) is Code.MALFORMED
    assert code(kind, b"") is Code.MALFORMED
    for wrong in (None, data.decode("latin-1"), bytearray(data), [data], {"a": 1}):
        assert code(kind, wrong) is Code.WRONG_TYPE
    for other in KINDS:
        if other != kind:
            assert code(kind, samples()[other][:len(data)]) is Code.WRONG_KIND


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_noise_is_refused_or_is_the_one_encoding_of_what_it_says(kind: str, data: st.DataObject) -> None:
    changed = bytearray(samples()[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = KINDS[kind].decode(bytes(changed), SPEC)  # type: ignore[attr-defined]
    except ProtocolError:
        return
    assert message.encode() == changed


def renamed(value: tuple[object, ...], change: str) -> tuple[object, ...]:
    """A list by name with one entry twice, out of order, or of a stranger."""
    match change:
        case "twice":
            return (value[0], *value)
        case "order":
            return tuple(reversed(value))
    stranger = value[-1]
    if isinstance(stranger, SignedKeys):
        return (*value[:-1], dataclasses.replace(stranger, sender="zoe"))
    return (*value[:-1], "zoe" if isinstance(stranger, str) else ("zoe", stranger[1]))  # type: ignore[index]


@pytest.mark.parametrize(("kind", "field"), [
    ("KeyList", "entries"), ("Shares", "boxes"), ("Delivery", "holders"), ("Delivery", "boxes"),
    ("SurvivorList", "survivors"), ("UnmaskRequest", "survivors"), ("UnmaskRequest", "signatures"),
    ("UnmaskReply", "personal")])
@pytest.mark.parametrize(("change", "expected"), [
    ("twice", Code.DUPLICATE_NAME), ("order", Code.MALFORMED), ("stranger", Code.UNKNOWN_NAME)])
def test_lists_are_by_name_each_once_and_of_the_roster(kind: str, field: str, change: str, expected: Code) -> None:
    message = KINDS[kind].decode(samples()[kind], SPEC)  # type: ignore[attr-defined]
    bad = dataclasses.replace(message, **{field: renamed(getattr(message, field), change)})
    assert code(kind, bad.encode()) is expected


@pytest.mark.parametrize("kind", ["SignedKeys", "Shares", "Masked", "SignedSurvivors", "UnmaskReply"])
def test_a_stranger_sends_nothing(kind: str) -> None:
    message = KINDS[kind].decode(samples()[kind], SPEC)  # type: ignore[attr-defined]
    assert code(kind, dataclasses.replace(message, sender="zoe").encode()) is Code.UNKNOWN_NAME
    assert code(kind, samples()[kind].replace(b"\x03p00", b"\x03p\xff0", 1)) is Code.MALFORMED


def test_no_message_has_room_for_anything_else() -> None:
    fields = {field.name for kind in KINDS.values() for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    assert fields == {"sender", "cipher_key", "mask_key", "signature", "entries", "boxes", "commitment", "holders",
                      "words", "survivors", "signatures", "personal", "vanished"}


def test_what_a_collector_does_not_understand_counts_as_no_answer() -> None:
    collector = Collector(SPEC)
    good = [Participant.begin(SPEC, name, key_of(name))[1] for name in SPEC.names]
    collector.keys([b"", b"nonsense", *good[:3], good[0], samples()["Masked"], good[3]])
    assert [(fault.code, fault.sender) for fault in collector.faults] == [
        (Code.MALFORMED, ""), (Code.MALFORMED, ""), (Code.DUPLICATE_NAME, "p00"), (Code.WRONG_KIND, "")]
    assert collector.present == SPEC.names


STAGES = list(Stage)


def state_after(stage: Stage) -> tuple[Participant, bytes]:
    session = Session(SPEC, vectors_for(SPEC))
    getattr(session, stage.value)()
    return session.partners["p01"], session.partners["p01"].to_bytes()


@pytest.mark.parametrize("stage", STAGES)
def test_a_state_with_one_byte_changed_is_not_used(stage: Stage) -> None:
    _, state = state_after(stage)
    assert Participant.from_bytes(state, SPEC, "p01", key_of("p01")).to_bytes() == state
    for place in range(len(state)):
        changed = bytearray(state)
        changed[place] ^= 1
        with pytest.raises(ProtocolError) as caught:
            Participant.from_bytes(bytes(changed), SPEC, "p01", key_of("p01"))
        assert caught.value.code is Code.STATE_DAMAGED
    for cut in (b"", state[:-1], state + b"\0", state[:40]):
        with pytest.raises(ProtocolError):
            Participant.from_bytes(cut, SPEC, "p01", key_of("p01"))


@pytest.mark.parametrize("stage", STAGES)
def test_a_state_with_a_right_checksum_over_wrong_contents_is_not_used(stage: Stage) -> None:
    content = state_after(stage)[1][:-32]
    place = 5 + 32 + 4  # the tag, after header, session and name
    for changed in (content + b"\0", content[:-1] if len(content) > place + 1 else content + b"\1",
                    content[:place] + b"\x09" + content[place + 1:]):
        with pytest.raises(ProtocolError) as caught:
            Participant.from_bytes(changed + hashlib.sha256(changed).digest(), SPEC, "p01", key_of("p01"))
        assert caught.value.code is Code.STATE_DAMAGED


def test_a_state_serves_its_own_session_and_partner() -> None:
    _, state = state_after(Stage.SHARES)
    for spec, name in ((make_spec(4, length=3, attempt=1), "p01"), (SPEC, "p02")):
        with pytest.raises(ProtocolError) as caught:
            Participant.from_bytes(state, spec, name, key_of(name))
        assert caught.value.code is Code.WRONG_SESSION


def test_secrets_go_as_soon_as_they_are_not_needed() -> None:
    seen = []

    def change(stage: Stage, name: str, answer: bytes) -> bytes:
        if (stage, name) == (Stage.SHARES, "p00"):
            state = session.partners[name]._state
            seen.extend([state.mask_seed, state.personal_seed])  # type: ignore[union-attr]
        if (stage, name) == (Stage.MASKED, "p00"):
            state_bytes.append(session.partners[name].to_bytes())
        return answer

    state_bytes: list[bytes] = []
    session = Session(SPEC, vectors_for(SPEC), change)
    session.survivors()
    assert len(seen) == 2
    assert len(set(seen)) == 2
    for state in (*state_bytes, session.partners["p00"].to_bytes()):
        assert not any(secret in state for secret in seen)


@pytest.mark.parametrize("stage", [Stage.KEYS, Stage.SHARES, Stage.MASKED, Stage.SURVIVORS])
def test_a_failure_closes_the_session_and_leaves_no_secret(stage: Stage) -> None:
    partner, before = state_after(stage)
    with pytest.raises(ProtocolError):
        {Stage.KEYS: partner.shares, Stage.SURVIVORS: partner.unmask, Stage.MASKED: partner.survivors,
         Stage.SHARES: lambda data: partner.masked(data, vectors_for(SPEC)["p01"])}[stage](b"nonsense")
    assert partner.closed
    assert len(before) > len(partner.to_bytes()) == 5 + 32 + 4 + 1 + 32


def test_after_unmasking_no_secret_is_left() -> None:
    partner, state = state_after(Stage.UNMASK)
    assert partner.closed
    assert state == b"LSA1\x0a" + SPEC.session_id + b"\x03p01\x00" + state[-32:]
    assert vars(partner).keys() == {"_spec", "_name", "_key", "_state"}
    assert vars(partner._state) == {}


def test_secrets_are_not_printed() -> None:
    for stage in STAGES:
        partner, _ = state_after(stage)
        assert "seed" not in repr(partner._state)
        assert "shares" not in repr(partner._state)
