"""From settings to a signed plan: the price first, then the noise that keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date

from pydantic import ValidationError

from federation.errors import InputError
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import (
    Aggregation,
    ConductSpec,
    EncoderSpec,
    ModelSpec,
    PrivacyClaim,
    RosterEntry,
    SecureAggregationSpec,
    StatisticsSpec,
    TrainingSpec,
)
from federation.privacy.accounting import (
    DiscreteGaussianTable,
    SubsampledGaussian,
    epsilon_of,
    noise_multiplier_for,
    table_scale_for,
)
from federation.privacy.distributed import LEAST_SHARE_SCALE
from federation.secagg.session import threshold_for
from federation.taxonomy import RegionRole
from simulations.settings import Settings
from simulations.world.interface import World


def compose_plan(settings: Settings, world: World, encoder: EncoderSpec, *, partner_keys: Mapping[str, str],
                 roles: tuple[RegionRole, ...], coordinator: SigningKey) -> SignedPlan:
    """Build and sign the plan of a study on `world`.

    Args:
        settings: the checked configuration.
        world: whose public facts (partners, regions, tasks) go in.
        encoder: the installed encoder's identity.
        partner_keys: public key of each partner.
        roles: region roles that are tabulated.
        coordinator: signs.

    Raises:
        InputError: if the settings do not make a valid plan, naming the field.
    """
    try:
        plan = _plan(settings, world, encoder, partner_keys, roles)
    except ValidationError as error:
        problems = "; ".join(": ".join(filter(None, ('.'.join(map(str, item["loc"])),
                                                     item["msg"].removeprefix("Value error, "))))
                             for item in error.errors())
        raise InputError("plan", problems, remedy="change the setting of that name") from None
    except ValueError as error:
        raise InputError("privacy", str(error), remedy="raise epsilon, or take fewer steps") from None
    return SignedPlan.sign(plan, coordinator)


def _plan(settings: Settings, world: World, encoder: EncoderSpec, partner_keys: Mapping[str, str],
          roles: tuple[RegionRole, ...]) -> StudyPlan:
    privacy, training, study = settings.privacy, settings.training, settings.study
    steps, entries = training.rounds * training.local_steps, 1 + len(world.tasks)
    noise_multiplier = noise_multiplier_for(epsilon=privacy.training_epsilon, delta=privacy.delta, steps=steps,
                                            sampling_probability=training.sampling_probability)
    quorum, secure = _conduct(settings, len(world.partners))
    scale = table_scale_for(epsilon=privacy.statistics_epsilon, delta=privacy.delta, entries=entries)
    if settings.statistics.aggregation is Aggregation.SECURE and secure is not None:
        # With very many partners, shares would get too small to be accounted for; more noise than that costs nothing.
        scale = max(scale, LEAST_SHARE_SCALE * math.sqrt(quorum - secure.colluders) * (1 + 1e-9))
    events = (SubsampledGaussian(noise_multiplier=noise_multiplier, steps=steps,
                                 sampling_probability=training.sampling_probability),
              DiscreteGaussianTable(scale=scale, entries=entries))
    claim = PrivacyClaim(delta=privacy.delta, training_epsilon=epsilon_of(events[:1], delta=privacy.delta),
                         statistics_epsilon=epsilon_of(events[1:], delta=privacy.delta),
                         total_epsilon=epsilon_of(events, delta=privacy.delta))
    roster = tuple(
        RosterEntry(name=p.name, kind=p.kind, slots=p.slots, regions=p.regions, public_key=partner_keys[p.name],
                    declared_prevalence=dict(p.declared_prevalence))
        for p in world.partners)
    return StudyPlan(
        study=study.name, purpose=study.purpose, label=world.label, synthetic=world.synthetic,
        regions_drawn=world.regions_drawn,
        rehearsal=settings.simulation.noise == "seeded",
        period_end=study.period_end or date.today(), tasks=world.tasks, roster=roster, encoder=encoder,
        model=ModelSpec(hidden_units=settings.model.hidden_units, intercept_scale=settings.model.intercept_scale,
                        initial_seed=settings.seed),
        training=TrainingSpec(**training.model_dump(), noise_multiplier=noise_multiplier),
        statistics=StatisticsSpec(aggregation=settings.statistics.aggregation, regions=world.regions, roles=roles,
                                  noise_scale=scale,
                                  flag_threshold=settings.release.flag_threshold,
                                  minimum_count=settings.release.minimum_count,
                                  false_publication=settings.release.false_publication),
        privacy=claim, secure_aggregation=secure,
        conduct=ConductSpec(quorum=quorum, stage_deadline_seconds=study.stage_deadline_seconds),
        holdout_share=study.holdout_share)


def _conduct(settings: Settings, partners: int) -> tuple[int, SecureAggregationSpec | None]:
    """The quorum, and what secure sums rest on if there are any: by default a quarter of the partners may collude."""
    study, quorum = settings.study, math.ceil(partners * 2 / 3)
    if Aggregation.SECURE not in (settings.training.aggregation, settings.statistics.aggregation):
        return study.quorum or quorum, None
    colluders = max(1, partners // 4) if study.colluders is None else study.colluders
    if colluders >= partners:
        raise InputError("study.colluders", f"is {colluders} of {partners} partners", bound=f"at most {partners - 1}",
                         remedy="name fewer, or use statistics=local and a training without secure sums")
    return (study.quorum or max(quorum, threshold_for(partners, colluders)),
            SecureAggregationSpec(colluders=colluders))
