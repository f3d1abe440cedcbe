"""`python -m simulations.drift`: a model over quarters in which things change, and what partners notice.

An invented world over several quarters, with new templates in each, a shock to two regions from quarter 2 and a
narrower definition from quarter 4 on. One model is trained in quarter 0 and kept. Another goes on: in each quarter a
study continues from its weights with the labels of that quarter (people who have been told about outcomes), at the same
epsilon again, which is charged again. Both are judged in each quarter on held-out people, by the truth and by the
labels as they are recorded then. Each partner compares its people of each quarter with those of the one before
(`clients.drift`), with nothing but what lies there.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from clients.drift import Seen, drift
from clients.features import Prepared, prepare
from clients.people import Population, training_people
from clients.selection import target_matrix
from federation.messages import Arrays
from federation.model import initial_model, load_arrays, partner_prior
from federation.plan import StudyPlan
from federation.plan_parts import ModelSpec
from federation.taxonomy import Task
from simulations import baselines
from simulations.command import run_command
from simulations.evaluation import Quality, measure
from simulations.federation import plan_for
from simulations.homes import IngestJob, ingest, make_node, seeded_key
from simulations.launch import compose_settings
from simulations.settings import Settings
from simulations.world.slices import truth_table
from simulations.world.synthetic import SyntheticWorld

QUARTERS = 6
SHOCK, DEFINITION = 2, 4
TASK = Task.RECRUITMENT


@dataclass(frozen=True, kw_only=True)
class Quarter:
    """What partners hold in one quarter, and the held-out records of all of them.

    Attributes:
        inputs: `(N, D + 1)` of held-out records in languages that can be read, labelled or not.
        truth: `(N,)`; recorded: `(N,)`, NaN without a label; priors: `(N,)`; new: `(N,)` whether of a template that no
            label has shown.
        prepared: by partner, for its own comparison of quarters.
    """

    plan: StudyPlan
    people: dict[str, Population]
    inputs: torch.Tensor
    truth: npt.NDArray[np.bool_]
    recorded: npt.NDArray[np.float64]
    priors: npt.NDArray[np.float64]
    new: npt.NDArray[np.bool_]
    prepared: dict[str, Prepared]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One quarter under one model."""

    seed: int
    quarter: int
    model: str
    pr_auc: float
    auc: float
    new_templates: float
    """Recall of true signals from templates that no label has shown, at the threshold at which half of what is flagged
    is true."""
    calibration_error: float
    """By recorded labels."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """What one partner's comparison with the quarter before says."""

    seed: int
    quarter: int
    partner: str
    flagged: tuple[str, ...]


def settings_of(seed: int, quarter: int, size: str, *more: str) -> Settings:
    """The world's quarter, under the default study."""
    return compose_settings([f"world.seed={seed}", f"world.size={size}", f"world.quarter={quarter}",
                             f"world.shock_quarter={SHOCK}", f"world.definition_quarter={DEFINITION}", *more])


def load(settings: Settings, folder: Path) -> Quarter:
    """Take one quarter's files in, below `folder`."""
    world = settings.open_world()
    if not isinstance(world, SyntheticWorld):
        raise TypeError("only the invented world has quarters")
    plan = plan_for(settings, world).plan
    at, people, prepared, parts = plan.tasks.index(TASK), {}, {}, []
    for partner, entry in zip(world.partners, plan.roster, strict=True):
        home = make_node(folder, settings, world, partner)
        ingest(IngestJob(home=home, settings=settings, today=plan.period_end), lambda _done: None)
        records = prepare(home, plan)
        people[entry.name], prepared[entry.name] = training_people(home, plan, entry, records), records
        known = records.frame.join(truth_table(world, entry.name, secret=home.person_secret()), on="record_id")
        order = home.keyed("holdout")
        rows = np.flatnonzero([order.value(unit) < plan.holdout_share for unit in known["unit_key"]])
        held = known.iloc[rows]
        parts.append((records.inputs(rows), np.array(held[f"true_{TASK.value}"], dtype=bool),
                      target_matrix(records.frame, plan)[rows, at].astype(np.float64),
                      np.full(len(rows), partner_prior(plan, entry)[at]),
                      np.array((held["template"] != "") & ~held["template_seen"].astype(bool))))
    inputs, truth, recorded, priors, new = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Quarter(plan=plan, people=people, prepared=prepared, inputs=torch.from_numpy(inputs), truth=truth,
                   recorded=recorded, priors=priors, new=new)


def train(quarter: Quarter, start: Arrays | None, *, seed: int) -> Arrays:
    """A federated study of one quarter's people, from its public start or from an earlier model."""
    plan = quarter.plan
    if start is not None:
        spec = ModelSpec.encoded(start["output.weight"].astype(np.float16))
        plan = plan.model_copy(update={"model": plan.model.model_copy(update={"start": spec})})
    return baselines.federated(plan, quarter.people, root=seeded_key(seed, "drift", plan.sha256))


def scores(plan: StudyPlan, model: Arrays, inputs: torch.Tensor) -> npt.NDArray[np.float64]:
    """Logits of the task, without a prior."""
    with torch.no_grad():
        logits = load_arrays(initial_model(plan), model)(inputs)
    return np.asarray(logits[:, plan.tasks.index(TASK)].numpy(), dtype=np.float64)


