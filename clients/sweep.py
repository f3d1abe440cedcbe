"""Deleting what may no longer be kept in a node's home. Safe beside a running node, and called by it once a day.

Records whose retention has ended, texts and all; features of texts that are in no record; files with rows set aside
that are older than `quarantine_days` of `node.yaml`; replies in the account that nobody needs any more; sessions that
are over, and files that a crash left half-written. Nothing is written into the journal: what expires was decided when
it was taken in. Running totals keep who has counted, under a pseudonym, for as long as the series runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from clients import sessions, set_aside
from clients.accounts import existing_account, has_account
from clients.databases import in_words
from clients.node import NodeHome
from clients.store import RecordStore
from federation.encoders.cache import prune
from federation.errors import InputError, Refusal, RefusalCode

_PART_SECONDS = 3600
"""After so long, what a crash left half-written is nobody's any more."""


@dataclass(kw_only=True)
class Swept:
    """What was deleted, or would be.

    Attributes:
        records: whose retention had ended.
        features: of texts that are in no record.
        quarantine_files: that were too old.
        replies: of the account, that nobody needs any more.
        parts: files that a crash left half-written.
        problems: what could not be done, in words for the partner; the rest was.
    """

    records: int = 0
    features: int = 0
    quarantine_files: int = 0
    replies: int = 0
    parts: int = 0
    problems: list[str] = field(default_factory=list)


def sweep_home(home: NodeHome, today: date, *, dry_run: bool = False, clock: Callable[[], float] = time.time) -> Swept:
    """Delete what may no longer be kept. One part that fails does not keep the others from being done.

    Args:
        home: the node's.
        today: records kept until the day before are deleted; the age of files counts to this day.
        dry_run: count, and change nothing.
        clock: seconds since 1970, for the age of what a crash left.

    Returns:
        What was deleted, and what could not be. Nothing is raised for what the home holds.
    """
    swept = Swept()
    with _noting(swept, home.store_path):
        _records(home, today, swept, dry_run=dry_run)
    with _noting(swept, home.quarantine_dir):
        for path in set_aside.too_old(home.quarantine_dir, today, home.settings.quarantine_days):
            if not dry_run:
                path.unlink(missing_ok=True)
            swept.quarantine_files += 1
    with _noting(swept, home.path):
        swept.replies = _replies(home, dry_run=dry_run)
    with _noting(swept, home.path):
        for part in _parts(home, clock()):
            if not dry_run:
                part.unlink(missing_ok=True)
            swept.parts += 1
        if not dry_run:
            sessions.sweep(home.sessions_dir, clock=clock)
    return swept


def _records(home: NodeHome, today: date, swept: Swept, *, dry_run: bool) -> None:
    if not home.store_path.is_file():
        return
    with RecordStore(home.store_path) as store:
        swept.records = store.expired(today) if dry_run else store.erasure.expired(today)
        swept.features = prune(home.cache_dir, key=home.person_secret(), texts=store.texts(today), dry_run=dry_run)


def _replies(home: NodeHome, *, dry_run: bool) -> int:
    if not has_account(home):
        return 0
    try:
        with existing_account(home) as account:
            return account.past_replies() if dry_run else account.drop_past_replies()
    except Refusal as refusal:
        if refusal.code is RefusalCode.BUSY:
            # A request is being answered; another day will do.
            return 0
        raise InputError(str(home.path), refusal.detail) from None


def _parts(home: NodeHome, now: float) -> Iterator[Path]:
    for folder in (home.path, home.approvals_dir, home.quarantine_dir):
        for path in folder.glob(".*.part"):
            if now - path.stat().st_mtime > _PART_SECONDS:
                yield path


@contextmanager
def _noting(swept: Swept, path: Path) -> Iterator[None]:
    try:
        with in_words(path):
            yield
    except InputError as error:
        swept.problems.append(str(error))
    except OSError as error:
        swept.problems.append(str(InputError(error.filename or str(path), f"cannot be deleted ({error.strerror})",
                                             remedy="check the folder's permissions")))
