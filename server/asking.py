"""Who is where, and how partners are asked: again while a message is lost, until the deadline; signed replies count.

A node is a partner once it has said so under the key that the plan's roster has for that partner. Nodes may come while
a study runs, or come back as another node: at the start of each stage, and before anybody is asked again, those that
were not met are greeted, and who they turn out to be is asked what the others were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

from flwr.serverapp import Grid

from federation.errors import RefusalCode
from federation.messages import HELLO, OK, Reply, Request, new_nonce
from federation.plan import StudyPlan
from federation.signed_replies import is_signed
from server.post import Letter, Pauses, Post, most_bytes

BAD_REPLY: Final = "bad_reply"
"""The coordinator's own code for an `ok` that does not hold what was asked for."""
BAD_SIGNATURE: Final = "bad_signature"
"""The coordinator's own code for an `ok` that the partner has not signed for this very request."""
_AGAIN_SECONDS: Final = 5.0
"""Between a message that was lost and the next to the same node."""
Accepted = TypeVar("Accepted")


@dataclass
class Answers(Generic[Accepted]):
    """What came of asking: what was accepted, and the code of each refusal, both by partner."""

    accepted: dict[str, Accepted] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


Heard = Callable[[Mapping[str, Accepted], Mapping[str, str]], None]
"""Told what has come in, as it comes in: accepted, and refused by code."""


