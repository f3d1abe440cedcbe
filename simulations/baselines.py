"""What the federation is compared with: each partner alone at the same price, and everybody without protection.

The last two are possible only in a simulation. No plan can hold their settings and no node would run them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from clients.people import People
from clients.training import StepRule, person_losses, train_round
from federation.messages import Arrays
from federation.model import MultiTaskHead, initial_model, load_arrays, model_arrays
from federation.plan import StudyPlan, TrainingSpec, averaged_rounds
from federation.randomness import RandomStream
from server.aggregation import mean_of, weighted_mean

_POOLED_STEPS = 60
_POOLED_RIDGE = 0.005


Rule = Callable[[TrainingSpec, int], StepRule]


def alone(plan: StudyPlan, partner: str, people: People, *, root: bytes) -> Arrays:
    """One partner trains by itself: the plan's steps, clip and noise, and so the same epsilon."""
    return federated(plan, {partner: people}, StepRule.of, root=root)


def federated_without_privacy(plan: StudyPlan, people: dict[str, People]) -> Arrays:
    """The plan's rounds with everybody in every step and neither clipping nor noise."""
    def rule(training: TrainingSpec, slots: int) -> StepRule:
        return replace(StepRule.of(training, slots), noise_multiplier=0.0, l2_clip_norm=math.inf,
                       sampling_probability=1.0)

    return federated(plan, people, rule, root=b"no noise is drawn from this one")


def federated(plan: StudyPlan, people: dict[str, People], rule: Rule, *, root: bytes) -> Arrays:
    """The plan's rounds over `people` under a step rule, without messages.

    Args:
        plan: rounds, roster and averaging.
        people: training people of the partners that take part.
        rule: from the plan's training part and a partner's slots to its steps.
        root: seed of sampling and noise.
    """
    slots = {entry.name: entry.slots for entry in plan.roster}
    model = model_arrays(initial_model(plan))
    kept: list[Arrays] = []
    for number in range(1, plan.training.rounds + 1):
        updates = {}
        for partner, own in people.items():
            local = load_arrays(initial_model(plan), model)
            train_round(local, own, rule(plan.training, slots[partner]),
                        stream=RandomStream.derived(root, partner, str(number)))
            updates[partner] = model_arrays(local)
        model = weighted_mean(plan, updates)
        kept = [*kept, model][-averaged_rounds(plan.training):]
    return mean_of(kept)


def pooled_without_privacy(plan: StudyPlan, people: Sequence[People]) -> Arrays:
    """All training people in one place: the person-mean loss with a weak ridge, minimised by L-BFGS."""
    model = initial_model(plan)
    everybody = [group for group in people if len(group)]
    count = sum(len(group) for group in everybody)
    if not count:
        return model_arrays(model)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=_POOLED_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.stack([_total(model, group) for group in everybody]).sum() / count
        loss = loss + _POOLED_RIDGE / 2 * sum((p.square().sum() for p in model.parameters()), start=torch.zeros(()))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return model_arrays(model)


def _total(model: MultiTaskHead, people: People) -> torch.Tensor:
    return person_losses(model, people, torch.arange(len(people))).sum()
