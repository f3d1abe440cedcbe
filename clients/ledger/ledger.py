"""The account itself: open it, and let it stand between a request and the data.

A request goes *reserve, run, commit*. Reserving is checked against every ceiling and is on disk before any data is
touched; the reply is on disk, together with the entry that commits it, before it leaves. Whatever dies in between, the
charge stays: a reservation without a commit is spent, and running that request again is a further charge.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from clients.ledger.account import REPLY_DAYS, RequestState, is_past
from clients.ledger.audit import Audit, audit, export_lines
from clients.ledger.balance import Balance, Outlook, balance_of
from clients.ledger.book import Book, no_head
from clients.ledger.ceilings import Ask, check, spent
from clients.ledger.chain import BEGINNING, Head
from clients.ledger.entries import Committed
from clients.ledger.files import LedgerFiles
from clients.ledger.problems import refusal, unusable
from clients.ledger.requests import LedgerRequest
from clients.policy import Ceilings
from federation.canonical import sha256_hex
from federation.errors import Refusal, RefusalCode
from federation.identity import SigningKey
from federation.privacy.units import Budget

STEPS = ("locked", "checked", "reserved:written", "reserved:stored", "reserved:sealed", "worked",
         "committed:written", "committed:stored", "committed:sealed")
"""What `on_step` hears during an answer; see `book.STEPS` for what follows a colon."""
OPENING_STEPS = ("opening", "opened:written", "opened:stored", "opened:sealed")
"""What it hears when an account is started."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def _unheard(step: str) -> None:
    del step


