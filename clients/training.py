"""Local training: person-level DP-SGD with Opacus, every constant from the plan.

A step takes the people whose slots came up, clips each person's gradient onto an integer grid, sums the integers and
adds integer noise (`federation.privacy.clipping`). A step without anybody still adds its noise and still counts: an
empty batch must look like any other from outside.

The heads that a plan can name are trained in closed form on exact arithmetic (`federation.exact`). Any other model
takes Opacus's hooks, which write out each person's gradient.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from opacus import GradSampleModule
from torch.nn.functional import binary_cross_entropy_with_logits

from clients.people import People, Population
from federation.exact import ExactHead, snap_weights
from federation.grid import SUM_BITS
from federation.model import MultiTaskHead
from federation.plan_parts import TrainingSpec
from federation.privacy.clipping import IntArray, PersonDPOptimizer, clipped_sum
from federation.privacy.noise import discrete_gaussian
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


def person_losses(model: torch.nn.Module, people: People) -> torch.Tensor:
    """Loss of each person, shape `(P,)`: the mean over their labelled records, per task, summed over tasks."""
    kind = next(model.parameters()).dtype
    inputs, targets, weights, prior = (torch.from_numpy(values).to(kind) for values in (
        people.inputs, people.targets, people.weights, people.prior))
    losses = binary_cross_entropy_with_logits(model(inputs) + prior, targets, reduction="none")
    return (losses * weights).sum(dim=(1, 2))


class Contribution(Protocol):
    """A way for people to enter a step."""

    def enter(self, people: People, optimizer: PersonDPOptimizer) -> None:
        """Leave the clipped contributions of a block of people with the optimizer."""
        ...

    def close(self) -> None:
        """Take away whatever was hung on the model."""
        ...


class ClosedForm:
    """Exact gradients of a `MultiTaskHead`, without writing out any person's."""

    def __init__(self, model: MultiTaskHead) -> None:
        self._head = ExactHead(model)

    def enter(self, people: People, optimizer: PersonDPOptimizer) -> None:
        hidden = self._head.hidden(people.inputs)
        logits = self._head.logits(people.inputs, hidden) + people.prior
        # The derivative of the loss by the logit is sigmoid - target; sigmoid(z) = (1 + tanh(z / 2)) / 2.
        errors = (0.5 + 0.5 * np.tanh(0.5 * logits) - people.targets) * people.weights
        layers = self._head.gradients(people.inputs, hidden, errors, people.products)
        optimizer.add_people(clipped_sum(layers, optimizer.max_grad_norm))

    def close(self) -> None:
        pass


class Hooks:
    """Opacus's per-person gradients, of any model that Opacus can hook."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._wrapped = GradSampleModule(model, loss_reduction="sum")

    def enter(self, people: People, optimizer: PersonDPOptimizer) -> None:
        person_losses(self._wrapped, people).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.clip_and_accumulate()
        for parameter in self._wrapped.parameters():
            parameter.grad_sample = None

    def close(self) -> None:
        # Opacus hangs hooks and per-person gradients on the module: neither may outlive the round.
        self._wrapped.to_standard_module()


def train_round(model: torch.nn.Module, people: Population, rule: StepRule, *, stream: RandomStream) -> None:
    """Take one round's local steps on `model`, in place.

    Args:
        model: the round's starting point, float32.
        people: those who train; slots beyond them hold null people.
        rule: public constants.
        stream: coins and noise.
    """
    with _stepping(model, rule, rule.noise_multiplier * 2.0**SUM_BITS, stream) as (way, optimizer):
        for _ in range(rule.local_steps):
            _gather(people, rule, way, optimizer, stream)
            optimizer.step()
            snap_weights(model)


def gradient_share(model: torch.nn.Module, people: Population, rule: StepRule, *, noise_scale: float,
                   stream: RandomStream) -> IntArray:
    """This partner's part of one step of the whole federation: its people's clipped gradients and a share of the noise.

    The coordinator must not see it: the noise in it is a share. It is for a secure sum.

    Args:
        model: the step's starting point, float32; left as it is, but for rounding to its grid.
        people: those who train.
        rule: public constants.
        noise_scale: of the share, in units of `l2_clip_norm * 2^-SUM_BITS`.
        stream: coins and noise.

    Returns:
        int64, one number for each weight in the order of the parameters, in those units.
    """
    with _stepping(model, rule, noise_scale, stream) as (way, optimizer):
        _gather(people, rule, way, optimizer, stream)
        return np.concatenate([total.ravel() for total in optimizer.noised_sums()])


def _gather(people: Population, rule: StepRule, way: Contribution, optimizer: PersonDPOptimizer,
            stream: RandomStream) -> None:
    """Let the people whose slots come up enter a step."""
    drawn = sample_slots(max(rule.slots, len(people)), rule.sampling_probability, stream)
    for block in people.blocks(drawn[drawn < len(people)]):
        way.enter(block, optimizer)


@contextmanager
def _stepping(model: torch.nn.Module, rule: StepRule, noise_scale: float,
              stream: RandomStream) -> Iterator[tuple[Contribution, PersonDPOptimizer]]:
    """The model in float64 on its grid, and what takes steps on it; afterwards it is float32 and bare again."""
    model.double()
    snap_weights(model)
    optimizer = PersonDPOptimizer(
        torch.optim.SGD(model.parameters(), lr=rule.learning_rate, weight_decay=rule.weight_decay),
        noise_multiplier=rule.noise_multiplier, l2_clip_norm=rule.l2_clip_norm,
        divisor=rule.sampling_probability * rule.slots, noise=discrete_gaussian(noise_scale).source(stream))
    way: Contribution = ClosedForm(model) if isinstance(model, MultiTaskHead) else Hooks(model)
    try:
        yield way, optimizer
    finally:
        optimizer.zero_grad(set_to_none=True)
        way.close()
        model.float()
