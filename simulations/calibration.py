"""`python -m simulations.calibration DATA`: what calibration does for F1 under strong label skew, with the figures.

Five partners of very different sizes and shares of positives (`world.skew=strong`), on goemotions and sms_spam, several
deals of the rows, at epsilon 3 and 1 and without privacy. Each federated model is judged three times on the test split:
by its plain score and the prevalence that partners have declared, by its calibrated score alone, and by its calibrated
score with each partner's own share of positives. The bar is the pooled model without privacy, at a threshold of 0.5 or
at that which is best on its training people, whichever is better. Exit code 1 if the mean over deals is more than 0.03
below it at epsilon 3 or without privacy.

Without privacy means neither clipping nor noise in training, and counts without noise. Otherwise training is priced at
the epsilon, and the tables, of which the scores are one, at 1 beside it, all of it with local noise.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score, precision_recall_curve

from clients.counting import noisy_tables, true_tables
from clients.features import Prepared, prepare
from clients.node import NodeHome
from clients.people import People, Population, training_people
from federation.messages import Arrays
from federation.model import initial_model, load_arrays
from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.randomness import RandomStream
from federation.statistics import Measurements, TableLayout
from federation.taxonomy import Family, Task
from server.calibrating import calibrations_of
from simulations import baselines
from simulations.bars import benchmark_settings, mean
from simulations.command import run_command
from simulations.evaluation import TestSet, evaluate, held_out
from simulations.federation import plan_for
from simulations.homes import IngestJob, ingest, make_node, seeded_key
from simulations.settings import Settings

SETS = {"goemotions": Task.DISTRESS, "sms_spam": Task.RECRUITMENT}
DEALS = (1, 2, 3)
EPSILONS = (None, 3.0, 1.0)
LARGEST_GAP = 0.03
BINS = "statistics.scores={bins: 12, reach: 0.6}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """F1 of one set, deal and epsilon, and AUC of the federated model's own score."""

    data: str
    deal: int
    epsilon: float | None
    pooled: float
    """The better of both thresholds."""
    auc: float
    declared: float
    calibrated: float
    """With the prevalence of all partners together."""
    own: float
    """With each partner's own."""


@dataclass(frozen=True)
class Partners:
    """The nodes of one deal, and what is in them."""

    homes: Sequence[NodeHome]
    prepared: Sequence[Prepared]
    people: dict[str, Population]
    test: TestSet


def plan_of(data: Path, name: str, deal: int, epsilon: float) -> StudyPlan:
    """The plan of one deal: its tables are local, so that nothing rests on who colludes."""
    settings = _settings(data, name, deal, f"privacy.training_epsilon={epsilon}")
    return plan_for(settings, settings.open_world()).plan


def _settings(data: Path, name: str, deal: int, *more: str) -> Settings:
    return benchmark_settings(data, f"world.parts=[{name}]", "world.skew=strong", f"world.seed={deal}",
                              "statistics=local", BINS, *more)


def load(data: Path, name: str, deal: int, plan: StudyPlan, folder: Path) -> Partners:
    """Take the rows of one deal in, below `folder`."""
    settings = _settings(data, name, deal)
    homes, prepared, people = [], [], {}
    for partner, entry in zip(settings.open_world().partners, plan.roster, strict=True):
        home = make_node(folder, settings, settings.open_world(), partner)
        ingest(IngestJob(home=home, settings=settings, today=plan.period_end), lambda _done: None)
        homes.append(home)
        prepared.append(prepare(home, plan))
        people[entry.name] = training_people(home, plan, entry, prepared[-1])
    return Partners(homes, prepared, people, held_out(homes, plan, prepared))


def rows_of(data: Path, name: str, deal: int) -> list[Row]:
    """Everything about one deal."""
    plan = plan_of(data, name, deal, 3.0)
    with tempfile.TemporaryDirectory() as folder:
        partners = load(data, name, deal, plan, Path(folder))
        pooled, rows = pooled_f1(plan, partners), []
        for epsilon in EPSILONS:
            priced = plan if epsilon is None else plan_of(data, name, deal, epsilon)
            rows.append(_row(priced, partners, name, deal, epsilon, pooled))
    return rows


