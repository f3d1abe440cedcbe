"""A grid whose nodes do what a test says, and a clock that jumps: no node process, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from flwr.app import Error, Message
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from federation.messages import OK, Reply, Request, read_request, reply_content
from federation.signed_replies import sign_reply
from tests.worlds import partner_key

Node = Callable[[Request, str], "Reply | Error | Any | None"]
"""What a node makes of a request and an action: a reply, an error of Flower's, raw content, or silence."""


def partner(number: int, **fields: Any) -> Node:
    """An honest node of `partner-<number>` that answers everything with `fields`."""
    def answer(request: Request, action: str) -> Reply:
        reply = Reply(**{"code": OK, "partner": f"partner-{number}", **fields})
        return sign_reply(reply, request, action, partner_key(number))

    return answer


@dataclass
class ScriptedGrid(Grid):
    """Nodes by id; those that are not in `nodes` are not there.

    What an unreadable node answers cannot be put together. Flower's own grid then raises, and has dropped whatever it
    had fetched so far.
    """

    nodes: dict[int, Node]
    asked: list[tuple[int, str]] = field(default_factory=list)
    unreadable: set[int] = field(default_factory=set)
    on_pull: Callable[[], None] = lambda: None
    on_look: Callable[[], None] = lambda: None
    _replies: dict[str, Message] = field(default_factory=dict)

    def __post_init__(self) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1

    def set_run(self, run: Any) -> None: ...

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        self.on_look()
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            node, action = message.metadata.dst_node_id, message.metadata.message_type
            identifier = f"{len(self.asked)}"
            message.metadata.__dict__["_message_id"] = identifier
            self.asked.append((node, action))
            made = self.nodes[node](read_request(message), action) if node in self.nodes else Error(code=5)
            if made is not None:
                content = reply_content(made) if isinstance(made, Reply) else made
                self._replies[identifier] = Message(content, reply_to=message)
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.on_pull()
        found = [self._replies.pop(identifier) for identifier in list(message_ids) if identifier in self._replies]
        if any(self.asked[int(message.metadata.reply_to_message_id)][0] in self.unreadable
               and not message.has_error() for message in found):
            for message in found:
                dropped = Message(Error(code=4), reply_to=message)
                dropped.metadata.__dict__["_reply_to_message_id"] = message.metadata.reply_to_message_id
                self._replies[message.metadata.reply_to_message_id] = dropped
            raise ValueError("unexpected set of children")
        return found

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError


class Ticking:
    """A clock that jumps ahead at each look, so that deadlines pass without waiting."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses are noted and not waited for."""
    waited: list[float] = []
    monkeypatch.setattr("server.post.time.sleep", waited.append)
    return waited
