"""An in-process grid: the real ClientApp and ServerApp, without sockets, processes or Ray.

Messages are deep-copied on the way in and out, since Flower's mods and records are mutable and a shared one would let a
node see what it was never sent. Faults can be planned: a node may stay silent at a given message.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

Silence = Callable[[int, str], bool]
"""Whether the node with this id leaves a message of this type unanswered."""

_RUN = 1


class InProcessGrid(Grid):
    """Delivers each message to a ClientApp at once and keeps the reply until it is pulled.

    Args:
        client_app: what every node runs.
        node_configs: one per node; node ids are 1, 2, … in their order.
        run_config: what Flower would send along with the run.
        silent: planned faults.
    """

    def __init__(self, client_app: ClientApp, node_configs: Iterable[Mapping[str, Any]], run_config: Mapping[str, Any],
                 *, silent: Silence | None = None) -> None:
        # Messages outside Flower's runtime need an identity; it is the same for all of them here.
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = _RUN
        self._app, self._silent = client_app, silent or (lambda _node, _kind: False)
        self._contexts = {
            number: Context(run_id=_RUN, node_id=number, node_config=dict(config), state=RecordDict(),
                            run_config=dict(run_config))
            for number, config in enumerate(node_configs, start=1)
        }
        self._replies: dict[str, Message] = {}
        self._sent = 0

    def set_run(self, run: Any) -> None:
        """Nothing to set: there is one run."""

    @property
    def run(self) -> Any:
        """There is no run record in process."""
        raise NotImplementedError("an in-process grid has no run record")

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Messages are made with `flwr.app.Message`."""
        raise NotImplementedError("make messages with flwr.app.Message")

    def get_node_ids(self) -> Iterable[int]:
        """All nodes, always."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver, and return the message ids in order."""
        identifiers = []
        for message in messages:
            self._sent += 1
            identifier = str(self._sent)
            message.metadata.__dict__["_message_id"] = identifier
            identifiers.append(identifier)
            node = message.metadata.dst_node_id
            if self._silent(node, message.metadata.message_type):
                continue
            try:
                reply = self._app(copy.deepcopy(message), self._contexts[node])
            except Exception as error:  # noqa: BLE001  Flower reports any exception of an app as an error reply
                reply = Message(Error(code=2, reason=type(error).__name__), reply_to=message)
            self._replies[identifier] = copy.deepcopy(reply)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that are there."""
        return [self._replies.pop(identifier) for identifier in message_ids if identifier in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Deliver and collect; nothing takes time here, so `timeout` never passes."""
        del timeout
        return self.pull_messages(self.push_messages(messages))
