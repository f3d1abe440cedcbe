"""A partner's rules held against a plan, one by one: what it asks, what is allowed, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.guarantee import Price, price
from federation.privacy.units import up
from federation.statistics import scales_in_people
from federation.taxonomy import Family

if TYPE_CHECKING:
    from clients.policy import Ceilings, Policy

TABLES: Final = {"regional_table": (Family.REGIONS, Family.SUPER_REGIONS, Family.COUNTRIES, Family.CONFUSION,
                                    Family.DOMINANCE),
                 "indicators": (Family.INDICATORS,), "corridors": (Family.CORRIDORS,), "series": (Family.SERIES,),
                 "scores": (Family.SCORES,)}
"""What a partner's rules call the tables."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule held against one plan."""

    rule: str
    asked: str
    allowed: str
    met: bool
    remedy: str

    def __str__(self) -> str:
        return f"{self.rule}: the plan asks {self.asked}; allowed: {self.allowed}; what to do: {self.remedy}"


def findings(policy: Policy, plan: StudyPlan) -> tuple[Finding, ...]:
    """Every rule that speaks about plans, in the order of the file."""
    return (*_names(policy, plan), *_noise(policy, plan), *_sums(policy, plan), *_spending(policy.ceilings, plan),
            _rehearsal(policy, plan))


def _names(policy: Policy, plan: StudyPlan) -> Iterator[Finding]:
    listed = policy.plans == "approved" or plan.sha256 in policy.plans
    yield Finding(rule="plans", asked="this plan", met=listed,
                  allowed="any plan that you approve" if policy.plans == "approved" else _listed(policy.plans),
                  remedy=f"add {plan.sha256} to the list, if you mean to allow it")
    yield Finding(rule="tasks", asked=_listed(plan.tasks), allowed=_listed(policy.tasks),
                  met=set(plan.tasks) <= set(policy.tasks),
                  remedy="ask the coordinator for a study without the others, or allow them")
    yield Finding(rule="encoders", asked=plan.encoder.name, allowed=_listed(policy.encoders),
                  met=plan.encoder.name in policy.encoders,
                  remedy="ask the coordinator for a study with an encoder of your list, or allow this one")
    asked = tuple(name for name, families in TABLES.items() if set(families) & set(plan.statistics.families))
    yield Finding(rule="statistics", asked=_listed(asked), allowed=_listed(policy.statistics),
                  met=set(asked) <= set(policy.statistics),
                  remedy="ask the coordinator for a study without the others, or allow them")


def _noise(policy: Policy, plan: StudyPlan) -> Iterator[Finding]:
    training = plan.training
    for rule, asked, least, remedy in (
            ("minimum_partners", plan.conduct.quorum, policy.minimum_partners, "a larger quorum"),
            ("least_noise_multiplier", training.noise_multiplier, policy.least_noise_multiplier, "more noise"),
            ("least_l2_clip_norm", training.l2_clip_norm, policy.least_l2_clip_norm, "a larger clip norm"),
            ("least_table_noise_scale", min(scales_in_people(plan).values()), policy.least_table_noise_scale,
             "more noise in the tables")):
        yield Finding(rule=rule, asked=f"{asked:g}", allowed=f"at least {least:g}", met=asked >= least,
                      remedy=f"ask the coordinator for {remedy}")


def _sums(policy: Policy, plan: StudyPlan) -> Iterator[Finding]:
    parts = tuple(name for name, part in (("statistics", plan.statistics), ("training", plan.training))
                  if part.aggregation is Aggregation.SECURE)
    yield Finding(rule="distributed_noise", asked=_listed(parts), allowed=_listed(policy.distributed_noise),
                  met=set(parts) <= set(policy.distributed_noise),
                  remedy="ask the coordinator for a study with local noise in the other parts, or allow them")
    if plan.secure_aggregation is not None:
        colluders, least = plan.secure_aggregation.colluders, policy.least_colluders
        yield Finding(rule="least_colluders", asked=str(colluders), allowed=f"at least {least}", met=colluders >= least,
                      remedy="ask the coordinator for a study that withstands more")


def _spending(ceilings: Ceilings, plan: StudyPlan) -> Iterator[Finding]:
    delta = ceilings.delta
    yield Finding(rule="ceilings.delta", asked=f"δ = {plan.privacy.delta:g}", allowed=f"at most {delta:g}",
                  met=plan.privacy.delta <= delta, remedy="ask the coordinator for a smaller delta")
    cost = _price_at(plan, delta)
    largest = max(cost.round, cost.statistics) if cost else math.inf
    study = cost.total if cost else math.inf
    # What earlier studies spent is the account's to know; here a plan is held against each ceiling by itself.
    for rule, asked, what in (("round", largest, "the request that costs most"), ("study", study, "the study"),
                              ("year", study, "the study alone"), ("total", study, "the study alone")):
        ceiling = getattr(ceilings, rule)
        figure = f"ε = {up(asked)}" if math.isfinite(asked) else "more than any ε"
        yield Finding(rule=f"ceilings.{rule}", asked=f"{figure} for {what} (at δ = {delta:g})",
                      allowed=f"at most {ceiling:g}", met=asked <= ceiling,
                      remedy="ask the coordinator for a study that costs less")


def _price_at(plan: StudyPlan, delta: float) -> Price | None:
    try:
        return price(plan, partners=(), delta=delta)
    except ValueError:
        # No epsilon is enough at this delta.
        return None


def _rehearsal(policy: Policy, plan: StudyPlan) -> Finding:
    return Finding(rule="rehearsal", asked="a rehearsal, which protects nobody" if plan.rehearsal else "a real study",
                   allowed="real studies and rehearsals" if policy.rehearsal == "allow" else "real studies",
                   met=policy.rehearsal == "allow" or not plan.rehearsal,
                   remedy="decline, unless every record here is invented or public")


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
