"""Worlds to release: a plan, noisy sums drawn from a truth, and the content that the gate lets through."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any

import numpy as np

from federation.plan import StudyPlan
from federation.plan_parts import (
    Aggregation,
    ConductSpec,
    EncoderSpec,
    ModelSpec,
    PrivacyClaim,
    ReleaseSpec,
    RosterEntry,
    Signer,
    TrainingSpec,
)
from federation.plan_statistics import (
    AppearancesSpec,
    Corridor,
    IndicatorsSpec,
    SeriesSpec,
    StatisticsSpec,
    SuperRegion,
    counted_families,
)
from federation.privacy.guarantee import table_variances
from federation.privacy.series import encode
from federation.statistics import IntArray, Measurements, TableLayout, shift_of
from federation.taxonomy import AreaLevel, Family, Indicator, PartnerKind, RegionRole, Task
from server.release.content import Facts, build_content

KINDS = (PartnerKind.PLATFORM, PartnerKind.NGO, PartnerKind.AGENCY)
TWELVE = tuple(f"XA-{i:02d}" for i in range(1, 13))
THREE = tuple(SuperRegion(code=f"XA:{name.lower()}", name=f"Invented {name}", regions=TWELVE[4 * i : 4 * i + 4])
              for i, name in enumerate(("North", "Middle", "South")))
ROLES = (RegionRole.ORIGIN, RegionRole.DESTINATION, RegionRole.OBSERVED)
CENSUS = {
    "northeast": ("Northeast", "CT ME MA NH NJ NY PA RI VT"),
    "midwest": ("Midwest", "IL IN IA KS MI MN MO NE ND OH SD WI"),
    "south": ("South", "AL AR DC DE FL GA KY LA MD MS NC OK SC TN TX VA WV"),
    "west": ("West", "AK AZ CA CO HI ID MT NV NM OR UT WA WY"),
}
"""Regions of the US Census Bureau."""
FOUR = tuple(SuperRegion(code=f"US:{code}", name=name, regions=tuple(f"US-{state}" for state in states.split()))
             for code, (name, states) in CENSUS.items())
STATES = tuple(sorted(region for one in FOUR for region in one.regions))
SENSITIVITY, FALSE_ALARMS = 0.82, 0.015


def make_plan(
    regions: Sequence[str] = TWELVE, super_regions: tuple[SuperRegion, ...] = THREE, *,
    roles: tuple[RegionRole, ...] = ROLES, indicators: AreaLevel | None = AreaLevel.COUNTRY, corridors: bool = True,
    protected: tuple[str, ...] = (), coverage: Sequence[Sequence[str]] | None = None,
    tasks: tuple[Task, ...] = (Task.RECRUITMENT, Task.DISTRESS), release_of_year: int = 2, noise_scale: float = 6.5,
    series: SeriesSpec | None = None, **changes: Any,
) -> StudyPlan:
    """A plan with one partner for each entry of `coverage`: by default five, of whom two cover less."""
    regions = tuple(regions)
    coverage = coverage or (regions, regions, regions, regions[: len(regions) * 3 // 4], regions[::2])
    pairs = tuple(Corridor(origin=one.code, destination=other.code) for one in super_regions for other in super_regions
                  if one is not other) if corridors else ()
    families = counted_families(super_regions=bool(super_regions), indicators=indicators is not None,
                                corridors=bool(pairs), series=series is not None)
    fields: dict[str, Any] = {
        "study": "north-coast-2026", "label": "SYNTHETIC", "synthetic": True, "regions_drawn": False,
        "rehearsal": False, "period_end": date(2026, 3 * release_of_year, 30), "tasks": tasks,
        "purpose": "Find out in which regions records hold signals of recruitment and of distress.",
        "roster": tuple(
            RosterEntry(name=f"partner-{i}", kind=KINDS[i % 3], slots=4096, regions=tuple(covered),
                        declared_prevalence=dict.fromkeys(tasks, 0.05), public_key=f"{i:064x}")
            for i, covered in enumerate(coverage)),
        "encoder": EncoderSpec(name="fast-use", version="0.2.1", fingerprint="cd" * 32, dimension=320),
        "model": ModelSpec(hidden_units=None, intercept_scale=0.25, initial_seed=7, start=None),
        "training": TrainingSpec(aggregation=Aggregation.LOCAL, robust=None, rounds=1, local_steps=1, learning_rate=0.5,
                                 weight_decay=0.0, averaged_share=0.5, sampling_probability=0.1, l2_clip_norm=1.0,
                                 noise_multiplier=1.4, max_records_per_person=4),
        "statistics": StatisticsSpec(
            period_start=date(2026, 3 * release_of_year - 2, 1), regions=regions, roles=roles, protected=protected,
            super_regions=super_regions, corridors=pairs, series=series, aggregation=Aggregation.LOCAL,
            indicators=IndicatorsSpec(level=indicators, tags=tuple(Indicator)) if indicators else None,
            noise_scales={family: noise_scale * shift_of(family) for family in families}, max_roles_per_person=1,
            flag_threshold=0.5,
            appearances=AppearancesSpec(releases_a_year=4, releases_per_person=2, release_of_year=release_of_year)),
        "release": ReleaseSpec(
            minimum_count=11, false_publication=0.01, minimum_partners=3, minimum_kinds=2, most_of_one_partner=0.7,
            least_youden=0.3, band_factor=1.5, embargo_days=30, signatures=2,
            signers=tuple(Signer(name=f"signer-{i}", public_key=f"{i + 99:064x}") for i in range(2))),
        "privacy": PrivacyClaim(delta=1e-5, training_epsilon=2.41, statistics_epsilon=1.13, total_epsilon=2.98),
        "secure_aggregation": None, "conduct": ConductSpec(quorum=1, stage_deadline_seconds=60.0), "holdout_share": 0.2,
    }
    return StudyPlan(**(fields | changes))


def make_measurements(plan: StudyPlan, *, seed: int = 3, people: float = 2500, labelled: int = 900) -> Measurements:
    """Noisy sums of a drawn world; regions differ in size, so that some are withheld. A later release of a year moves
    some rates."""
    layout, rng = TableLayout(plan), np.random.default_rng(seed)
    regions, roles, tasks = layout.areas.codes(AreaLevel.REGION), len(plan.statistics.roles), len(plan.tasks)
    reviewed = rng.lognormal(np.log(people), 0.9, (len(regions), roles)).astype(np.int64)
    share = np.minimum(rng.beta(5.0, 90.0, (len(regions), roles, tasks)) * np.linspace(1.0, 1.9, tasks), 0.9)
    later = np.random.default_rng([seed, plan.statistics.appearances.release_of_year])
    share = np.minimum(share * later.choice([1.0, 0.45, 1.7], share.shape, p=[0.84, 0.08, 0.08]), 0.9)
    flagged = later.binomial(reviewed[..., None], share * SENSITIVITY + (1 - share) * FALSE_ALARMS)
    counts = np.concatenate([reviewed[..., None], flagged], axis=2)
    tables = {Family.REGIONS: counts, Family.CONFUSION: _confusion(tasks, labelled)}
    for family, level in ((Family.SUPER_REGIONS, AreaLevel.SUPER_REGION), (Family.COUNTRIES, AreaLevel.COUNTRY)):
        tables[family] = _sums(layout, counts, level)
    if plan.statistics.indicators is not None:
        tables[Family.INDICATORS] = _indicators(_sums(layout, counts, plan.statistics.indicators.level), rng,
                                                len(plan.statistics.indicators.tags))
    if plan.statistics.series is not None:
        # As many new people in each release of it.
        tables[Family.SERIES] = encode([_sums(layout, counts, plan.statistics.series.level)]
                                       * plan.statistics.series.index)
    tables[Family.CORRIDORS] = _corridors(len(plan.statistics.corridors), tasks, rng)
    tables[Family.DOMINANCE] = rng.multinomial(reviewed, np.full(len(plan.roster), 1 / len(plan.roster)))
    tables[Family.DOMINANCE][0] = 1
    tables[Family.DOMINANCE][0, :, 0] = reviewed[0]
    values, variances = layout.empty(), table_variances(plan, len(plan.roster))
    for family in layout.blocks:
        noise = np.rint(later.normal(0.0, variances[family] ** 0.5, layout.blocks[family].shape)).astype(np.int64)
        layout.table(values, family)[...] = tables[family] + noise
    return Measurements(layout=layout, values=values, variances=variances,
                        partners=tuple(entry.name for entry in plan.roster))


def _sums(layout: TableLayout, counts: IntArray, level: AreaLevel) -> IntArray:
    codes = layout.areas.codes(level)
    sums = np.zeros((len(codes), *counts.shape[1:]), dtype=np.int64)
    for i, region in enumerate(layout.areas.regions):
        above = layout.areas.above(region, level)
        if above is not None:
            sums[codes.index(above)] += counts[i]
    return sums


def _confusion(tasks: int, labelled: int) -> IntArray:
    found, alarms = round(labelled * SENSITIVITY), round(4 * labelled * FALSE_ALARMS)
    return np.array([[[4 * labelled - alarms, alarms], [labelled - found, found]]] * tasks)


def _indicators(counts: IntArray, rng: np.random.Generator, tags: int) -> IntArray:
    """People and indicators, on both sides of each task's flag; most others carry some, too."""
    flagged = counts[..., 1:]
    sides = np.stack([counts[..., :1] - flagged, flagged], axis=-1)
    often = rng.beta(2.0, 6.0, tags)
    lift = np.stack([np.ones(tags), rng.lognormal(0.35, 0.5, tags)])
    having = rng.binomial(sides[..., None], np.minimum(often * lift, 0.95))
    return np.concatenate([sides[..., None], having], axis=-1)


