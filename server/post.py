"""Messages that are under way: sent by Flower's grid, told apart by what they answer, lost or read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import httpx
from flwr.app import Message
from flwr.serverapp import Grid

from federation.errors import RefusalCode
from federation.messages import Reply, Request, read_reply, request_content
from federation.plan import StudyPlan
from federation.statistics import TableLayout

_LOST: Final = (3, 4, 5)
"""Flower's error codes (`flwr.common.constant.ErrorCode`) for a message, a reply or a node that is not there any more:
nobody has refused, and asking again may help."""
_LEAST_PAUSE, _MOST_PAUSE = 0.05, 0.5  # seconds
_OVERHEAD: Final = 65_536
_PER_PARTNER: Final = 512


def most_bytes(plan: StudyPlan) -> int:
    """More than any array or payload of an honest reply takes: models, tables, vectors and shares of this plan."""
    return 8 * max(plan.model_size, TableLayout(plan).length) + _PER_PARTNER * len(plan.roster) + _OVERHEAD


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One request to one node. A greeting names no partner: it asks who is there."""

    node: int
    action: str
    request: Request
    partner: str = ""


class Post:
    """What was sent and has not come back. No node has two letters of one post at a time.

    Args:
        grid: Flower's way to the nodes.
        limit: bytes that an array or a payload of a reply may take.
    """

    def __init__(self, grid: Grid, limit: int) -> None:
        self._grid, self._limit = grid, limit
        self._waiting: dict[str, Letter] = {}
        self._unsent: list[Letter] = []
        self._unreadable: list[Letter] = []
        self._one_by_one = False

    def __bool__(self) -> bool:
        return bool(self._waiting or self._unsent)

    @property
    def nodes(self) -> set[int]:
        """Nodes that have a letter."""
        return {letter.node for letter in (*self._waiting.values(), *self._unsent)}

    def send(self, letters: Sequence[Letter]) -> None:
        """Send letters to nodes that have none."""
        if not letters:
            return
        messages = [Message(request_content(letter.request), letter.node, letter.action) for letter in letters]
        for identifier, letter in zip(self._grid.push_messages(messages), letters, strict=True):
            if identifier:
                self._waiting[identifier] = letter
            else:  # Flower does not know the node any more
                self._unsent.append(letter)

    def collect(self) -> list[tuple[Letter, Reply | None]]:
        """What has come back, with None for what was lost; it is not waited for any longer.

        An error reply may name another source than the node it is about, so replies are told apart by what they
        answer, not by who they say they are from.
        """
        found: list[tuple[Letter, Reply | None]] = [(letter, None) for letter in self._unsent]
        self._unsent = []
        for message in self._pulled():
            letter = self._waiting.pop(message.metadata.reply_to_message_id, None)
            if letter is not None:
                lost = message.has_error() and message.error.code in _LOST
                found.append((letter, None if lost else read_reply(message, most_bytes=self._limit)))
        found.extend((letter, Reply(code=RefusalCode.FAILED)) for letter in self._unreadable)
        self._unreadable = []
        return found

    def _pulled(self) -> Iterable[Message]:
        if not self._waiting:
            return []
        if not self._one_by_one:
            messages = self._try_pull(list(self._waiting))
            if messages is not None:
                return messages
            # Flower could not put some reply together and gives none of them. From now on each is fetched by itself;
            # what it has dropped it reports as lost.
            self._one_by_one = True
        return self._pull_one_by_one()

    def _pull_one_by_one(self) -> list[Message]:
        pulled: list[Message] = []
        for identifier in list(self._waiting):
            messages = self._try_pull([identifier])
            if messages is None:
                self._unreadable.append(self._waiting.pop(identifier))
            else:
                pulled.extend(messages)
        return pulled

    def _try_pull(self, identifiers: Sequence[str]) -> list[Message] | None:
        try:
            return list(self._grid.pull_messages(identifiers))
        except (OSError, httpx.HTTPError):
            raise  # Flower itself is out of reach
        except Exception:  # noqa: BLE001  whatever a node sent, it must not end the study for the others
            return None


class Pauses:
    """Waits between two looks at the post, longer and longer while nothing comes: over a network each is a request."""

    def __init__(self) -> None:
        self._next = _LEAST_PAUSE

    def heard(self) -> None:
        """Something came."""
        self._next = _LEAST_PAUSE

    def wait(self) -> None:
        """Wait, half as long again as the last time."""
        time.sleep(self._next)
        self._next = min(_MOST_PAUSE, 1.5 * self._next)
