"""Putting updates together: a mean weighted by public slots, or one step along a sum of gradients.

Means are taken in the order of the roster, so that the same replies give the same bytes, whoever answered first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from federation.grid import SUM_BITS, snap
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


def gradient_step(plan: StudyPlan, model: Arrays, total: npt.NDArray[np.int64], survivors: Sequence[str]) -> Arrays:
    """One step of the whole federation along a secure sum.

    Args:
        plan: learning rate, clip norm, slots.
        model: where the step starts; float32.
        total: int64, one number for each weight in the order of the parameters, in units of
            `l2_clip_norm * 2^-SUM_BITS`: people's clipped gradients and noise.
        survivors: whose people are in it.

    Returns:
        Float32 weights on their grid. The divisor is the survivors' public slots, so no true size is in it.
    """
    training = plan.training
    slots = sum(entry.slots for entry in plan.roster if entry.name in set(survivors))
    scale = training.l2_clip_norm * 2.0**-SUM_BITS / (training.sampling_probability * slots)
    stepped, start = {}, 0
    for name, held in model.items():
        weights = held.astype(np.float64)
        gradient = total[start:start + held.size].reshape(held.shape) * scale + training.weight_decay * weights
        weights -= training.learning_rate * gradient
        snap(weights)
        stepped[name], start = weights.astype(np.float32), start + held.size
    return stepped


def mean_of(models: Sequence[Arrays]) -> Arrays:
    """Plain mean of successive aggregates (Polyak averaging): post-processing that removes part of the noise."""
    if not models:
        raise ValueError("no model to average")
    return {name: np.mean([model[name].astype(np.float64) for model in models], axis=0).astype(np.float32)
            for name in models[0]}
