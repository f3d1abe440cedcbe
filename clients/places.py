"""Where each person counts in the tables of a study. No torch and no features, as in `clients.selection`.

Every choice is keyed by the partner's secret and made from one person's records alone, so nobody's presence moves
anybody else. A person counts

- in a release at all only if it is one of the person's own: `releases_per_person` of a year's `releases_a_year`, drawn
  once for the whole year, so that the bound holds whatever is taken in or erased in between;
- in at most `max_roles_per_person` roles and one region of each, through records of the period;
- in at most one corridor, through one record of the period that has both ends;
- for each task, through one labelled record: in the confusion table if the person was held out of training, in the
  table of the scores, if the plan has one, if not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from clients.node import NodeHome
from federation.areas import Areas
from federation.plan import StudyPlan
from federation.taxonomy import AreaLevel, LabelValue, RegionRole


@dataclass(frozen=True, kw_only=True)
class Mention:
    """One person in one cell: the row of the record, and the positions of region and role in the plan's lists."""

    row: int
    region: int
    role: int


@dataclass(kw_only=True)
class Places:
    """Where one person counts.

    Attributes:
        mentions: the cells of the tables by place.
        corridor: row of the record and position of the pair in the plan's list, or None.
        labelled: by position of the task, row of the record and whether its label is positive.
        held_out: whether the person was kept out of training.
    """

    mentions: list[Mention] = field(default_factory=list)
    corridor: tuple[int, int] | None = None
    labelled: dict[int, tuple[int, bool]] = field(default_factory=dict)
    held_out: bool = False

    def rows(self) -> Iterator[int]:
        """Every record that is looked at for this person, maybe more than once."""
        yield from (mention.row for mention in self.mentions)
        if self.corridor is not None:
            yield self.corridor[0]
        yield from (row for row, _ in self.labelled.values())


def places(home: NodeHome, plan: StudyPlan, frame: pd.DataFrame) -> dict[str, Places]:
    """Where each person counts, by person; people who count nowhere are not in it.

    Args:
        home: holds the secret of the choices.
        plan: says what is counted and how often.
        frame: records that take part (`RecordStore.frame` without what the policy and the encoder leave out).
    """
    chooser = _Chooser(home, plan, frame)
    people: dict[str, list[int]] = {}
    for row, unit in enumerate(frame["unit_key"]):
        people.setdefault(str(unit), []).append(row)
    found = {unit: chooser.places(unit, rows) for unit, rows in people.items() if chooser.appears(unit)}
    return {unit: place for unit, place in found.items() if next(place.rows(), None) is not None}


class _Chooser:
    """The choices of one plan at one partner."""

    def __init__(self, home: NodeHome, plan: StudyPlan, frame: pd.DataFrame) -> None:
        spec, areas = plan.statistics, Areas.of(plan.statistics)
        self._plan, self._spec = plan, spec
        # As lists: a hundred thousand people are looked up cell by cell.
        self._record, self._observed, self._regions, self._labels = (
            list(frame[column]) for column in ("record_id", "observed_at", "regions", "labels"))
        self._order = home.keyed(f"table/{plan.sha256}")
        self._holdout = home.keyed("holdout")
        self._appearances = home.keyed(f"appearances/{plan.period_end.year}/{spec.appearances.releases_a_year}")
        self._region_at = {code: i for i, code in enumerate(areas.regions)}
        self._role_at = {role: i for i, role in enumerate(spec.roles)}
        self._pair_at = {(pair.origin, pair.destination): i for i, pair in enumerate(spec.corridors)}
        # All ends are of one level (`StatisticsSpec`).
        coarse = AreaLevel.SUPER_REGION if any(":" in pair.origin for pair in spec.corridors) else AreaLevel.COUNTRY
        self._end_of = {code: areas.above(code, coarse) for code in areas.regions}

    def appears(self, unit: str) -> bool:
        """Whether this release is one of those that the person may count in."""
        spec = self._spec.appearances
        if spec.releases_per_person == spec.releases_a_year:
            return True
        year = sorted(range(1, spec.releases_a_year + 1),
                      key=lambda release: self._appearances.value(unit, str(release)))
        return spec.release_of_year in year[: spec.releases_per_person]

    def places(self, unit: str, rows: list[int]) -> Places:
        """Where the person counts whose records are in `rows`."""
        start, end = self._spec.period_start, self._plan.period_end
        current = [row for row in rows if start <= self._observed[row] <= end]
        found = Places(mentions=self._mentions(current), corridor=self._corridor(current))
        found.held_out = self._holdout.value(unit) < self._plan.holdout_share
        if found.held_out or self._spec.scores is not None:
            found.labelled = self._labelled(rows)
        return found

    def _mentions(self, rows: list[int]) -> list[Mention]:
        """The mentions with the smallest tickets, one a role, in as many roles as a person may count in."""
        tickets = sorted(
            (self._order.value(self._record[row], code, role), row, self._region_at[code], self._role_at[role])
            for row in rows for code, role in self._regions[row]
            if code in self._region_at and role in self._role_at)
        by_role: dict[int, Mention] = {}
        for _, row, region, role in tickets:
            if role not in by_role and len(by_role) < self._spec.max_roles_per_person:
                by_role[role] = Mention(row=row, region=region, role=role)
        return list(by_role.values())

    def _corridor(self, rows: list[int]) -> tuple[int, int] | None:
        tickets = []
        for row in rows if self._pair_at else ():
            ends = {role: self._end_of.get(code) for code, role in self._regions[row]}
            pair = self._pair_at.get((ends.get(RegionRole.ORIGIN) or "", ends.get(RegionRole.DESTINATION) or ""))
            if pair is not None:
                tickets.append((self._order.value("corridor", self._record[row]), row, pair))
        return min(tickets)[1:] if tickets else None

    def _labelled(self, rows: list[int]) -> dict[int, tuple[int, bool]]:
        """One labelled record for each task, of any date: how often the model errs is no matter of the period."""
        found: dict[int, tuple[int, bool]] = {}
        for column, task in enumerate(self._plan.tasks):
            tickets = [(self._order.value("confusion", task, self._record[row]), row) for row in rows
                       if self._labels[row].get(task) in (LabelValue.POSITIVE, LabelValue.NEGATIVE)]
            if tickets:
                row = min(tickets)[1]
                found[column] = row, self._labels[row][task] is LabelValue.POSITIVE
        return found
