"""What a ledger's entries add up to. Entries are taken in one by one, and one that breaks the rules is refused.

The rules: `opened` comes first and once; a study is held once; a reservation is for a round that its held plan has, at
the plan's price, and attempts count up without a gap; a commit is for the last open reservation of its request; times
never go back. Whoever reads a ledger, its owner or an auditor, reads it through here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from clients.ledger.chain import Link
from clients.ledger.entries import (
    Committed,
    Entry,
    Opened,
    Reserved,
    StudyHeld,
    decode,
    find_stage,
    request_id,
)
from clients.ledger.problems import unusable
from federation.errors import Refusal
from federation.privacy.accounting import Event, grouped

REPLY_DAYS = 90
"""So long a reply is kept for whoever asks again. What it cost stays spent for ever, and it is never computed anew."""


def is_past(commit: Committed, now: datetime) -> bool:
    """Whether the reply of a commit need not be there any more."""
    return now - commit.at > timedelta(days=REPLY_DAYS)


class ChargeKind(StrEnum):
    """Why something was charged."""

    PLAN = "plan"
    FURTHER_ATTEMPT = "further attempt"


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Something that was spent."""

    seq: int
    at: datetime
    study: str
    plan_sha256: str
    kind: ChargeKind
    events: tuple[Event, ...]


@dataclass
class RequestState:
    """Where a request stands."""

    attempts: int = 0
    reservation: int = 0
    request_sha256: str = ""
    committed: Committed | None = None
    commit: int = 0


@dataclass
class Study:
    """A held study and its requests."""

    held: StudyHeld
    requests: dict[str, RequestState] = field(default_factory=dict)


class Account:
    """The state after some entries."""

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.studies: dict[str, Study] = {}
        self.charges: list[Charge] = []
        self.last: datetime | None = None
        self._spent: dict[int | str | None, tuple[Event, ...]] = {}
        self._open: dict[int, tuple[str, str]] = {}

    @property
    def terms(self) -> Opened:
        """The first entry.

        Raises:
            Refusal: `ledger_unusable`, if there is none yet.
        """
        if self.opened is None:
            raise unusable("ledger", "holds no entry", "open the account again")
        return self.opened

    def take(self, seq: int, entry: Entry) -> None:
        """Add the entry numbered `seq`.

        Raises:
            Refusal: `ledger_unusable`, if it breaks a rule.
        """
        if self.last is not None and entry.at < self.last:
            raise self._broken(seq, "has a time before that of the entry before it")
        match entry:
            case Opened():
                if seq != 1:
                    raise self._broken(seq, "opens the account a second time")
                self.opened = entry
            case _ if self.opened is None:
                raise self._broken(seq, "stands before the account was opened")
            case StudyHeld():
                self._hold(seq, entry)
            case Reserved():
                self._reserve(seq, entry)
            case Committed():
                self._commit(seq, entry)
        self.last = entry.at

    def spent(self, *, year: int | None = None, plan: str | None = None) -> tuple[Event, ...]:
        """Everything charged so far, in a calendar year (UTC) or for a plan; each mechanism once, with its repetitions.

        A plan belongs whole to the year in which it was held, a further attempt to its own.
        """
        return self._spent.get(plan if year is None else year, ())

    def _charge(self, charge: Charge) -> None:
        self.charges.append(charge)
        # Kept grouped, so that no request costs more for there having been many.
        for scope in (None, charge.at.year, charge.plan_sha256):
            self._spent[scope] = grouped((*self._spent.get(scope, ()), *charge.events))

    def _hold(self, seq: int, entry: StudyHeld) -> None:
        if entry.plan_sha256 in self.studies:
            raise self._broken(seq, "holds a study that is held already")
        self.studies[entry.plan_sha256] = Study(entry)
        self._charge(Charge(seq=seq, at=entry.at, study=entry.study, plan_sha256=entry.plan_sha256,
                            kind=ChargeKind.PLAN,
                            events=tuple(event for stage in entry.stages for event in stage.whole())))

    def _reserve(self, seq: int, entry: Reserved) -> None:
        study = self.studies.get(entry.plan_sha256)
        planned = find_stage(study.held.stages, entry.stage, entry.round_number) if study else None
        if study is None or planned is None or planned.event != entry.event:
            raise self._broken(seq, "reserves what no held plan has")
        if entry.request_id != request_id(entry.plan_sha256, entry.stage, entry.round_number):
            raise self._broken(seq, "reserves under a name that is not the request's")
        state = study.requests.setdefault(entry.request_id, RequestState())
        if state.committed is not None or entry.attempt != state.attempts + 1:
            raise self._broken(seq, "reserves an attempt that is not the next one")
        self._open.pop(state.reservation, None)
        state.attempts, state.reservation, state.request_sha256 = entry.attempt, seq, entry.request_sha256
        self._open[seq] = entry.plan_sha256, entry.request_id
        if entry.attempt > 1:
            self._charge(Charge(
                seq=seq, at=entry.at, study=study.held.study, plan_sha256=entry.plan_sha256,
                kind=ChargeKind.FURTHER_ATTEMPT, events=entry.event.events()))

    def _commit(self, seq: int, entry: Committed) -> None:
        if entry.reservation not in self._open:
            raise self._broken(seq, "commits what is not reserved")
        plan, name = self._open.pop(entry.reservation)
        state = self.studies[plan].requests[name]
        state.committed, state.commit = entry, seq

    def commits(self) -> dict[int, Committed]:
        """All commits by the number of their entry."""
        return {state.commit: state.committed for study in self.studies.values()
                for state in study.requests.values() if state.committed is not None}

    def past_replies(self, now: datetime) -> tuple[int, ...]:
        """Numbers of the commits whose replies nobody needs any more at `now`."""
        return tuple(seq for seq, commit in self.commits().items() if is_past(commit, now))

    @staticmethod
    def _broken(seq: int, problem: str) -> Refusal:
        return unusable(f"entry {seq}", problem, "bring the ledger file back as it was, and find out who changed it")


def read_entry(link: Link) -> Entry:
    """The entry that a link holds.

    Raises:
        Refusal: `ledger_unusable`, if it is none that this version knows.
    """
    try:
        return decode(link.body)
    except ValueError:
        raise unusable(f"entry {link.seq}", "is of no kind that this version knows",
                       "use the release that wrote this ledger, or bring the file back as it was") from None