def _corridors(pairs: int, tasks: int, rng: np.random.Generator) -> IntArray:
    reviewed = rng.lognormal(6.0, 1.3, pairs).astype(np.int64)
    return np.concatenate([reviewed[:, None], rng.binomial(reviewed[:, None], [0.35, 0.5][:tasks])], axis=1)


def make_content(plan: StudyPlan, *, previous: dict[str, Any] | None = None, **drawn: Any) -> dict[str, Any]:
    """The content of a release of `make_measurements`."""
    measurements = make_measurements(plan, **drawn)
    facts = Facts(plan=plan, partners=measurements.partners, model_sha256="ab" * 32, previous=previous,
                  released_on=date(plan.period_end.year, plan.period_end.month + 2, 15), commitment="34" * 32)
    return build_content(facts, measurements)


@cache
def twelve_content() -> dict[str, Any]:
    """Twelve invented regions in three roles, two signals, with all that a release can have. Not to be changed."""
    first = make_content(make_plan(release_of_year=1))
    return make_content(make_plan(
        release_of_year=2, protected=("XA-12",), series=SeriesSpec(name="coast", index=1, level=AreaLevel.SUPER_REGION),
        super_regions=(*THREE[:2], THREE[2].model_copy(update={"regions": TWELVE[8:11]}))), previous=first)


@cache
def states_content() -> dict[str, Any]:
    """The states of the US in one role, without indicators, corridors and an earlier release. Not to be changed."""
    plan = make_plan(STATES, FOUR, roles=(RegionRole.OBSERVED,), indicators=None, corridors=False,
                     study="state-signals", synthetic=False, label="REAL TEXTS, DRAWN REGIONS", regions_drawn=True)
    return make_content(plan, people=1800)


@cache
def many_content() -> dict[str, Any]:
    """Five countries, two of them small, in a rehearsal; a region of each of two is protected. Not to be changed."""
    sizes = {"XA": 27, "XB": 3, "XC": 2, "XD": 7, "XE": 7}
    regions = [f"{country}-{i:03d}" for country, number in sizes.items() for i in range(1, number + 1)]
    plan = make_plan(regions, (), corridors=False, rehearsal=True, protected=("XA-005", "XB-002"),
                     indicators=AreaLevel.REGION, roles=(RegionRole.ORIGIN, RegionRole.DESTINATION))
    return make_content(plan, people=1200)
