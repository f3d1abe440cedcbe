"""`python -m simulations.tune DATA`: how the shipped training settings were chosen.

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
from simulations import baselines
from simulations.bars import benchmark_settings
from simulations.federation import plan_for
from simulations.homes import IngestJob, ingest, make_node, seeded_key
from simulations.settings import Settings

FOLDS = 5
REPEATS = 4
"""Each with its own folds and its own noise: one draw moves a figure by about 0.002."""
STEPS = 120
GRID = tuple(itertools.product((15, 30), (9.0, 12.0, 14.0, 18.0), (0.2, 0.3, 0.4)))
"""rounds (of `STEPS / rounds` local steps), learning_rate, l2_clip_norm"""


def load_people(settings: Settings, plan: StudyPlan, folder: Path) -> dict[str, Population]:
    """Ingest and encode the benchmark below `folder`, and return each partner's training people."""
    world, people = settings.open_world(), {}
    for partner, entry in zip(world.partners, plan.roster, strict=True):
        home = make_node(folder, settings, world, partner)
        ingest(IngestJob(home=home, settings=settings, plan=plan), lambda _done: None)
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
    model = baselines.federated(plan, inside, root=seeded_key(repeat * FOLDS + fold, "tune"))
    return _auc(plan, model, outside)


def _auc(plan: StudyPlan, model: Arrays, populations: list[Population]) -> float:
    head, scores, truth = load_arrays(initial_model(plan), model).double(), [], []
    with torch.no_grad():
        for group in (group for population in populations for group in population.groups):
            known = group.weights > 0
            scores.append(head(torch.from_numpy(group.inputs)).numpy()[known])
            truth.append(group.targets[known])
    return float(roc_auc_score(np.concatenate(truth), np.concatenate(scores)))


def main(data: Annotated[Path, typer.Argument(help="Folder of the public sets.")]) -> None:
    """Validate the grid at epsilon 1 and 3. The noise is the plan's, whose steps are the same throughout."""
    table = Table("Rounds", "Learning rate", "Clip", "AUC at ε = 1", "AUC at ε = 3", box=None)
    plans = {e: plan_for(s := benchmark_settings(data, f"privacy.training_epsilon={e}"), s.open_world()).plan
             for e in (1, 3)}
    with tempfile.TemporaryDirectory() as scratch:
        people = load_people(benchmark_settings(data), plans[3], Path(scratch))
    runs = [*itertools.product(range(REPEATS), range(FOLDS))]
    for rounds, rate, clip in track(GRID, console=Console(stderr=True)):
        figures = []
        for plan in plans.values():
            training = plan.training.model_copy(update={
                "rounds": rounds, "local_steps": STEPS // rounds, "learning_rate": rate, "l2_clip_norm": clip})
            changed = plan.model_copy(update={"training": training})
            figures.append(np.mean([fold_auc(changed, people, *run) for run in runs]))
        table.add_row(str(rounds), f"{rate:g}", f"{clip:g}", *(f"{figure:.4f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
