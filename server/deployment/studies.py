"""Running a study over a network: an order to the SuperLink, and waiting until its ServerApp has ended.

The ServerApp keeps what it has after each stage, so the same order after a crash goes on where it was. It goes on, too,
when nobody waits for it any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

from federation.deployment.keeper import running_state
from federation.errors import InputError
from federation.plan import SignedPlan
from server.coordinator import CoordinatorHome
from server.deployment.control import Control, has_ended
from server.deployment.network import Network
from server.stages import StageReport

_LOOK_SECONDS = 0.3
_ASK_SECONDS = 2.0
_GOES_ON = ("it goes on by itself, and `leelight coordinator watch` shows how. To break it off, stop the coordinator "
            "and start it again; `leelight coordinator resume` then goes on with it")


class StudyEnd(Enum):
    """How waiting for a run ended; the value is the exit code."""

    RAN = 0
    FAILED = 1
    TOO_FEW = 3
    LEFT = 130

    @property
    def words(self) -> str:
        return {
            StudyEnd.RAN: "The study has run. What was measured is kept; make a release of it with `leelight release "
                          "draft`.",
            StudyEnd.FAILED: "The study did not end well. `leelight coordinator resume` goes on with it.",
            StudyEnd.TOO_FEW: "Too few partners answered. Wait for them; `leelight coordinator resume` goes on where "
                              "it was.",
            StudyEnd.LEFT: f"The study still runs: {_GOES_ON}.",
        }[self]


def run_study(home: CoordinatorHome, network: Network, tell: Callable[[str], None]) -> tuple[StudyEnd, str]:
    """Run the study of the plan at hand, or go on with it, and wait until it has ended.

    Args:
        home: of the coordinator.
        network: its keys.
        tell: told where the study stands, a line when a stage begins and when it is over.

    Returns:
        How it ended, and what its round loop said if that was not well.

    Raises:
        InputError: if the coordinator is not running, there is no plan, or its study runs already or has run.
    """
    signed = home.signed_plan()
    home.check_not_run(signed)
    state = running_state(home.path)
    if state is None or not state.get("ready"):
        raise InputError(str(home.path), "its coordinator is not running" if state is None else "is still starting",
                         remedy="run `leelight coordinator start` in another terminal, and wait a moment")
    _check_not_running(home, signed)
    told = _Told(home, signed, tell)
    control = Control(port=state["superlink"], authority=network.authority)
    number = control.run(signed)
    tell(f"{signed.plan.study} begins within a minute. Ctrl-C here leaves it running.")
    try:
        status = _wait(home, signed.sha256, control, number, told)
    except KeyboardInterrupt:
        return StudyEnd.LEFT, ""
    told.look()
    if home.study(signed.sha256).path.is_dir():
        return StudyEnd.RAN, ""
    # Another order may have been a moment earlier: that one goes on, and this one came to nothing.
    _check_not_running(home, signed)
    said = status.partition(":")[2].partition(":")[2] or (
        f"Flower says no more than {status}." if status else "The coordinator's server ended before it.")
    return StudyEnd.TOO_FEW if "quorum" in said else StudyEnd.FAILED, said


def _check_not_running(home: CoordinatorHome, signed: SignedPlan) -> None:
    if home.run_state(signed.sha256).running:
        raise InputError(signed.plan.study, "runs already", bound="one run at a time",
                         remedy=f"nothing: {_GOES_ON}")


class _Told:
    """What was told of a study, so that each thing is told once; what an earlier run did was told then."""

    def __init__(self, home: CoordinatorHome, signed: SignedPlan, tell: Callable[[str], None]) -> None:
        self._home, self._signed, self._tell = home, signed, tell
        self._stages, self._at_hand = len(home.run_state(signed.sha256).stages), ""

    def look(self) -> None:
        """Tell what is new."""
        try:
            state = self._home.run_state(self._signed.sha256)
        except InputError:
            # Whoever runs it says what is wrong, if something is.
            return
        for report in state.stages[self._stages:]:
            self._tell(_of_stage(report))
        self._stages = max(self._stages, len(state.stages))
        if state.running and state.stage not in ("", self._at_hand):
            self._at_hand = state.stage
            self._tell(f"{state.stage} begins; who has not answered after "
                       f"{self._signed.plan.conduct.stage_deadline_seconds:g} s is not waited for")


def _of_stage(report: StageReport) -> str:
    """How a stage went, in a line."""
    parts = [f"{report.stage} took {report.seconds:.0f} s", f"answered: {', '.join(report.answered) or 'nobody'}"]
    if report.late:
        parts.append(f"late or absent: {', '.join(report.late)}")
    if report.refused:
        parts.append(f"refused: {', '.join(f'{who} ({code})' for who, code in report.refused)}")
    return "; ".join(parts)


def _wait(home: CoordinatorHome, plan_sha256: str, control: Control, number: int, told: _Told) -> str:
    """Wait until a run has ended, and give Flower's word for how; none, if the coordinator ended before it."""
    kept = home.study(plan_sha256).path
    while True:
        asked = time.monotonic()
        told.look()
        try:
            status = control.status(number)
        except InputError:
            # A busy machine may answer late; a coordinator that is gone never does.
            if running_state(home.path) is None:
                return ""
            status = ""
        if has_ended(status) or kept.is_dir():
            return status
        while time.monotonic() - asked < _ASK_SECONDS and not kept.is_dir():
            time.sleep(_LOOK_SECONDS)
