"""How a node's home stands, in one look. For the partner alone: it holds counts, and nothing of it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from clients import set_aside
from clients.accounts import existing_account, has_account
from clients.databases import in_words
from clients.decisions import Decided, decisions
from clients.ledger import Balance
from clients.node import NodeHome
from clients.set_aside import made_on
from clients.store import RecordStore
from federation.deployment.keeper import running_state
from federation.errors import InputError, Refusal
from federation.journal import head_path, read_head


@dataclass(frozen=True, kw_only=True)
class Records:
    """What lies in the store.

    Attributes:
        without_person: records that cannot be joined with others of the same person.
        excluded: records that stay out of training and counting.
        expired: records whose retention has ended, and that wait for `leelight partner sweep`.
        labelled: records with a label, by task.
        consent_basis: records by the basis on which they are held.
        erased: people and records on the erasure list.
    """

    records: int
    people: int
    without_person: int
    excluded: int
    expired: int
    labelled: dict[str, int]
    consent_basis: dict[str, int]
    erased: int


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """Rows that wait to be repaired or given up; `too_old` files go with the next sweep."""

    files: int
    rows: int
    oldest: date | None
    too_old: int


@dataclass(frozen=True, kw_only=True)
class JournalEnd:
    """The last entry that the journal's head names."""

    sequence: int
    hash: str


@dataclass(kw_only=True)
class Status:
    """A home at a moment. None stands for what is not there, or could not be read: then `problems` says why.

    Attributes:
        unreadable: parts of which nothing is known, such as `account`: that they are None does not mean that there is
            nothing.
        account: what was spent, this year and ever.
        process: number of the node's process, if one runs.
        state: what the running node says of itself.
    """

    at: datetime
    partner: str
    synthetic: bool
    records: Records | None = None
    quarantine: Quarantine | None = None
    decisions: tuple[Decided, ...] = ()
    account: Balance | None = None
    journal: JournalEnd | None = None
    process: int | None = None
    state: dict[str, Any] | None = None
    unreadable: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def status_of(home: NodeHome, now: datetime | None = None) -> Status:
    """How a home stands. Changes nothing; a part that cannot be read is told in `problems`, and the others are there.

    Args:
        home: the node's.
        now: the moment, in UTC; the present one if not given.
    """
    at = now or datetime.now(UTC)
    found = Status(at=at, partner=home.settings.name, synthetic=home.settings.synthetic)
    with _noting(found, home, "records"):
        found.records = _records(home, at.date())
    with _noting(found, home, "quarantine"):
        found.quarantine = _quarantine(home, at.date())
    with _noting(found, home, "decisions"):
        found.decisions = decisions(home)
    with _noting(found, home, "account"):
        if has_account(home):
            with existing_account(home) as account:
                found.account = account.balance(home.policy().ceilings, at)
    with _noting(found, home, "journal"):
        head = read_head(head_path(home.path / "journal.jsonl"))
        found.journal = None if head is None else JournalEnd(sequence=head.sequence, hash=head.hash)
    found.state = running_state(home.path)
    found.process = None if found.state is None else int(found.state["pid"])
    return found


def running_process(home: NodeHome) -> int | None:
    """Number of the process that keeps this home's node running, if there is one."""
    state = running_state(home.path)
    return None if state is None else int(state["pid"])


def _records(home: NodeHome, today: date) -> Records | None:
    if not home.store_path.is_file():
        return None
    with RecordStore(home.store_path) as store:
        counts = store.counts()
        return Records(
            records=counts.records, people=counts.people, without_person=counts.without_person,
            excluded=counts.excluded, expired=store.expired(today), labelled=store.by_task(),
            consent_basis=store.by_consent_basis(), erased=store.erased())


def _quarantine(home: NodeHome, today: date) -> Quarantine:
    files = set_aside.files(home.quarantine_dir)
    return Quarantine(
        files=len(files), rows=set_aside.rows(home.quarantine_dir), oldest=made_on(files[0]) if files else None,
        too_old=len(set_aside.too_old(home.quarantine_dir, today, home.settings.quarantine_days)))


@contextmanager
def _noting(found: Status, home: NodeHome, part: str) -> Iterator[None]:
    try:
        with in_words(home.store_path):
            yield
    except (InputError, Refusal, OSError) as error:
        found.unreadable.append(part)
        found.problems.append(_in_words(error, home))


def _in_words(error: InputError | Refusal | OSError, home: NodeHome) -> str:
    match error:
        case Refusal():
            return error.detail
        case OSError():
            return str(InputError(error.filename or str(home.path), f"cannot be read ({error.strerror})",
                                  remedy="check the folder's permissions"))
    return str(error)
