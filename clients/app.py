"""The ClientApp: three handlers, each behind the same door.

Flower sends the text of an exception to the coordinator as it is. So no exception passes this door: a refusal leaves as
its code, anything else as `failed`, and the node's own log gets the kind of error and the place in our code, never its
message, which could quote a record.

Where the node's home is, the partner says: in Flower's node config (`node-home`), or for a simulation on one machine in
the environment (`LEELIGHT_NODES`, a folder of homes numbered by partition).
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.accounts import open_account
from clients.admission import admitted, listed
from clients.counting import noisy_table
from clients.features import Prepared, plan_encoder, prepare
from clients.ledger import LedgerRequest, Stage
from clients.node import NodeHome
from clients.people import Population, training_people
from clients.policy import Policy
from clients.store import RecordStore
from clients.threads import use_threads
from clients.training import StepRule, train_round
from federation.errors import InputError, Refusal, RefusalCode
from federation.messages import (
    OK,
    Reply,
    Request,
    check_arrays,
    read_request,
    reply_bytes,
    reply_content,
    reply_from_bytes,
    request_sha256,
)
from federation.model import MultiTaskHead, initial_model, load_arrays, model_arrays
from federation.plan import RosterEntry, SignedPlan, StudyPlan
from federation.privacy.guarantee import check_claim
from federation.randomness import RandomStream

NODES_VARIABLE = "LEELIGHT_NODES"
log = logging.getLogger("leelight.node")


@dataclass(frozen=True)
class Session:
    """A message's surroundings, all of them checked: the home, the plan, what it says of this partner, the rules."""

    home: NodeHome
    plan: StudyPlan
    entry: RosterEntry
    policy: Policy
    request: Request


def find_home(context: Context) -> NodeHome:
    """Open this node's home.

    Raises:
        Refusal: `not_configured`, if the partner has not said where it is.
    """
    configured = context.node_config.get("node-home")
    if configured is not None:
        return NodeHome.load(Path(str(configured)))
    nodes = os.environ.get(NODES_VARIABLE)
    partition = context.node_config.get("partition-id")
    if nodes is None or partition is None:
        raise Refusal(RefusalCode.NOT_CONFIGURED, "neither node-home nor LEELIGHT_NODES is set")
    homes = sorted(path for path in Path(nodes).iterdir() if (path / "node.yaml").is_file())
    if not 0 <= int(partition) < len(homes):
        raise Refusal(RefusalCode.NOT_CONFIGURED, "no home for this partition")
    return NodeHome.load(homes[int(partition)])


@lru_cache(maxsize=64)
def _verified(text: str, trusted_key: str) -> StudyPlan:
    try:
        plan = SignedPlan.open(text, trusted_key=trusted_key).plan
        check_claim(plan)
    except InputError as error:
        code = RefusalCode.PLAN_NOT_TRUSTED if error.name == "plan.public_key" else RefusalCode.PLAN_INVALID
        raise Refusal(code, str(error)) from None
    return plan


def _open_session(message: Message, context: Context) -> Session:
    home = find_home(context)
    plan = _verified(str(context.run_config.get("plan", "")), home.settings.coordinator_key)
    entry = listed(home, plan)
    request = read_request(message)
    if request.plan_sha256 != plan.sha256:
        raise Refusal(RefusalCode.BAD_REQUEST, "the request names another plan")
    policy = admitted(home, plan)
    return Session(home, plan, entry, policy, request)


Handler = Callable[[Session], Reply]


def _guarded(handler: Handler) -> Callable[[Message, Context], Message]:
    def handle(message: Message, context: Context) -> Message:
        try:
            reply = handler(_open_session(message, context))
        except Refusal as refusal:
            log.warning("refused: %s", refusal.code)
            reply = Reply(code=refusal.code)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  the door: nothing but a fixed code may pass
            frame = traceback.extract_tb(error.__traceback__)[-1]
            log.error("failed: %s at %s:%s", type(error).__name__, Path(frame.filename).name, frame.lineno)
            reply = Reply(code=RefusalCode.FAILED)
        return Message(reply_content(reply), reply_to=message)

    return handle


@dataclass
class _Work:
    """Work of one message kept for the next, in a process that lives longer than one message."""

    records: Prepared | None = None
    people: Population | None = None


