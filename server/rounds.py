"""The round loop: who is here, who answered in time, who was late, and when to stop.

Every wait has a deadline from the plan. A round with fewer replies than the quorum ends the study with an error that
says who was missing; nothing is published from fewer partners than the plan promises.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from federation.messages import (
    HELLO,
    OK,
    TABLE,
    TRAIN,
    Arrays,
    Reply,
    Request,
    SumRequest,
    check_arrays,
    read_reply,
    request_content,
    request_sha256,
)
from federation.model import initial_model, model_arrays
from federation.plan import StudyPlan, averaged_rounds
from federation.plan_parts import Aggregation
from federation.privacy.guarantee import table_variances
from federation.secagg import Aborted, Stage, Total
from federation.secure import Purpose, session_of
from federation.statistics import Measurements, TableLayout
from server.aggregation import gradient_step, mean_of
from server.robust import combine
from server.secure import secure_sum

_POLL_SECONDS = 0.05
Accepted = TypeVar("Accepted")


def _payload(reply: Reply) -> bytes:
    if reply.payload is None:
        raise ValueError("no message of secure aggregation")
    return reply.payload


class StudyStopped(RuntimeError):
    """Too few partners answered a stage; the study ends without a result."""


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """How one stage went. For the coordinator's eyes only."""

    stage: str
    answered: tuple[str, ...]
    late: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    seconds: float
    scaled: tuple[str, ...] = ()
    """Whose updates were longer than the plan's norm bound and were scaled down to it."""


class Observer(Protocol):
    """Somebody who watches a study run."""

    def stage_done(self, report: StageReport) -> None:
        """Called after each stage, the stages being `hello`, `round 1` … `round R` and `table`."""

    def updates_scaled(self, report: StageReport) -> None:
        """Called after a round in which updates were longer than the plan's norm bound, when its report names them."""


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """What a study leaves with the coordinator."""

    model: Arrays
    measurements: Measurements
    stages: tuple[StageReport, ...]


