"""What the federation is compared with: each partner alone at the same price, and everybody without protection.

The last two are possible only in a simulation. No plan can hold their settings and no node would run them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from clients.people import Population
from clients.training import StepRule, gradient_share, person_losses, train_round
from federation.messages import Arrays
from federation.model import MultiTaskHead, initial_model, load_arrays, model_arrays
from federation.plan import StudyPlan, averaged_rounds
from federation.privacy.guarantee import partner_noise
from federation.randomness import RandomStream
from server.aggregation import gradient_step, mean_of, weighted_mean

_POOLED_STEPS = 200
_POOLED_RIDGE = 0.001
"""Best of 0.0005 to 0.05 by five-fold validation by person inside the training people of the real benchmark."""


Step = Callable[[MultiTaskHead, Population, StepRule, RandomStream], None]
"""One partner's work in one round, on the model in place."""
Join = Callable[[StudyPlan, Arrays, dict[str, Arrays]], Arrays]
"""The next model, from the one that a round started with and what partners made of it."""


def alone(plan: StudyPlan, partner: str, people: Population, *, root: bytes) -> Arrays:
    """One partner trains by itself: the plan's steps, clip and noise, and so the same epsilon."""
    return federated(plan, {partner: people}, root=root)


def federated_without_privacy(plan: StudyPlan, people: dict[str, Population]) -> Arrays:
    """The plan's rounds with everybody in every step and neither clipping nor noise."""
    return federated(plan, people, root=b"no noise is drawn from this one", step=_plain_round)


def _private_round(model: MultiTaskHead, people: Population, rule: StepRule, stream: RandomStream) -> None:
    train_round(model, people, rule, stream=stream)


def _plain_round(model: MultiTaskHead, people: Population, rule: StepRule, stream: RandomStream) -> None:
    del stream
    model.double()
    optimizer = torch.optim.SGD(model.parameters(), lr=rule.learning_rate, weight_decay=rule.weight_decay)
    for _ in range(rule.local_steps):
        optimizer.zero_grad()
        (_total(model, people) / rule.slots).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.float()


def _mean(plan: StudyPlan, model: Arrays, updates: dict[str, Arrays]) -> Arrays:
    del model
    return weighted_mean(plan, updates)


def federated(plan: StudyPlan, people: dict[str, Population], *, root: bytes, step: Step = _private_round,
              join: Join = _mean) -> Arrays:
    """The plan's rounds over `people`, without messages.

    Args:
        plan: rounds, roster and averaging.
        people: training people of the partners that take part.
        root: seed of sampling and noise.
        step: what a partner does in a round; the real thing unless a comparison asks for another.
        join: what the coordinator does; likewise the mean, as partners who train alone have no use for a robust rule.
    """
    slots = {entry.name: entry.slots for entry in plan.roster}
    model = model_arrays(initial_model(plan))
    kept: list[Arrays] = []
    for number in range(1, plan.training.rounds + 1):
        updates = {}
        for partner, own in people.items():
            local = load_arrays(initial_model(plan), model)
            step(local, own, StepRule.of(plan.training, slots[partner]),
                 RandomStream.derived(root, partner, str(number)))
            updates[partner] = model_arrays(local)
        model = join(plan, model, updates)
        kept = [*kept, model][-averaged_rounds(plan.training):]
    return mean_of(kept)


def federated_in_sums(plan: StudyPlan, people: dict[str, Population], *, root: bytes) -> Arrays:
    """A plan's secure rounds over `people`, without messages or masks: what the partners add up is all that counts."""
    model = model_arrays(initial_model(plan))
    kept: list[Arrays] = []
    scale = partner_noise(plan).training
    rules = {entry.name: StepRule.of(plan.training, entry.slots) for entry in plan.roster}
    for number in range(1, plan.training.rounds + 1):
        parts = [gradient_share(load_arrays(initial_model(plan), model), own, rules[partner], noise_scale=scale,
                                stream=RandomStream.derived(root, partner, str(number)))
                 for partner, own in people.items()]
        model = gradient_step(plan, model, np.sum(parts, axis=0), tuple(people))
        kept = [*kept, model][-averaged_rounds(plan.training):]
    return mean_of(kept)


def pooled_without_privacy(plan: StudyPlan, people: Sequence[Population]) -> Arrays:
    """All training people in one place: the person-mean loss with a weak ridge, minimised by L-BFGS."""
    model = initial_model(plan).double()
    everybody = [population for population in people if len(population)]
    count = sum(len(population) for population in everybody)
    if not count:
        return model_arrays(model.float())
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=_POOLED_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.stack([_total(model, population) for population in everybody]).sum() / count
        loss = loss + _POOLED_RIDGE / 2 * sum((p.square().sum() for p in model.parameters()), start=torch.zeros(()))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return model_arrays(model.float())


def _total(model: MultiTaskHead, people: Population) -> torch.Tensor:
    losses = [person_losses(model, group.take(slice(None))).sum() for group in people.groups]
    return torch.stack(losses).sum() if losses else torch.zeros((), requires_grad=True)
