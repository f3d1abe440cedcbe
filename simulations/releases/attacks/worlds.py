"""What an attack looks at: a plan, what other partners hold, and noisy sums and contents made of a partner's data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any
from unittest.mock import patch

import numpy as np

from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.plan_statistics import AppearancesSpec, IndicatorsSpec, SeriesSpec, StatisticsSpec, SuperRegion
from federation.privacy.guarantee import partner_noise, price, table_variances
from federation.privacy.noise import add_discrete_gaussian
from federation.privacy.series import SCALE
from federation.randomness import RandomStream
from federation.statistics import LEVELS, IntArray, Measurements, TableLayout
from federation.taxonomy import AreaLevel, Family, Indicator, RegionRole, Task
from server.release import decide, derive, promise
from server.release.calibration import Calibration
from server.release.content import Facts, build_content
from server.release.intervals import Interval, corrected_interval, lift_interval
from simulations.releases.plans import all_routes, priced_plan

REGIONS = ("XA-001", "XA-002", "XA-003", "XA-004", "XA-005")
PROTECTED = REGIONS[4:]
PARTS = (SuperRegion(code="XA:east", name="East", regions=REGIONS[:2]),
         SuperRegion(code="XA:west", name="West", regions=REGIONS[2:4]))
ROLES = (RegionRole.ORIGIN, RegionRole.DESTINATION)
TAGS = (Indicator.DECEPTIVE_OFFER, Indicator.DOCUMENT_CONTROL)
FINE, COARSE = 20.0, 30.0
_SCALES: dict[Family, float] = {
    **{family: FINE if family in (Family.REGIONS, Family.CONFUSION) else COARSE
       for family in Family if family is not Family.SCORES}, Family.SERIES: COARSE * SCALE}
PARTNERS = 3
DELTAS = (1e-6, 1e-3, 1e-2)
"""The claim of a plan is a whole curve: at a larger delta, fewer releases show that it is broken."""
_RELEASED = date(2026, 8, 1)
_MOST_REMEMBERED = 4096


def attack_plan(*, aggregation: Aggregation = Aggregation.LOCAL, releases_per_person: int = 4,
                release_of_year: int = 2) -> StudyPlan:
    """A small plan with every table, of an epsilon of about 0.9 at 1e-6."""
    return priced_plan(
        StatisticsSpec(
            period_start=date(2026, 4, 1), regions=REGIONS, roles=ROLES, protected=PROTECTED, super_regions=PARTS,
            indicators=IndicatorsSpec(level=AreaLevel.COUNTRY, tags=TAGS), corridors=all_routes(PARTS),
            series=SeriesSpec(name="attack", index=1, level=AreaLevel.COUNTRY), aggregation=aggregation,
            max_roles_per_person=2, flag_threshold=0.5,
            noise_scales=_SCALES,
            appearances=AppearancesSpec(releases_a_year=4, releases_per_person=releases_per_person,
                                        release_of_year=release_of_year)),
        tasks=(Task.RECRUITMENT,), partners=PARTNERS, study="attack")


def claims(plan: StudyPlan) -> dict[float, float]:
    """Epsilon that the plan's tables are claimed to cost, by delta."""
    return {delta: price(plan, partners=(), delta=delta).statistics for delta in DELTAS}


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """Noisy sums of one partner's tables and nothing else: the worst case, in which all others are known.

    Attributes:
        plan: says how much noise.
        factor: by family, what the noise scale is multiplied with; 1 unless somebody made a mistake.
    """

    plan: StudyPlan
    factor: Mapping[Family, float] = field(default_factory=dict)

    @cached_property
    def layout(self) -> TableLayout:
        return TableLayout(self.plan)

    @cached_property
    def shares(self) -> int:
        """How many partners' noise is in a sum that is seen."""
        return 1 if self.plan.statistics.aggregation is Aggregation.LOCAL else self.plan.noise_shares

    def scale(self, family: Family) -> float:
        """Of one partner's noise."""
        return partner_noise(self.plan).tables[family] * self.factor.get(family, 1.0)

    def releases(self, vector: IntArray, count: int, stream: RandomStream, columns: IntArray | None = None) -> IntArray:
        """`(count, columns)`: so many independent noisy vectors, or these entries of them."""
        chosen = np.arange(len(vector)) if columns is None else columns
        noisy = np.tile(vector[chosen], (count, 1))
        for family, block in self.layout.blocks.items():
            own = np.flatnonzero((block.start <= chosen) & (chosen < block.start + block.size))
            for _ in range(self.shares if len(own) and self.scale(family) > 0 else 0):
                noisy[:, own] = add_discrete_gaussian(noisy[:, own], self.scale(family), stream)
        return noisy

    def spread(self) -> np.ndarray:
        """Standard deviation of the noise in each entry, as whoever attacks knows it."""
        found = np.empty(self.layout.length)
        for family, block in self.layout.blocks.items():
            found[block.start : block.start + block.size] = self.scale(family) * self.shares**0.5
        return found