class Ledger:
    """A partner's privacy account. Open it with `Ledger.open`; one instance serves one thread."""

    def __init__(self, book: Book, wait_seconds: float, on_step: Callable[[str], None]) -> None:
        self._book, self._wait_seconds, self._on_step = book, wait_seconds, on_step

    @classmethod
    def open(cls, home: Path, *, key: SigningKey, partner: str, total: Budget, year: Budget | None = None,
             head_path: Path | None = None, clock: Callable[[], datetime] = utc_now, wait_seconds: float = 60.0,
             on_step: Callable[[str], None] = _unheard) -> Ledger:
        """Open a partner's account, or start it if there has never been one.

        Args:
            home: the folder that holds `ledger.sqlite` and `ledger.lock`.
            key: the partner's identity, which signs every entry.
            partner: its name.
            total: the ceiling for ever. Used only to start an account: it fixes delta and the filter's order.
            year: the ceiling of a year, which fixes the order of the year's filter. None: the order of `total`.
            head_path: where the head lies, if not in `home`. On a disk that is not copied back together with the home,
                it shows that an older ledger was.
            wait_seconds: how long to wait for another process that holds the ledger.
            on_step: told each step by name (`STEPS`).

        Raises:
            Refusal: `ledger_unusable`, if anything about the files is not as it was left; `busy`; `not_configured`, if
                the ceilings of a new account are too small for their delta.
        """
        book = Book(home, key, head_path=head_path, clock=clock, on_step=on_step)
        try:
            book.open(partner, total=total, year=year or total, wait_seconds=wait_seconds)
        except BaseException:
            book.files.close()
            raise
        return cls(book, wait_seconds, on_step)

    def close(self) -> None:
        """Release the files."""
        self._book.files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer(self, request: LedgerRequest, *, ceilings: Ceilings, work: Callable[[], bytes],
               ready: Callable[[], None] = lambda: None) -> bytes:
        """Answer a request: with the stored reply if it has one, otherwise by running `work` at a charge.

        Args:
            request: what is asked.
            ceilings: the partner's rules, checked before anything is written.
            work: touches the data and gives the reply. Called at most once, after the charge is on disk. If it raises,
                the charge stays and the exception passes.
            ready: asked before anything is charged, unless there is a stored reply; raises if `work` could not succeed.

        Raises:
            Refusal: `bad_request` for what the plan does not have, `already_answered`, `busy`, `ledger_unusable`,
                `not_configured`.
            BudgetRefusal: if a ceiling would be crossed.
        """
        with self._book.locked(self._wait_seconds):
            self._on_step("locked")
            self._book.catch_up()
            state = self._state(request)
            if state.committed is not None:
                return self._stored_reply(request, state, state.committed)
            ready()
            self._reserve(request, ceilings, state.attempts + 1)
            reservation = self._book.tip.seq
            reply = work()
            self._on_step("worked")
            # Nothing depends on the time of a commit, so a clock that jumped meanwhile must not cost the work.
            self._book.append("committed", [Committed(
                at=self._book.commit_time(), reservation=reservation, reply_sha256=sha256_hex(reply))], reply)
            return reply

    def balance(self, ceilings: Ceilings, now: datetime | None = None) -> Balance:
        """What was spent and what remains. Changes nothing, and does not wait for a request that is running."""
        self._book.refresh()
        return balance_of(self._book.account, ceilings, now or utc_now())

    def outlook(self, request: LedgerRequest, ceilings: Ceilings, now: datetime | None = None) -> Outlook:
        """What the account would hold once the plan of `request` is held. Changes nothing."""
        self._book.refresh()
        account, at, problem = self._book.account, now or utc_now(), ""
        charged = () if request.plan_sha256 in account.studies else request.whole
        try:
            check(account, ceilings, Ask(
                name=f"study {request.study}", plan_sha256=request.plan_sha256, at=at,
                rounds=tuple(stage.event.events() for stage in request.stages), charged=charged))
        except Refusal as found:
            problem = found.detail
        year, total, delta = account.spent(year=at.year), account.spent(), account.terms.delta
        held = account.studies.get(request.plan_sha256)
        requests = [] if held is None else list(held.requests.values())
        answered = sum(state.committed is not None for state in requests)
        return Outlook(year_before=spent(year, delta), year_after=spent((*year, *charged), delta),
                       total_before=spent(total, delta), total_after=spent((*total, *charged), delta), problem=problem,
                       study_spent=spent(account.spent(plan=request.plan_sha256), delta) if held else 0.0,
                       answered=answered, unanswered=len(requests) - answered)

    def past_replies(self) -> int:
        """How many replies are still kept that nobody needs any more (`REPLY_DAYS`). Changes nothing."""
        self._book.refresh()
        past = set(self._book.account.past_replies(self._book.now_or_last()))
        return sum(seq in past for seq, _ in self._book.files.replies())

    def drop_past_replies(self, *, wait_seconds: float = 0.0) -> int:
        """Delete replies that nobody needs any more (`REPLY_DAYS`). Returns how many there were.

        What was spent on them stays spent. Asking for such a request again is refused, and never computed anew.

        Raises:
            Refusal: `busy`, if a request has been running for `wait_seconds`; `ledger_unusable`.
        """
        with self._book.locked(wait_seconds):
            self._book.catch_up()
            return self._book.files.drop_replies(self._book.account.past_replies(self._book.now_or_last()))

    def verify_full(self) -> Audit:
        """Check everything there is, from the files alone, and compute every figure again.

        Raises:
            Refusal: `ledger_unusable`, naming what does not fit.
        """
        head, files = self._book.refresh(), self._book.files
        links, replies = list(files.links()), list(files.replies())
        # A request may have been answered meanwhile: its reply belongs to entries after these.
        self._book.refresh()
        end, latest = len(links), self._book.tip.seq
        return audit(links, head, self._book.account.terms.public_key, now=self._book.now_or_last(),
                     replies=[(seq, reply) for seq, reply in replies if not end < seq <= latest])

    def export(self, path: Path) -> None:
        """Write all entries and the head to `path` as JSON Lines, for `verify_export`. No reply goes with them.

        Raises:
            FileExistsError: if something is at `path`.
        """
        head = self._book.refresh()
        with path.open("xb") as file:
            file.writelines(export_lines(self._book.files.links(), head))

    def _state(self, request: LedgerRequest) -> RequestState:
        study = self._book.account.studies.get(request.plan_sha256)
        if study is None:
            return RequestState()
        held = study.held
        if (held.study, held.stages, held.delta) != (request.study, request.stages, request.delta):
            raise request.bad("tells another price than the one at which this plan is held")
        return study.requests.get(request.id, RequestState())

    def _reserve(self, request: LedgerRequest, ceilings: Ceilings, attempt: int) -> None:
        at, one = self._book.now(), request.planned.event.events()
        hold = request.plan_sha256 not in self._book.account.studies
        # Written down first, because that also checks every value; then checked; then on disk.
        entries = request.entries(at=at, attempt=attempt, hold=hold)
        covered = () if attempt == 1 else one
        check(self._book.account, ceilings, Ask(
            name=f"{request.in_words}, attempt {attempt}", plan_sha256=request.plan_sha256, at=at,
            rounds=tuple(stage.event.events() for stage in request.stages) if hold else (one,),
            charged=request.whole if hold else covered))
        self._on_step("checked")
        self._book.append("reserved", entries)

    def _stored_reply(self, request: LedgerRequest, state: RequestState, committed: Committed) -> bytes:
        if state.request_sha256 != request.request_sha256:
            raise refusal(RefusalCode.ALREADY_ANSWERED, request.in_words, "was answered before, for another model",
                          "nothing: a round is answered once, so that it is paid for once")
        reply = self._book.files.reply(state.commit)
        if reply is None and is_past(committed, self._book.now_or_last()):
            raise refusal(RefusalCode.ALREADY_ANSWERED, request.in_words, f"was answered on {committed.at:%Y-%m-%d}, "
                          f"and replies are kept for {REPLY_DAYS} days",
                          "nothing: a round is answered once, so that it is paid for once")
        if reply is None or sha256_hex(reply) != committed.reply_sha256:
            raise unusable(str(self._book.files.database), f"the reply of entry {state.commit} was changed or removed",
                           "bring the file back as it was")
        return reply


def restore_head(home: Path, *, key: SigningKey, head_path: Path | None = None) -> Audit:
    """Write a lost head anew, after checking the ledger in full.

    Whoever calls this vouches that the ledger in `home` is the newest: without a head, nothing else can tell.

    Raises:
        Refusal: `ledger_unusable`, if the ledger is not sound, has a head, or has one that only lies elsewhere than
            `head_path`; `busy`.
    """
    files = LedgerFiles(home, head_path)
    try:
        with files.locked(0.0):
            if files.read_head() is not None:
                raise unusable(str(files.head), "is there", "nothing is to be restored")
            if files.head_left_behind() is not None:
                # It still tells whether the ledger is the newest, and a new one would not.
                raise no_head(files)
            links = list(files.links()) if files.has_entries() else []
            head = Head.of(links[-1] if links else BEGINNING, key)
            found = audit(links, head, key.public, replies=files.replies(), now=utc_now())
            files.write_head(head)
            return found
    finally:
        files.close()