class RoundLoop:
    """One study over one grid.

    Args:
        grid: Flower's way to the nodes.
        plan: verified.
        observer: told about every stage.
        clock: seconds that only go up; replaced in tests.
    """

    def __init__(self, grid: Grid, plan: StudyPlan, observer: Observer, *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._grid, self._plan, self._observer, self._clock = grid, plan, observer, clock
        self._nodes: dict[str, int] = {}
        self._reports: list[StageReport] = []

    def run(self) -> StudyOutcome:
        """Greet, train, count.

        Raises:
            StudyStopped: if a stage ends below the quorum.
        """
        self._greet()
        model = model_arrays(initial_model(self._plan))
        recent: list[Arrays] = []
        keep = averaged_rounds(self._plan.training)
        for number in range(1, self._plan.training.rounds + 1):
            model = self._round(number, model)
            recent = [*recent, model][-keep:]
        final = mean_of(recent)
        return StudyOutcome(model=final, measurements=self._measured(final), stages=tuple(self._reports))

    def _greet(self) -> None:
        """Find out which node is which partner. Nodes may still be coming up, so this asks until all are here."""
        started = self._clock()
        asked: set[int] = set()
        waiting: dict[str, int] = {}
        refused: dict[str, str] = {}
        names = {entry.name for entry in self._plan.roster}
        while len(self._nodes) + len(refused) < len(names) and not self._expired(started):
            new = [node for node in self._grid.get_node_ids() if node not in asked]
            asked.update(new)
            waiting |= self._push({node: Request(plan_sha256=self._plan.sha256, round_number=0) for node in new}, HELLO)
            for node, reply in self._pull(waiting).items():
                if reply.code == OK and reply.partner in names and reply.partner not in self._nodes:
                    self._nodes[reply.partner] = node
                else:
                    refused[f"node {node}"] = reply.code if reply.code != OK else "not_in_roster"
            if waiting or len(self._nodes) + len(refused) < len(names):
                time.sleep(_POLL_SECONDS)
        self._close("hello", started, set(self._nodes), refused)

    def _round(self, number: int, model: Arrays) -> Arrays:
        """One round of training: a mean of updates, or a step along a secure sum."""
        if self._plan.training.aggregation is Aggregation.SECURE:
            total = self._sum(f"round {number}", Purpose.TRAIN, number, model)
            return gradient_step(self._plan, model, total.values, total.survivors)
        request = Request(plan_sha256=self._plan.sha256, round_number=number, arrays=model)

        def accept(reply: Reply) -> Arrays:
            return check_arrays(reply.arrays, model)

        combined = combine(self._plan, model, self._stage(f"round {number}", TRAIN, request, accept))
        if combined.scaled:
            self._reports[-1] = replace(self._reports[-1], scaled=combined.scaled)
            self._observer.updates_scaled(self._reports[-1])
        return combined.model

    def _measured(self, model: Arrays) -> Measurements:
        plan = self._plan
        layout = TableLayout(plan)
        if plan.statistics.aggregation is Aggregation.SECURE:
            total = self._sum("table", Purpose.TABLE, 1, model)
            values, present = layout.check(total.values), total.survivors
        else:
            request = Request(plan_sha256=plan.sha256, round_number=0, arrays=model)

            def accept(reply: Reply) -> np.ndarray:
                if reply.table is None:
                    raise ValueError("no table")
                return layout.check(reply.table)

            tables = self._stage("table", TABLE, request, accept)
            values, present = sum(tables.values(), start=layout.empty()), tuple(tables)
        return Measurements(
            layout=layout, values=values, variances=table_variances(plan, len(present)),
            partners=tuple(entry.name for entry in plan.roster if entry.name in present))

    def _sum(self, stage: str, purpose: Purpose, number: int, model: Arrays) -> Total:
        """A secure sum, reported as one stage."""
        started = self._clock()
        refused: dict[str, str] = {}

        def ask(exchange: Stage, payloads: Mapping[str, bytes]) -> list[bytes]:
            requests = {name: Request(
                plan_sha256=self._plan.sha256, round_number=number,
                arrays=model if exchange is Stage.MASKED else None,
                sum=SumRequest(purpose=purpose.value, attempt=attempt, model_sha256=asked, payload=payload))
                for name, payload in payloads.items() if name in self._nodes}
            answers, declined = self._ask(f"query.{exchange}", requests, _payload)
            refused.update(declined)
            return list(answers.values())

        # Another number each time: a session is held once.
        attempt = secrets.randbelow(10**9)
        asked = request_sha256(Request(plan_sha256=self._plan.sha256, round_number=number, arrays=model))
        try:
            total = secure_sum(session_of(self._plan, purpose, number, attempt, asked), ask)
        except Aborted as error:
            # Below any quorum, so this raises.
            self._close(stage, started, set(), refused, problem=str(error))
            raise
        self._close(stage, started, set(total.survivors), refused)
        return total

    def _stage(
        self, stage: str, message_type: str, request: Request, accept: Callable[[Reply], Accepted]
    ) -> dict[str, Accepted]:
        """Ask every known partner the same once, and report."""
        started = self._clock()
        accepted, refused = self._ask(message_type, dict.fromkeys(self._nodes, request), accept)
        self._close(stage, started, set(accepted), refused)
        return accepted

    def _ask(
        self, message_type: str, requests: Mapping[str, Request], accept: Callable[[Reply], Accepted]
    ) -> tuple[dict[str, Accepted], dict[str, str]]:
        """Ask known partners once each and take what arrives before the deadline.

        Args:
            message_type: the same for all.
            requests: by partner.
            accept: checks a reply's payload; a ValueError makes it a refusal with code `bad_reply`.

        Returns:
            What was accepted, in the order of the roster, and the code of each refusal, both by partner.
        """
        started = self._clock()
        by_node = {self._nodes[partner]: partner for partner in requests}
        waiting = self._push({self._nodes[partner]: request for partner, request in requests.items()}, message_type)
        accepted: dict[str, Accepted] = {}
        refused: dict[str, str] = {}
        while waiting and not self._expired(started):
            for node, reply in self._pull(waiting).items():
                partner = by_node[node]
                try:
                    if reply.code != OK:
                        refused[partner] = reply.code
                    elif reply.partner != partner:
                        refused[partner] = "bad_reply"
                    else:
                        accepted[partner] = accept(reply)
                except ValueError:
                    refused[partner] = "bad_reply"
            if waiting:
                time.sleep(_POLL_SECONDS)
        names = [entry.name for entry in self._plan.roster]
        return {name: accepted[name] for name in names if name in accepted}, refused

    def _push(self, requests: Mapping[int, Request], message_type: str) -> dict[str, int]:
        """Send, and return the node behind each message id."""
        messages = [Message(request_content(request), node, message_type) for node, request in requests.items()]
        identifiers = list(self._grid.push_messages(messages))
        return dict(zip(identifiers, requests, strict=True))

    def _pull(self, waiting: dict[str, int]) -> dict[int, Reply]:
        """Replies that have come in, by node; they leave `waiting`.

        An error reply may name another source than the node it is about, so replies are told apart by what they
        answer, not by who they say they are from.
        """
        replies: dict[int, Reply] = {}
        for message in self._grid.pull_messages(list(waiting)):
            node = waiting.pop(message.metadata.reply_to_message_id, None)
            if node is not None:
                replies[node] = read_reply(message)
        return replies

    def _close(self, stage: str, started: float, answered: set[str], refused: Mapping[str, str], *,
               problem: str = "") -> None:
        """Report a stage, and stop the study if it fell below the quorum."""
        names = [entry.name for entry in self._plan.roster]
        report = StageReport(
            stage=stage, seconds=self._clock() - started,
            answered=tuple(name for name in names if name in answered),
            late=tuple(name for name in names if name not in answered and name not in refused),
            refused=tuple(sorted(refused.items())))
        self._reports.append(report)
        self._observer.stage_done(report)
        quorum = self._plan.conduct.quorum
        if len(report.answered) < quorum:
            raise StudyStopped(
                f"{stage}: " + (f"{problem} " if problem else
                                f"{len(report.answered)} of {len(names)} partners answered within "
                                f"{self._plan.conduct.stage_deadline_seconds:g} s. ")
                + f"The plan's quorum is {quorum}. "
                f"Late or absent: {', '.join(report.late) or 'none'}. "
                f"Refused: {', '.join(f'{who} ({code})' for who, code in report.refused) or 'none'}. "
                + ("" if problem else "What to do: wait for the missing partners and launch again, or compose a plan "
                                      "with a lower quorum."))

    def _expired(self, started: float) -> bool:
        return self._clock() - started > self._plan.conduct.stage_deadline_seconds
