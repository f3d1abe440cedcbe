"""The ledger as a book that is only ever added to: opening it, reading on, adding a page, and keeping its head.

Every reading checks what detection rests on: each entry follows from the one before it and keeps the rules, the last is
signed by the partner, and the head, which was written after it, lies on the same chain and not beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from shlex import quote

from clients.ledger.account import Account, read_entry
from clients.ledger.chain import BEGINNING, Head, Link, check_follows, check_signature, next_link
from clients.ledger.entries import Entry, Opened, encode
from clients.ledger.files import LedgerFiles
from clients.ledger.problems import refusal, unusable
from federation.errors import Refusal, RefusalCode
from federation.identity import SigningKey
from federation.privacy.accounting import best_order
from federation.privacy.guarantee import ADJACENCY, UNIT
from federation.privacy.units import Budget

CLOCK_TOLERANCE = timedelta(seconds=120)
"""How far the clock may have gone back: it is corrected by a little now and then. Further means that it is wrong."""
LONGEST_WORK = timedelta(days=1)
"""How far the clock may go forward while a request runs; further means that it leapt."""
STEPS = ("written", "stored", "sealed")
"""What `on_step` hears when a page is added: inside the transaction, after it, and when the head points at it."""


class Book:
    """One process's view of a ledger.

    Attributes:
        account: what the entries read so far add up to.
        tip: the last of them.
    """

    def __init__(self, home: Path, key: SigningKey, *, head_path: Path | None, clock: Callable[[], datetime],
                 on_step: Callable[[str], None]) -> None:
        self.files = LedgerFiles(home, head_path)
        self.account, self.tip = Account(), BEGINNING
        self._key, self._clock, self._on_step = key, clock, on_step

    def open(self, partner: str, *, total: Budget, year: Budget, wait_seconds: float) -> None:
        """Read the ledger, or start it if there has never been one. See `Ledger.open`."""
        self.files.check_private()
        if not self._started():
            with self.files.locked(wait_seconds):
                if not self._started():
                    self._start(partner, total, year)
        self.refresh()
        terms = self.account.terms
        if (terms.partner, terms.public_key) != (partner, self._key.public):
            raise unusable(str(self.files.database), f"is the account of {terms.partner}, under another key or name",
                           "give each partner its own home")
        with self.files.locked_if_free() as free:
            # Whoever holds the lock brings the head up to date.
            if free:
                self.catch_up()

    def locked(self, wait_seconds: float) -> AbstractContextManager[None]:
        """Keep everybody else from adding to the book."""
        return self.files.locked(wait_seconds)

    def refresh(self) -> Head:
        """Read what was written since, and check that what is known is still there.

        Raises:
            Refusal: `ledger_unusable`, if anything is not as it was left.
        """
        # The head first: it is written last, so what is read after it can only be newer.
        head = self._head()
        if head is None:
            raise unusable(str(self.files.head), "is missing", "bring the head file back")
        known = self.tip
        links = self.files.links(first=max(1, known.seq))
        if known.seq and next(links, None) != known:
            raise _older(known.seq)
        for link in links:
            check_follows(link, self.tip)
            self.account.take(link.seq, read_entry(link))
            self.tip = link
        if self.tip != known:
            check_signature(self.tip, self._key.public)
        check_head(head, self.tip, self._at)
        return head

    def catch_up(self) -> None:
        """`refresh`, and bring a head that a crash left behind up to date. Only under the lock."""
        if self.refresh().seq != self.tip.seq:
            self._seal()

    def append(self, name: str, entries: Sequence[Entry], reply: bytes | None = None) -> None:
        """Add entries, and the reply that the last of them commits, in one transaction. Only under the lock."""
        links: list[Link] = []
        for entry in entries:
            links.append(next_link(links[-1] if links else self.tip, encode(entry), self._key))
        try:
            for link, entry in zip(links, entries, strict=True):
                self.account.take(link.seq, entry)
            self.files.append(links, {} if reply is None else {links[-1].seq: reply},
                              before_commit=lambda: self._on_step(f"{name}:written"))
        except BaseException:
            # What is on disk counts; it is read again from the start.
            self.account, self.tip = Account(), BEGINNING
            raise
        self.tip = links[-1]
        self._on_step(f"{name}:stored")
        self._seal()
        self._on_step(f"{name}:sealed")

    def now(self) -> datetime:
        """The time for a new entry: never before the last one's.

        Raises:
            Refusal: `ledger_unusable`, if the clock is behind the last entry by more than `CLOCK_TOLERANCE`.
        """
        now, last = self._clock(), self.account.last
        if last is not None and last - now > CLOCK_TOLERANCE:
            raise unusable("clock", f"says {now:%Y-%m-%d %H:%M:%S} UTC, and the last entry is from "
                           f"{last:%Y-%m-%d %H:%M:%S}", "set this machine's clock right")
        return self.now_or_last()

    def now_or_last(self) -> datetime:
        """The time, or the last entry's if the clock is behind it."""
        now, last = self._clock(), self.account.last
        return now if last is None else max(now, last)

    def commit_time(self) -> datetime:
        """The time for a commit: the reservation's if the clock went back, or leapt by more than a day, meanwhile.

        Nothing depends on it, and an entry from the far future would stop the account until then.
        """
        now, last = self._clock(), self.account.last
        return now if last is None or last <= now <= last + LONGEST_WORK else last

    def _seal(self) -> None:
        self.files.write_head(Head.of(self.tip, self._key))

    def _at(self, seq: int) -> Link:
        return next(self.files.links(first=seq, last=seq), BEGINNING)

    def _head(self) -> Head | None:
        text = self.files.read_head()
        return None if text is None else Head.read(text, self._key.public)

    def _started(self) -> bool:
        head, entries = self._head(), self.files.has_entries()
        if head is not None and head.seq > 0 and not entries:
            raise unusable(str(self.files.database), f"is missing or empty, and its head says that it held {head.seq} "
                           "entries", "bring the ledger file back; what was spent cannot be known without it")
        if head is None and entries:
            raise no_head(self.files)
        return entries

    def _start(self, partner: str, total: Budget, year: Budget) -> None:
        try:
            order, year_order = (best_order(epsilon=each.epsilon, delta=total.delta) for each in (total, year))
        except ValueError as error:
            raise refusal(RefusalCode.NOT_CONFIGURED, "ceilings", str(error), "raise the ceilings of your rules") \
                from None
        self._on_step("opening")
        # An empty head before the database: from here on, a ledger without a head is one whose head was taken away.
        self._seal()
        self.files.create()
        self.append("opened", [Opened(
            at=self.now(), partner=partner, public_key=self._key.public, privacy_unit=UNIT, adjacency=ADJACENCY,
            delta=total.delta, renyi_order=order, year_renyi_order=year_order)])


