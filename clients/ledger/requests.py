"""What a ledger is asked to account for: one round of one stage of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from clients.ledger.entries import Entry, PlannedStage, Reserved, Stage, StudyHeld, find_stage, request_id
from clients.ledger.problems import refusal
from federation.errors import Refusal, RefusalCode
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.accounting import Event, epsilon_of
from federation.privacy.guarantee import round_event, statistics_events


@dataclass(frozen=True, kw_only=True)
class LedgerRequest:
    """Something that a coordinator asks of a partner's records.

    Attributes:
        study: the study's name, for people to read.
        stages: everything the plan will ever ask, fixed with the plan.
        round_number: from 1; a table is round 1 of its stage.
        request_sha256: hash of what makes this request differ from another one for the same round: the model asked
            about. Two requests with the same hash get the same reply.
        delta: the plan's.
    """

    plan_sha256: str
    study: str
    stages: tuple[PlannedStage, ...]
    delta: float
    stage: Stage
    round_number: int
    request_sha256: str

    @classmethod
    def of(cls, plan: StudyPlan, stage: Stage, round_number: int, request_sha256: str) -> LedgerRequest:
        """The request for a round of `plan`."""
        return cls(plan_sha256=plan.sha256, study=plan.study, stages=planned_stages(plan), delta=plan.privacy.delta,
                   stage=stage, round_number=round_number, request_sha256=request_sha256)

    @property
    def id(self) -> str:
        """The request's name in the ledger: the same however often it is sent."""
        return request_id(self.plan_sha256, self.stage, self.round_number)

    @property
    def in_words(self) -> str:
        """For people: study, stage and round."""
        return f"study {self.study}, {self.stage} round {self.round_number}"

    @property
    def planned(self) -> PlannedStage:
        """What the plan says of this request.

        Raises:
            Refusal: `bad_request`, if it has no such stage or round.
        """
        found = find_stage(self.stages, self.stage, self.round_number)
        if found is None:
            raise self.bad("is not in the plan")
        return found

    @property
    def whole(self) -> tuple[Event, ...]:
        """The events of the whole plan."""
        return tuple(event for one in self.stages for event in one.whole())

    def entries(self, *, at: datetime, attempt: int, hold: bool) -> list[Entry]:
        """What reserves this request, after what holds its plan if that is needed.

        Raises:
            Refusal: `bad_request`, for a value that no entry may have.
        """
        entries: list[Entry] = []
        try:
            if hold:
                entries.append(StudyHeld(at=at, plan_sha256=self.plan_sha256, study=self.study, stages=self.stages,
                                         delta=self.delta, epsilon=epsilon_of(self.whole, delta=self.delta)))
            entries.append(Reserved(
                at=at, request_id=self.id, request_sha256=self.request_sha256, plan_sha256=self.plan_sha256,
                stage=self.stage, round_number=self.round_number, attempt=attempt, event=self.planned.event))
        except ValueError as error:
            raise self.bad(f"cannot be booked ({type(error).__name__})") from None
        return entries

    def bad(self, problem: str) -> Refusal:
        """This request as a `bad_request`."""
        return refusal(RefusalCode.BAD_REQUEST, self.in_words, problem, "ask the coordinator what it meant to send")


def planned_stages(plan: StudyPlan) -> tuple[PlannedStage, ...]:
    """Everything that `plan` will ask of a partner's records."""
    def colluders(part: Aggregation) -> int | None:
        secure = plan.secure_aggregation
        return secure.colluders if secure is not None and part is Aggregation.SECURE else None

    return (PlannedStage.training(plan.training.rounds, round_event(plan),
                                  colluders=colluders(plan.training.aggregation)),
            PlannedStage.tables(1, statistics_events(plan), colluders=colluders(plan.statistics.aggregation)))