_works: dict[Path, tuple[object, _Work]] = {}
"""By home, the newest work alone: what was erased or has run out must not stay in memory."""


def _kept(session: Session) -> _Work:
    path = session.home.store_path
    generation = -1
    if path.is_file():
        with RecordStore(path) as store:
            generation = store.generation()
    # The rules say which records take part, and the day which of them may still be kept.
    state = session.plan.sha256, generation, session.policy, date.today()
    if _works.get(session.home.path, (None,))[0] != state:
        _works[session.home.path] = state, _Work()
    return _works[session.home.path][1]


def _records(session: Session) -> Prepared:
    kept = _kept(session)
    if kept.records is None:
        kept.records = prepare(session.home, session.plan, policy=session.policy)
    return kept.records


def _require_ready(session: Session) -> None:
    """Whatever would stop the work and can be known without touching a record, before anything is charged.

    Raises:
        Refusal: `not_ready` or `not_configured`.
    """
    if not session.home.store_path.is_file():
        raise Refusal(RefusalCode.NOT_READY, "no record store: ingest a file first")
    try:
        plan_encoder(session.home, session.plan.encoder)
    except InputError as error:
        raise Refusal(RefusalCode.NOT_CONFIGURED, str(error)) from None


def _people(session: Session) -> Population:
    kept = _kept(session)
    if kept.people is None:
        kept.people = training_people(session.home, session.plan, session.entry, _records(session))
    return kept.people


def _model(session: Session) -> MultiTaskHead:
    if session.request.arrays is None:
        raise Refusal(RefusalCode.BAD_REQUEST, "no model in the request")
    try:
        return load_arrays(initial_model(session.plan), session.request.arrays)
    except ValueError as error:
        raise Refusal(RefusalCode.BAD_REQUEST, str(error)) from None


def _noise(session: Session, *context: str) -> RandomStream | None:
    """A rehearsal's stream, different for each stage and each model asked about; None means the operating system."""
    return session.home.noise_stream(session.plan.sha256, request_sha256(session.request), *context)


def _paid(session: Session, stage: Stage, work: Callable[[], Reply]) -> Reply:
    """Answer through the account: refused before data is touched, charged once, and answered the same when asked again.

    What the account says in detail is for the partner; to the coordinator goes its code.
    """
    _require_ready(session)
    number = max(1, session.request.round_number)
    request = LedgerRequest.of(session.plan, stage, number, request_sha256(session.request))
    with open_account(session.home, session.policy.ceilings) as ledger:
        kept = ledger.answer(request, ceilings=session.policy.ceilings, work=lambda: reply_bytes(work()))
    return reply_from_bytes(kept, session.entry.name)


def hello(session: Session) -> Reply:
    """Say who is here, to a coordinator whose plan has checked out."""
    return Reply(code=OK, partner=session.entry.name)


def train(session: Session) -> Reply:
    """One round of local steps from the given model."""
    plan, number = session.plan, session.request.round_number
    if not 1 <= number <= plan.training.rounds:
        raise Refusal(RefusalCode.BAD_REQUEST, "no such round in the plan")
    model = _model(session)

    def work() -> Reply:
        people = _people(session)
        use_threads(session.home.settings.threads)
        stream = _noise(session, "train", str(number)) or RandomStream.from_os()
        train_round(model, people, StepRule.of(plan.training, session.entry.slots), stream=stream)
        # Not finite here would be for reasons of noise and public constants alone: a person cannot cause it.
        trained = check_arrays(model_arrays(model), model_arrays(model))
        return Reply(code=OK, partner=session.entry.name, arrays=trained)

    return _paid(session, Stage.TRAIN, work)


def table(session: Session) -> Reply:
    """The noisy regional table under the given model."""
    model = _model(session)

    def work() -> Reply:
        use_threads(session.home.settings.threads)
        counts = noisy_table(session.home, session.plan, session.entry, _records(session), model,
                             stream=_noise(session, "table"))
        return Reply(code=OK, partner=session.entry.name, table=counts)

    return _paid(session, Stage.TABLE, work)


app = ClientApp()
app.query("hello")(_guarded(hello))
app.train()(_guarded(train))
app.query("table")(_guarded(table))