class Partners:
    """The partners of a plan, as far as they have been met.

    Args:
        grid: Flower's way to the nodes.
        plan: verified.
        clock: seconds that only go up.
    """

    def __init__(self, grid: Grid, plan: StudyPlan, clock: Callable[[], float]) -> None:
        self._grid, self._plan, self._clock = grid, plan, clock
        self._keys = {entry.name: entry.public_key for entry in plan.roster}
        self._limit = most_bytes(plan)
        self._nodes: dict[str, int] = {}
        self._met: set[int] = set()
        self._again: dict[int, float] = {}
        self._greetings = Post(grid, self._limit)
        self._declined: dict[str, str] = {}

    def greet(self, heard: Heard[int]) -> Answers[int]:
        """Find out which node is which partner. Waits for all of them until the deadline.

        Returns:
            The nodes by partner, and who declined. A node that did not prove to be a partner is `node N` there, and
            nobody is thought to have come for it.
        """
        started, pauses = self._clock(), Pauses()
        now, told = started, Answers[int]()
        while not self._expired(started, now):
            self._look_around(now)
            if self._hear_greetings(now):
                pauses.heard()
                nodes = {name: node for name, node in self._nodes.items() if name not in told.accepted}
                refused = {who: code for who, code in self._declined.items() if who not in told.refused}
                heard(nodes, refused)
                told.accepted.update(nodes)
                told.refused.update(refused)
            if set(self._keys) <= {*self._nodes, *self._declined}:
                break
            pauses.wait()
            now = self._clock()
        return Answers(accepted=self._in_order(self._nodes),
                       refused={who: code for who, code in self._declined.items() if who not in self._nodes})

    def ask(self, action: str, requests: Mapping[str, Request], accept: Callable[[Reply], Accepted],
            heard: Heard[Accepted]) -> Answers[Accepted]:
        """Ask partners and take what arrives before the deadline.

        Whose message was lost, or who was busy, is asked again; who has answered or refused is not. Partners that are
        not here are not waited for.

        Args:
            action: the message type, the same for all.
            requests: by partner. Each is sent under a nonce of its own.
            accept: checks what a signed reply holds; a ValueError makes it a refusal with code `bad_reply`.
            heard: told as answers come in.

        Returns:
            The answers, in the order of the roster.
        """
        started, pauses, post = self._clock(), Pauses(), Post(self._grid, self._limit)
        now, found, busy = started, Answers[Accepted](), dict[str, str]()
        later = dict.fromkeys(requests, now)
        self._look_around(now)
        while not self._expired(started, now):
            self._hear_greetings(now)
            due = [name for name in self._open(requests, found)
                   if later[name] <= now and self._nodes[name] not in post.nodes]
            if any(name in busy for name in due):
                self._look_around(now)  # it may have come back as another node
            self._send(action, requests, post, due)
            news, lost = self._judged(post.collect(), accept)
            busy.update(lost)
            later.update(dict.fromkeys(lost, now + _AGAIN_SECONDS))
            if news.accepted or news.refused:
                pauses.heard()
                heard(news.accepted, news.refused)
                found.accepted.update(news.accepted)
                found.refused.update(news.refused)
            if not self._open(requests, found):
                break
            pauses.wait()
            now = self._clock()
        still = {name: code for name, code in busy.items() if code and name not in found.accepted}
        return Answers(accepted=self._in_order(found.accepted), refused=still | found.refused)

    def _open(self, requests: Mapping[str, Request], found: Answers[Accepted]) -> list[str]:
        """Partners who are here and of whom an answer is still wanted."""
        return [name for name in requests
                if name in self._nodes and name not in found.accepted and name not in found.refused]

    def _send(self, action: str, requests: Mapping[str, Request], post: Post, due: Sequence[str]) -> None:
        post.send([Letter(node=self._nodes[name], action=action, partner=name,
                          request=replace(requests[name], nonce=new_nonce())) for name in due])

    def _judged(self, came: Iterable[tuple[Letter, Reply | None]], accept: Callable[[Reply], Accepted],
                ) -> tuple[Answers[Accepted], dict[str, str]]:
        """What is an answer, and who is to be asked again: with a code if busy, without if the message was lost."""
        news, again = Answers[Accepted](), dict[str, str]()
        for letter, reply in came:
            name = letter.partner
            if reply is None or reply.code == RefusalCode.BUSY:
                again[name] = "" if reply is None else reply.code
            elif reply.code != OK:
                news.refused[name] = reply.code
            elif not self._is_from(name, reply, letter):
                news.refused[name] = BAD_SIGNATURE
            else:
                try:
                    news.accepted[name] = accept(reply)
                except ValueError:
                    news.refused[name] = BAD_REPLY
        return news, again

    def _is_from(self, name: str, reply: Reply, letter: Letter) -> bool:
        return reply.partner == name and is_signed(reply, letter.request, letter.action, self._keys[name])

    def _look_around(self, now: float) -> None:
        """Greet nodes that were not met, or went away and came back."""
        there = set(self._grid.get_node_ids())
        self._met &= there
        busy = self._greetings.nodes
        new = sorted(node for node in there - self._met - busy if self._again.get(node, now) <= now)
        self._met.update(new)
        self._greetings.send([Letter(node=node, action=HELLO, request=Request(
            plan_sha256=self._plan.sha256, round_number=0)) for node in new])

    def _hear_greetings(self, now: float) -> bool:
        """Take in who nodes say they are, and prove to be. Returns whether anything came."""
        came = self._greetings.collect()
        for letter, reply in came:
            if reply is None:
                self._met.discard(letter.node)
                self._again[letter.node] = now + _AGAIN_SECONDS
            elif reply.partner not in self._keys or not self._is_from(reply.partner, reply, letter):
                # Without proof nobody is kept from coming as the partner that this node claims to be.
                unproved = BAD_SIGNATURE if reply.partner in self._keys else RefusalCode.NOT_IN_ROSTER
                self._declined[f"node {letter.node}"] = unproved if reply.code == OK else reply.code
            elif reply.code == OK:
                self._nodes[reply.partner] = letter.node
            else:
                self._declined[reply.partner] = reply.code
        return bool(came)

    def _in_order(self, found: Mapping[str, Accepted]) -> dict[str, Accepted]:
        return {name: found[name] for name in self._keys if name in found}

    def _expired(self, started: float, now: float) -> bool:
        return now - started > self._plan.conduct.stage_deadline_seconds
