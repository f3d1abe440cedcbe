"""The multi-task head on frozen features: linear, or one hidden layer.

The output for a task is the log-likelihood ratio of the text, the same for every partner. What a text means at a given
partner also depends on how common positives are there: each partner adds the log-odds of its *declared* prevalence, a
public number, when it trains and when it flags (logit adjustment, Menon et al. 2021, arXiv:2007.07314). Without this,
partners that see 1 % and 75 % positives pull one intercept apart and the 0.5 threshold means nothing at either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from federation.messages import Arrays, check_arrays
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry
from federation.taxonomy import Task


class MultiTaskHead(nn.Module):
    """Maps `(…, dimension + 1)` features with their intercept constant to `(…, tasks)` logits."""

    def __init__(self, *, dimension: int, tasks: int, hidden_units: int | None) -> None:
        super().__init__()
        inputs = dimension + 1
        self.hidden = None if hidden_units is None else nn.Linear(inputs, hidden_units, bias=False)
        self.output = nn.Linear(hidden_units or inputs, tasks, bias=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits without any partner's prior."""
        if self.hidden is not None:
            features = torch.tanh(self.hidden(features))
        logits: torch.Tensor = self.output(features)
        return logits


def initial_model(plan: StudyPlan) -> MultiTaskHead:
    """The public starting point of a study: the same weights for everybody who builds it from the plan.

    A linear head starts from the plan's public weights (`federation.start`) or 0, a hidden layer from a public seed.
    """
    model = MultiTaskHead(dimension=plan.encoder.dimension, tasks=len(plan.tasks),
                          hidden_units=plan.model.hidden_units)
    generator = torch.Generator().manual_seed(plan.model.initial_seed)
    start = plan.model.start_weights(dimension=plan.encoder.dimension, tasks=len(plan.tasks))
    with torch.no_grad():
        model.output.weight.zero_()
        if start is not None:
            model.output.weight.copy_(torch.from_numpy(start))
        if model.hidden is not None:
            # Unit features: this keeps each hidden unit's input near variance 1 / 4, inside tanh's straight part.
            model.hidden.weight.normal_(0.0, 0.5, generator=generator)
            model.output.weight.normal_(0.0, 1 / math.sqrt(model.hidden.out_features), generator=generator)
    return model


def prior_logits(tasks: tuple[Task, ...], declared: Mapping[Task, float]) -> list[float]:
    """Log-odds of a partner's declared prevalence, one per task; 0 where it declares none."""
    return [math.log(declared[task] / (1 - declared[task])) if task in declared else 0.0 for task in tasks]


def partner_prior(plan: StudyPlan, partner: RosterEntry) -> list[float]:
    """`prior_logits` of a roster entry for the plan's tasks."""
    return prior_logits(plan.tasks, partner.declared_prevalence)


def model_arrays(model: MultiTaskHead) -> Arrays:
    """The model's weights as float32 arrays by parameter name (copies)."""
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def load_arrays(model: MultiTaskHead, arrays: Arrays) -> MultiTaskHead:
    """Put `arrays` into `model` after checking names, shapes, dtypes and finiteness.

    Raises:
        ValueError: if they do not fit.
    """
    checked = check_arrays(arrays, model_arrays(model))
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in checked.items()})
    return model
