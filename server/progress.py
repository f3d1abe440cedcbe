"""Where a study stands: the rounds and stages that are done, and the secure sum at hand."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from federation.messages import Arrays
from federation.plan import StudyPlan, averaged_rounds
from federation.secagg import Stage
from federation.secure import Purpose
from server.stages import StageReport

MOST_ATTEMPTS = 10**9


def first_model(plan: StudyPlan) -> Arrays:
    """The model that a plan's training starts from."""
    # Imported here, as torch takes seconds, and most of what a coordinator does needs none.
    from federation.model import initial_model, model_arrays

    return model_arrays(initial_model(plan))


@dataclass(kw_only=True)
class SumAtHand:
    """A session of secure aggregation as far as it has come.

    Attributes:
        attempt: its number.
        closed: exchanges whose answers are final.
        answers: what partners have answered, by exchange and partner.
    """

    attempt: int
    closed: set[Stage] = field(default_factory=set)
    answers: dict[Stage, dict[str, bytes]] = field(default_factory=dict)

    def answered(self, exchange: Stage) -> dict[str, bytes]:
        """The answers to an exchange, in order of names: the same whenever they are read."""
        return dict(sorted(self.answers.get(exchange, {}).items()))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the last stage left: the sum of all tables (int64), and the partners in it."""

    vector: npt.NDArray[np.int64]
    partners: tuple[str, ...]


class Progress:
    """Where a study stands, for as long as this process lives. `server.checkpoints.Checkpoint` has it on disk as well.

    Attributes:
        reports: of the stages that are over, in order.
        rounds_done: the number of the last finished round.
        recent: the models after the last rounds, the newest last: so many as the published one is the mean of.
        measured: None until the tables are in.
    """

    def __init__(self, plan: StudyPlan) -> None:
        self.reports: list[StageReport] = []
        self.rounds_done = 0
        self.recent: list[Arrays] = []
        self.measured: Measured | None = None
        self._averaged = averaged_rounds(plan.training)
        self._sum: SumAtHand | None = None

    def stage_begun(self, stage: str, exchange: str = "") -> None:
        """A stage, or an exchange of it, is about to be asked for."""

    def heard(self, answered: Iterable[str], refused: Mapping[str, str]) -> None:
        """Partners have answered or refused the stage or exchange at hand."""

    def stage_done(self, report: StageReport) -> None:
        """A stage is over that leaves nothing but its report: the greeting, or one below the quorum."""
        self.reports.append(report)

    def round_done(self, model: Arrays, report: StageReport) -> None:
        """The next round is over, and left this model. The sum at hand is forgotten."""
        self.rounds_done += 1
        self.recent = [*self.recent, model][-self._averaged:]
        self._sum = None
        self.reports.append(report)

    def table_done(self, measured: Measured, report: StageReport) -> None:
        """The tables are in. The sum at hand is forgotten."""
        self.measured, self._sum = measured, None
        self.reports.append(report)

    def sum_at_hand(self, purpose: Purpose, number: int, model_sha256: str) -> SumAtHand:
        """The session for this sum: the one that was begun if it can still be ended, else another.

        Args:
            purpose: what is summed.
            number: of the round.
            model_sha256: of the model that everybody is asked about.
        """
        del purpose, number, model_sha256
        # Another number each time: a session is held once.
        self._sum = SumAtHand(attempt=secrets.randbelow(MOST_ATTEMPTS))
        return self._sum

    def sum_answered(self, exchange: Stage, answers: Mapping[str, bytes], refused: Mapping[str, str]) -> None:
        """Partners have answered an exchange of the sum at hand, or refused."""
        del refused
        self._at_hand.answers.setdefault(exchange, {}).update(answers)

    def sum_closed(self, exchange: Stage) -> None:
        """The answers to an exchange are final: whoever has not answered is out."""
        self._at_hand.closed.add(exchange)

    @property
    def _at_hand(self) -> SumAtHand:
        if self._sum is None:
            raise RuntimeError("no sum is at hand")
        return self._sum
