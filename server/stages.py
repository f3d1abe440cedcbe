"""How a study goes, stage by stage: what is told to whoever watches, and kept with what the study leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import TypeAdapter


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


REPORT: Final = TypeAdapter(StageReport)
"""A report as JSON, and back."""
REPORTS: Final = TypeAdapter(tuple[StageReport, ...])


class Observer(Protocol):
    """Somebody who watches a study run."""

    def stage_done(self, report: StageReport) -> None:
        """Called after each stage, the stages being `hello`, `round 1` … `round R` and `table`."""


class StudyStopped(RuntimeError):
    """Too few partners answered a stage. What was done before it is kept, and the study can be resumed."""
