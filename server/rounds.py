"""The round loop: who is here, who answered in time, who was late, and when to stop.

Every wait has a deadline from the plan. A round with fewer replies than the quorum ends the run with an error that says
who was missing; nothing is published from fewer partners than the plan promises. What was done until then is kept
(`server.checkpoints`), and another run goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn, TypeVar

import numpy as np
from flwr.serverapp import Grid

from federation.messages import TABLE, TRAIN, Arrays, Reply, Request, SumRequest, check_arrays, request_sha256
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.guarantee import table_variances
from federation.secagg import Aborted, Stage, Total
from federation.secure import Purpose, session_of
from federation.statistics import Measurements, TableLayout
from server.aggregation import gradient_step, mean_of
from server.asking import Partners
from server.progress import Measured, Progress, first_model
from server.robust import combine
from server.secure import secure_sum
from server.stages import Observer, StageReport, StudyStopped

__all__ = ["Observer", "RoundLoop", "StageReport", "StudyOutcome", "StudyStopped"]
_REMEDY = ("see to it that the missing partners' nodes run; if they do not come back, compose a plan without them or "
           "with a lower quorum")
_RESUME = "To go on where it stopped: leelight coordinator resume"
Accepted = TypeVar("Accepted")


def _payload(reply: Reply) -> bytes:
    if reply.payload is None:
        raise ValueError("no message of secure aggregation")
    return reply.payload


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """What a study leaves with the coordinator."""

    model: Arrays
    measurements: Measurements
    stages: tuple[StageReport, ...]
    """Of all its runs, in order, if it took more than one."""


class RoundLoop:
    """One study over one grid.

    Args:
        grid: Flower's way to the nodes.
        plan: verified.
        observer: told about every stage.
        progress: what an earlier run got done, and where this one notes what it does. None: it begins, and nothing
            outlasts the process.
        clock: seconds that only go up; replaced in tests.
    """

    def __init__(self, grid: Grid, plan: StudyPlan, observer: Observer, *, progress: Progress | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._observer, self._clock = plan, observer, clock
        self._partners = Partners(grid, plan, clock)
        self._progress = Progress(plan) if progress is None else progress

    def run(self) -> StudyOutcome:
        """Greet, train, count; what was done before is not done again.

        Raises:
            StudyStopped: if a stage ends below the quorum.
        """
        done = self._progress
        if done.measured is None:
            self._greet()
            model = done.recent[-1] if done.recent else first_model(self._plan)
            for number in range(done.rounds_done + 1, self._plan.training.rounds + 1):
                model = self._round(number, model)
            measured = self._count(mean_of(done.recent))
        else:
            measured = done.measured
        plan = self._plan
        return StudyOutcome(model=mean_of(done.recent), stages=tuple(done.reports), measurements=Measurements(
            layout=TableLayout(plan), values=measured.vector, partners=measured.partners,
            variances=table_variances(plan, len(measured.partners))))

    def _greet(self) -> None:
        """Find out which node is which partner."""
        started = self._begin("hello")
        told = self._partners.greet(self._progress.heard)
        report = self._reported("hello", started, told.accepted, told.refused)
        self._progress.stage_done(report)
        self._observer.stage_done(report)

    def _round(self, number: int, model: Arrays) -> Arrays:
        """One round of training: a mean of updates, or a step along a secure sum."""
        stage = f"round {number}"
        if self._plan.training.aggregation is Aggregation.SECURE:
            total, report = self._sum(stage, Purpose.TRAIN, number, model)
            stepped = gradient_step(self._plan, model, total.values, total.survivors)
        else:
            request = Request(plan_sha256=self._plan.sha256, round_number=number, arrays=model)

            def accept(reply: Reply) -> Arrays:
                return check_arrays(reply.arrays, model)

            updates, report = self._stage(stage, TRAIN, request, accept)
            combined = combine(self._plan, model, updates)
            stepped, report = combined.model, replace(report, scaled=combined.scaled)
        self._progress.round_done(stepped, report)
        self._observer.stage_done(report)
        return stepped

    def _count(self, model: Arrays) -> Measured:
        """The sum of the tables under the final model."""
        plan = self._plan
        layout = TableLayout(plan)
        if plan.statistics.aggregation is Aggregation.SECURE:
            total, report = self._sum("table", Purpose.TABLE, 1, model)
            vector, present = layout.check(total.values), set(total.survivors)
        else:
            request = Request(plan_sha256=plan.sha256, round_number=0, arrays=model)

            def accept(reply: Reply) -> np.ndarray:
                if reply.table is None:
                    raise ValueError("no table")
                return layout.check(reply.table)

            tables, report = self._stage("table", TABLE, request, accept)
            vector, present = sum(tables.values(), start=layout.empty()), set(tables)
        measured = Measured(vector=vector,
                            partners=tuple(entry.name for entry in plan.roster if entry.name in present))
        self._progress.table_done(measured, report)
        self._observer.stage_done(report)
        return measured

    def _sum(self, stage: str, purpose: Purpose, number: int, model: Arrays) -> tuple[Total, StageReport]:
        """A secure sum, reported as one stage."""
        started, done, refused = self._begin(stage), self._progress, dict[str, str]()
        asked = request_sha256(Request(plan_sha256=self._plan.sha256, round_number=number, arrays=model))
        held = done.sum_at_hand(purpose, number, asked)

        def ask(exchange: Stage, payloads: Mapping[str, bytes]) -> None:
            self._progress.stage_begun(stage, exchange.value)
            self._progress.heard(held.answered(exchange), {})
            requests = {name: Request(
                plan_sha256=self._plan.sha256, round_number=number,
                arrays=model if exchange is Stage.MASKED else None,
                sum=SumRequest(purpose=purpose.value, attempt=held.attempt, model_sha256=asked, payload=payload))
                for name, payload in payloads.items()}
            answers = self._partners.ask(f"query.{exchange}", requests, _payload, lambda came, declined:
                                         done.sum_answered(exchange, came, declined))
            refused.update(answers.refused)

        try:
            total = secure_sum(session_of(self._plan, purpose, number, held.attempt, asked), held, ask,
                               done.sum_closed)
        except Aborted as error:
            self._stop(stage, started, held.answered(error.stage), refused, remedy=error.remedy, problem=(
                f"secure aggregation stopped at stage {error.stage}: {error.problem} ({error.answered} good answers, "
                f"{error.needed} needed). "))
        return total, self._reported(stage, started, total.survivors, refused)

    def _stage(
        self, stage: str, message_type: str, request: Request, accept: Callable[[Reply], Accepted]
    ) -> tuple[dict[str, Accepted], StageReport]:
        """Ask every partner the same once."""
        started = self._begin(stage)
        answers = self._partners.ask(message_type, {entry.name: request for entry in self._plan.roster}, accept,
                                     self._progress.heard)
        return answers.accepted, self._reported(stage, started, answers.accepted, answers.refused)

    def _begin(self, stage: str) -> float:
        self._progress.stage_begun(stage)
        return self._clock()

    def _reported(self, stage: str, started: float, answered: Iterable[str], refused: Mapping[str, str]) -> StageReport:
        """How a stage went; stops the study if it is below the quorum."""
        report = self._report(stage, started, answered, refused)
        if len(report.answered) < self._plan.conduct.quorum:
            self._stop(stage, started, answered, refused, problem=(
                f"{len(report.answered)} of {len(self._plan.roster)} partners answered within "
                f"{self._plan.conduct.stage_deadline_seconds:g} s. "))
        return report

    def _stop(self, stage: str, started: float, answered: Iterable[str], refused: Mapping[str, str], *,
              problem: str, remedy: str = _REMEDY) -> NoReturn:
        """Note a stage that failed, and end the run.

        Raises:
            StudyStopped: always.
        """
        report = self._report(stage, started, answered, refused)
        self._progress.stage_done(report)
        self._observer.stage_done(report)
        raise StudyStopped(
            f"{stage}: {problem}The plan's quorum is {self._plan.conduct.quorum}. "
            f"Late or absent: {', '.join(report.late) or 'none'}. "
            f"Refused: {', '.join(f'{who} ({code})' for who, code in report.refused) or 'none'}. "
            f"What to do: {remedy}. {_RESUME}.")

    def _report(self, stage: str, started: float, answered: Iterable[str], refused: Mapping[str, str]) -> StageReport:
        names, present = [entry.name for entry in self._plan.roster], set(answered)
        return StageReport(
            stage=stage, seconds=self._clock() - started,
            answered=tuple(name for name in names if name in present),
            late=tuple(name for name in names if name not in present and name not in refused),
            refused=tuple(sorted(refused.items())))
