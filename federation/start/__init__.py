"""Where a model starts: a public direction for each task, from sentences that were written for it.

A task's weights start along the difference between the mean vectors of two lists of sentences (`distress.yaml`,
`recruitment.yaml`): what the signal sounds like, and what else people write about the same things. The lists come from
no records, so the start costs no privacy, and every step after it has less to learn under noise. A warm start from
public data is known to help private training most where the budget is smallest (Tramèr and Boneh 2021,
arXiv:2011.11660; De et al. 2022, arXiv:2204.13650, section 4); a class-mean difference is what a full-batch gradient
step from zero would make of the sentences.

The coordinator's machine works it out once, when a plan is composed. The plan holds the weights, so that nobody needs
the sentences to rebuild, check or go on with a study.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Final

import numpy as np
import numpy.typing as npt
import yaml

from federation.encoders.base import Encoder
from federation.taxonomy import Task

START_NORM: Final = 4.0
"""Length of a task's starting weights. Unit features then have log-odds of about -1.5 to 1.5. Chosen together with the
training settings, by validation inside the training people of the real benchmark."""


@lru_cache
def sentences(task: Task) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two lists of a task: what is a signal, and what is not."""
    lists = yaml.safe_load(files("federation.start").joinpath(f"{task.value}.yaml").read_text(encoding="utf-8"))
    return tuple(lists["signal"]), tuple(lists["other"])


def start_weights(encoder: Encoder, tasks: tuple[Task, ...]) -> npt.NDArray[np.float16]:
    """Starting weights of a linear head, `(tasks, dimension + 1)`; the intercept starts at 0.

    Args:
        encoder: whose vectors the head reads.
        tasks: in the order of the plan.
    """
    weights = np.zeros((len(tasks), encoder.spec.dimension + 1), dtype=np.float16)
    for row, task in enumerate(tasks):
        signal, other = (encoder.encode(texts).astype(np.float64).mean(axis=0) for texts in sentences(task))
        length = float(np.linalg.norm(signal - other))
        if length > 0:
            weights[row, :-1] = (START_NORM / length * (signal - other)).astype(np.float16)
    return weights
