"""An answer that touches records: refused before it does, charged once, and the same when asked for again."""

from __future__ import annotations

from collections.abc import Callable

from clients.accounts import open_account
from clients.door import Inquiry
from clients.features import plan_encoder
from clients.ledger import LedgerRequest, Stage
from federation.errors import InputError, Refusal, RefusalCode
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
    """
    require_ready(inquiry)
    number = max(1, inquiry.request.round_number)
    request = LedgerRequest.of(inquiry.plan, stage, number, asked)
    with open_account(inquiry.home, inquiry.policy.ceilings) as ledger:
        kept = ledger.answer(request, ceilings=inquiry.policy.ceilings, work=lambda: reply_bytes(work()), ready=ready)
    return reply_from_bytes(kept, inquiry.entry.name)
