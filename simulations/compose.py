"""From settings to a signed plan: the price first, then the noise that keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import ValidationError

from federation.encoders import Encoder
from federation.errors import InputError
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import (
    Aggregation,
    ConductSpec,
    ModelSpec,
    PrivacyClaim,
    ReleaseSpec,
    RosterEntry,
    SecureAggregationSpec,
    Signer,
    TrainingSpec,
)
from federation.privacy.accounting import noise_multiplier_for
from federation.privacy.guarantee import price
from federation.secagg.session import threshold_for
from federation.start import start_weights
from federation.taxonomy import RegionRole, Task
from simulations.compose_robust import compose_robust
from simulations.compose_statistics import compose_statistics
from simulations.compose_step import learning_rate
from simulations.settings import Settings
from simulations.world.interface import World

_LEAST_SHARE_SCALE = 1.8
"""Of the noise in a table. The distance of a sum from one draw then stays in the reserve for thousands of entries that
one person moves (`federation.privacy.distributed`)."""


def compose_plan(settings: Settings, world: World, encoder: Encoder, *, partner_keys: Mapping[str, str],
                 roles: tuple[RegionRole, ...], signers: tuple[Signer, ...],
                 coordinator: SigningKey) -> SignedPlan:
    """Build and sign the plan of a study on `world`.

    Args:
        settings: the checked configuration.
        world: whose public facts (partners, regions, tasks) go in.
        encoder: the installed one.
        partner_keys: public key of each partner.
        roles: region roles that are tabulated.
        signers: whose signatures the release needs.
        coordinator: signs.

    Raises:
        InputError: if the settings do not make a valid plan, naming the field.
    """
    try:
        plan = _plan(settings, world, encoder, partner_keys, roles, signers)
    except ValidationError as error:
        problems = "; ".join(": ".join(filter(None, ('.'.join(map(str, item["loc"])),
                                                     item["msg"].removeprefix("Value error, "))))
                             for item in error.errors())
        raise InputError("plan", problems, remedy="change the setting of that name") from None
    except InputError:
        raise
    except ValueError as error:
        raise InputError("privacy", str(error), remedy="raise epsilon, or take fewer steps") from None
    return SignedPlan.sign(plan, coordinator)


def _plan(settings: Settings, world: World, encoder: Encoder, partner_keys: Mapping[str, str],
          roles: tuple[RegionRole, ...], signers: tuple[Signer, ...]) -> StudyPlan:
    privacy, training, study = settings.privacy, settings.training, settings.study
    steps = training.rounds * training.local_steps
    noise_multiplier = noise_multiplier_for(epsilon=privacy.training_epsilon, delta=privacy.delta, steps=steps,
                                            sampling_probability=training.sampling_probability)
    quorum, secure = _conduct(settings, len(world.partners))
    least = 0.0
    if settings.statistics.aggregation is Aggregation.SECURE and secure is not None:
        # With very many partners, shares would get too small to be accounted for; more noise than that costs nothing.
        least = _LEAST_SHARE_SCALE * math.sqrt(quorum - secure.colluders)
    start, end = study.period_start or world.period[0], study.period_end or world.period[1]
    statistics = compose_statistics(settings, world, roles, period_start=start, least_scale=least)
    unpriced = PrivacyClaim(delta=privacy.delta, training_epsilon=1.0, statistics_epsilon=1.0, total_epsilon=1.0)
    roster = tuple(
        RosterEntry(name=p.name, kind=p.kind, slots=p.slots, regions=p.regions, public_key=partner_keys[p.name],
                    declared_prevalence=dict(p.declared_prevalence))
        for p in world.partners)
    model = ModelSpec(hidden_units=settings.model.hidden_units, intercept_scale=settings.model.intercept_scale,
                      initial_seed=settings.seed, start=_start(settings, encoder, world.tasks))
    step = learning_rate(training, noise_multiplier=noise_multiplier, dimension=encoder.spec.dimension,
                         linear=model.hidden_units is None, slots=[one.slots for one in roster], quorum=quorum,
                         secure=secure)
    spec = TrainingSpec(**training.model_dump(exclude={"robust", "learning_rate"}), learning_rate=step, robust=None,
                        noise_multiplier=noise_multiplier)
    robust = compose_robust(training.robust, spec, [partner.slots for partner in world.partners],
                            model.size(dimension=encoder.spec.dimension, tasks=len(world.tasks)))
    plan = StudyPlan(
        study=study.name, purpose=study.purpose, label=world.label, synthetic=world.synthetic,
        regions_drawn=world.regions_drawn,
        rehearsal=settings.simulation.noise == "seeded",
        period_end=end, tasks=world.tasks, roster=roster, encoder=encoder.spec,
        model=model, training=TrainingSpec(**spec.model_dump(exclude={"robust"}), robust=robust),
        statistics=statistics,
        release=ReleaseSpec(**settings.release.model_dump(), signers=signers, signatures=2),
        privacy=unpriced, secure_aggregation=secure,
        conduct=ConductSpec(quorum=quorum, stage_deadline_seconds=study.stage_deadline_seconds),
        holdout_share=study.holdout_share)
    cost = price(plan, partners=())
    return plan.model_copy(update={"privacy": PrivacyClaim(
        delta=privacy.delta, training_epsilon=cost.training, statistics_epsilon=cost.statistics,
        total_epsilon=cost.total)})


def _start(settings: Settings, encoder: Encoder, tasks: tuple[Task, ...]) -> str | None:
    return ModelSpec.encoded(start_weights(encoder, tasks)) if settings.model.start == "sentences" else None


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
