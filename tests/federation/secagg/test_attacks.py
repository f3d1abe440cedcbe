"""What a coordinator may try. Each attack works against the naive twin, to the last digit, and fails here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from federation.secagg import Aborted, Code, Collector, Participant, ProtocolError, Stage
from federation.secagg.keys import SignedKeys, check_key_list, new_seed, public_bytes, transcript_of
from federation.secagg.masks import add_mask
from federation.secagg.messages import Masked, Shares, SignedSurvivors, UnmaskReply, sign_bytes
from federation.secagg.pairs import Binding
from federation.secagg.relays import Delivery, KeyList, SurvivorList, UnmaskRequest
from federation.secagg.shamir import SHARE_BYTES, combine, weights_at_zero
from tests.federation.secagg.naive import (
    NaivePartner,
    NaiveSession,
    fold,
    mask_of,
    open_box,
    shared_key,
    strip,
    together,
)
from tests.federation.secagg.runs import Session, begun, key_of, make_spec, vectors_for

SPEC = make_spec(6)
"""Six partners, threshold and quorum 4, nobody colludes."""
VECTORS = vectors_for(SPEC)
VICTIM = "p00"
SECRET = VECTORS[VICTIM].tolist()
EVERYBODY = list(SPEC.names)
OTHERS = EVERYBODY[1:]


def refused(act: Callable[[], object]) -> Code:
    with pytest.raises(ProtocolError) as caught:
        act()
    return caught.value.code


def summed(survivors: list[str]) -> list[int]:
    return sum(VECTORS[name] for name in survivors).tolist()  # type: ignore[union-attr]


def copy_of(partner: Participant, name: str, spec: object = SPEC) -> Participant:
    """A test may do what a node must not: go on twice from one state."""
    return Participant.from_bytes(partner.to_bytes(), spec, name, key_of(name))  # type: ignore[arg-type]


def keyed() -> tuple[Session, KeyList]:
    session, key_list = begun(SPEC, Stage.KEYS)
    return session, KeyList.decode(key_list, SPEC)  # type: ignore[arg-type]


def test_the_naive_twin_gives_sums() -> None:
    session = NaiveSession(VECTORS, threshold=3)
    assert session.total(EVERYBODY, session.ask(EVERYBODY[:3], EVERYBODY, [])) == summed(EVERYBODY)
    assert session.total(OTHERS, session.ask(OTHERS[1:4], OTHERS, [VICTIM])) == summed(OTHERS)


# The coordinator stands between two partners, with keys of its own making.


def test_relayed_keys_fool_the_twin() -> None:
    victim = NaivePartner(VICTIM, VECTORS[VICTIM])
    own = {name: (new_seed(), new_seed()) for name in OTHERS}
    keys = {VICTIM: victim.public()} | {
        name: (public_bytes(cipher), public_bytes(mask)) for name, (cipher, mask) in own.items()}
    boxes = victim.shares(keys, 3)
    words = victim.masked(boxes)
    opened = {EVERYBODY.index(name) + 1: open_box(boxes[name], own[name][0], keys[VICTIM][0]) for name in OTHERS[:3]}
    answers = {k: {"personal": both[:SHARE_BYTES], "mask": both[SHARE_BYTES:]} for k, both in opened.items()}
    assert strip(words, VICTIM, together(answers, "personal"), together(answers, "mask"), keys) == SECRET


@pytest.mark.parametrize("field", ["cipher_key", "mask_key"])
def test_relayed_keys_are_found_out_here(field: str) -> None:
    session, good = keyed()
    for replaced in range(1, 6):
        entries = tuple(dataclasses.replace(entry, **{field: public_bytes(new_seed())}) if place == replaced else entry
                        for place, entry in enumerate(good.entries))
        victim = copy_of(session.partners[VICTIM], VICTIM)
        assert refused(lambda e=entries, v=victim: v.shares(KeyList(entries=e).encode())) is Code.BAD_SIGNATURE
        assert victim.closed
    # Nor can a partner's key sign for another, or for the victim itself.
    forged = SignedKeys.sign(SPEC, "p01", cipher_seed=new_seed(), mask_seed=new_seed(), key=key_of("p05"))
    entries = (good.entries[0], forged, *good.entries[2:])
    assert refused(lambda: session.partners[VICTIM].shares(KeyList(entries=entries).encode())) is Code.BAD_SIGNATURE


def test_the_coordinator_does_not_take_such_keys_either() -> None:
    session = Session(SPEC, VECTORS, lambda stage, name, answer: SignedKeys.sign(
        SPEC, name, cipher_seed=new_seed(), mask_seed=new_seed(), key=key_of("p05")).encode()
        if (stage, name) == (Stage.KEYS, "p01") else answer)
    assert session.unmask().survivors == ("p00", "p02", "p03", "p04", "p05")
    assert session.collector.faults[0].code is Code.BAD_SIGNATURE


def test_a_partner_sees_to_its_own_entry() -> None:
    session, good = keyed()
    other_keys = SignedKeys.sign(SPEC, VICTIM, cipher_seed=new_seed(), mask_seed=new_seed(), key=key_of(VICTIM))
    for entries in (good.entries[1:], (other_keys, *good.entries[1:])):
        victim = copy_of(session.partners[VICTIM], VICTIM)
        assert refused(lambda e=entries, v=victim: v.shares(KeyList(entries=e).encode())) is Code.OWN_ENTRY


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31), (2**255 - 20).to_bytes(32, "little"),
                                   (2**255 - 19).to_bytes(32, "little"), b"\xff" * 32])
@pytest.mark.parametrize("field", ["cipher_key", "mask_key"])
def test_a_key_that_anybody_could_use_is_refused_even_if_signed(point: bytes, field: str) -> None:
    session, good = keyed()
    entry = dataclasses.replace(good.entries[1], **{field: point})
    statement = b"".join(len(part).to_bytes(4, "big") + part for part in (
        SPEC.session_id, b"p01", entry.cipher_key, entry.mask_key))
    entry = dataclasses.replace(entry, signature=sign_bytes(key_of("p01"), "secagg-keys", statement))
    entries = (good.entries[0], entry, *good.entries[2:])
    assert refused(lambda: session.partners[VICTIM].shares(KeyList(entries=entries).encode())) is Code.WEAK_KEY
    assert refused(lambda: entry.check(SPEC)) is Code.WEAK_KEY


def test_one_key_under_two_names_is_refused() -> None:
    session, good = keyed()
    seeds = new_seed(), new_seed()
    twice = [SignedKeys.sign(SPEC, name, cipher_seed=seeds[0], mask_seed=mask, key=key_of(name))
             for name, mask in (("p01", seeds[1]), ("p02", new_seed()))]
    entries = (good.entries[0], *twice, *good.entries[3:])
    assert refused(lambda: session.partners[VICTIM].shares(KeyList(entries=entries).encode())) is Code.DUPLICATE_KEY
    same = SignedKeys.sign(SPEC, "p01", cipher_seed=seeds[0], mask_seed=seeds[0], key=key_of("p01"))
    assert refused(lambda: same.check(SPEC)) is Code.DUPLICATE_KEY
    changed = {entry.sender: entry for entry in twice}
    run = Session(SPEC, VECTORS, lambda stage, name, answer: changed[name].encode()
                  if stage is Stage.KEYS and name in changed else answer)
    run.keys()
    assert [(fault.code, fault.sender) for fault in run.collector.faults] == [(Code.DUPLICATE_KEY, "p02")]


def test_a_list_of_keys_is_in_order_and_its_transcript_is_of_one_session() -> None:
    _, good = keyed()
    swapped = (good.entries[1], good.entries[0], *good.entries[2:])
    assert refused(lambda: check_key_list(SPEC, swapped, own=good.entries[0])) is Code.MALFORMED
    twice = (good.entries[0], *good.entries)
    assert refused(lambda: check_key_list(SPEC, twice, own=good.entries[0])) is Code.DUPLICATE_NAME
    assert transcript_of(SPEC, good.entries) != transcript_of(make_spec(6, attempt=1), good.entries)
    assert transcript_of(SPEC, good.entries) != transcript_of(SPEC, good.entries[1:])


# A roster of the coordinator's own making.


def test_invented_partners_fool_the_twin() -> None:
    session = NaiveSession({VICTIM: VECTORS[VICTIM]} | {f"x{n}": np.zeros(6, np.int64) for n in range(5)}, threshold=4)
    assert session.total(session.partners, session.ask(session.partners, session.partners, [])) == SECRET


def test_invented_partners_and_unknown_keys_are_refused_here() -> None:
    session, good = keyed()
    stranger = SignedKeys.sign(SPEC, "zoe", cipher_seed=new_seed(), mask_seed=new_seed(), key=key_of("zoe"))
    entries = (*good.entries[:5], stranger)
    assert refused(lambda: session.partners[VICTIM].shares(KeyList(entries=entries).encode())) is Code.UNKNOWN_NAME
    assert refused(lambda: stranger.check(SPEC)) is Code.UNKNOWN_NAME


# A partner in both lists: alive and dead.


def test_both_lists_fool_the_twin() -> None:
    session = NaiveSession(VECTORS, threshold=4)
    answers = session.ask(OTHERS[:4], EVERYBODY, [VICTIM])
    both = together(answers, f"personal {VICTIM}"), together(answers, f"mask {VICTIM}")
    assert strip(session.masked[VICTIM], VICTIM, *both, session.keys) == SECRET


def test_nobody_is_in_both_lists_here() -> None:
    for lost in ([], ["p05"], ["p04", "p05"]):
        session = Session(SPEC, VECTORS, lambda stage, name, answer, lost=lost: (
            None if stage is Stage.MASKED and name in lost else answer))
        session.unmask()
        for answer in session.sent[Stage.UNMASK].values():
            reply = UnmaskReply.decode(answer, SPEC)
            personal, vanished = ({name for name, _ in pairs} for pairs in (reply.personal, reply.vanished))
            assert not personal & vanished
            assert vanished == set(lost)
            assert personal | vanished == set(EVERYBODY)


# Two lists of survivors for two halves.


def test_two_lists_fool_the_twin() -> None:
    session = NaiveSession(VECTORS, threshold=3)
    one = session.ask(EVERYBODY[:3], EVERYBODY, [])
    other = session.ask(EVERYBODY[3:], OTHERS, [VICTIM])
    both = together(one, f"personal {VICTIM}"), together(other, f"mask {VICTIM}")
    assert strip(session.masked[VICTIM], VICTIM, *both, session.keys) == SECRET


def test_two_lists_never_get_both_secrets_here() -> None:
    # Seven partners, two of whom tell the coordinator all they have and sign whatever it wants.
    spec = make_spec(7, colluders=2)
    honest, colluders = list(spec.names[:5]), list(spec.names[5:])
    session, _ = begun(spec, Stage.MASKED)
    lists = {"with": spec.names, "without": spec.names[1:]}
    holders = session.partners["p06"]._state.holders  # type: ignore[union-attr]
    binding = Binding(session_id=spec.session_id, transcript=session.partners["p06"]._state.transcript)  # type: ignore[union-attr]
    got_one = 0
    for size in range(5):
        for told_without in combinations(honest[1:], size):
            copies = {name: copy_of(session.partners[name], name, spec) for name in honest}
            told = {name: "without" if name in told_without else "with" for name in honest}
            signed: dict[str, dict[str, bytes]] = {"with": {}, "without": {}}
            for name in honest:
                answer = copies[name].survivors(SurvivorList(survivors=lists[told[name]]).encode())
                signed[told[name]][name] = SignedSurvivors.decode(answer, spec).signature
            for which, survivors in lists.items():
                statement = SignedSurvivors.statement(binding, holders, survivors)
                for name in colluders:
                    signed[which][name] = sign_bytes(key_of(name), "secagg-survivors", statement)
            answered = {"with": set(colluders), "without": set(colluders)}
            for name in honest:
                which = told[name]
                request = UnmaskRequest(survivors=lists[which], signatures=tuple(sorted(signed[which].items())))
                try:
                    copies[name].unmask(request.encode())
                except ProtocolError as error:
                    assert error.code is Code.TOO_FEW_SIGNATURES  # noqa: PT017
                else:
                    answered[which].add(name)
            enough = [which for which, who in answered.items() if len(who) >= spec.threshold]
            assert len(enough) <= 1
            got_one += len(enough)
    assert got_one > 0  # the check is not simply refusing everything


def signing(name: str = VICTIM) -> tuple[Participant, UnmaskRequest]:
    session, request = begun(SPEC, Stage.SURVIVORS)
    return session.partners[name], UnmaskRequest.decode(request, SPEC)  # type: ignore[arg-type]


def test_signatures_of_another_list_do_not_count() -> None:
    session, _ = begun(SPEC, Stage.MASKED)
    shorter = SurvivorList(survivors=SPEC.names[:5]).encode()
    signatures = tuple((name, SignedSurvivors.decode(copy_of(session.partners[name], name).survivors(shorter),
                                                     SPEC).signature) for name in SPEC.names[:4])
    victim = session.partners[VICTIM]
    victim.survivors(SurvivorList(survivors=SPEC.names).encode())
    request = UnmaskRequest(survivors=SPEC.names, signatures=signatures).encode()
    assert refused(lambda: victim.unmask(request)) is Code.BAD_SIGNATURE
    assert victim.closed


def test_signatures_by_those_who_saw_other_holders_do_not_count() -> None:
    # The victim is told that p05's shares did not arrive, the others that they did; the survivors are the same.
    session, deliveries = begun(SPEC, Stage.SHARES)
    full = Delivery.decode(deliveries[VICTIM], SPEC)  # type: ignore[index]
    fewer = Delivery(holders=full.holders[:5], boxes=full.boxes[:4]).encode()
    answers = {name: session.partners[name].masked(
        fewer if name == VICTIM else deliveries[name], VECTORS[name]) for name in EVERYBODY[:5]}  # type: ignore[index]
    survivors = SurvivorList(survivors=SPEC.names[:5]).encode()
    signatures = tuple((name, SignedSurvivors.decode(session.partners[name].survivors(survivors), SPEC).signature)
                       for name in EVERYBODY[:5])
    request = UnmaskRequest(survivors=SPEC.names[:5], signatures=signatures).encode()
    for name in (VICTIM, "p01"):
        assert refused(lambda n=name: session.partners[n].unmask(request)) is Code.BAD_SIGNATURE
    session.collector.masked(answers.values())
    assert [(fault.code, fault.sender) for fault in session.collector.faults] == [(Code.BAD_SIGNATURE, VICTIM)]


def test_every_signature_covers_all_that_its_signer_has_seen() -> None:
    bindings = [Binding(session_id=bytes([one]) * 32, transcript=bytes([other]) * 32)
                for one, other in ((1, 1), (2, 1), (1, 2))]
    lists = (SPEC.names, SPEC.names[:5])
    made = [[Shares.statement(binding, body) for binding in bindings for body in (b"a", b"b")],
            [Masked.statement(binding, u2, body) for binding in bindings for u2 in lists for body in (b"a", b"b")],
            [SignedSurvivors.statement(binding, u2, u3) for binding in bindings for u2 in lists for u3 in lists],
            [UnmaskReply.statement(binding, u2, u3, body) for binding in bindings for u2 in lists for u3 in lists
             for body in (b"a", b"b")]]
    for statements in made:
        assert len(set(statements)) == len(statements)


def test_the_list_may_not_change_after_it_was_signed() -> None:
    victim, request = signing()
    shorter = dataclasses.replace(request, survivors=SPEC.names[:5])
    assert refused(lambda: victim.unmask(shorter.encode())) is Code.LIST_CHANGED


def test_only_members_of_the_list_count_as_signers() -> None:
    session = Session(SPEC, VECTORS, lambda stage, name, answer: (
        None if (stage, name) == (Stage.MASKED, "p05") else answer))
    request = UnmaskRequest.decode(session.survivors(), SPEC)
    state = session.partners[VICTIM]._state
    statement = SignedSurvivors.statement(
        Binding(session_id=SPEC.session_id, transcript=state.holding.transcript),  # type: ignore[union-attr]
        SPEC.names, SPEC.names[:5])
    extra = *request.signatures[:3], ("p05", sign_bytes(key_of("p05"), "secagg-survivors", statement))
    request = dataclasses.replace(request, signatures=extra)
    assert refused(lambda: session.partners[VICTIM].unmask(request.encode())) is Code.NOT_A_MEMBER


# A threshold of the coordinator's choice.


def test_a_lowered_threshold_fools_the_twin() -> None:
    session = NaiveSession(VECTORS, threshold=1)
    held = session.partners["p05"].held[VICTIM]  # one partner colludes, and each share is the secret itself
    assert strip(session.masked[VICTIM], VICTIM, held[1:SHARE_BYTES], held[SHARE_BYTES + 1:], session.keys) == SECRET


def test_nobody_lowers_the_threshold_here() -> None:
    victim, request = signing()
    fewer = dataclasses.replace(request, signatures=request.signatures[:SPEC.threshold - 1])
    assert refused(lambda: victim.unmask(fewer.encode())) is Code.TOO_FEW_SIGNATURES
    # A coordinator with other facts in mind is in another session: not even keys are exchanged.
    other = make_spec(6, quorum=5)
    _, key_list = begun(other, Stage.KEYS)
    partner, own = Participant.begin(SPEC, VICTIM, key_of(VICTIM))
    entries = (SignedKeys.decode(own, SPEC), *KeyList.decode(key_list, SPEC).entries[1:])  # type: ignore[arg-type]
    assert refused(lambda: partner.shares(KeyList(entries=entries).encode())) is Code.BAD_SIGNATURE


def test_secrets_take_as_many_shares_as_the_session_says() -> None:
    session, deliveries = begun(SPEC, Stage.SHARES)
    secrets = session.partners[VICTIM]._state
    for name in EVERYBODY:
        session.partners[name].masked(deliveries[name], VECTORS[name])  # type: ignore[index]
    held = {SPEC.numbers[name]: dict(session.partners[name]._state.shares)[VICTIM]  # type: ignore[union-attr]
            for name in EVERYBODY}
    for part, secret in ((slice(0, SHARE_BYTES), secrets.personal_seed),  # type: ignore[union-attr]
                         (slice(SHARE_BYTES, None), secrets.mask_seed)):  # type: ignore[union-attr]
        shares = {number: both[part] for number, both in held.items()}
        for size in range(1, 7):
            for holders in combinations(held, size):
                assert (combine(shares, weights_at_zero(holders)) == secret) == (size >= SPEC.threshold)


# The same state asked again.


def test_a_replay_fools_the_twin() -> None:
    session = NaiveSession(VECTORS, threshold=4)
    victim, before = session.partners[VICTIM], VECTORS[VICTIM]
    victim.vector = before + np.array([0, 0, 1, 0, 0, 0])  # one more record since
    again = victim.masked(session.boxes[VICTIM])
    assert (again - session.masked[VICTIM]).tolist() == [0, 0, 1, 0, 0, 0]


def test_each_answer_is_given_once_here() -> None:
    session, key_list = begun(SPEC, Stage.KEYS)
    victim = session.partners[VICTIM]
    assert refused(lambda: victim.masked(b"", VECTORS[VICTIM])) is Code.OUT_OF_ORDER
    assert refused(lambda: victim.survivors(b"")) is Code.OUT_OF_ORDER
    assert refused(lambda: victim.unmask(b"")) is Code.OUT_OF_ORDER
    deliveries = session.collector.shares([partner.shares(key_list)  # type: ignore[arg-type]
                                           for partner in session.partners.values()])
    assert refused(lambda: victim.shares(key_list)) is Code.OUT_OF_ORDER  # type: ignore[arg-type]
    answers = [session.partners[name].masked(deliveries[name], VECTORS[name]) for name in EVERYBODY]
    assert refused(lambda: victim.masked(deliveries[VICTIM], VECTORS[VICTIM])) is Code.OUT_OF_ORDER
    survivors = session.collector.masked(answers)
    request = session.collector.survivors([session.partners[name].survivors(survivors) for name in EVERYBODY])
    assert refused(lambda: victim.survivors(survivors)) is Code.OUT_OF_ORDER
    # Being asked out of turn does no harm to the session.
    total = session.collector.unmask([session.partners[name].unmask(request) for name in EVERYBODY])
    assert total.values.tolist() == summed(EVERYBODY)
    assert refused(lambda: victim.unmask(request)) is Code.OUT_OF_ORDER
    assert refused(lambda: victim.shares(key_list)) is Code.OUT_OF_ORDER  # type: ignore[arg-type]


def test_an_earlier_session_does_not_play_into_a_new_one() -> None:
    new = make_spec(6, attempt=1)
    old, deliveries = begun(SPEC, Stage.SHARES)
    earlier = KeyList(entries=tuple(SignedKeys.decode(answer, SPEC) for answer in old.sent[Stage.KEYS].values()))
    fresh, key_list = begun(new, Stage.KEYS)
    victim = fresh.partners[VICTIM]
    own = KeyList.decode(key_list, new).entries[0]  # type: ignore[arg-type]
    entries = (own, *earlier.entries[1:])
    assert refused(lambda: copy_of(victim, VICTIM, new).shares(KeyList(entries=entries).encode())) is Code.BAD_SIGNATURE
    assert refused(lambda: copy_of(victim, VICTIM, new).shares(earlier.encode())) is Code.OWN_ENTRY
    victim.shares(key_list)  # type: ignore[arg-type]
    assert refused(lambda: victim.masked(  # type: ignore[index]
        deliveries[VICTIM], VECTORS[VICTIM])) is Code.UNREADABLE_BOX
    # And the coordinator takes no answer of the old session for one of the new.
    with pytest.raises(Aborted, match="stage keys"):
        Collector(new).keys(old.sent[Stage.KEYS].values())


def test_a_second_run_of_one_session_has_other_keys() -> None:
    _, key_list = begun(SPEC, Stage.KEYS)
    second, other_list = begun(SPEC, Stage.KEYS)
    assert refused(lambda: second.partners[VICTIM].shares(key_list)) is Code.OWN_ENTRY  # type: ignore[arg-type]
    lists = [KeyList.decode(data, SPEC).entries for data in (key_list, other_list)]  # type: ignore[arg-type]
    lists.append((lists[0][0], *lists[1][1:]))
    assert len({transcript_of(SPEC, entries) for entries in lists}) == 3


# A second question at unmasking.


def test_a_second_unmask_request_fools_the_twin() -> None:
    session = NaiveSession(VECTORS, threshold=4)
    first = session.ask(EVERYBODY[2:], EVERYBODY, [])
    second = session.ask(EVERYBODY[2:], OTHERS, [VICTIM])
    both = together(first, f"personal {VICTIM}"), together(second, f"mask {VICTIM}")
    assert strip(session.masked[VICTIM], VICTIM, *both, session.keys) == SECRET


def test_there_is_no_second_unmask_request_here() -> None:
    partner, request = signing("p03")
    partner.unmask(request.encode())
    for survivors in (SPEC.names, SPEC.names[1:]):
        again = dataclasses.replace(request, survivors=survivors).encode()
        assert refused(lambda a=again: partner.unmask(a)) is Code.OUT_OF_ORDER
        assert refused(lambda a=again: copy_of(partner, "p03").unmask(a)) is Code.OUT_OF_ORDER
    # Nor after one that failed.
    partner, request = signing("p03")
    assert refused(lambda: partner.unmask(b"")) is Code.MALFORMED
    assert refused(lambda: partner.unmask(request.encode())) is Code.OUT_OF_ORDER


# A masked vector changed on its way.


def test_a_changed_vector_fools_the_twin() -> None:
    session = NaiveSession(VECTORS, threshold=4)
    session.masked[VICTIM][2] += 500
    expected = summed(EVERYBODY)
    expected[2] += 500
    assert session.total(EVERYBODY, session.ask(EVERYBODY, EVERYBODY, [])) == expected


def test_a_changed_vector_is_left_out_here() -> None:
    def change(stage: Stage, name: str, answer: bytes) -> bytes:
        if (stage, name) == (Stage.MASKED, VICTIM):
            message = Masked.decode(answer, SPEC)
            words = message.vector(SPEC).copy()
            words[2] += 500
            return dataclasses.replace(message, words=words.tobytes()).encode()
        return answer

    session = Session(SPEC, VECTORS, change)
    total = session.unmask()
    assert total.survivors == tuple(OTHERS)
    assert total.values.tolist() == summed(OTHERS)
    assert [(fault.stage, fault.code, fault.sender) for fault in session.collector.faults] == [
        (Stage.MASKED, Code.BAD_SIGNATURE, VICTIM)]


# A search for the seed of a mask.


def test_a_seed_search_finds_the_twins_mask() -> None:
    # All masks but one are known (the others collude), and the true seed lies somewhere in this slice of 2^12.
    key = shared_key(new_seed(), public_bytes(new_seed()))
    words = VECTORS[VICTIM].astype(np.uint32) + mask_of(fold(key), 6)
    start = fold(key) - fold(key) % 2**12
    found = [guess for guess in range(start, start + 2**12)
             if np.abs((words - mask_of(guess, 6)).view(np.int32)).max() <= SPEC.bound]
    assert found == [fold(key)]
    assert (words - mask_of(found[0], 6)).view(np.int32).tolist() == SECRET


def test_a_seed_search_finds_nothing_here() -> None:
    key = shared_key(new_seed(), public_bytes(new_seed()))
    words = SPEC.ring.encode(VECTORS[VICTIM], bound=SPEC.bound)
    add_mask(words, key)
    start = fold(key) - fold(key) % 2**12
    for guess in range(start, start + 2**12):
        # Neither the old generator, nor the stream of a key with the same 32 bits of it.
        unmasked = words.copy()
        add_mask(unmasked, guess.to_bytes(4, "big") + bytes(28), subtract=True)
        assert np.abs(unmasked.view(np.int32).astype(np.int64)).max() > SPEC.bound
        assert np.abs((words - mask_of(guess, 6)).view(np.int32).astype(np.int64)).max() > SPEC.bound
    other = bytes(a ^ b for a, b in zip(key, b"abcdabcd" + bytes(24), strict=True))
    assert fold(other) == fold(key)
    again = words.copy()
    add_mask(again, other, subtract=True)
    assert np.abs(again.view(np.int32).astype(np.int64)).max() > SPEC.bound


# A sum of one.


def test_a_sum_of_one_fools_the_twin() -> None:
    session = NaiveSession(VECTORS, threshold=4)
    assert session.total([VICTIM], session.ask(OTHERS, [VICTIM], OTHERS)) == SECRET


def test_no_list_falls_below_the_quorum_here() -> None:
    session, good = keyed()
    few = KeyList(entries=good.entries[:3]).encode()
    assert refused(lambda: session.partners[VICTIM].shares(few)) is Code.BELOW_QUORUM
    session, deliveries = begun(SPEC, Stage.SHARES)
    delivery = Delivery.decode(deliveries[VICTIM], SPEC)  # type: ignore[index]
    few = Delivery(holders=delivery.holders[:3], boxes=delivery.boxes[:2]).encode()
    assert refused(lambda: session.partners[VICTIM].masked(few, VECTORS[VICTIM])) is Code.BELOW_QUORUM
    session, _ = begun(SPEC, Stage.MASKED)
    few = SurvivorList(survivors=SPEC.names[:3]).encode()
    assert refused(lambda: session.partners[VICTIM].survivors(few)) is Code.BELOW_QUORUM


def test_lists_only_lose_members_and_never_this_partner() -> None:
    def change(stage: Stage, name: str, answer: bytes) -> bytes | None:
        return None if (stage, name) in ((Stage.KEYS, "p05"), (Stage.SHARES, "p04")) else answer

    session = Session(SPEC, VECTORS, change)
    deliveries = session.shares()
    delivery = Delivery.decode(deliveries[VICTIM], SPEC)
    victim = session.partners[VICTIM]
    more = Delivery(holders=(*delivery.holders, "p05"), boxes=(*delivery.boxes, ("p05", delivery.boxes[0][1])))
    without = Delivery(holders=SPEC.names[1:5], boxes=(*delivery.boxes, ("p04", delivery.boxes[0][1])))
    uneven = Delivery(holders=delivery.holders, boxes=delivery.boxes[:-1])
    for bad, code in ((more, Code.NOT_A_MEMBER), (without, Code.OWN_ENTRY), (uneven, Code.WRONG_NAMES)):
        assert refused(lambda b=bad: copy_of(victim, VICTIM).masked(b.encode(), VECTORS[VICTIM])) is code
    victim.masked(deliveries[VICTIM], VECTORS[VICTIM])
    for survivors, code in ((SPEC.names[:5], Code.NOT_A_MEMBER), (SPEC.names[1:5], Code.NOT_A_MEMBER)):
        bad = SurvivorList(survivors=survivors).encode()
        assert refused(lambda b=bad: copy_of(victim, VICTIM).survivors(b)) is code
    session, _ = begun(SPEC, Stage.MASKED)
    bad = SurvivorList(survivors=SPEC.names[1:]).encode()
    assert refused(lambda: session.partners[VICTIM].survivors(bad)) is Code.OWN_ENTRY


def test_boxes_are_for_this_partner_from_whom_they_are_said_to_be() -> None:
    session, deliveries = begun(SPEC, Stage.SHARES)
    mine, theirs = (Delivery.decode(deliveries[name], SPEC) for name in (VICTIM, "p01"))  # type: ignore[index]
    (first, box), (second, other), *rest = mine.boxes
    swapped = ((first, other), (second, box), *rest)
    misdirected = (mine.boxes[0], ("p02", dict(theirs.boxes)["p02"]), *mine.boxes[2:])
    for boxes in (swapped, misdirected):
        bad = dataclasses.replace(mine, boxes=tuple(boxes)).encode()
        victim = copy_of(session.partners[VICTIM], VICTIM)
        assert refused(lambda b=bad, v=victim: v.masked(b, VECTORS[VICTIM])) is Code.UNREADABLE_BOX

