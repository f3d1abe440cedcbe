"""Checking a journal from its bytes alone, believing nothing: form, numbers, hashes, times, facts and signatures.

The first line that does not fit is named, with what is wrong as far as bytes can tell. Who rewrote a journal from some
line on, holding its key, is seen at its end alone: by an anchor from elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from federation.canonical import sha256_hex
from federation.journal.acts import Act, Opened
from federation.journal.entries import GENESIS, PURPOSE, Anchor, Entry, Head, read_entry, signed_by, split_signature
from federation.signatures import seeking_unsigned


class Fault(StrEnum):
    """What is wrong with a line."""

    EMPTY = "empty"
    INCOMPLETE = "incomplete"
    UNREADABLE = "unreadable"
    NOT_OPENED = "not_opened"
    OTHER_KEY = "other_key"
    SIGNATURE = "signature"
    REPEATED = "repeated"
    MOVED = "moved"
    MISSING = "missing"
    SPLICED = "spliced"
    ANOTHER_JOURNAL = "another_journal"
    BROKEN_CHAIN = "broken_chain"
    OTHER_SIDE = "other_side"
    TIME = "time"
    END_MISSING = "end_missing"
    REWRITTEN = "rewritten"
    HEAD = "head"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The first line that does not fit, counted from 1, and why."""

    line: int
    fault: Fault
    words: str


@dataclass(frozen=True, kw_only=True)
class JournalReport:
    """What a check found.

    Attributes:
        entries: those before the problem, in order: each fits, and is signed by the key of the first.
        pinned: that key was given, and not only believed.
        anchored: number of the last entry that nobody can have cut off; None if no anchor was given or it does not fit.
        problem: None if all that can be checked holds.
    """

    entries: tuple[Entry, ...]
    pinned: bool
    anchored: int | None
    problem: Problem | None

    @property
    def sound(self) -> bool:
        """Whether all that can be checked holds."""
        return self.problem is None

    @property
    def acts(self) -> dict[Act, int]:
        """How often each act was done, in the order in which they first were."""
        return dict(Counter(entry.act for entry in self.entries))

    @property
    def opened(self) -> Opened | None:
        """Whose journal it says it is; None if the first line does not fit."""
        facts = self.entries[0].facts if self.entries else None
        return facts if isinstance(facts, Opened) else None


def verify_journal(data: bytes, *, public_key: str | None = None, head: Anchor | None = None) -> JournalReport:
    """Check every line of a journal.

    Args:
        data: the file.
        public_key: the owner's, from elsewhere, 64 hexadecimal digits; None: the first entry is believed.
        head: number and hash of an entry that the journal must hold: its `Head`, whose signature is checked too, or
            an anchor from elsewhere. None: nothing tells whether the end was cut off.
    """
    *lines, rest = data.split(b"\n")
    entries, problem = _chain(lines, public_key)
    if problem is None and rest:
        problem = Problem(line=len(lines) + 1, fault=Fault.INCOMPLETE,
                          words="is incomplete: writing it was cut short, or its end was cut off")
    if problem is None and not lines:
        problem = Problem(line=1, fault=Fault.EMPTY, words="is not there: the journal is empty")
    if problem is None and head is not None:
        problem = _check_end(entries, head)
    if problem is not None:
        entries = entries[:problem.line - 1]
    return JournalReport(entries=tuple(entries), pinned=public_key is not None, problem=problem,
                         anchored=head.sequence if head is not None and problem is None else None)


def _chain(lines: Sequence[bytes], public_key: str | None) -> tuple[list[Entry], Problem | None]:
    """The entries up to the first that does not fit, and what is wrong with that one."""
    if not lines:
        return [], None
    opened, problem = _beginning(lines[0], public_key)
    if opened is None:
        return [], problem
    with seeking_unsigned(opened.public_key, PURPOSE, [split_signature(line) for line in lines]) as first_unsigned:
        entries, problem = _follow(lines, opened)
        unsigned = first_unsigned()
    if unsigned is None or (problem is not None and (
            problem.line <= unsigned or (problem.line == unsigned + 1 and problem.fault is Fault.ANOTHER_JOURNAL))):
        return entries, problem
    # Of one and the same line, a bad signature explains whatever else is wrong with it.
    return entries, Problem(line=unsigned + 1, fault=Fault.SIGNATURE,
                            words="was edited, or is signed by another key than the one that opened the journal")


