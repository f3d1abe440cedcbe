"""The gate between a node and its coordinator: it lets in only what the partner has approved, before anything runs.

Flower's SuperNode runs whatever bundle its SuperLink serves. So it does not speak to the coordinator but to this gate,
which passes on the ten requests that a node makes and looks at three of the answers:

- `get-run`: the run's configuration holds one key, the plan, and the partner has approved that plan together with the
  bundle that the run names. Otherwise the node never learns of the run.
- `get-fab`: the bundle's bytes have the hash that was approved for the run that it is asked for.
- `pull-messages`: an answer without a message is held back while the gate keeps asking, so that a message is taken up
  at once and not only when the node asks again (every three seconds).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from ssl import SSLContext
from typing import Final

import httpx
from flwr.proto.fab_pb2 import GetFabRequest, GetFabResponse
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.run_pb2 import GetRunRequest, GetRunResponse, Run
from flwr.supercore.constant import TaskType
from google.protobuf.message import DecodeError
from starlette.responses import Response

from clients.approvals import Decision, find_approval
from clients.node import NodeHome
from federation.deployment.bundle import PLAN_KEY, sha256_of
from federation.deployment.proxy import FLEET_PATHS, FLEET_PREFIX, Limits, Proxy
from federation.errors import InputError, Refusal
from federation.plan import SignedPlan

HOLD_SECONDS: Final = 8.0
"""How long a request for messages is held. The node takes no harm from waiting: its heartbeats go by themselves."""
ASK_SECONDS: Final = 0.3
IDLE_ASK_SECONDS: Final = 2.0
BUSY_SECONDS: Final = 120.0
"""So long after a message the gate asks often, since another will follow."""
_TOLD: Final = 1000
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
log = logging.getLogger("leelight.gate")


class NotApproved(Exception):
    """What was asked for is nothing that the partner has approved. The text is for the partner's own eyes."""


def check_run(home: NodeHome, run: Run) -> None:
    """Nothing, if the partner has approved this run's plan and bundle together.

    Raises:
        NotApproved: otherwise.
    """
    if run.primary_task_type == TaskType.AGENT_APP:
        raise NotApproved("the run is not that of a study. Ask the coordinator what they are trying")
    if not _SHA256.fullmatch(run.fab_hash):
        raise NotApproved("the run names no software by its hash. Ask the coordinator what they are trying")
    keys = set(run.override_config)
    if keys != {PLAN_KEY}:
        raise NotApproved("the run sets other things than the plan. Nothing outside the plan can change what a node "
                          "does; ask the coordinator what they are trying")
    try:
        signed = SignedPlan.open(run.override_config[PLAN_KEY].string, trusted_key=home.settings.coordinator_key)
        approval = find_approval(home, signed.sha256)
    except Refusal as error:
        raise NotApproved(error.detail) from None
    except InputError as error:
        # What is in brackets can quote a plan that nobody signed.
        raise NotApproved(f"{error.name}: {error.problem.partition(' (')[0]}. What to do: {error.remedy}") from None
    if approval is None or approval.decision is not Decision.APPROVED:
        raise NotApproved(f"plan {signed.sha256[:16]}… ({signed.plan.study}) is not approved here. Look at the plan "
                          "file with `leelight partner review`, and approve it if you agree")
    if approval.bundle_sha256 != run.fab_hash:
        raise NotApproved(f"the coordinator sends software {run.fab_hash[:16]}…, and the plan was approved with "
                          f"{approval.bundle_sha256[:16]}…, the one installed here then. Install the coordinator's "
                          "version of leelight (compare `leelight bundle hash`) and approve the plan again")


class Gate:
    """What a node's gate looks at.

    Args:
        home: whose approvals count; read anew each time.
        told: given, for the partner, what was refused last; nothing, once a run has passed.
        clock: seconds that only go up; replaced in tests.
    """

    def __init__(self, home: NodeHome, *, told: Callable[[str], None] = lambda _: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._home, self._on_change, self._clock, self._last = home, told, clock, ""
        self._bundles: dict[int, str] = {}
        self._told: set[str] = set()
        self._last_message = -BUSY_SECONDS
        self.refusals = 0
        self.proxy: Proxy

    def before(self, address: str, tls: SSLContext, limits: Limits) -> Proxy:
        """The proxy before the coordinator at `address`."""
        self.proxy = Proxy(f"https://{address}", tls=tls, paths=FLEET_PATHS, limits=limits, look=self.look)
        return self.proxy

    async def look(self, path: str, body: bytes, headers: dict[str, str], found: httpx.Response
                   ) -> httpx.Response | Response:
        """What the node gets of an answer."""
        try:
            match path.removeprefix(FLEET_PREFIX):
                case "get-run":
                    self._look_at_run(body, found.content)
                case "get-fab":
                    self._look_at_bundle(body, found.content)
                case "pull-messages":
                    return await self._with_message(path, body, headers, found)
        except (NotApproved, DecodeError) as error:
            self._tell(str(error) if isinstance(error, NotApproved) else "an answer could not be read")
            return Response(b"not approved by the partner\n", status_code=403)
        return found

    def _look_at_run(self, body: bytes, content: bytes) -> None:
        asked, run = GetRunRequest.FromString(body).run_id, GetRunResponse.FromString(content).run
        self._bundles.pop(asked, None)
        if run.run_id != asked:
            raise NotApproved("the coordinator answered with another run than the node asked for. Tell the coordinator")
        check_run(self._home, run)
        self._bundles[asked] = run.fab_hash
        self._note("")

    def _look_at_bundle(self, body: bytes, content: bytes) -> None:
        sha256 = sha256_of(GetFabResponse.FromString(content).fab.content)
        if sha256 != self._bundles.get(GetFabRequest.FromString(body).run_id):
            raise NotApproved(f"the coordinator sent software {sha256[:16]}…, and not what was approved for the run. "
                              "It was not run. Tell the coordinator")

    async def _with_message(self, path: str, body: bytes, headers: dict[str, str], found: httpx.Response
                            ) -> httpx.Response:
        until = self._clock() + HOLD_SECONDS
        while found.status_code == 200 and not PullMessagesResponse.FromString(found.content).messages_list:
            busy = self._clock() - self._last_message < BUSY_SECONDS
            pause = ASK_SECONDS if busy else IDLE_ASK_SECONDS
            if self._clock() + pause > until:
                return found
            await asyncio.sleep(pause)
            found = await self.proxy.forward(path, body, headers)
        if found.status_code == 200:
            self._last_message = self._clock()
        return found

    def _tell(self, words: str) -> None:
        self.refusals += 1
        self._note(words)
        # The node asks again and again; the partner is told once.
        if words not in self._told:
            if len(self._told) >= _TOLD:
                self._told.clear()
            self._told.add(words)
            log.warning("refused at the gate: %s", words)

    def _note(self, words: str) -> None:
        if words != self._last:
            self._last = words
            self._on_change(words)
