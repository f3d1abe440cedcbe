"""One federation, trained again and again with one partner that lies: the same people, noise and test set each time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

import numpy as np

from clients.features import prepare
from clients.people import Population, training_people
from federation.messages import Arrays, check_arrays
from federation.plan import StudyPlan
from federation.plan_parts import RobustRule, RobustSpec
from server.robust import combine
from simulations.baselines import federated
from simulations.compose_robust import compose_robust
from simulations.evaluation import TestSet, evaluate, held_out
from simulations.federation import plan_for
from simulations.homes import IngestJob, ingest, make_node, seeded_key
from simulations.poisoning.attacks import ATTACKS, told
from simulations.settings import Settings

RULES: Final = ("none", *RobustRule)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Means over the tasks and runs, on held-out people."""

    auc: float
    pr_auc: float


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A federation that is ready to train.

    Attributes:
        plan: with the settings' rule.
        rules: the robust part of the plan by the name of the rule; `none` is the plain mean.
        people: who trains, by partner.
        test: held-out people of all partners.
    """

    plan: StudyPlan
    rules: dict[str, RobustSpec | None]
    people: dict[str, Population]
    test: TestSet

    @classmethod
    def prepare(cls, settings: Settings, folder: Path) -> Lab:
        """Take in and encode the settings' world below `folder`.

        Raises:
            InputError: if the settings do not make a plan in which a rule can be chosen.
        """
        world = settings.open_world()
        plan = plan_for(settings, world).plan
        rules = {rule: compose_robust(settings.training.robust.model_copy(update={"rule": rule}), plan.training,
                                      [entry.slots for entry in plan.roster], plan.model_size) for rule in RULES}
        homes = [make_node(folder, settings, world, partner) for partner in world.partners]
        for home in homes:
            ingest(IngestJob(home=home, settings=settings, today=plan.period_end), lambda _done: None)
        prepared = [prepare(home, plan) for home in homes]
        people = {entry.name: training_people(home, plan, entry, records)
                  for home, entry, records in zip(homes, plan.roster, prepared, strict=True)}
        return cls(plan=plan, rules=rules, people=people, test=held_out(homes, plan, prepared))

    def train(self, rule: str, attack: str, liar: str, *, run: int) -> Arrays:
        """The published model, if `liar` sends this in every round; `run` drives the noise."""
        plan = self.plan.model_copy(update={
            "training": self.plan.training.model_copy(update={"robust": self.rules[rule]})})
        generator = np.random.default_rng(run)

        def join(plan: StudyPlan, model: Arrays, updates: dict[str, Arrays]) -> Arrays:
            sent = told(ATTACKS[attack], liar, model, updates, generator)
            return combine(plan, model, {name: check_arrays(arrays, model) for name, arrays in sent.items()}).model

        return federated(plan, self.people, root=seeded_key(run, "poisoning"), join=join)

    def measure(self, rule: str, attack: str, liar: str, *, runs: int) -> Figures:
        """How good the published model is, mean over `runs`."""
        found = [quality for run in range(1, runs + 1)
                 for quality in evaluate(self.plan, self.train(rule, attack, liar, run=run), self.test).values()]
        return Figures(auc=fmean(quality.auc for quality in found), pr_auc=fmean(quality.pr_auc for quality in found))
