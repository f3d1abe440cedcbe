"""Running a study over a network: an order to the SuperLink, and waiting until its ServerApp has ended.

The ServerApp keeps what it has after each stage, so the same order after a crash goes on where it was.
"""

from __future__ import annotations

import time
from enum import Enum

from federation.deployment.keeper import running_state
from federation.errors import InputError
from server.coordinator import CoordinatorHome
from server.deployment.control import Control, has_ended
from server.deployment.network import Network

_LOOK_SECONDS = 0.3
_ASK_SECONDS = 2.0


class StudyEnd(Enum):
    """How a run ended; the value is the exit code."""

    RAN = 0
    FAILED = 1
    TOO_FEW = 3

    @property
    def words(self) -> str:
        return {
            StudyEnd.RAN: "The study has run. What was measured is kept; make a release of it with `leelight release "
                          "draft`.",
            StudyEnd.FAILED: "The study did not end well. `leelight coordinator resume` goes on with it.",
            StudyEnd.TOO_FEW: "Too few partners answered. Wait for them; `leelight coordinator resume` goes on where "
                              "it was.",
        }[self]


def run_study(home: CoordinatorHome, network: Network) -> tuple[StudyEnd, str]:
    """Run the study of the plan at hand, or go on with it, and wait until it has ended.

    Returns:
        How it ended, and what its round loop said if that was not well.

    Raises:
        InputError: if the coordinator is not running, there is no plan, or its study has run.
    """
    signed = home.signed_plan()
    home.check_not_run(signed)
    state = running_state(home.path)
    if state is None or not state.get("ready"):
        raise InputError(str(home.path), "its coordinator is not running" if state is None else "is still starting",
                         remedy="run `leelight coordinator start` in another terminal, and wait a moment")
    control = Control(port=state["superlink"], authority=network.authority)
    number = control.run(signed)
    try:
        status = _wait(home, signed.sha256, control, number)
    except KeyboardInterrupt:
        control.stop(number)
        return StudyEnd.FAILED, "It was broken off."
    if home.study(signed.sha256).path.is_dir():
        return StudyEnd.RAN, ""
    said = status.partition(":")[2].partition(":")[2] or (
        f"Flower says no more than {status}." if status else "The coordinator's server ended before it.")
    return StudyEnd.TOO_FEW if "quorum" in said else StudyEnd.FAILED, said


def _wait(home: CoordinatorHome, plan_sha256: str, control: Control, number: int) -> str:
    """Wait until a run has ended, and give Flower's word for how; none, if the coordinator ended before it."""
    kept = home.study(plan_sha256).path
    while True:
        asked = time.monotonic()
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
