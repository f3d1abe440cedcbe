"""`python -m simulations.releases.hotline DATA`: releases of real magnitudes, held against what is known.

Calls to a national hotline and the cases among them, by state and year, stand for people reviewed and for true signals.
Each of the four years is a release: the model's flags are drawn from its errors, the noise is the plan's, and what is
published is held against the true calls and cases. The truth here is the year's own cases, not a rate behind them, so
intervals, which also carry the chance of sampling, hold it more often than 95 times in 100.

The figures are printed for all states together and by size of state; no state is named.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from federation.plan import StudyPlan
from federation.randomness import RandomStream
from federation.taxonomy import AreaLevel, RegionRole, Task
from server.release.decide import apply_gate
from server.release.derive import Band, derive_rates
from simulations.command import run_command
from simulations.releases.plans import release_plan
from simulations.releases.truth import Classifier, Truth
from simulations.world.real import STATES, census_regions

YEARS = (2012, 2013, 2014, 2015)
SIZES = ((0, 50), (50, 150), (150, 500), (500, 10**9))
"""Classes of states by calls in the year."""
MODEL = Classifier(sensitivity=0.85, false_alarm_rate=0.05, labelled_positive=600, labelled_negative=1500)
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One state in one year: `value`, `lower` and `upper` are NaN where nothing was shown."""

    calls: FloatArray
    rate: FloatArray
    country: float
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    band: npt.NDArray[np.object_]


def magnitudes(data: Path, year: int) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """ISO codes, calls and cases of a year, by code."""
    with (data / STATES).open(encoding="utf-8", newline="") as file:
        rows = sorted((f"US-{row['postal']}", int(row["calls"]), int(row["cases"]))
                      for row in csv.DictReader(file) if int(row["year"]) == year)
    return (tuple(row[0] for row in rows), np.array([row[1] for row in rows]), np.array([row[2] for row in rows]))


def outcome(data: Path, year: int, *, epsilon: float, seed: int) -> Outcome:
    """One release of one year."""
    codes, calls, cases = magnitudes(data, year)
    # A state has cases that did not come by telephone: there the cases are all that was reviewed.
    people = np.maximum(calls, cases)
    plan = _plan(codes, year, epsilon)
    rng = np.random.default_rng([seed, year])
    truth = Truth(plan, people[:, None], (cases / np.maximum(people, 1))[:, None, None], (MODEL,))
    flags = (rng.binomial(cases, MODEL.sensitivity) + rng.binomial(people - cases, MODEL.false_alarm_rate))
    stream = RandomStream.derived(seed.to_bytes(8, "big"), "hotline", str(year))
    gated = apply_gate(truth.measured(truth.tables(flags[:, None, None], rng), stream))
    rates, rows = derive_rates(plan, gated), gated.nodes.at(AreaLevel.REGION)
    return Outcome(calls=people.astype(np.float64), rate=truth.rate[:, 0, 0], country=float(cases.sum() / people.sum()),
                   value=rates.value[rows, 0, 0], lower=rates.lower[rows, 0, 0], upper=rates.upper[rows, 0, 0],
                   band=rates.band[rows, 0, 0])


def _plan(codes: tuple[str, ...], year: int, epsilon: float) -> StudyPlan:
    return release_plan(codes, census_regions(codes), roles=(RegionRole.OBSERVED,), tasks=(Task.RECRUITMENT,),
                        epsilon=epsilon, label="SYNTHETIC PARTNERS, real magnitudes", study="hotline-magnitudes",
                        period=(date(year, 1, 1), date(year, 12, 31)))


def rows(outcomes: list[Outcome]) -> Iterator[tuple[str, ...]]:
    """One row for each class of size, and one for all."""
    calls, rate, value, lower, upper, country, band = (
        np.concatenate([np.broadcast_to(getattr(each, name), each.calls.shape) for each in outcomes])
        for name in ("calls", "rate", "value", "lower", "upper", "country", "band"))
    for least, most in (*SIZES, (0, 10**9)):
        chosen = (least <= calls) & (calls < most)
        shown = chosen & ~np.isnan(value)
        if not chosen.any():
            continue
        told = shown & np.isin(band, (Band.HIGH, Band.LOW))
        right = told & (np.where(band == Band.HIGH, rate > country, rate < country))
        yield (f"{least} to {most - 1:,}" if most < 10**9 else f"{least} and more" if least else "all",
               str(int(chosen.sum())), f"{shown.sum() / chosen.sum():.0%}",
               _share(((lower <= rate) & (rate <= upper))[shown]),
               f"{10_000 * np.median(np.abs(value - rate)[shown]):,.0f}" if shown.any() else "",
               f"{10_000 * np.median((upper - lower)[shown]):,.0f}" if shown.any() else "",
               f"{right.sum()} of {told.sum()}")


def _share(held: npt.NDArray[np.bool_]) -> str:
    return f"{held.mean():.1%}" if len(held) else ""


def main(
    data: Annotated[Path, typer.Argument(help="Folder of the public sets.")],
    epsilon: Annotated[float, typer.Option(help="Of the tables of a release.")] = 1.0,
    seeds: Annotated[int, typer.Option(help="So many draws of each year.")] = 20,
) -> None:
    """Publish real magnitudes and hold what is published against them."""
    outcomes = [outcome(data, year, epsilon=epsilon, seed=seed) for seed in range(seeds) for year in YEARS]
    table = Table("Calls in the year", "Releases of a state", "Shown", "Intervals that hold the truth",
                  "Error, median", "Width, median", "Bands high or low that are right", box=None,
                  title=f"ε = {epsilon:g} a release; rates per 10,000")
    for row in rows(outcomes):
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    run_command(main)
