"""Where a study stands, for somebody who looks on: another process, while the run goes on or after it was killed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from federation.errors import InputError
from server.run_files import RunDatabase, damaged, is_held
from server.stages import REPORT, StageReport


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A study as it is now.

    Attributes:
        stages: that are over, in order, of all runs of the study.
        rounds_done: rounds of training that are over.
        stage: at hand: `hello`, `round 1` … `round R`, `table`; empty if none is.
        exchange: of the stage's secure sum, empty outside of one.
        since: when that stage or exchange was begun.
        answered: partners that have answered it so far.
        refused: who has refused it so far, and with which code.
        running: whether a process is at work on it.
        finished: whether the study is measured and kept.
    """

    stages: tuple[StageReport, ...] = ()
    rounds_done: int = 0
    stage: str = ""
    exchange: str = ""
    since: datetime | None = None
    answered: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    running: bool = False
    finished: bool = False


def finished_state(stages: tuple[StageReport, ...]) -> RunState:
    """The state of a study that is kept, from its reports."""
    rounds = {report.stage for report in stages if report.stage.startswith("round ")}
    return RunState(stages=stages, rounds_done=len(rounds), finished=True)


def read_state(database: Path, lock: Path, plan_sha256: str) -> RunState:
    """The state of a study that is not finished. Changes nothing, and waits for nobody but a transaction.

    Args:
        database: of the run; it is there.
        lock: of the run.
        plan_sha256: whose run it is.

    Raises:
        InputError: if it cannot be read, or belongs to another plan.
    """
    held = RunDatabase(database, plan_sha256, to_read=True)
    try:
        with held.reading() as connection:
            reports = connection.execute("SELECT report FROM report ORDER BY number").fetchall()
            rounds = connection.execute("SELECT max(number) FROM round").fetchone()[0]
            stage = connection.execute("SELECT name, exchange, since FROM stage").fetchone()
            heard = connection.execute("SELECT partner, code FROM heard ORDER BY partner").fetchall()
        name, exchange, since = ("", "", None) if stage is None else stage
        return RunState(
            stages=tuple(REPORT.validate_json(report) for (report,) in reports), rounds_done=rounds or 0, stage=name,
            exchange=exchange, since=None if since is None else datetime.fromtimestamp(since, UTC),
            answered=tuple(who for who, code in heard if not code),
            refused=tuple((who, code) for who, code in heard if code), running=is_held(lock))
    except (ValidationError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        damaged(str(database), "holds what no run of this plan leaves")
    finally:
        held.close()
