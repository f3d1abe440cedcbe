"""`python -m simulations.releases.study`: ten thousand releases of one country whose truth is known.

Fifty regions in ten super-regions, from 40 people to several thousand, rates from 0 to 30 %; two of the regions have no
records at all and two have records and no signal. Each release draws a quarter's people and flags, the labelled people
on whom the model is measured, and the noise; then it is gated and derived by the code that makes real releases. Told is

- how often 95 % intervals hold the truth, for counts and rates at every level, of everything that is measured and of
  what is shown (a region near the threshold is shown when its noise is up, so the second is a little lower);
- how often a region without records, or without signals, is shown all the same;
- how much is withheld, and how many of the five highest regions are among the five highest that are shown. (A release
  ranks nothing; this says what a reader could do.)

Exit code 1 if an interval covers less than 94 % or more than 96 %, or more than 1 % of true-zero regions are shown.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from federation.plan import StudyPlan
from federation.randomness import RandomStream
from federation.statistics import Measurements
from federation.taxonomy import AreaLevel, RegionRole, Task
from server.release.decide import Gated, apply_gate
from server.release.derive import Rates, derive_rates
from server.release.intervals import count_interval
from server.release.nodes import Nodes
from simulations.command import run_command
from simulations.releases.plans import invented_regions, release_plan
from simulations.releases.truth import Classifier, Truth

LEAST_COVERAGE, MOST_COVERAGE, MOST_FALSE = 0.94, 0.96, 0.01
TOP = 5
EMPTY, SIGNAL_FREE = 2, 2
"""Regions without records, and regions with records but without a signal: the first of the list."""


def study_plan(epsilon: float) -> StudyPlan:
    """Fifty regions in ten super-regions, one role, one task."""
    codes, groups = invented_regions(50, 10)
    return release_plan(codes, groups, roles=(RegionRole.ORIGIN,), tasks=(Task.RECRUITMENT,), epsilon=epsilon)


def country(plan: StudyPlan, *, seed: int, people: int) -> Truth:
    """The truth of the study: sizes and rates of fifty regions, heavy-tailed, in no particular order."""
    rng = np.random.default_rng(seed)
    sizes = np.maximum(40, rng.lognormal(np.log(people), 1.0, 50)).astype(np.int64)
    rates = rng.beta(1.5, 10.0, 50)
    sizes[:EMPTY], rates[EMPTY : EMPTY + SIGNAL_FREE] = 0, 0.0
    classifier = Classifier(sensitivity=0.8, false_alarm_rate=0.07, labelled_positive=600, labelled_negative=1500)
    return Truth(plan, sizes[:, None], rates[:, None, None], (classifier,))


@dataclass
class Tally:
    """Counts over many releases."""

    held: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    shown: int = 0
    cells: int = 0
    false: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    recall: list[float] = field(default_factory=list)

    def coverage(self, name: str, truth: npt.NDArray[np.float64], lower: npt.NDArray[np.float64],
                 upper: npt.NDArray[np.float64]) -> None:
        """Count intervals that exist, and those of them that hold the truth."""
        there = np.isfinite(lower) & np.isfinite(upper)
        self.told[name] += int(there.sum())
        self.held[name] += int((there & (lower <= truth) & (truth <= upper)).sum())


def ungated(measurements: Measurements, gated: Gated) -> Gated:
    """All measurements, as if the gate let everything through."""
    nodes = Nodes.of(measurements)
    return replace(gated, nodes=nodes, records=np.zeros_like(gated.records), rates=np.zeros_like(gated.rates))


def score(truth: Truth, measurements: Measurements, tally: Tally, people: npt.NDArray[np.int64]) -> None:
    """Hold one release against the truth."""
    gated = apply_gate(measurements)
    for name, let in (("measured", ungated(measurements, gated)), ("shown", gated)):
        _cover(truth, let, derive_rates(truth.plan, let), tally, name, people)
    regions = gated.nodes.at(AreaLevel.REGION)
    shown = gated.rates[regions, 0, 0] == 0
    tally.shown, tally.cells = tally.shown + int(shown.sum()), tally.cells + len(shown)
    tally.false["no records"].append(float(shown[:EMPTY].mean()))
    tally.false["records and no signal"].append(float(shown[EMPTY : EMPTY + SIGNAL_FREE].mean()))
    value = derive_rates(truth.plan, gated).value[regions, 0, 0]
    found = np.argsort(np.where(np.isnan(value), -np.inf, value))[-TOP:]
    highest = np.argsort(np.where(truth.people[:, 0] > 0, truth.rate[:, 0, 0], -np.inf))[-TOP:]
    tally.recall.append(len(set(found[shown[found]].tolist()) & set(highest.tolist())) / TOP)


def _cover(truth: Truth, gated: Gated, rates: Rates, tally: Tally, name: str, people: npt.NDArray[np.int64]) -> None:
    for level in AreaLevel:
        rows = gated.nodes.at(level)
        counts = truth.at_level(people, level).astype(np.float64)
        # The rate behind the records of a coarse place is that of its people.
        rate = truth.at_level(people * truth.rate[..., 0], level) / np.maximum(counts, 1)
        tally.coverage(f"{name}: records, {level}", counts, *count_interval(
            rates.reviewed[rows], variance=rates.reviewed_variance[rows]))
        # Where nobody is, there is no rate to hold.
        there = np.where(counts > 0, 1.0, np.nan)
        tally.coverage(f"{name}: rates, {level}", rate, rates.lower[rows, :, 0] * there, rates.upper[rows, :, 0])


def run(truth: Truth, *, releases: int, seed: int) -> Tally:
    """Simulate so many releases."""
    tally, rng = Tally(), np.random.default_rng(seed)
    stream = RandomStream.derived(seed.to_bytes(8, "big"), "release-study")
    for _ in track(range(releases), description="Releases"):
        _, flags = truth.draw(rng)
        score(truth, truth.measured(truth.tables(flags, rng), stream), tally, truth.people)
    return tally


def figures(tally: Tally) -> dict[str, float]:
    """What a study found, by name."""
    return {**{f"coverage of {name}": tally.held[name] / tally.told[name] for name in tally.told if tally.told[name]},
            **{f"shown though there are {name}": float(np.mean(found)) for name, found in tally.false.items()},
            "regions withheld": 1 - tally.shown / tally.cells,
            f"top {TOP} of 50 found": float(np.mean(tally.recall))}


def misses(found: dict[str, float]) -> Iterator[str]:
    """Names of the figures that miss their bar."""
    for name, value in found.items():
        if name.startswith("coverage of measured") and not LEAST_COVERAGE <= value <= MOST_COVERAGE:
            yield name
        if name.startswith("coverage of shown: rates") and not value >= LEAST_COVERAGE:
            yield name
        if name.startswith("shown though") and not value <= MOST_FALSE:
            yield name


def main(
    releases: Annotated[int, typer.Option(help="How many releases.")] = 10_000,
    epsilon: Annotated[float, typer.Option(help="Of the tables of a release.")] = 1.0,
    people: Annotated[int, typer.Option(help="Median number of people in a region.")] = 800,
    seed: Annotated[int, typer.Option(help="Of the truth and of all draws.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Simulate releases and hold them against their truth."""
    found = figures(run(country(study_plan(epsilon), seed=seed, people=people), releases=releases, seed=seed))
    missed = set(misses(found))
    if as_json:
        typer.echo(json.dumps({"figures": found, "missed": sorted(missed)}, indent=1))
    else:
        table = Table(f"{releases:,} releases at ε = {epsilon:g}", "", "", box=None)
        for name, value in found.items():
            table.add_row(name, f"{100 * value:.2f} %", "MISSED" if name in missed else "")
        Console().print(table)
    raise typer.Exit(1 if missed else 0)


if __name__ == "__main__":
    run_command(main)