def background(plan: StudyPlan, people: tuple[int, ...] = (3000, 1200, 500, 260), rate: float = 0.3) -> IntArray:
    """True sums of everybody else: so many in each region and role, of whom this share is flagged."""
    layout = TableLayout(plan)
    vector = layout.empty()
    for level, family in LEVELS.items():
        codes = layout.areas.codes(level)
        for number, region in zip(people, layout.areas.regions, strict=True):
            at = codes.index(str(layout.areas.above(region, level)))
            layout.table(vector, family)[at] += [number, int(rate * number)]
    layout.table(vector, Family.CONFUSION)[0] = [[2850, 150], [100, 900]]
    layout.table(vector, Family.DOMINANCE)[...] = np.array(people)[:, None, None] // PARTNERS
    mix = layout.table(vector, Family.INDICATORS)
    mix[..., 0, :], mix[..., 1, :] = [3000, 300, 600], [1400, 420, 280]
    layout.table(vector, Family.CORRIDORS)[...] = [[900, 300], [200, 70], [150, 30], [600, 10]]
    layout.table(vector, Family.SERIES)[...] = SCALE * layout.table(vector, Family.COUNTRIES)
    return vector


def measurements(plan: StudyPlan, values: IntArray) -> Measurements:
    """As the coordinator would hold them, with every partner in the sum."""
    names = tuple(entry.name for entry in plan.roster)
    return Measurements(layout=TableLayout(plan), values=values, partners=names,
                        variances=table_variances(plan, len(names)))


def content_of(plan: StudyPlan, values: IntArray) -> dict[str, Any]:
    """The content of a release of these noisy sums."""
    found = measurements(plan, values)
    return build_content(Facts(plan=plan, partners=found.partners, model_sha256="0" * 64, released_on=_RELEASED,
                               previous=None, commitment="0" * 64), found)


@contextmanager
def quick() -> Iterator[None]:
    """Contents in less time, and the same: without their price, which is one for all, and each interval found once."""
    rates, lifts = _remembered(corrected_interval), _remembered(lift_interval)
    with (patch.object(promise, "privacy", lambda plan, partners: {"partners": partners, "study": plan.study}),
          patch.multiple(decide, corrected_interval=rates, lift_interval=lifts),
          patch.multiple(derive, corrected_interval=rates, lift_interval=lifts)):
        yield


def _remembered(interval: Callable[..., Interval]) -> Callable[..., Interval]:
    known: dict[tuple[bytes, ...], Interval] = {}

    def find(*args: Any, **named: Any) -> Interval:
        key = tuple(part for value in (*args, *named.values()) for part in _bytes(value))
        if key not in known:
            if len(known) >= _MOST_REMEMBERED:
                known.clear()
            known[key] = interval(*args, **named)
        return known[key]

    return find


def _bytes(value: Any) -> Iterator[bytes]:
    known = isinstance(value, Calibration)
    for part in (value.tp, value.fn, value.fp, value.tn, value.noise_variance) if known else (value,):
        array = np.asarray(part, dtype=np.float64)
        yield str(array.shape).encode()
        yield array.tobytes()
