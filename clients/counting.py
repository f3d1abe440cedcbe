"""The partner's tables: what each person adds to them, then exact noise in every entry.

See `federation.statistics` for the layout and for how much of it one person moves, `clients.places` for where each
person counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clients.features import Prepared
from clients.node import NodeHome
from clients.places import Mention, Places, places
from clients.series import series_table
from federation.calibration import bin_edges, bins_of
from federation.exact import exact_logits
from federation.model import MultiTaskHead, model_arrays
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry
from federation.privacy.guarantee import partner_noise
from federation.privacy.noise import add_discrete_gaussian
from federation.randomness import RandomStream
from federation.statistics import LEVELS, IntArray, TableLayout
from federation.taxonomy import AreaLevel, Family, Indicator

_BLOCK_RECORDS = 4096
"""Records whose features are in memory together. A matter of memory alone."""


@dataclass(frozen=True)
class Scored:
    """What the model makes of a partner's records, by row.

    Attributes:
        flags: int8 `(N, 1 + T)`: 1 if the record was reviewed, and for each task 1 where the model flags it.
        bins: int16 `(N, T)`: bin of the score for each task, 0 where the plan has none.
    """

    flags: npt.NDArray[np.int8]
    bins: npt.NDArray[np.int16]


def true_tables(
    home: NodeHome, plan: StudyPlan, entry: RosterEntry, prepared: Prepared, model: MultiTaskHead
) -> IntArray:
    """Count people, without noise. Private: it never leaves this process.

    Where the plan has a series, who counts in it is noted on the disk (`clients.series`).
    """
    found, series = places(home, plan, prepared.frame), plan.statistics.series
    scored = _scored(plan, prepared, model, (row for place in found.values() for row in place.rows()))
    tally = _Tally(plan, entry, list(prepared.frame["indicators"]), scored)
    for place in found.values():
        tally.add(place)
    if series is not None:
        table = TableLayout(plan).table(tally.vector, Family.SERIES)
        table[...] = series_table(home, plan, series, found, scored.flags)
    return tally.vector


def noisy_tables(
    home: NodeHome, plan: StudyPlan, entry: RosterEntry, prepared: Prepared, model: MultiTaskHead,
    *, stream: RandomStream | None
) -> IntArray:
    """The tables with discrete Gaussian noise in every entry: all that the plan promises, or this partner's share.

    `stream` is None outside a rehearsal: the operating system draws the noise then.
    """
    vector, layout = true_tables(home, plan, entry, prepared, model), TableLayout(plan)
    for family, scale in partner_noise(plan).tables.items():
        table = layout.table(vector, family)
        table[...] = add_discrete_gaussian(table, scale, stream)
    return vector


def _scored(plan: StudyPlan, prepared: Prepared, model: MultiTaskHead, rows: Iterable[int]) -> Scored:
    """The records at `rows` under the model."""
    chosen = np.unique(np.fromiter(rows, dtype=np.int64))
    records, tasks = len(prepared.frame), len(plan.tasks)
    scored = Scored(flags=np.zeros((records, 1 + tasks), dtype=np.int8), bins=np.zeros((records, tasks), np.int16))
    # The model's own score, without the prevalence that this partner declares: see `StatisticsSpec.flag_threshold`.
    threshold, spec = plan.statistics.flag_threshold, plan.statistics.scores
    edges = None if spec is None else bin_edges(spec, model_arrays(model))
    for start in range(0, len(chosen), _BLOCK_RECORDS):
        some = chosen[start : start + _BLOCK_RECORDS]
        scores = exact_logits(model, prepared.inputs(some))
        scored.flags[some, 0] = 1
        scored.flags[some, 1:] = scores >= math.log(threshold / (1 - threshold))
        if edges is not None:
            scored.bins[some] = bins_of(scores, edges)
    return scored


class _Tally:
    """Adds people to the tables of one partner, each by no more than `federation.statistics` says."""

    def __init__(self, plan: StudyPlan, entry: RosterEntry, marks: list[dict[Indicator, int]],
                 scored: Scored) -> None:
        self._layout = layout = TableLayout(plan)
        self.vector = layout.empty()
        self._tables = {family: layout.table(self.vector, family) for family in layout.blocks}
        self._marks, self._scored = marks, scored
        self._tags = plan.statistics.indicators.tags if plan.statistics.indicators else ()
        self._own = [one.name for one in plan.roster].index(entry.name)
        # Position of the place that holds each region, by level; None where the plan has no such place.
        areas = layout.areas
        self._place_at = {level: [_position(areas.codes(level), areas.above(region, level)) for region in areas.regions]
                          for level in AreaLevel}
        self._level = plan.statistics.indicators.level if plan.statistics.indicators else AreaLevel.REGION

    def add(self, place: Places) -> None:
        """Count one person."""
        for mention in place.mentions:
            self._mention(mention)
        if place.corridor is not None:
            row, pair = place.corridor
            self._tables[Family.CORRIDORS][pair] += self._scored.flags[row]
        for task, (row, positive) in place.labelled.items():
            # Never both: one of them is in the other's price.
            if place.held_out:
                self._tables[Family.CONFUSION][task, int(positive), self._scored.flags[row, 1 + task]] += 1
            else:
                self._tables[Family.SCORES][task, int(positive), self._scored.bins[row, task]] += 1

    def _mention(self, mention: Mention) -> None:
        flags = self._scored.flags[mention.row]
        self._tables[Family.DOMINANCE][mention.region, mention.role, self._own] += 1
        for level, family in LEVELS.items():
            at = self._place_at[level][mention.region]
            if family in self._tables and at is not None:
                self._tables[family][at, mention.role] += flags
        marks = self._marks[mention.row]
        # Not looked for is not absent: only a record in which somebody looked for all of them can be in a mix.
        if self._tags and all(tag in marks for tag in self._tags):
            at = self._place_at[self._level][mention.region]
            seen = np.array([1, *(marks[tag] for tag in self._tags)], dtype=np.int64)
            for task, flag in enumerate(flags[1:]):
                self._tables[Family.INDICATORS][at, mention.role, task, flag] += seen


def _position(codes: tuple[str, ...], code: str | None) -> int | None:
    return None if code is None else codes.index(code)
