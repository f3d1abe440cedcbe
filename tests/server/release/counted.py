"""A small federation whose noisy numbers may all be shown, and the means to change one of them.

Two countries: `XA` with two super-regions of three regions each and one protected region, `XB` with one super-region of
two. Four partners add noise of scale 20 to the tables of regions, confusion and corridors, 40 to the others: standard
deviations of 40 and 80 in the sum. A series is asked for; its noise is 20 people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np

from federation.areas import Areas
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
from federation.privacy.series import SCALE
from federation.statistics import LEVELS, IntArray, Measurements, TableLayout
from federation.taxonomy import AreaLevel, Family, Indicator, PartnerKind, RegionRole, Task
from server.release.content import Facts, build_content
from server.release.decide import Gated, apply_gate

REGIONS = ("XA-01", "XA-02", "XA-03", "XA-04", "XA-05", "XA-06", "XA-09", "XB-01", "XB-02")
PROTECTED = ("XA-09",)
NORTH = SuperRegion(code="XA:north", name="North", regions=REGIONS[:3])
SOUTH = SuperRegion(code="XA:south", name="South", regions=REGIONS[3:6])
WHOLE = SuperRegion(code="XB:whole", name="Whole", regions=REGIONS[7:])
ROLES = (RegionRole.ORIGIN, RegionRole.DESTINATION)
TASKS = (Task.RECRUITMENT, Task.DISTRESS)
TAGS = (Indicator.DECEPTIVE_OFFER, Indicator.DOCUMENT_CONTROL)
KINDS = (PartnerKind.PLATFORM, PartnerKind.NGO, PartnerKind.AGENCY, PartnerKind.NGO)
ROUTES = (Corridor(origin="XA:north", destination="XA:south"), Corridor(origin="XA:south", destination="XB:whole"))
FINE, COARSE = 20.0, 40.0
SCALES = {family: FINE if family in (Family.REGIONS, Family.CONFUSION, Family.CORRIDORS) else COARSE
          for family in Family if family is not Family.SCORES} | {Family.SERIES: FINE * SCALE}
RULE = ReleaseSpec(
    minimum_count=11, false_publication=0.01, minimum_partners=3, minimum_kinds=2, most_of_one_partner=0.7,
    least_youden=0.3, band_factor=2.0, embargo_days=30, signatures=2,
    signers=(Signer(name="one", public_key="a" * 64), Signer(name="two", public_key="b" * 64)))


def make_plan(
    *, coverage: Sequence[Sequence[str]] = (REGIONS,) * 4,
    super_regions: tuple[SuperRegion, ...] = (NORTH, SOUTH, WHOLE), indicators: AreaLevel | None = AreaLevel.COUNTRY,
    corridors: tuple[Corridor, ...] = ROUTES,
    roles: tuple[RegionRole, ...] = ROLES, tasks: tuple[Task, ...] = TASKS, regions: tuple[str, ...] = REGIONS,
    protected: tuple[str, ...] = PROTECTED, scales: Mapping[Family, float] = SCALES, quarter: int = 2,
    rule: Mapping[str, Any] | None = None, series: SeriesSpec | None = None, **changes: Any,
) -> StudyPlan:
    """A plan with one partner for each entry of `coverage`."""
    corridors = corridors if super_regions else ()
    families = counted_families(super_regions=bool(super_regions), indicators=indicators is not None,
                                corridors=bool(corridors), series=series is not None)
    fields: dict[str, Any] = {
        "study": "two-countries", "label": "SYNTHETIC", "synthetic": True, "regions_drawn": False, "rehearsal": False,
        "purpose": "Check what is shown of numbers that are made up.", "tasks": tasks,
        "period_end": date(2026, 3 * quarter, 30),
        "roster": tuple(
            RosterEntry(name=f"partner-{i}", kind=KINDS[i % 4], slots=4096, regions=tuple(covered),
                        declared_prevalence=dict.fromkeys(tasks, 0.05), public_key=f"{i:064x}")
            for i, covered in enumerate(coverage)),
        "encoder": EncoderSpec(name="hashed-ngrams", version="1", fingerprint="0" * 64, dimension=64),
        "model": ModelSpec(hidden_units=None, intercept_scale=0.25, initial_seed=0, start=None),
        "training": TrainingSpec(aggregation=Aggregation.LOCAL, robust=None, rounds=1, local_steps=1, learning_rate=1.0,
                                 weight_decay=0.0, averaged_share=1.0, sampling_probability=1.0, l2_clip_norm=1.0,
                                 noise_multiplier=4.0, max_records_per_person=1),
        "statistics": StatisticsSpec(
            period_start=date(2026, 3 * quarter - 2, 1), regions=regions, roles=roles, protected=protected,
            super_regions=super_regions, corridors=corridors, series=series, aggregation=Aggregation.LOCAL,
            indicators=IndicatorsSpec(level=indicators, tags=TAGS) if indicators else None,
            noise_scales={family: scales[family] for family in families}, max_roles_per_person=1, flag_threshold=0.5,
            appearances=AppearancesSpec(releases_a_year=4, releases_per_person=4, release_of_year=quarter)),
        "release": RULE.model_copy(update=dict(rule or {})),
        "privacy": PrivacyClaim(delta=1e-6, training_epsilon=2.0, statistics_epsilon=2.0, total_epsilon=3.0),
        "secure_aggregation": None, "conduct": ConductSpec(quorum=1, stage_deadline_seconds=60.0), "holdout_share": 0.2,
    }
    return StudyPlan(**(fields | changes))


@dataclass(frozen=True, kw_only=True)
class World:
    """Noisy sums under a plan."""

    plan: StudyPlan
    values: IntArray

    @property
    def layout(self) -> TableLayout:
        return TableLayout(self.plan)

    def table(self, family: Family) -> IntArray:
        return self.layout.table(self.values, family)

    def but(self, family: Family, index: Any, value: Any) -> World:
        """The same with other numbers in one family."""
        changed = replace(self, values=self.values.copy())
        changed.table(family)[index] = value
        return changed

    def under(self, plan: StudyPlan) -> World:
        """The same numbers under a plan of the same layout."""
        return replace(self, plan=plan)

    @property
    def partners(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.plan.roster)

    def measurements(self) -> Measurements:
        return Measurements(layout=self.layout, values=self.values, partners=self.partners,
                            variances=table_variances(self.plan, len(self.partners)))

    def gated(self) -> Gated:
        return apply_gate(self.measurements())

    def facts(self, previous: dict[str, Any] | None = None, commitment: str = "c" * 64) -> Facts:
        return Facts(plan=self.plan, partners=self.partners, model_sha256="d" * 64, released_on=date(2027, 2, 1),
                     previous=previous, commitment=commitment)

    def content(self, previous: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
        return build_content(self.facts(previous, **facts), self.measurements())


def rich(plan: StudyPlan, *, people: int = 2000, rate: float = 0.15) -> World:
    """Numbers of which none is withheld: so many people in each region and role, and this share of them flagged."""
    layout = TableLayout(plan)
    world = World(plan=plan, values=layout.empty())
    areas = Areas.of(plan.statistics)
    for level, family in LEVELS.items():
        for i, code in enumerate(areas.codes(level) if family in layout.blocks else ()):
            parts = sum(areas.above(region, level) == code for region in areas.regions)
            world.table(family)[i, ..., 0], world.table(family)[i, ..., 1:] = parts * people, parts * int(people * rate)
    world.table(Family.CONFUSION)[...] = [[1900, 100], [100, 900]]
    world.table(Family.DOMINANCE)[...] = people // len(plan.roster)
    if Family.INDICATORS in layout.blocks:
        world.table(Family.INDICATORS)[..., 0, :] = [8000, *[800] * len(TAGS)]
        world.table(Family.INDICATORS)[..., 1, :] = [1500, *[450] * len(TAGS)]
    if Family.CORRIDORS in layout.blocks:
        world.table(Family.CORRIDORS)[...] = [900, *[300] * len(plan.tasks)]
    return world


def noisy(plan: StudyPlan, seed: int, *, people: float = 1200.0, spread: float = 1.0) -> World:
    """Drawn numbers of very different sizes, with noise: much of it is withheld, for every reason."""
    rng = np.random.default_rng(seed)
    world = rich(plan)
    values = world.values * rng.lognormal(np.log(people / 2000), spread, world.values.shape)
    for family in (family for family in LEVELS.values() if family in world.layout.blocks):
        table = world.layout.table(values, family)
        table[..., 1:] = rng.beta(2.0, 8.0, table[..., 1:].shape) * table[..., :1]
    confusion = world.layout.table(values, Family.CONFUSION)
    confusion[...] = world.table(Family.CONFUSION) * rng.lognormal(0.0, 1.5, (len(plan.tasks), 1, 1))
    for family, block in world.layout.blocks.items():
        spread = 2 * plan.statistics.noise_scales[family]
        world.layout.table(values, family)[...] += rng.normal(0.0, spread, block.shape)
    return replace(world, values=np.rint(values).astype(np.int64))


def free_of_charge(plan: StudyPlan, partners: int) -> dict[str, Any]:
    """Instead of `promise.privacy`, which takes seconds for each plan."""
    return {"partners": partners, "appearances": plan.statistics.appearances.model_dump(mode="json")}


def row(rows: Sequence[dict[str, Any]], *named: object) -> dict[str, Any]:
    """The row of a content whose first entries are these, where it has them: area, role, task and so on."""
    found = [each for each in rows if set(map(str, named)) <= {str(value) for value in each.values()
                                                                if isinstance(value, str)}]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows of {named}")
    return found[0]