def _row(plan: StudyPlan, partners: Partners, name: str, deal: int, epsilon: float | None, pooled: float) -> Row:
    root, task = seeded_key(deal, "calibration", name, str(epsilon)), SETS[name]
    model = (baselines.federated_without_privacy(plan, partners.people) if epsilon is None
             else baselines.federated(plan, partners.people, root=root))
    found = calibrations_of(count(plan, partners, model, None if epsilon is None else root), model)
    plain, own = evaluate(plan, model, partners.test)[task], evaluate(plan, model, partners.test, found)[task]
    together = {task: one.prior for task, one in found.items()}
    everywhere = replace(partners.test, own_priors=np.full_like(partners.test.own_priors, together.get(task, 0.0)))
    return Row(data=name, deal=deal, epsilon=epsilon, pooled=pooled, auc=plain.auc, declared=plain.f1, own=own.f1,
               calibrated=evaluate(plan, model, everywhere, found)[task].f1)


def count(plan: StudyPlan, partners: Partners, model: Arrays, root: bytes | None) -> Measurements:
    """The sum of the partners' tables; without a root no noise is drawn."""
    head, layout = load_arrays(initial_model(plan), model), TableLayout(plan)
    values, names = layout.empty(), tuple(entry.name for entry in plan.roster)
    for home, entry, records in zip(partners.homes, plan.roster, partners.prepared, strict=True):
        values += (true_tables(home, plan, entry, records, head) if root is None else
                   noisy_tables(home, plan, entry, records, head,
                                stream=RandomStream.derived(root, "table", entry.name)))
    variances = table_variances(plan, len(names)) if root is not None else dict.fromkeys(Family, 0.0)
    return Measurements(layout=layout, values=values, variances=variances, partners=names)


def pooled_f1(plan: StudyPlan, partners: Partners) -> float:
    """The pooled model's F1: at 0.5, or at the threshold that is best on its training people.

    It knows nothing of partners, so it takes no partner's prevalence.
    """
    groups = [group.take(slice(None)) for own in partners.people.values() for group in own.groups]
    groups = [replace(group, prior=np.zeros_like(group.prior)) for group in groups]
    model = baselines.pooled_without_privacy(plan, [Population(groups=tuple(groups))])
    scores, truth = (np.concatenate(parts) for parts in zip(*(_labelled(plan, model, group) for group in groups),
                                                            strict=True))
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    best = thresholds[np.argmax((precision * recall / np.maximum(precision + recall, 1e-12))[:-1])]
    with torch.no_grad():
        tested = load_arrays(initial_model(plan), model)(partners.test.inputs).numpy()[:, 0]
    return max(float(f1_score(partners.test.targets[:, 0], tested >= threshold)) for threshold in (0.0, best))


def _labelled(plan: StudyPlan, model: Arrays, group: People) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    with torch.no_grad():
        scores = load_arrays(initial_model(plan), model).double()(torch.from_numpy(group.inputs)).numpy()
    known = group.weights > 0
    return scores[known], group.targets[known]


def missed(rows: Sequence[Row]) -> list[str]:
    """Sets and epsilons at which the mean over deals is too far below the pooled model."""
    return [f"{name} at {'no privacy' if epsilon is None else f'epsilon {epsilon:g}'}"
            for name, epsilon in itertools.product(SETS, (None, 3.0))
            if mean([row.pooled - row.own for row in rows if (row.data, row.epsilon) == (name, epsilon)]) > LARGEST_GAP]


def main(
    data: Annotated[Path, typer.Argument(help="Folder of the public sets.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Measure F1 before and after calibration, and compare it with the pooled model."""
    rows = [row for name, deal in itertools.product(SETS, DEALS) for row in rows_of(data, name, deal)]
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        Console().print(_table(rows))
    raise typer.Exit(1 if missed(rows) else 0)


def _table(rows: Sequence[Row]) -> Table:
    table = Table("Set", "Deal", "ε", "AUC", "Pooled F1", "Declared", "Calibrated", "With own share", "Gap", box=None)
    for row in sorted(rows, key=lambda one: (one.data, EPSILONS.index(one.epsilon), one.deal)):
        table.add_row(row.data, str(row.deal), "none" if row.epsilon is None else f"{row.epsilon:g}", *(
            f"{value:.3f}" for value in (row.auc, row.pooled, row.declared, row.calibrated, row.own,
                                         row.pooled - row.own)))
    return table


if __name__ == "__main__":
    run_command(main)
