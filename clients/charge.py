"""An answer that touches records: refused before it does, charged once, and the same when asked for again.

Nothing that was made from records leaves before the journal holds its hash. A journal that cannot be written is found
out before data is touched; should the disk fill up in between, the account keeps the reply for whoever asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clients.accounts import open_account
from clients.door import Inquiry
from clients.features import plan_encoder
from clients.ledger import LedgerRequest, Stage
from federation.canonical import sha256_hex
from federation.errors import InputError, Refusal, RefusalCode
from federation.journal import Answered
from federation.messages import Reply, reply_bytes, reply_from_bytes


def require_ready(inquiry: Inquiry) -> None:
    """Whatever would stop the work and can be known without touching a record, before anything is charged.

    Raises:
        Refusal: `not_ready` or `not_configured`.
    """
    if not inquiry.home.store_path.is_file():
        raise Refusal(RefusalCode.NOT_READY, "no record store: ingest a file first")
    try:
        plan_encoder(inquiry.home, inquiry.plan.encoder)
    except InputError as error:
        raise Refusal(RefusalCode.NOT_CONFIGURED, str(error)) from None


def paid(inquiry: Inquiry, stage: Stage, work: Callable[[], Reply], *, asked: str,
         ready: Callable[[], None] = lambda: None) -> Reply:
    """Answer through the account.

    What the account says in detail is for the partner; to the coordinator goes its code.

    Args:
        inquiry: what is asked.
        stage: of the plan.
        work: touches the data and gives the reply.
        asked: hash by which the same request is known again.
        ready: asked before anything is charged; raises a `Refusal` if `work` could not succeed.

    Raises:
        Refusal: as `require_ready` and the account; `not_configured`, if the journal cannot be written.
    """
    require_ready(inquiry)
    with _journal_or_refusal():
        journal = inquiry.home.journal()
        journal.check_writable()
    number = max(1, inquiry.request.round_number)
    request = LedgerRequest.of(inquiry.plan, stage, number, asked)
    fresh: list[bytes] = []

    def run() -> bytes:
        fresh.append(reply_bytes(work()))
        return fresh[0]

    with open_account(inquiry.home, inquiry.policy.ceilings) as ledger:
        reply = ledger.answer(request, ceilings=inquiry.policy.ceilings, work=run, ready=ready)
    with _journal_or_refusal():
        journal.append(Answered(
            plan_sha256=inquiry.plan.sha256, stage=stage.value, round=number, request_sha256=asked,
            reply_sha256=sha256_hex(reply), kept=not fresh))
    return reply_from_bytes(reply, inquiry.entry.name)


@contextmanager
def _journal_or_refusal() -> Iterator[None]:
    """A journal that cannot be used is a node that is not set up to answer."""
    try:
        yield
    except InputError as error:
        raise Refusal(RefusalCode.NOT_CONFIGURED, str(error)) from None
