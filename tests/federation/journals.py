"""Small journals for tests: fixed keys, a clock that is set by hand, and one act of each kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from federation.canonical import canonical_json
from federation.errors import RefusalCode
from federation.identity import SigningKey
from federation.journal import (
    Answered,
    DraftWithdrawn,
    Entry,
    Erased,
    Facts,
    Journal,
    Left,
    Opened,
    PartnerEnrolled,
    PartnerRevoked,
    PlanApproved,
    PlanDeclined,
    PlanSigned,
    Refused,
    ReleaseDrafted,
    ReleasePublished,
    ReleaseSigned,
    Side,
    StudyRun,
)
from federation.journal.entries import PURPOSE

KEY, STRANGER = (SigningKey.from_bytes(seed * 32) for seed in (b"j", b"s"))
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)

COORDINATORS: tuple[Facts, ...] = (
    PartnerEnrolled(partner="agency", public_key=A), PartnerRevoked(partner="agency", public_key=A),
    PlanSigned(plan_sha256=A, study="winter", period_start=date(2026, 1, 1), period_end=date(2026, 3, 31)),
    StudyRun(plan_sha256=A, partners=("agency", "ngo-shelter", "platform"), measurements_sha256=B, model_sha256=C),
    ReleaseDrafted(plan_sha256=A, content_sha256=B, previous_release_sha256=None),
    DraftWithdrawn(content_sha256=B),
    ReleaseDrafted(plan_sha256=A, content_sha256=C, previous_release_sha256=B),
    ReleaseSigned(content_sha256=C, signer="ngo-shelter", public_key=A),
    ReleasePublished(content_sha256=C, released_on=date(2026, 6, 30), epsilon=3.25, delta=1e-6))
PARTNERS: tuple[Facts, ...] = (
    PlanDeclined(plan_sha256=B, bundle_sha256=C, study="spring", epsilon=7.5, delta=1e-6, policy_sha256=None),
    PlanApproved(plan_sha256=A, bundle_sha256=B, study="winter", epsilon=3.25, delta=1e-6, policy_sha256=C),
    Answered(plan_sha256=A, stage="train", round=1, request_sha256=B, reply_sha256=C, kept=False),
    Answered(plan_sha256=A, stage="train", round=1, request_sha256=B, reply_sha256=C, kept=True),
    Answered(plan_sha256=A, stage="table", round=1, request_sha256=C, reply_sha256=B, kept=False),
    Refused(plan_sha256=A, code=RefusalCode.BUDGET_EXHAUSTED),
    Erased(),
    Left())


@dataclass
class Clock:
    """A clock that goes on by a minute each time it is looked at."""

    time: datetime = START

    def __call__(self) -> datetime:
        self.time += timedelta(minutes=1)
        return self.time


def open_journal(path: Path, *, key: SigningKey = KEY, owner: str = "ngo-shelter", side: Side = Side.PARTNER,
                 clock: Callable[[], datetime] | None = None, wait_seconds: float = 20.0) -> Journal:
    return Journal.open_or_create(path, key=key, owner=owner, side=side, clock=clock or Clock(),
                                  wait_seconds=wait_seconds)


def history(acts: Sequence[Facts] = PARTNERS, *, key: SigningKey = KEY, owner: str = "ngo-shelter",
            side: Side = Side.PARTNER) -> list[Entry]:
    """The entries of a journal in which `acts` were done."""
    clock, entries = Clock(), list[Entry]()
    for facts in (Opened(owner=owner, side=side, public_key=key.public), *acts):
        entries.append(Entry.after(entries[-1] if entries else None, facts, clock(), key))
    return entries


def as_file(entries: Sequence[Entry]) -> bytes:
    return b"".join(entry.line + b"\n" for entry in entries)


def signed_again(entry: Entry, key: SigningKey = KEY) -> Entry:
    """An entry that was changed, with a signature that fits."""
    return replace(entry, signature=key.sign(PURPOSE, canonical_json(entry._unsigned())))


def act(number: int) -> Answered:
    """An act that can be told apart from every other."""
    return Answered(plan_sha256=A, stage="train", round=1 + number % 10_000, request_sha256=B,
                    reply_sha256=f"{number:064x}", kept=False)
