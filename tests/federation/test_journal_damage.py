"""Everything that can be done to a journal behind its owner's back, and some things that an owner could do."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation import signatures
from federation.canonical import canonical_json
from federation.errors import InputError
from federation.identity import SigningKey
from federation.journal import (
    Anchor,
    Answered,
    Entry,
    Facts,
    Fault,
    Head,
    Journal,
    JournalReport,
    Opened,
    Problem,
    Side,
    head_path,
    read_head,
    read_journal,
    verify_journal,
)
from federation.journal.entries import GENESIS, PURPOSE
from tests.federation.journals import (
    COORDINATORS,
    KEY,
    PARTNERS,
    STRANGER,
    B,
    Clock,
    act,
    as_file,
    history,
    open_journal,
    signed_again,
)

ENTRIES = history()
LINES = [entry.line for entry in ENTRIES]
DATA = as_file(ENTRIES)
HEAD = Head.of(ENTRIES[-1].anchor, KEY)
LAST = len(LINES) - 1
places = st.integers(min_value=0, max_value=LAST)


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def found(data: bytes, *, key: str | None = None, head: Anchor | None = None) -> Problem:
    report = verify_journal(data, public_key=key, head=head)
    assert report.problem is not None
    assert (report.sound, report.anchored) == (False, None)
    assert [entry.line for entry in report.entries] == data.split(b"\n")[:len(report.entries)]
    assert len(report.entries) == report.problem.line - 1
    return report.problem


def fault(lines: list[bytes], **given: object) -> tuple[int, Fault]:
    problem = found(joined(lines), **given)  # type: ignore[arg-type]
    return problem.line, problem.fault


def as_answer(entry: Entry, reply: str = "d" * 64) -> Facts:
    """Other facts for an entry."""
    return Answered(plan_sha256=B, stage="train", round=2, request_sha256=B, reply_sha256=reply, kept=False)


# the file alone


@settings(max_examples=400)
@given(place=st.integers(min_value=0, max_value=len(DATA) - 1), change=st.integers(min_value=1, max_value=255))
def test_any_byte_that_was_changed_is_noticed_in_its_line(place: int, change: int) -> None:
    data = bytearray(DATA)
    data[place] ^= change
    line = DATA[:place].count(b"\n") + 1
    # A line feed that is gone, or one that is put in, is seen where the line is cut.
    assert found(bytes(data)).line == line
    assert found(bytes(data), key=KEY.public, head=HEAD).line == line


@given(place=st.integers(min_value=0, max_value=len(DATA)), text=st.binary(min_size=1, max_size=3))
def test_anything_put_in_is_noticed(place: int, text: bytes) -> None:
    data = DATA[:place] + text + DATA[place:]
    assert found(data).line in (DATA[:place].count(b"\n") + 1, DATA[:place].count(b"\n") + 2)


@given(start=st.integers(min_value=0, max_value=len(DATA) - 1), length=st.integers(min_value=1, max_value=2000))
def test_anything_cut_out_is_noticed(start: int, length: int) -> None:
    data = DATA[:start] + DATA[start + length:]
    assert not verify_journal(data, head=HEAD).sound
    if not DATA.startswith(data) or not data.endswith(b"\n"):
        assert not verify_journal(data).sound


@pytest.mark.parametrize("place", range(LAST))
def test_a_line_dropped_in_the_middle_is_missing(place: int) -> None:
    lines = LINES[:place] + LINES[place + 1:]
    assert fault(lines) == (place + 1, Fault.MISSING if place else Fault.NOT_OPENED)


def test_several_lines_dropped_are_counted() -> None:
    assert "3 missing" in found(joined(LINES[:2] + LINES[5:])).words


@pytest.mark.parametrize("kept", range(1, LAST + 1))
def test_an_end_that_was_cut_off_needs_an_anchor(kept: int) -> None:
    data = joined(LINES[:kept])
    assert verify_journal(data).sound
    assert verify_journal(data).anchored is None
    for anchor in (HEAD, ENTRIES[-1].anchor, ENTRIES[kept].anchor):
        problem = found(data, head=anchor)
        assert (problem.line, problem.fault) == (kept + 1, Fault.END_MISSING)
        assert f"entry {anchor.sequence}" in problem.words
    # One that is older still anchors what it can.
    assert verify_journal(data, head=ENTRIES[0].anchor).anchored == 0


def test_nothing_at_all_is_no_journal() -> None:
    for head in (None, HEAD):
        assert (found(b"", head=head).line, found(b"", head=head).fault) == (1, Fault.EMPTY)
    assert found(b"\n").line == 1
    assert found(b"not a journal").fault is Fault.INCOMPLETE
    assert found(b"\x00\xff\n").fault is Fault.UNREADABLE


@pytest.mark.parametrize("cut", [1, 2, 100, len(LINES[-1])])
def test_an_incomplete_last_line_is_told_as_one(cut: int) -> None:
    problem = found(DATA[:-cut])
    assert (problem.line, problem.fault) == (LAST + 1, Fault.INCOMPLETE)


@pytest.mark.parametrize(("one", "other"), itertools.combinations(range(LAST + 1), 2))
def test_lines_that_were_swapped_are_noticed_at_the_first(one: int, other: int) -> None:
    lines = list(LINES)
    lines[one], lines[other] = lines[other], lines[one]
    assert fault(lines) == (one + 1, Fault.MOVED if one else Fault.NOT_OPENED)


@given(place=places, to=places)
def test_a_line_that_was_repeated_is_told_as_one(place: int, to: int) -> None:
    lines = [*LINES[:to + 1], LINES[place], *LINES[to + 1:]]
    if place <= to:
        problem = found(joined(lines))
        assert (problem.line, problem.fault) == (to + 2, Fault.REPEATED)
        assert problem.words == f"repeats line {place + 1}"
    elif place > to + 1:
        assert fault(lines) == (to + 2, Fault.MOVED)
    else:
        # It stands where it belongs, and then once more.
        assert fault(lines) == (place + 2, Fault.REPEATED)


@given(place=st.integers(min_value=1, max_value=LAST))
def test_a_line_that_another_key_signed_is_noticed(place: int) -> None:
    lines = list(LINES)
    for entry in (ENTRIES[place], replace(ENTRIES[place], facts=as_answer(ENTRIES[place]))):
        lines[place] = signed_again(entry, STRANGER).line
        assert fault(lines) == (place + 1, Fault.SIGNATURE)


@given(place=st.integers(min_value=0, max_value=LAST))
def test_the_first_line_or_the_only_line_another_key_signed_is_noticed_without_a_pin(place: int) -> None:
    lines = LINES[:place + 1]
    lines[0] = signed_again(ENTRIES[0], STRANGER).line
    assert fault(lines) == (1, Fault.SIGNATURE)


@given(place=st.integers(min_value=1, max_value=LAST))
def test_a_line_that_its_owner_changed_and_signed_again_is_noticed(place: int) -> None:
    lines = list(LINES)
    lines[place] = signed_again(replace(ENTRIES[place], facts=as_answer(ENTRIES[place]))).line
    if place < LAST:
        assert fault(lines) == (place + 2, Fault.BROKEN_CHAIN)
    else:
        # The last line has nothing after it that would hold its hash.
        assert verify_journal(joined(lines)).sound
    assert fault(lines, head=HEAD) == (min(place + 2, LAST + 1), Fault.BROKEN_CHAIN if place < LAST else
                                       Fault.REWRITTEN)


@given(place=places)
def test_a_history_rewritten_by_its_owner_is_noticed_by_an_anchor_alone(place: int) -> None:
    """Who has the key can write another history; whoever noted a hash of the first can tell."""
    others = [facts if number < place else as_answer(ENTRIES[0], f"{number:064x}")
              for number, facts in enumerate(PARTNERS)]
    data = as_file(history(others))
    if place < len(PARTNERS):
        assert verify_journal(data, public_key=KEY.public).sound
        for anchor in (HEAD, ENTRIES[place + 1].anchor):
            assert fault(data.splitlines(), head=anchor) == (anchor.sequence + 1, Fault.REWRITTEN)
    assert verify_journal(data, head=ENTRIES[place].anchor).anchored == place


def test_a_whole_journal_of_another_key_is_noticed_by_the_key_alone() -> None:
    forged = as_file(history(key=STRANGER))
    assert verify_journal(forged).sound
    assert (found(forged, key=KEY.public).line, found(forged, key=KEY.public).fault) == (1, Fault.OTHER_KEY)
    problem = found(forged, head=HEAD)
    assert (problem.line, problem.fault) == (len(PARTNERS) + 1, Fault.HEAD)


@pytest.mark.parametrize("key", [KEY, STRANGER])
@pytest.mark.parametrize("place", range(1, LAST + 1))
def test_two_journals_put_together_are_told_as_two(key: SigningKey, place: int) -> None:
    others = [entry.line for entry in history([act(number) for number in range(LAST + 3)], key=key, owner="another")]
    whole = found(joined(LINES[:place] + others))
    assert (whole.line, whole.fault) == (place + 1, Fault.ANOTHER_JOURNAL)
    assert "another" in whole.words
    # From the middle of the other: where its numbers go on, jump, or have been before.
    for start, named in ((place, Fault.BROKEN_CHAIN), (place + 1, Fault.MISSING), (place - 1, Fault.SPLICED)):
        if start:
            spliced = found(joined(LINES[:place] + others[start:]))
            assert (spliced.line, spliced.fault) == (place + 1, named if key is KEY else Fault.SIGNATURE)


def test_an_opening_that_its_own_key_did_not_sign_opens_nothing() -> None:
    forged = signed_again(history(key=STRANGER)[0], SigningKey.from_bytes(b"x" * 32)).line
    assert fault([*LINES[:3], forged]) == (4, Fault.SIGNATURE)


def continued(change: Callable[[Entry], Entry], key: SigningKey = KEY) -> list[bytes]:
    """A journal whose owner wrote one more entry, changed on the way."""
    more = Entry.after(ENTRIES[-1], act(1), ENTRIES[-1].at, key)
    return [*LINES, signed_again(change(more), key).line]


@pytest.mark.parametrize(("change", "named"), [
    (lambda entry: replace(entry, at=entry.at - timedelta(seconds=1)), Fault.TIME),
    (lambda entry: replace(entry, facts=COORDINATORS[0]), Fault.OTHER_SIDE),
    (lambda entry: replace(entry, facts=ENTRIES[0].facts), Fault.OTHER_SIDE),
    (lambda entry: replace(entry, sequence=entry.sequence + 1), Fault.MISSING),
    (lambda entry: replace(entry, sequence=1), Fault.SPLICED),
    (lambda entry: replace(entry, previous=GENESIS), Fault.BROKEN_CHAIN),
    (lambda entry: replace(entry, previous=ENTRIES[-2].hash), Fault.BROKEN_CHAIN)])
def test_what_an_owner_signed_must_still_keep_the_rules(change: Callable[[Entry], Entry], named: Fault) -> None:
    assert verify_journal(joined(continued(lambda entry: entry))).sound
    assert fault(continued(change)) == (LAST + 2, named)


@pytest.mark.parametrize("change", [
    {"act": "peeked"}, {"facts": {"records": 117}}, {"facts": {}}, {"zone": 1}, {"sequence": 7.0}, {"at": "today"}])
def test_a_line_that_no_version_writes_is_unreadable_even_if_its_owner_signed_it(change: dict[str, object]) -> None:
    body = {**Entry.after(ENTRIES[-1], act(1), ENTRIES[-1].at, KEY)._unsigned(), **change}
    line = canonical_json({**body, "signature": KEY.sign(PURPOSE, canonical_json(body))})
    assert fault([*LINES, line]) == (LAST + 2, Fault.UNREADABLE if "zone" not in change else Fault.SIGNATURE)


@pytest.mark.parametrize(("sequence", "previous"), [(0, "1" * 64), (1, GENESIS)])
def test_a_journal_begins_at_the_beginning(sequence: int, previous: str) -> None:
    first = signed_again(replace(ENTRIES[0], sequence=sequence, previous=previous)).line
    assert fault([first, *LINES[1:]]) == (1, Fault.NOT_OPENED)


def test_a_signature_for_another_purpose_does_not_count() -> None:
    entry = ENTRIES[2]
    for purpose in ("journal-head", "study-plan"):
        forged = replace(entry, signature=KEY.sign(purpose, canonical_json(entry._unsigned())))
        assert fault([*LINES[:2], forged.line]) == (3, Fault.SIGNATURE)


def test_the_first_of_several_faults_is_named() -> None:
    lines = list(LINES)
    lines[2] = signed_again(ENTRIES[2], STRANGER).line
    lines[4] = lines[4].replace(b"a", b"b", 1)
    assert fault(lines) == (3, Fault.SIGNATURE)
    lines[1] = b"{}"
    assert fault(lines) == (2, Fault.SIGNATURE)
    # What does not follow, right before what is not signed.
    lines[1:3] = [LINES[0], b"{}"]
    assert fault(lines) == (2, Fault.REPEATED)


@pytest.mark.parametrize("forge", [
    lambda head: head.model_copy(update={"signature": "0" * 128}), lambda head: Head.of(ENTRIES[-1].anchor, STRANGER),
    lambda head: head.model_copy(update={"sequence": head.sequence - 1}),
    lambda head: head.model_copy(update={"hash": "0" * 64}),
    lambda head: head.model_copy(update={"signature": KEY.sign("journal", head.to_json())})])
def test_a_forged_head_is_noticed(forge: Callable[[Head], Head]) -> None:
    assert fault(LINES, head=forge(HEAD)) == (LAST + 1, Fault.HEAD)


def test_a_head_one_entry_behind_anchors_all_but_that_entry() -> None:
    report = verify_journal(DATA, head=Head.of(ENTRIES[-2].anchor, KEY))
    assert (report.problem, report.anchored) == (None, LAST - 1)


@pytest.mark.parametrize("workers", ["two", "two that die"])
def test_several_processes_look_at_every_signature(
    workers: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(signatures, "_WORTH_A_PROCESS", 2)
    monkeypatch.setattr(signatures.os, "cpu_count", lambda: 2)
    if workers == "two that die":
        request.addfinalizer(lambda: multiprocessing.set_executable(sys.executable))
        multiprocessing.set_executable("/bin/false")
    report: JournalReport = verify_journal(DATA, public_key=KEY.public, head=HEAD)
    assert report.sound
    for place in (1, LAST):
        # The chain after it is made to fit, as its owner alone could.
        forged = [*ENTRIES[:place], replace(ENTRIES[place], signature="00" * 64)]
        for entry in ENTRIES[place + 1:]:
            forged.append(signed_again(replace(entry, previous=forged[-1].hash)))
        assert fault([entry.line for entry in forged]) == (place + 1, Fault.SIGNATURE)


# the owner's own journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    found = open_journal(tmp_path / "journal.jsonl", clock=Clock())
    for facts in PARTNERS:
        found.append(facts)
    return found


def is_refused(journal: Journal, problem: str) -> None:
    """Nothing can be opened, added or tried, and nothing is changed."""
    before = {path.name: path.read_bytes() for path in journal.path.parent.iterdir()}
    for attempt in (lambda: open_journal(journal.path), lambda: journal.append(act(1)), journal.check_writable,
                    lambda: journal.append(act(1), again=False)):
        with pytest.raises(InputError) as caught:
            attempt()
        assert problem in caught.value.problem
        assert caught.value.remedy
    assert {path.name: path.read_bytes() for path in journal.path.parent.iterdir()} == before


def goes_on(journal: Journal, number: int) -> None:
    """The journal is as it was before an entry that was never finished, and takes another."""
    assert open_journal(journal.path).append(act(7)).sequence == number
    report = verify_journal(read_journal(journal.path), public_key=KEY.public,
                            head=read_head(head_path(journal.path)))
    assert (report.problem, report.anchored) == (None, number)


def test_an_end_that_was_cut_off_stops_the_journal(journal: Journal) -> None:
    lines = journal.path.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        journal.path.write_bytes(b"".join(lines[:kept]))
        is_refused(journal, f"ends before entry {LAST}")


@pytest.mark.parametrize("cut", [1, 10, len(LINES[-1])])
def test_a_last_line_cut_in_the_middle_is_no_crash_once_the_head_named_it(journal: Journal, cut: int) -> None:
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    is_refused(journal, f"ends before entry {LAST}")


@pytest.mark.parametrize("torn", [b"{", LINES[-1], b"\0" * 4096, b"\xff" * 70_000])
def test_an_incomplete_last_line_is_cut_away(journal: Journal, torn: bytes) -> None:
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + torn)
    open_journal(journal.path)
    assert journal.path.read_bytes() == whole
    journal.path.write_bytes(whole + torn)
    goes_on(journal, LAST + 1)


@pytest.mark.parametrize("torn", [b"", b"{", LINES[0][:-1]])
def test_a_first_line_that_was_never_finished_is_written_anew(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(torn)
    goes_on(open_journal(path), 1)


def test_a_head_that_was_never_written_is_made_up_for(journal: Journal, tmp_path: Path) -> None:
    """A process that dies between an entry and its head."""
    older = head_path(journal.path).read_bytes()
    journal.append(act(1))
    head_path(journal.path).write_bytes(older)
    open_journal(journal.path)
    assert read_head(head_path(journal.path)) == Head.of(
        verify_journal(read_journal(journal.path)).entries[-1].anchor, KEY)
    goes_on(journal, LAST + 2)
    fresh = open_journal(tmp_path / "fresh.jsonl")
    head_path(fresh.path).unlink()
    goes_on(fresh, 1)


def test_a_head_two_entries_behind_is_not_a_crash(journal: Journal) -> None:
    older = head_path(journal.path).read_bytes()
    for number in (1, 2):
        journal.append(act(number))
    head_path(journal.path).write_bytes(older)
    is_refused(journal, "does not go on from entry")


def test_a_journal_without_its_head_stops(journal: Journal) -> None:
    head_path(journal.path).unlink()
    is_refused(journal, "has lost its head")


def test_a_head_that_is_none_stops_the_journal(journal: Journal) -> None:
    head_path(journal.path).write_bytes(b"{}")
    is_refused(journal, "cannot be read as the head")


def test_a_head_of_another_key_stops_the_journal(journal: Journal) -> None:
    head_path(journal.path).write_bytes(Head.of(ENTRIES[-1].anchor, STRANGER).to_json())
    is_refused(journal, "head that is signed by another key")


@pytest.mark.parametrize("data", [b"", b"{"])
def test_a_journal_that_was_emptied_does_not_begin_again(journal: Journal, data: bytes) -> None:
    journal.path.write_bytes(data)
    is_refused(journal, "missing or empty")


def test_a_journal_that_was_removed_does_not_begin_again(journal: Journal) -> None:
    journal.path.unlink()
    for attempt in (lambda: journal.append(act(1)), lambda: open_journal(journal.path)):
        with pytest.raises(InputError, match="missing or empty"):
            attempt()


def test_a_journal_that_was_moved_aside_begins_again(journal: Journal, tmp_path: Path) -> None:
    """What the message about a lost journal says to do."""
    (tmp_path / "old").mkdir()
    for path in (journal.path, head_path(journal.path)):
        shutil.move(path, tmp_path / "old")
    with pytest.raises(InputError, match="emptied"):
        journal.append(act(1))
    goes_on(open_journal(journal.path), 1)


@pytest.mark.parametrize("change", [
    lambda lines: [*lines[:-1], lines[-1].replace(b'"left"', b'"erased"')],
    lambda lines: [*lines[:-1], signed_again(ENTRIES[-1], STRANGER).line],
    lambda lines: [*lines[:-1], b"{}"], lambda lines: [*lines, b""]])
def test_a_last_line_that_is_not_the_owners_stops_the_journal(
    journal: Journal, change: Callable[[list[bytes]], list[bytes]],
) -> None:
    journal.path.write_bytes(joined(change(journal.path.read_bytes().splitlines())))
    is_refused(journal, "edited, or is signed by another key")


def test_a_last_line_that_its_owners_key_rewrote_stops_the_journal(journal: Journal) -> None:
    lines = [*LINES[:-1], signed_again(replace(ENTRIES[-1], facts=act(5))).line]
    journal.path.write_bytes(joined(lines))
    is_refused(journal, f"does not go on from entry {LAST}")


def test_a_first_line_that_was_changed_is_found_on_opening(journal: Journal) -> None:
    data = journal.path.read_bytes()
    other = history(key=KEY, owner="another")[0]
    for line in (other.line, b"{}"):
        journal.path.write_bytes(joined([line, *data.splitlines()[1:]]))
        with pytest.raises(InputError):
            open_journal(journal.path)
    other_side = signed_again(replace(ENTRIES[0], facts=Opened(
        owner="ngo-shelter", side=Side.COORDINATOR, public_key=KEY.public)))
    journal.path.write_bytes(joined([other_side.line, *data.splitlines()[1:]]))
    with pytest.raises(InputError, match="was not opened as the partner's journal of ngo-shelter"):
        open_journal(journal.path)
