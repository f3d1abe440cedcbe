"""How good a model is, on people whom no training has seen. Possible only in a simulation, where one process may look
into every home; at a real partner the same split serves to measure the model at home.

Ranking (AUC, PR-AUC) is of the model's own score, without any partner's prevalence, so that knowing which partner a
record came from cannot help. F1 and calibration are of the probability that a partner would act on: by the prevalence
that it has declared, or, if the study calibrates, by the calibrated score and the partner's own count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from clients.calibration import own_priors
from clients.features import Prepared
from clients.node import NodeHome
from clients.selection import target_matrix
from federation.calibration import Calibration
from federation.messages import Arrays
from federation.model import initial_model, load_arrays, partner_prior
from federation.plan import StudyPlan
from federation.taxonomy import Task

_BINS = 10


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """Held-out labelled records of all partners: inputs `(N, D + 1)`, targets and priors `(N, T)`, NaN = no label.

    `priors` are of the prevalence that a record's partner has declared, `own_priors` by its training people.
    """

    inputs: torch.Tensor
    targets: npt.NDArray[np.float32]
    priors: npt.NDArray[np.float32]
    own_priors: npt.NDArray[np.float64]
    people: int


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Figures for one model and one task; NaN where the test set has only one class."""

    auc: float
    pr_auc: float
    f1: float
    calibration_error: float
    brier: float

    def as_dict(self) -> dict[str, float | None]:
        """JSON-ready; NaN becomes null."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


def held_out(homes: Sequence[NodeHome], plan: StudyPlan, prepared: Sequence[Prepared]) -> TestSet:
    """Collect the held-out labelled records of all partners."""
    inputs, targets, priors, own, people = [], [], [], [], 0
    for home, records in zip(homes, prepared, strict=True):
        entry = plan.partner(home.settings.name)
        if entry is None:
            continue
        labels = target_matrix(records.frame, plan)
        order = home.keyed("holdout")
        units = records.frame["unit_key"]
        out = np.array([order.value(unit) < plan.holdout_share for unit in units], dtype=bool)
        rows = np.flatnonzero(out & ~np.isnan(labels).all(axis=1))
        people += units.iloc[rows].nunique()
        inputs.append(torch.from_numpy(records.inputs(rows)))
        targets.append(labels[rows])
        priors.append(np.tile(np.array(partner_prior(plan, entry), dtype=np.float32), (len(rows), 1)))
        own.append(np.tile(np.array(own_priors(home, plan, entry, records.frame)), (len(rows), 1)))
    return TestSet(inputs=torch.cat(inputs), targets=np.concatenate(targets), priors=np.concatenate(priors),
                   own_priors=np.concatenate(own), people=people)


def calibration_error(probability: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> float:
    """Expected calibration error over ten equal-width bins (Naeini et al. 2015)."""
    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    gaps = [abs(probability[bins == b].mean() - truth[bins == b].mean()) * (bins == b).mean()
            for b in range(_BINS) if (bins == b).any()]
    return float(sum(gaps))


def measure(score: npt.NDArray[np.float64], prior: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> Quality:
    """Figures of one task; `score` are logits without the prior, all of shape `(N,)`."""
    if len(np.unique(truth)) < 2:
        return Quality(auc=math.nan, pr_auc=math.nan, f1=math.nan, calibration_error=math.nan, brier=math.nan)
    probability = 1 / (1 + np.exp(-(score + prior)))
    return Quality(
        auc=float(roc_auc_score(truth, score)), pr_auc=float(average_precision_score(truth, score)),
        f1=float(f1_score(truth, probability >= 0.5, zero_division=0.0)),
        calibration_error=calibration_error(probability, truth), brier=float(np.mean((probability - truth) ** 2)))


def evaluate(plan: StudyPlan, model: Arrays, test: TestSet,
             calibrations: Mapping[Task, Calibration] | None = None) -> dict[Task, Quality]:
    """Figures of `model` for each task of the plan; tasks without a calibration are judged by their plain scores."""
    with torch.no_grad():
        logits = load_arrays(initial_model(plan), model)(test.inputs).numpy().astype(np.float64)
    quality = {}
    for column, task in enumerate(plan.tasks):
        known = ~np.isnan(test.targets[:, column])
        score, prior = logits[known, column], test.priors[known, column].astype(np.float64)
        if (calibration := (calibrations or {}).get(task)) is not None:
            score, prior = calibration.log_odds(score, 0.0), test.own_priors[known, column]
        quality[task] = measure(score, prior, test.targets[known, column].astype(np.float64))
    return quality
