"""Local training: person-level DP-SGD with Opacus, every constant from the plan.

A step takes the people whose slots came up, computes each person's own loss (the mean over their labelled records, per
task, summed over tasks), lets Opacus clip each person's gradient, and adds noise to the sum. A step without anybody
still adds its noise and still counts: an empty batch must look like any other from outside.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import torch
from opacus import GradSampleModule
from torch.nn.functional import binary_cross_entropy_with_logits

from clients.people import People
from federation.model import MultiTaskHead
from federation.plan import TrainingSpec
from federation.privacy.clipping import PersonDPOptimizer
from federation.privacy.sampling import sample_slots
from federation.randomness import RandomStream

# Opacus hooks the first layer, whose inputs are data and need no gradient; torch remarks on that at every step.
warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)


@dataclass(frozen=True, kw_only=True)
class StepRule:
    """How one partner takes its steps in one round. Every field is public."""

    slots: int
    local_steps: int
    learning_rate: float
    weight_decay: float
    sampling_probability: float
    l2_clip_norm: float
    noise_multiplier: float

    @classmethod
    def of(cls, training: TrainingSpec, slots: int) -> Self:
        """The rule that a plan sets for a partner with `slots` slots."""
        return cls(slots=slots, local_steps=training.local_steps, learning_rate=training.learning_rate,
                   weight_decay=training.weight_decay, sampling_probability=training.sampling_probability,
                   l2_clip_norm=training.l2_clip_norm, noise_multiplier=training.noise_multiplier)


def person_losses(model: torch.nn.Module, people: People, rows: torch.Tensor) -> torch.Tensor:
    """Loss of each person in `rows` (ascending, without repeats), shape `(rows,)`.

    Nobody's value depends on who else is in the batch.
    """
    batch = people if len(rows) == len(people) else people.take(rows)
    logits = model(batch.features) + batch.prior
    losses = binary_cross_entropy_with_logits(logits, batch.targets, reduction="none")
    return (losses * batch.weights).sum(dim=(1, 2))


def train_round(
    model: MultiTaskHead, people: People, rule: StepRule, *, stream: RandomStream
) -> None:
    """Take one round's local steps on `model`, in place.

    Args:
        model: the round's starting point.
        people: those who train; slots beyond them hold null people.
        rule: public constants.
        stream: coins and noise.
    """
    wrapped = GradSampleModule(model, loss_reduction="sum")
    optimizer = PersonDPOptimizer(
        torch.optim.SGD(wrapped.parameters(), lr=rule.learning_rate, weight_decay=rule.weight_decay),
        noise_multiplier=rule.noise_multiplier, l2_clip_norm=rule.l2_clip_norm,
        divisor=rule.sampling_probability * rule.slots, normal=stream.normal)
    try:
        for _ in range(rule.local_steps):
            drawn = sample_slots(max(rule.slots, len(people)), rule.sampling_probability, stream)
            rows = torch.from_numpy(drawn[drawn < len(people)])
            optimizer.zero_grad()
            person_losses(wrapped, people, rows).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    finally:
        # Opacus hangs hooks and per-person gradients on the module: neither may outlive the round.
        optimizer.zero_grad(set_to_none=True)
        wrapped.to_standard_module()
