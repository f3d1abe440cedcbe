"""Plans for releases that no study stands behind: partners without records, measurements drawn from a truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from datetime import date

from federation.plan import StudyPlan
from federation.plan_parts import (
    Aggregation,
    ConductSpec,
    EncoderSpec,
    ModelSpec,
    PrivacyClaim,
    ReleaseSpec,
    RosterEntry,
    SecureAggregationSpec,
    Signer,
    TrainingSpec,
)
from federation.plan_statistics import (
    AppearancesSpec,
    Corridor,
    IndicatorsSpec,
    StatisticsSpec,
    SuperRegion,
    counted_families,
)
from federation.privacy.accounting import table_scales_for
from federation.privacy.distributed import LEAST_SHARE_SCALE
from federation.privacy.guarantee import price
from federation.statistics import moved_entries
from federation.taxonomy import Family, PartnerKind, RegionRole, Task

DELTA = 1e-6
PERIOD = date(2026, 4, 1), date(2026, 6, 30)
TRAINING_NOISE = 4.3
"""Of the one step of training that these plans have; it comes to an epsilon of 0.98."""
SHARES: Mapping[Family, float] = {
    Family.REGIONS: 10, Family.SUPER_REGIONS: 2, Family.COUNTRIES: 1, Family.CONFUSION: 4, Family.INDICATORS: 2,
    Family.CORRIDORS: 1, Family.DOMINANCE: 1}
KINDS = (PartnerKind.PLATFORM, PartnerKind.NGO, PartnerKind.AGENCY)


def invented_regions(regions: int, super_regions: int) -> tuple[tuple[str, ...], tuple[SuperRegion, ...]]:
    """Codes of user-assigned places in one country, and groups of equal size."""
    codes = tuple(f"XA-{i:03d}" for i in range(1, regions + 1))
    size = regions // super_regions
    groups = tuple(SuperRegion(code=f"XA:part-{i + 1:02d}", name=f"Part {i + 1}",
                               regions=codes[i * size : (i + 1) * size if i < super_regions - 1 else None])
                   for i in range(super_regions))
    return codes, groups


def release_plan(
    regions: Sequence[str], super_regions: Sequence[SuperRegion], *, roles: tuple[RegionRole, ...],
    tasks: tuple[Task, ...], epsilon: float, partners: int = 6, indicators: IndicatorsSpec | None = None,
    corridors: bool = False, synthetic: bool = True, label: str = "SYNTHETIC", study: str = "release-study",
    period: tuple[date, date] = PERIOD,
) -> StudyPlan:
    """A plan whose tables cost `epsilon`, summed securely with nobody colluding and everybody answering.

    So a sum carries just the noise that is paid for.
    """
    routes = all_routes(super_regions) if corridors else ()
    families = counted_families(super_regions=bool(super_regions), indicators=indicators is not None,
                                corridors=bool(routes), series=False)
    entries = [moved_entries(family, tasks=len(tasks), roles=1, tags=len(indicators.tags) if indicators else 0)
               for family in families]
    least = LEAST_SHARE_SCALE * math.sqrt(partners) * (1 + 1e-9)
    scales = table_scales_for(epsilon=epsilon, delta=DELTA, entries=entries,
                              shares=[SHARES[family] for family in families])
    return priced_plan(
        StatisticsSpec(
            period_start=period[0], regions=tuple(regions), roles=roles, protected=(),
            super_regions=tuple(super_regions), indicators=indicators, corridors=routes, series=None,
            aggregation=Aggregation.SECURE,
            noise_scales={family: max(scale, least) for family, scale in zip(families, scales, strict=True)},
            max_roles_per_person=1, flag_threshold=0.5,
            appearances=AppearancesSpec(releases_a_year=4, releases_per_person=4, release_of_year=2)),
        tasks=tasks, partners=partners, period_end=period[1], synthetic=synthetic, label=label, study=study)


def all_routes(super_regions: Sequence[SuperRegion]) -> tuple[Corridor, ...]:
    """Every pair of places, each with itself too."""
    return tuple(Corridor(origin=start.code, destination=end.code)
                 for start, end in itertools.product(super_regions, repeat=2))


def priced_plan(
    statistics: StatisticsSpec, *, tasks: tuple[Task, ...], partners: int, period_end: date = PERIOD[1],
    synthetic: bool = True, label: str = "SYNTHETIC", study: str = "release-study",
) -> StudyPlan:
    """A plan for these tables, with its true price. Partners declare every region."""
    roster = tuple(
        RosterEntry(name=f"partner-{i + 1}", kind=KINDS[i % 3], slots=4096, regions=statistics.regions,
                    declared_prevalence=dict.fromkeys(tasks, 0.1), public_key=f"{i + 1:064x}")
        for i in range(partners))
    secure = statistics.aggregation is Aggregation.SECURE
    plan = StudyPlan(
        study=study, purpose="Show what a release says of places whose truth is known.", label=label,
        synthetic=synthetic, regions_drawn=not synthetic, rehearsal=True, period_end=period_end, tasks=tasks,
        roster=roster,
        encoder=EncoderSpec(name="hashed-ngrams", version="1", fingerprint="0" * 64, dimension=64),
        model=ModelSpec(hidden_units=None, intercept_scale=0.25, initial_seed=0, start=None),
        training=TrainingSpec(aggregation=Aggregation.LOCAL, robust=None, rounds=1, local_steps=1, learning_rate=1.0,
                              weight_decay=0.0, averaged_share=1.0, sampling_probability=1.0, l2_clip_norm=1.0,
                              noise_multiplier=TRAINING_NOISE, max_records_per_person=1),
        statistics=statistics,
        release=ReleaseSpec(minimum_count=11, false_publication=0.01, minimum_partners=3, minimum_kinds=2,
                            most_of_one_partner=0.7, least_youden=0.3, band_factor=2.0, embargo_days=30, signatures=2,
                            signers=(Signer(name="first-officer", public_key="a" * 64),
                                     Signer(name="second-officer", public_key="b" * 64))),
        privacy=PrivacyClaim(delta=DELTA, training_epsilon=1.0, statistics_epsilon=1.0, total_epsilon=1.0),
        secure_aggregation=SecureAggregationSpec(colluders=0) if secure else None,
        conduct=ConductSpec(quorum=partners, stage_deadline_seconds=60.0), holdout_share=0.2)
    cost = price(plan, partners=())
    return plan.model_copy(update={"privacy": PrivacyClaim(
        delta=DELTA, training_epsilon=cost.training, statistics_epsilon=cost.statistics, total_epsilon=cost.total)})
