"""The same apps and the same plan in this process and under Flower's own engine."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from clients.threads import use_threads
from server.stages import StageReport
from simulations.bench.measured import measured
from simulations.bench.scale.crowd import Crowd, coordinator, nodes
from simulations.bench.scale.stages import EVERYBODY, encoding, generation, ingest
from simulations.engine import run_flower, run_in_process


@dataclass(frozen=True, kw_only=True)
class EngineTiming:
    """A study under one engine.

    Attributes:
        round: seconds of a round of training, the median over its rounds.
        table: seconds of the statistics.
        stages: seconds of all stages together, the greeting included.
        total: wall seconds of the study, from nothing to its outcome on the coordinator's disk.
    """

    round: float
    table: float
    stages: float
    total: float

    @property
    def start_up(self) -> float:
        """Seconds that are no stage's: processes that begin and end."""
        return self.total - self.stages

    @classmethod
    def of(cls, reports: tuple[StageReport, ...], total: float) -> EngineTiming:
        """From what the coordinator keeps of a study."""
        return cls(round=median(one.seconds for one in reports if one.stage.startswith("round ")),
                   table=sum(one.seconds for one in reports if one.stage == "table"),
                   stages=sum(one.seconds for one in reports), total=total)


class _Quiet:
    """Watches and says nothing."""

    def stage_done(self, report: StageReport) -> None:
        pass


def study_in_process(root: Path) -> EngineTiming:
    """Run the study below `root` in this process. Everybody's features are in the cache."""
    use_threads(1)
    home, signed = coordinator(root)
    started = time.perf_counter()
    run_in_process(signed, home, nodes(root), _Quiet())
    return EngineTiming.of(home.study(signed.sha256).stages(), time.perf_counter() - started)


def study_under_flower(root: Path) -> EngineTiming:
    """Run it under Flower's engine, whose processes are stopped when it is over.

    Raises:
        InputError: if the engine is not installed, or does not finish.
    """
    home, signed = coordinator(root)
    started = time.perf_counter()
    run_flower(signed, home, nodes(root))
    return EngineTiming.of(home.study(signed.sha256).stages(), time.perf_counter() - started)


def compare(crowd: Crowd, scratch: Path) -> dict[str, EngineTiming]:
    """The same study under both engines, by engine.

    Raises:
        RuntimeError: if they do not come to the same sums, as they must: noise comes from the seed here.
    """
    ours, flowers = scratch / "in-process", scratch / "flower"
    ours.mkdir(mode=0o700)
    crowd.set_up(ours)
    for stage in (generation, ingest, encoding):
        measured(stage, crowd, ours, EVERYBODY)
    shutil.copytree(ours, flowers)
    found = {"in_process": measured(study_in_process, ours).found,
             "flower": measured(study_under_flower, flowers).found}
    one, other = (home.study(signed.sha256).measurements(signed.plan)
                  for home, signed in (coordinator(ours), coordinator(flowers)))
    if not (one.values == other.values).all():
        raise RuntimeError("the two engines come to different sums")
    return found
