"""What a node answers in a session of secure aggregation: five exchanges for one sum (`federation.secagg`).

The session is built from the partner's own copy of the plan. What the coordinator sends is a purpose, a round, the
number of its attempt, the hash of the model that all partners are asked about, and the other partners' messages. The
model itself comes with the third exchange, which is the one that touches records and is charged. No exchange but that
one needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clients.charge import paid, require_ready
from clients.door import Handler, Inquiry
from clients.ledger import Stage as LedgerStage
from clients.series import require_turn
from clients.sessions import SessionFiles
from federation.canonical import canonical_json, sha256_hex
from federation.errors import Refusal, RefusalCode
from federation.messages import OK, Reply, SumRequest, request_sha256
from federation.secagg import Participant, SessionSpec, Stage
from federation.secure import Purpose, session_of, session_seconds

_CHARGED = {Purpose.TRAIN: LedgerStage.TRAIN, Purpose.TABLE: LedgerStage.TABLE}
Step = Callable[[Participant, bytes], bytes]


def _asked(inquiry: Inquiry) -> tuple[SumRequest, SessionSpec]:
    named = inquiry.request.sum
    if named is None:
        raise Refusal(RefusalCode.BAD_REQUEST, "no sum is named")
    try:
        return named, session_of(inquiry.plan, Purpose(named.purpose), inquiry.request.round_number,
                                 named.attempt, named.model_sha256)
    except ValueError as error:
        raise Refusal(RefusalCode.BAD_REQUEST, str(error)) from None


def _files(inquiry: Inquiry) -> SessionFiles:
    home = inquiry.home
    return SessionFiles(home.sessions_dir, name=home.settings.name, key=home.signing_key())


def keys(inquiry: Inquiry) -> Reply:
    """First exchange: fresh public keys, signed."""
    _, spec = _asked(inquiry)
    # Nobody is kept waiting for somebody who cannot take part.
    require_ready(inquiry)
    sent = _files(inquiry).begin(spec, seconds=session_seconds(inquiry.plan))
    return Reply(code=OK, partner=inquiry.entry.name, payload=sent)


def masked(inquiry: Inquiry) -> Reply:
    """Third exchange: this partner's numbers with its share of the noise, under masks. Paid for."""
    # Imported here, as torch takes seconds and no other exchange needs it.
    from clients import work

    named, spec = _asked(inquiry)
    purpose, model, files = Purpose(named.purpose), work.asked_model(inquiry), _files(inquiry)
    if request_sha256(inquiry.request) != named.model_sha256:
        # Whoever is asked about another model than the others would stand alone in the sum.
        raise Refusal(RefusalCode.BAD_REQUEST, "the model is not the one that this sum was begun for")
    known_by = {"session": spec.session_id.hex(), "delivery": sha256_hex(named.payload)}

    def answer() -> Reply:
        vector = (work.gradient_part(inquiry, model) if purpose is Purpose.TRAIN
                  else work.tables(inquiry, model))
        # The account keeps the answer for whoever asks again.
        sent = files.advance(spec, lambda participant: participant.masked(named.payload, vector))
        return Reply(code=OK, partner=inquiry.entry.name, payload=sent)

    def ready() -> None:
        if purpose is Purpose.TABLE:
            require_turn(inquiry.home, inquiry.plan)
        files.check(spec, lambda participant: participant.check_delivery(named.payload))

    return paid(inquiry, _CHARGED[purpose], answer, asked=sha256_hex(canonical_json(known_by)), ready=ready)


def _light(stage: Stage, step: Step) -> Handler:
    """An exchange that only takes the other partners' messages in."""
    def handle(inquiry: Inquiry) -> Reply:
        named, spec = _asked(inquiry)
        sent = _files(inquiry).advance(spec, lambda participant: step(participant, named.payload),
                                       asked=stage.encode() + b" " + named.payload)
        return Reply(code=OK, partner=inquiry.entry.name, payload=sent)

    return handle


ANSWERS: Mapping[Stage, Handler] = {
    Stage.KEYS: keys,
    Stage.SHARES: _light(Stage.SHARES, Participant.shares),
    Stage.MASKED: masked,
    Stage.SURVIVORS: _light(Stage.SURVIVORS, Participant.survivors),
    Stage.UNMASK: _light(Stage.UNMASK, Participant.unmask),
}
"""The handler of each exchange; its action has the exchange's name."""