def _beginning(line: bytes, public_key: str | None) -> tuple[Opened | None, Problem | None]:
    """Whose journal the first line opens, and what is wrong with that line if it opens none."""
    try:
        first = read_entry(line)
    except ValueError:
        return None, _unreadable(1)
    if not isinstance(first.facts, Opened) or (first.sequence, first.previous) != (0, GENESIS):
        return None, Problem(line=1, fault=Fault.NOT_OPENED, words="does not open a journal: what stood before it is "
                             "missing")
    if public_key is not None and first.facts.public_key != public_key:
        return None, Problem(line=1, fault=Fault.OTHER_KEY, words="opens a journal of another key than the one given")
    return first.facts, None


def _follow(lines: Sequence[bytes], opened: Opened) -> tuple[list[Entry], Problem | None]:
    """The entries as far as each follows from the one before it. Signatures are another matter."""
    entries: list[Entry] = []
    before = GENESIS
    for number, line in enumerate(lines, start=1):
        try:
            entry = read_entry(line)
        except ValueError:
            return entries, _unreadable(number)
        problem = None
        if (entry.sequence, entry.previous) != (len(entries), before):
            problem = _misplaced(lines, entry, number)
        elif entries and entry.facts.by is not opened.side:
            problem = Problem(line=number, fault=Fault.OTHER_SIDE,
                              words=f"holds {entry.act}, which is no act of a {opened.side}")
        elif entries and entry.at < entries[-1].at:
            problem = Problem(line=number, fault=Fault.TIME, words="has an earlier time than the line before it")
        if problem is not None:
            return entries, problem
        entries.append(entry)
        before = sha256_hex(line)
    return entries, None


def _unreadable(number: int) -> Problem:
    return Problem(line=number, fault=Fault.UNREADABLE,
                   words="is not an entry as this version writes it: it was edited, or a later version wrote it")


def _misplaced(lines: Sequence[bytes], entry: Entry, number: int) -> Problem:
    """Why an entry stands in line `number`, where it does not belong, as far as the other lines tell."""
    def problem(fault: Fault, words: str) -> Problem:
        return Problem(line=number, fault=fault, words=words)

    line, earlier, expected = lines[number - 1], lines[:number - 1], number - 1
    if line in earlier:
        return problem(Fault.REPEATED, f"repeats line {earlier.index(line) + 1}")
    if isinstance(entry.facts, Opened) and signed_by(line, entry.facts.public_key):
        return problem(Fault.ANOTHER_JOURNAL, f"opens another journal, that of {entry.facts.owner}: two were put "
                       "together")
    if entry.sequence < expected:
        return problem(Fault.SPLICED, f"holds another entry {entry.sequence} than line {entry.sequence + 1}: two "
                       "histories were put together")
    if entry.sequence == expected:
        return problem(Fault.BROKEN_CHAIN, f"does not follow from line {number - 1}: that one was changed and signed "
                       "again, or two histories were put together here")
    if expected in map(_sequence, lines[number:]):
        return problem(Fault.MOVED, f"holds entry {entry.sequence}, and entry {expected} stands further down: lines "
                       "were moved")
    return problem(Fault.MISSING, f"holds entry {entry.sequence} where {expected} belongs: "
                   f"{entry.sequence - expected} missing before it")


def _sequence(line: bytes) -> int | None:
    try:
        return read_entry(line).sequence
    except ValueError:
        return None


def _check_end(entries: Sequence[Entry], head: Anchor) -> Problem | None:
    opened = entries[0].facts
    if isinstance(head, Head) and isinstance(opened, Opened) and not head.signed_by(opened.public_key):
        return Problem(line=len(entries), fault=Fault.HEAD,
                       words="is the last, and the head, which is to name it, was edited or is signed by another key")
    if head.sequence >= len(entries):
        return Problem(line=len(entries) + 1, fault=Fault.END_MISSING,
                       words=f"is not there, and the journal went on at least to entry {head.sequence}: its end was "
                             "cut off")
    if entries[head.sequence].hash != head.hash:
        return Problem(line=head.sequence + 1, fault=Fault.REWRITTEN,
                       words="is not the entry that the head names: the journal was rewritten")
    return None
