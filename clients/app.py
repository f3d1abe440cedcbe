"""The ClientApp: what a node answers, each kind of request behind the same door (`clients.door`).

A part of a plan that is summed securely leaves by `clients.secure` alone: what a partner adds to a sum carries a share
of the noise and must never be seen by itself.
"""

from __future__ import annotations

from flwr.clientapp import ClientApp

from clients import secure
from clients.charge import paid
from clients.door import Inquiry, guarded
from clients.ledger import Stage
from clients.series import require_turn
from federation.errors import Refusal, RefusalCode
from federation.messages import OK, Reply, request_sha256
from federation.plan_parts import Aggregation


def hello(inquiry: Inquiry) -> Reply:
    """Say who is here, to a coordinator whose plan has checked out."""
    return Reply(code=OK, partner=inquiry.entry.name)


def train(inquiry: Inquiry) -> Reply:
    """One round of local steps from the given model."""
    # Imported here, as torch takes seconds and most messages need none.
    from clients import work

    _require_local(inquiry.plan.training.aggregation)
    if not 1 <= inquiry.request.round_number <= inquiry.plan.training.rounds:
        raise Refusal(RefusalCode.BAD_REQUEST, "no such round in the plan")
    model = work.asked_model(inquiry)
    return paid(inquiry, Stage.TRAIN, lambda: Reply(
        code=OK, partner=inquiry.entry.name, arrays=work.trained(inquiry, model)),
        asked=request_sha256(inquiry.request))


def table(inquiry: Inquiry) -> Reply:
    """The noisy tables under the given model."""
    from clients import work

    _require_local(inquiry.plan.statistics.aggregation)
    model = work.asked_model(inquiry)
    return paid(inquiry, Stage.TABLE, lambda: Reply(
        code=OK, partner=inquiry.entry.name, table=work.tables(inquiry, model)), asked=request_sha256(inquiry.request),
        ready=lambda: require_turn(inquiry.home, inquiry.plan))


def _require_local(aggregation: Aggregation) -> None:
    if aggregation is not Aggregation.LOCAL:
        raise Refusal(RefusalCode.BAD_REQUEST, "the plan has this part summed securely, and it leaves in no other way")


app = ClientApp()
app.query("hello")(guarded(hello))
app.train()(guarded(train))
app.query("table")(guarded(table))
for stage, answer in secure.ANSWERS.items():
    app.query(stage.value)(guarded(answer))