def check_head(head: Head, tip: Link, at: Callable[[int], Link]) -> None:
    """Check that `head` lies on the chain that ends with `tip`.

    Args:
        at: gives the link of a number up to the tip's.

    Raises:
        Refusal: `ledger_unusable`.
    """
    if head.seq > tip.seq:
        raise _older(head.seq)
    if head.hash != (at(head.seq) if head.seq else BEGINNING).hash:
        raise unusable("ledger head", "points at an entry that this ledger never had: there are two histories",
                       "find out which ledger is the true one; the other must not be used")


def no_head(files: LedgerFiles) -> Refusal:
    """What to do about a ledger whose head is not where it should be."""
    problem, left = "is missing, so nobody can tell whether this ledger is the newest", files.head_left_behind()
    if left is not None:
        return unusable(str(files.head), problem, "if you have just set `ledger_head` in node.yaml, move the head "
                        f"there: mv {quote(str(left))} {quote(str(files.head))}. Otherwise bring the head file back "
                        "(is its disk there?)")
    return unusable(str(files.head), problem, "bring the head file back (is its disk there?); if it is lost, and you "
                    "are sure that no older ledger was copied here, write a new one with `leelight ledger restore-head "
                    f"--home {quote(str(files.database.parent))}`")


def _older(seq: int) -> Refusal:
    return unusable("ledger", f"ends before entry {seq}, which was written: an older ledger was copied back",
                    "bring the newest ledger back; what was spent since cannot be known without it")
