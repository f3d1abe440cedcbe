"""Records as a node's counting sees them, without a store: random ones for property tests, and single ones by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from clients.features import Prepared
from federation.plan import StudyPlan
from federation.plan_statistics import AppearancesSpec, Corridor, IndicatorsSpec, ScoresSpec
from federation.taxonomy import AreaLevel, Indicator, LabelValue, RegionRole, Task
from tests.worlds import CORRIDORS, DAY, DIMENSION, REGIONS, SUPER_REGIONS, TAGS, make_statistics

START = date(2026, 4, 1)
BEFORE, AFTER = date(2026, 3, 31), date(2026, 7, 1)
COLUMNS = ["record_id", "unit_key", "has_person", "language", "observed_at", "regions", "labels", "indicators"]


@dataclass(frozen=True)
class Row:
    """One record; its id is made of everything in it and of `number`, so that equal records can be told apart."""

    person: str
    number: int = 0
    day: date = START
    regions: dict[RegionRole, str] = field(default_factory=dict)
    labels: dict[Task, LabelValue] = field(default_factory=dict)
    indicators: dict[Indicator, int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return sha256(repr(self).encode()).hexdigest()[:32]


def frame_of(rows: Sequence[Row]) -> pd.DataFrame:
    """The frame that `clients.features.Prepared` would hold, in the order of the rows."""
    return pd.DataFrame(
        [[row.id, row.person, True, "en", row.day, [(code, role) for role, code in row.regions.items()],
          row.labels, row.indicators] for row in rows], columns=COLUMNS)


def prepared_of(rows: Sequence[Row]) -> Prepared:
    """With features that depend on each record alone."""
    features = [np.random.default_rng(int(row.id[:8], 16)).normal(size=DIMENSION) / 8 for row in rows]
    return Prepared(frame=frame_of(rows), features=np.array(features, dtype=np.float32).reshape(len(rows), DIMENSION),
                    intercept_scale=0.1, unreadable=0, unattached=0)


def of_person(rows: Iterable[Row], person: str) -> list[Row]:
    return [row for row in rows if row.person == person]


def without_person(rows: Iterable[Row], person: str) -> list[Row]:
    """The same people with one of them replaced by a null person."""
    return [row for row in rows if row.person != person]


_codes = st.sampled_from((*REGIONS, "XA-09"))
_rows = st.builds(
    dict, day=st.sampled_from((BEFORE, START, date(2026, 5, 9), DAY, AFTER)),
    regions=st.fixed_dictionaries({}, optional=dict.fromkeys(RegionRole, _codes)),
    labels=st.fixed_dictionaries({}, optional=dict.fromkeys(Task, st.sampled_from(
        (LabelValue.POSITIVE, LabelValue.NEGATIVE, LabelValue.UNVERIFIED)))),
    indicators=st.one_of(st.fixed_dictionaries({tag: st.integers(0, 1) for tag in TAGS}),
                         st.fixed_dictionaries({}, optional=dict.fromkeys(TAGS, st.integers(0, 1)))))


@st.composite
def some_rows(draw: st.DrawFn, *, people: int = 6) -> list[Row]:
    """Records of up to so many people, a few each, of any date, place and label, in any order."""
    number_of = draw(st.one_of(st.just(people), st.integers(0, people)))
    rows = [Row(person=f"{person:032x}", number=number, **fields) for person in range(number_of)
            for number, fields in enumerate(draw(st.lists(_rows, min_size=1, max_size=4)))]
    return draw(st.permutations(rows))


COUNTRY_PAIR = (Corridor(origin="XA", destination="XA"),)


@st.composite
def some_tables(draw: st.DrawFn) -> dict[str, Any]:
    """Ways to count, for `tests.worlds.make_statistics`."""
    protected = draw(st.sampled_from(((), ("XA-03",), ("XA-02", "XA-09"))))
    super_regions = tuple(one.model_copy(update={"regions": left}) for one in SUPER_REGIONS
                          if (left := tuple(code for code in one.regions if code not in protected)))
    codes = {one.code for one in super_regions}
    pairs = tuple(pair for pair in CORRIDORS if {pair.origin, pair.destination} <= codes)
    if not draw(st.booleans()):
        super_regions, pairs = (), COUNTRY_PAIR
    levels = [level for level in AreaLevel if super_regions or level is not AreaLevel.SUPER_REGION]
    a_person = draw(st.integers(1, 3))
    return {
        "roles": draw(st.sampled_from((tuple(RegionRole), (RegionRole.ORIGIN, RegionRole.OBSERVED)))),
        "protected": protected, "super_regions": super_regions,
        "corridors": draw(st.sampled_from((pairs, pairs[:1], COUNTRY_PAIR, ()))),
        "indicators": draw(st.one_of(st.none(), st.builds(
            IndicatorsSpec, level=st.sampled_from(levels), tags=st.sampled_from((TAGS, TAGS[:1]))))),
        "scores": draw(st.sampled_from((None, ScoresSpec(bins=4, reach=0.5), ScoresSpec(bins=9, reach=2.0)))),
        "max_roles_per_person": draw(st.integers(1, 2)),
        "appearances": AppearancesSpec(releases_a_year=3, releases_per_person=a_person,
                                       release_of_year=draw(st.integers(1, 3)))}


def counting(plan: StudyPlan, *, holdout_share: float | None = None, **statistics: Any) -> StudyPlan:
    """`plan` with another way to count. Its price is not that which it states."""
    share = plan.holdout_share if holdout_share is None else holdout_share
    return plan.model_copy(update={"statistics": make_statistics(**statistics), "holdout_share": share})