def judged(quarter: Quarter, model: Arrays, *, seed: int, number: int, name: str) -> Row:
    """One model in one quarter."""
    found = scores(quarter.plan, model, quarter.inputs)
    known = ~np.isnan(quarter.recorded)
    by_truth: Quality = measure(found, quarter.priors, quarter.truth.astype(np.float64))
    by_label = measure(found[known], quarter.priors[known], quarter.recorded[known])
    threshold = threshold_at(found, quarter.truth, precision=0.5)
    new = quarter.new & quarter.truth
    return Row(seed=seed, quarter=number, model=name, pr_auc=by_truth.pr_auc, auc=by_truth.auc,
               new_templates=float((found[new] >= threshold).mean()) if new.any() else math.nan,
               calibration_error=by_label.calibration_error)


def threshold_at(found: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_], *, precision: float) -> float:
    """The lowest threshold at which at least `precision` of what is at or above it is true; infinite if none is."""
    order = np.argsort(-found, kind="stable")
    # Equal scores stand or fall together: only the last of them can be a threshold.
    last = np.r_[np.diff(found[order]) != 0, True]
    good = last & (np.cumsum(truth[order]) / np.arange(1, len(found) + 1) >= precision)
    return float(found[order][np.flatnonzero(good)[-1]]) if good.any() else math.inf


def seen(quarter: Quarter, partner: str, model: Arrays) -> Seen:
    """What a partner knows of its people of one quarter, under the model that it has."""
    plan, records = quarter.plan, quarter.prepared[partner]
    inputs = records.inputs(np.arange(len(records.frame)))
    entry = plan.partner(partner)
    prior = partner_prior(plan, entry)[plan.tasks.index(TASK)] if entry else 0.0
    labels = target_matrix(records.frame, plan)[:, plan.tasks.index(TASK)].astype(np.float64)
    chance = 1 / (1 + np.exp(-(scores(plan, model, torch.from_numpy(inputs)) + prior)))
    people = records.frame.groupby("unit_key", sort=True).indices.values()
    return Seen(texts=np.stack([inputs[rows, :-1].mean(axis=0, dtype=np.float64) for rows in people]),
                labels=np.array([_mean(labels[rows]) for rows in people]),
                expected=np.array([_mean(np.where(np.isnan(labels[rows]), np.nan, chance[rows])) for rows in people]))


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def run(seed: int, quarters: int, size: str, folder: Path, *more: str) -> tuple[list[Row], list[Flag]]:
    """All quarters of one world."""
    rows: list[Row] = []
    flags: list[Flag] = []
    kept: Arrays | None = None
    going_on: Arrays | None = None
    last: dict[str, Seen] = {}
    for number in track(range(quarters), f"Seed {seed}", console=Console(stderr=True)):
        quarter = load(settings_of(seed, number, size, *more), folder / f"quarter-{number}")
        before = going_on
        if kept is None:
            kept = train(quarter, None, seed=seed)
        # Judged as a quarter finds it: by the model that the quarter before has left, where there was one.
        rows.append(judged(quarter, kept, seed=seed, number=number, name="kept"))
        rows.append(judged(quarter, before or kept, seed=seed, number=number, name="with feedback, as it comes"))
        going_on = kept if number == 0 else train(quarter, before, seed=seed)
        rows.append(judged(quarter, going_on, seed=seed, number=number, name="with feedback, after"))
        now = {partner: seen(quarter, partner, kept) for partner in quarter.people}
        flags += [Flag(seed=seed, quarter=number, partner=partner,
                       flagged=drift(last[partner], own, np.random.default_rng((seed, number))).flagged)
                  for partner, own in now.items() if partner in last]
        last = now
    return rows, flags


def main(
    seeds: Annotated[int, typer.Option(min=1, help="How many worlds.")] = 3,
    quarters: Annotated[int, typer.Option(min=2, help="How many quarters.")] = QUARTERS,
    size: Annotated[str, typer.Option(help="Of the world.")] = "small",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Follow two models over quarters, and what partners notice."""
    rows: list[Row] = []
    flags: list[Flag] = []
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            more_rows, more_flags = run(seed, quarters, size, Path(folder))
        rows, flags = rows + more_rows, flags + more_flags
    if as_json:
        typer.echo(json.dumps({"stamp": "SYNTHETIC", "rows": [asdict(row) for row in rows],
                               "flags": [asdict(flag) for flag in flags]}, indent=1))
        return
    console = Console()
    console.print(_quality_table(rows))
    console.print(_flag_table(flags))


def _quality_table(rows: Sequence[Row]) -> Table:
    table = Table("Quarter", "Model", "PR-AUC", "AUC", "Recall, new templates", "Calibration error", box=None,
                  title=f"SYNTHETIC. Recruitment; shock from quarter {SHOCK}, narrower definition from {DEFINITION}")
    for quarter, model in dict.fromkeys((row.quarter, row.model) for row in rows):
        own = [row for row in rows if (row.quarter, row.model) == (quarter, model)]
        table.add_row(str(quarter), model, *(_told([getattr(row, name) for row in own]) for name in (
            "pr_auc", "auc", "new_templates", "calibration_error")))
    return table


def _told(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{sum(known) / len(known):.3f}" if known else "none"


def _flag_table(flags: Sequence[Flag]) -> Table:
    table = Table("Quarter", "Comparisons", "Flagged", "for texts", "for labels", "for fit", box=None,
                  title="SYNTHETIC. Partners that find their quarter unlike the one before")
    for quarter in sorted({flag.quarter for flag in flags}):
        own = [flag for flag in flags if flag.quarter == quarter]
        table.add_row(str(quarter), str(len(own)), str(sum(bool(flag.flagged) for flag in own)),
                      *(str(sum(name in flag.flagged for flag in own)) for name in ("texts", "labels", "fit")))
    return table


if __name__ == "__main__":
    run_command(main)
