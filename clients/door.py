"""The door of the node: what surrounds a message is checked here on the way in, and what leaves is a fixed code.

Flower sends the text of an exception to the coordinator as it is. So no exception passes this door: a refusal leaves as
its code, anything else as `failed`, and the node's own log gets the kind of error and the place in our code, never its
message, which could quote a record. The code that left is an act, and the partner's journal holds it.

Whatever leaves is signed with the partner's key (`federation.signed_replies`). Only a refusal may leave without: by a
node whose home cannot be opened, or to a request that has no nonce.

Where the node's home is, the partner says: in Flower's node config (`node-home`), or for a simulation on one machine in
the environment (`LEELIGHT_NODES`, a folder of homes numbered by partition).
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message

from clients.admission import admitted, listed
from clients.node import NodeHome
from clients.policy import Policy
from clients.sessions import sweep
from federation.errors import InputError, Refusal, RefusalCode
from federation.journal import NO_PLAN, Refused
from federation.messages import OK, Reply, Request, read_head, read_request, reply_content
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import RosterEntry
from federation.secure import check_plan
from federation.signed_replies import sign_reply

NODES_VARIABLE = "LEELIGHT_NODES"
log = logging.getLogger("leelight.node")


@dataclass(frozen=True)
class Inquiry:
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


def _plan_text(context: Context) -> str:
    return str(context.run_config.get("plan", ""))


@lru_cache(maxsize=64)
def _verified(text: str, trusted_key: str) -> StudyPlan:
    try:
        plan = SignedPlan.open(text, trusted_key=trusted_key).plan
        check_plan(plan)
    except InputError as error:
        code = RefusalCode.PLAN_NOT_TRUSTED if error.name == "plan.public_key" else RefusalCode.PLAN_INVALID
        raise Refusal(code, str(error)) from None
    return plan


def open_inquiry(message: Message, context: Context) -> Inquiry:
    """Everything about a message, checked.

    Raises:
        Refusal: with the code that fits.
    """
    home = find_home(context)
    home.remember_prices()
    sweep(home.sessions_dir)
    plan = _verified(_plan_text(context), home.settings.coordinator_key)
    entry = listed(home, plan)
    request = read_request(message)
    if request.plan_sha256 != plan.sha256:
        raise Refusal(RefusalCode.BAD_REQUEST, "the request names another plan")
    policy = admitted(home, plan)
    return Inquiry(home, plan, entry, policy, request)


Handler = Callable[[Inquiry], Reply]


def guarded(handler: Handler) -> Callable[[Message, Context], Message]:
    """What Flower calls: `handler` behind the door."""
    def handle(message: Message, context: Context) -> Message:
        try:
            reply = handler(open_inquiry(message, context))
        except Refusal as refusal:
            log.warning("refused: %s", refusal.code)
            reply = _declined(context, refusal.code)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  the door: nothing but a fixed code may pass
            frame = traceback.extract_tb(error.__traceback__)[-1]
            log.error("failed: %s at %s:%s", type(error).__name__, Path(frame.filename).name, frame.lineno)
            reply = _declined(context, RefusalCode.FAILED)
        return Message(reply_content(_signed(reply, message, context)), reply_to=message)

    return handle


def _signed(reply: Reply, message: Message, context: Context) -> Reply:
    """The reply under this partner's name and key. What cannot be signed leaves as a refusal without."""
    try:
        home = find_home(context)
        return sign_reply(replace(reply, partner=home.settings.name), read_head(message),
                          message.metadata.message_type, home.signing_key())
    except Exception as error:  # noqa: BLE001  the door: nothing but a fixed code may pass
        log.error("this reply is not signed: %s", type(error).__name__)
        return Reply(code=RefusalCode.FAILED if reply.code == OK else reply.code)


def _declined(context: Context, code: RefusalCode) -> Reply:
    """The reply that says `code`, and the act in the journal; without a usable journal it is a refusal all the same.

    The same refusal again and again is one act, so that nobody fills the partner's disk by asking.
    """
    try:
        home = find_home(context)
        home.journal().append(Refused(plan_sha256=_named_plan(home, context), code=code), again=False)
    except Exception as error:  # noqa: BLE001  whatever is wrong with the journal must not turn a refusal into more
        log.error("the journal does not hold this refusal: %s", type(error).__name__)
    return Reply(code=code)


def _named_plan(home: NodeHome, context: Context) -> str:
    try:
        return _verified(_plan_text(context), home.settings.coordinator_key).sha256
    except Refusal:
        return NO_PLAN
