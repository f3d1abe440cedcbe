"""Putting updates together: a mean weighted by public slots, in the order of the roster.

The order is fixed so that the same replies give the same bytes, whoever answered first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from federation.messages import Arrays
from federation.plan import StudyPlan


def weighted_mean(plan: StudyPlan, updates: Mapping[str, Arrays]) -> Arrays:
    """Mean of partners' models, each weighted by its declared slots; float64 inside, float32 out.

    Raises:
        ValueError: if there is no update, or one from somebody outside the roster.
    """
    if not updates:
        raise ValueError("no update to aggregate")
    strangers = set(updates) - {entry.name for entry in plan.roster}
    if strangers:
        raise ValueError(f"updates from outside the roster: {sorted(strangers)}")
    present = [entry for entry in plan.roster if entry.name in updates]
    total = sum(entry.slots for entry in present)
    names = updates[present[0].name].keys()
    return {
        name: sum((updates[e.name][name].astype(np.float64) * (e.slots / total) for e in present),
                  start=np.zeros(updates[present[0].name][name].shape)).astype(np.float32)
        for name in names
    }


def mean_of(models: Sequence[Arrays]) -> Arrays:
    """Plain mean of successive aggregates (Polyak averaging): post-processing that removes part of the noise."""
    if not models:
        raise ValueError("no model to average")
    return {name: np.mean([model[name].astype(np.float64) for model in models], axis=0).astype(np.float32)
            for name in models[0]}
