"""A partner's own share of positives, for its own use: what a calibrated score means here.

It is made from the partner's records and never leaves, so it carries no noise and costs nobody anything. Training does
not see it either: what shaped an update would be in what leaves.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from clients.node import NodeHome
from clients.selection import target_matrix, training_rows
from federation.calibration import own_prior
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry

UNDECLARED = 0.5
"""The prevalence of a task about which the partner has declared nothing, as in training."""


def own_priors(home: NodeHome, plan: StudyPlan, entry: RosterEntry, frame: pd.DataFrame) -> list[float]:
    """Log-odds of a positive label among the partner's training people, one for each task of the plan. Private.

    Those who were held out are left out: they are for measuring. Each person counts for one, by their share of positive
    labels.

    Args:
        home: holds the secret of the choices.
        plan: the study's.
        entry: what the partner has declared, to which few people are drawn.
        frame: records that take part.
    """
    targets, sums = target_matrix(frame, plan), np.zeros((2, len(plan.tasks)))
    for rows in training_rows(home, plan, frame, targets).values():
        labels = targets[rows]  # (people, records, tasks)
        known = ~np.isnan(labels)
        has = known.any(axis=1)
        shares = np.where(known, labels, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        sums += np.where(has, (shares, 1.0 - shares), 0.0).sum(axis=1)
    return [own_prior(positives=float(positives), negatives=float(negatives),
                      declared=entry.declared_prevalence.get(task, UNDECLARED))
            for task, positives, negatives in zip(plan.tasks, *sums, strict=True)]
