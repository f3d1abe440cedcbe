"""The figures of one model, one task and one kind of truth.

The threshold is the lowest at which at least half of the flagged held-out records are signals. It is found on the same
held-out records, as always with recall at a precision; rates of slices and languages are at that threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from simulations.evaluation import calibration_error

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PRECISION: Final = 0.5
FEWEST: Final = 5
"""A rate over fewer records, or a partner with fewer of either class, says nothing and is left out."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Records to judge a model on, all of shape `(N,)`.

    Attributes:
        truth: 1 signal, 0 none, NaN not known.
        held_out: whether the record is of a person whom no training has seen.
        partner: who holds it.
        unseen: whether it repeats a template that no training has seen, whoever wrote it.
        groups: named parts whose false alarms are told.
    """

    truth: Floats
    held_out: Mask
    partner: npt.NDArray[np.str_]
    unseen: Mask
    groups: Mapping[str, Mask]


def threshold_at_precision(score: Floats, truth: Floats, precision: float = PRECISION) -> float:
    """The lowest score from which on flags are at least so precise; infinity if there is none.

    Args:
        score: `(N,)`; records at the threshold are flagged.
        truth: 0 or 1.
        precision: share of signals among the flagged.
    """
    if not truth.any():
        return math.inf
    found, _, thresholds = precision_recall_curve(truth, score)
    reached = thresholds[found[:-1] >= precision]
    return float(reached.min()) if len(reached) else math.inf


def flagged_share(score: Floats, chosen: Mask, threshold: float, *, fewest: int = FEWEST) -> float:
    """Share of the chosen records that are flagged; NaN if they are too few."""
    return float(np.mean(score[chosen] >= threshold)) if chosen.sum() >= fewest else math.nan


def figures_of(score: Floats, probability: Floats | None, judged: Judged) -> dict[str, float]:
    """Every figure, by name; NaN where there is too little to say.

    Args:
        score: without any partner's prevalence.
        probability: with the prevalence that the partner has declared; None if the score has no such meaning.
        judged: what is true.
    """
    known = ~np.isnan(judged.truth)
    tested, signal, none = known & judged.held_out, judged.truth == 1, judged.truth == 0
    truth = judged.truth[tested]
    if len(np.unique(truth)) < 2:
        return {}
    threshold = threshold_at_precision(score[tested], truth)
    found = {
        "prevalence": float(truth.mean()),
        "auc": float(roc_auc_score(truth, score[tested])),
        "pr_auc": float(average_precision_score(truth, score[tested])),
        "recall": flagged_share(score, tested & signal, threshold, fewest=1),
        "calibration_error": math.nan if probability is None else calibration_error(probability[tested], truth),
        "unseen_recall": flagged_share(score, judged.unseen & signal, threshold)}
    for name, part in judged.groups.items():
        found[f"false_alarms:{name}"] = flagged_share(score, part & tested & none, threshold)
    return {**found, **_between_partners(score, tested, judged)}


def _between_partners(score: Floats, tested: Mask, judged: Judged) -> dict[str, float]:
    """Lowest and highest figure among partners, each on its own held-out records."""
    by: dict[str, list[float]] = {"auc": [], "pr_auc": []}
    for partner in np.unique(judged.partner):
        own = tested & (judged.partner == partner)
        truth = judged.truth[own]
        if min(int(truth.sum()), int((1 - truth).sum())) >= FEWEST:
            by["auc"].append(float(roc_auc_score(truth, score[own])))
            by["pr_auc"].append(float(average_precision_score(truth, score[own])))
    ends = (("lowest", min), ("highest", max))
    return {f"{end}_{name}": pick(values) if values else math.nan
            for name, values in by.items() for end, pick in ends}
