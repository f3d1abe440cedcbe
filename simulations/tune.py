"""`python -m simulations.tune DATA [secure]`: how the shipped training settings were chosen.

Five-fold validation by person, four times, inside the *training* people of the real benchmark, over the federated
protocol with its noise. The people held out for the test split are never looked at. Prints a table; nothing is written.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.metrics import roc_auc_score

from clients.features import prepare
from clients.people import Population, training_people
from federation.messages import Arrays
from federation.model import initial_model, load_arrays
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from simulations import baselines
from simulations.bars import benchmark_settings
from simulations.command import run_command
from simulations.federation import plan_for
from simulations.homes import IngestJob, ingest, make_node, seeded_key
from simulations.settings import Settings

FOLDS = 5
REPEATS = 4
"""Each with its own folds and its own noise: one draw moves a figure by about 0.002."""
GRIDS = {
    Aggregation.LOCAL: tuple((15, 8, factor, clip) for factor, clip in itertools.product(
        (0.7, 1.0, 1.4), (0.1, 0.2, 0.3))),
    Aggregation.SECURE: tuple((rounds, 1, factor, clip) for rounds, factor, clip in itertools.product(
        (10, 20, 30), (0.7, 1.0, 1.4), (0.1, 0.2, 0.3))),
}
"""rounds, local_steps, factor on the learning rate that `simulations.compose_step` gives, l2_clip_norm"""
TRAINING = {Aggregation.LOCAL: "full_batch", Aggregation.SECURE: "secure"}
"""What the grid changes: these differ in nothing else."""


def load_people(settings: Settings, plan: StudyPlan, folder: Path) -> dict[str, Population]:
    """Ingest and encode the benchmark below `folder`, and return each partner's training people."""
    world, people = settings.open_world(), {}
    for partner, entry in zip(world.partners, plan.roster, strict=True):
        home = make_node(folder, settings, world, partner)
        ingest(IngestJob(home=home, settings=settings, today=plan.period_end), lambda _done: None)
        people[partner.name] = training_people(home, plan, entry, prepare(home, plan))
    return people


def fold_auc(plan: StudyPlan, people: dict[str, Population], repeat: int, fold: int) -> float:
    """AUC on one fold of the training people after federated training, with noise, on the others."""
    inside, outside = {}, []
    for number, (name, own) in enumerate(people.items()):
        order = np.random.default_rng((repeat, number)).permutation(len(own))
        left_out = np.zeros(len(own), dtype=bool)
        left_out[order[fold::FOLDS]] = True
        inside[name] = own.take(np.flatnonzero(~left_out))
        outside.append(own.take(np.flatnonzero(left_out)))
    way = (baselines.federated_in_sums if plan.training.aggregation is Aggregation.SECURE else baselines.federated)
    model = way(plan, inside, root=seeded_key(repeat * FOLDS + fold, "tune"))
    return _auc(plan, model, outside)


def _auc(plan: StudyPlan, model: Arrays, populations: list[Population]) -> float:
    head, scores, truth = load_arrays(initial_model(plan), model).double(), [], []
    with torch.no_grad():
        for group in (group.take(slice(None)) for population in populations for group in population.groups):
            known = group.weights > 0
            scores.append(head(torch.from_numpy(group.inputs)).numpy()[known])
            truth.append(group.targets[known])
    return float(roc_auc_score(np.concatenate(truth), np.concatenate(scores)))


def plan_with(data: Path, aggregation: Aggregation, epsilon: int, row: tuple[int, int, float, float]) -> StudyPlan:
    """The benchmark's plan with other training settings, at the noise that they need."""
    rounds, local_steps, factor, clip = row
    settings = benchmark_settings(
        data, f"privacy.training_epsilon={epsilon}", f"training={TRAINING[aggregation]}", f"training.rounds={rounds}",
        f"training.local_steps={local_steps}", f"training.l2_clip_norm={clip}")
    plan = plan_for(settings, settings.open_world()).plan
    return plan.model_copy(update={"training": plan.training.model_copy(update={
        "learning_rate": factor * plan.training.learning_rate})})


def main(
    data: Annotated[Path, typer.Argument(help="Folder of the public sets.")],
    aggregation: Annotated[Aggregation, typer.Argument(help="Which settings.")] = Aggregation.LOCAL,
) -> None:
    """Validate a grid at epsilon 1 and 3."""
    table = Table("Rounds", "Local steps", "Step, factor", "Clip", "AUC at ε = 1", "AUC at ε = 3", box=None)
    grid = GRIDS[aggregation]
    with tempfile.TemporaryDirectory() as scratch:
        people = load_people(benchmark_settings(data), plan_with(data, aggregation, 3, grid[0]), Path(scratch))
    runs = [*itertools.product(range(REPEATS), range(FOLDS))]
    for row in track(grid, console=Console(stderr=True)):
        plans = [plan_with(data, aggregation, epsilon, row) for epsilon in (1, 3)]
        figures = [np.mean([fold_auc(plan, people, *run) for run in runs]) for plan in plans]
        table.add_row(*(f"{value:g}" for value in row), *(f"{figure:.4f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    run_command(main)
