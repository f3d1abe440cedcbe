"""The model's calibration, from what a study has measured: post-processing, which costs nobody anything.

`calibration.json` lies beside the model, for whoever judges records by it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from federation.calibration import Calibration, bin_edges, calibrate, middles_of
from federation.messages import Arrays
from federation.statistics import Measurements
from federation.taxonomy import Family, Task


def calibrations_of(measurements: Measurements, model: Arrays) -> dict[Task, Calibration]:
    """By task, what the scores of a study's model mean; a task of which the table says too little is not in it.

    Args:
        measurements: of the study.
        model: under which they were counted.
    """
    plan = measurements.layout.plan
    if plan.statistics.scores is None:
        return {}
    middles = middles_of(bin_edges(plan.statistics.scores, model))
    found = {task: calibrate(counts, middles=middles[at], noise_variance=measurements.variances[Family.SCORES])
             for at, (task, counts) in enumerate(zip(plan.tasks, measurements.table(Family.SCORES), strict=True))}
    return {task: one for task, one in found.items() if one is not None}


def calibrations_json(calibrations: dict[Task, Calibration]) -> dict[str, Any]:
    """As numbers, each with the score from which on a signal is more likely than not among all who were counted."""
    return {task.value: {**asdict(one), "threshold": one.threshold(one.prior)} for task, one in calibrations.items()}
