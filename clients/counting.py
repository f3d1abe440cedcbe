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


@dataclass(frozen=True)
class Scored:
    """What the model makes of one record.

    Attributes:
        flags: int64 `(1 + T,)`: 1 as it was reviewed, and for each task 1 where the model flags it.
        bins: int64 `(T,)`: bin of the score for each task, 0 where the plan has none.
    """

    flags: npt.NDArray[np.int64]
    bins: npt.NDArray[np.int64]


def true_tables(
    home: NodeHome, plan: StudyPlan, entry: RosterEntry, prepared: Prepared, model: MultiTaskHead
) -> IntArray:
    """Count people, without noise. Private: it never leaves this process.

    Where the plan has a series, who counts in it is noted on the disk (`clients.series`).
    """
    found, series = places(home, plan, prepared.frame), plan.statistics.series
    scored = _scored(plan, prepared, model, (row for place in found.values() for row in place.rows()))
    flags = {row: one.flags for row, one in scored.items()}
    tally = _Tally(plan, entry, [dict(marks) for marks in prepared.frame["indicators"]], scored)
    for place in found.values():
        tally.add(place)
    if series is not None:
        TableLayout(plan).table(tally.vector, Family.SERIES)[...] = series_table(home, plan, series, found, flags)
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


def _scored(plan: StudyPlan, prepared: Prepared, model: MultiTaskHead, rows: Iterable[int]) -> dict[int, Scored]:
    """The records at `rows` under the model."""
    chosen = np.unique(np.fromiter(rows, dtype=np.int64))
    if not len(chosen):
        return {}
    # The model's own score, without the prevalence that this partner declares: see `StatisticsSpec.flag_threshold`.
    threshold, scores = plan.statistics.flag_threshold, exact_logits(model, prepared.inputs(chosen))
    over = scores >= math.log(threshold / (1 - threshold))
    counts = np.hstack([np.ones((len(chosen), 1), dtype=np.int64), over.astype(np.int64)])
    spec = plan.statistics.scores
    bins = (np.zeros(scores.shape, dtype=np.int64) if spec is None
            else bins_of(scores, bin_edges(spec, model_arrays(model))))
    return {row: Scored(flags, own) for row, flags, own in zip(chosen.tolist(), counts, bins, strict=True)}


class _Tally:
    """Adds people to the tables of one partner, each by no more than `federation.statistics` says."""

    def __init__(self, plan: StudyPlan, entry: RosterEntry, marks: list[dict[Indicator, int]],
                 scored: dict[int, Scored]) -> None:
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
            self._tables[Family.CORRIDORS][pair] += self._scored[row].flags
        for task, (row, positive) in place.labelled.items():
            # Never both: one of them is in the other's price.
            if place.held_out:
                self._tables[Family.CONFUSION][task, int(positive), self._scored[row].flags[1 + task]] += 1
            else:
                self._tables[Family.SCORES][task, int(positive), self._scored[row].bins[task]] += 1

    def _mention(self, mention: Mention) -> None:
        flags = self._scored[mention.row].flags
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
