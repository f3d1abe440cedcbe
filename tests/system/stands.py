"""A coordinator and three partners as real processes on loopback, and what is done to them.

Every study has a deadline and every wait here a limit, so nothing can hang. Studies are small, on invented records.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from federation.deployment.keeper import running_state
from federation.plan import SignedPlan
from simulations.deployment import Deployment, deployment

SMALL = ("encoder=hashing", "encoder.dimension=128", "training.rounds=2", "simulation.cache=null",
         # Two of three are enough, so that one can be away.
         "study.quorum=2", "study.colluders=0", "study.stage_deadline_seconds=150")
NGO, AGENCY, PLATFORM = "ngo-shelter", "agency-labour", "platform-jobs"


@contextmanager
def running(folder: Path) -> Iterator[Deployment]:
    """Everything is up."""
    with deployment(folder, data=None, overrides=SMALL) as found:
        found.set_up()
        found.take_in()
        found.start("coordinator")
        found.start(NGO, AGENCY, PLATFORM)
        found.wait(lambda: online(found) == {NGO, AGENCY, PLATFORM}, "the partners")
        yield found


def watched(made: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.do("coordinator", "watch", "--home", made.coordinator.path, "--json"))
    return found


def online(made: Deployment) -> set[str]:
    return {one["name"] for one in watched(made)["partners"] if one["node"] == "online"}


def begin(made: Deployment, what: str = "run") -> subprocess.Popen[str]:
    """A study that goes on while something happens to it."""
    return subprocess.Popen([str(Path(sys.executable).with_name("leelight")), "coordinator", what, "--home",
                             str(made.coordinator.path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def reach(made: Deployment, signed: SignedPlan, there: Callable[[Any], bool]) -> None:
    """Wait until a study has got so far."""
    made.wait(lambda: there(made.coordinator.run_state(signed.sha256)), "the study")


def in_stage(name: str, exchange: str = "") -> Callable[[Any], bool]:
    return lambda state: (state.stage == name and state.exchange == exchange) or state.finished


def kill(made: Deployment, name: str) -> None:
    """As a power cut: the keeper first; what it kept must not outlive it."""
    process = made.running.pop(name)
    home = made.coordinator.path if name == "coordinator" else made.node(name).path
    kept = [one["pid"] for one in (running_state(home) or {})["processes"] if one["pid"]]
    process.kill()
    process.wait()
    made.wait(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in kept), f"the end of {name}", seconds=40)


def ended(process: subprocess.Popen[str]) -> int:
    try:
        process.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode


def answered(made: Deployment, signed: SignedPlan) -> dict[str, tuple[str, ...]]:
    stages = made.coordinator.study(signed.sha256).stages()
    return {stage.stage: stage.answered for stage in stages}


def charges(made: Deployment, name: str, signed: SignedPlan) -> tuple[int, int]:
    """Requests of a study that were answered, and further attempts that were charged."""
    found = json.loads(made.do("ledger", "show", "--home", made.node(name).path, "--json"))
    study = next(one for one in found["studies"] if one["plan_sha256"] == signed.sha256)
    return study["requests_answered"], study["further_attempts"]


def node_events(made: Deployment, name: str) -> str:
    path = made.node(name).path / "logs" / "node.jsonl"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
