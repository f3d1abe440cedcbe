"""The measured numbers as arrays: every counted place in every role, whatever its level.

A *node* is a place in a role, a *cell* a node's figures for one task. Places come in the order of `Areas.all`:
countries, super-regions, regions. Where a number is withheld its entry is NaN, and everything after the gate works on
such arrays alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federation.areas import Area
from federation.plan import StudyPlan
from federation.statistics import LEVELS, Measurements, TableLayout
from federation.taxonomy import AreaLevel, Family

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Counts of `N` places in `R` roles for `T` tasks.

    Attributes:
        areas: the places.
        parent: `(N,)`, index of the next coarser place, -1 for a country.
        variance: `(N,)`, of the noise in each count of the place.
        reviewed: `(N, R)`.
        flagged: `(N, R, T)`.
    """

    areas: tuple[Area, ...]
    parent: npt.NDArray[np.int64]
    variance: FloatArray
    reviewed: FloatArray
    flagged: FloatArray

    @classmethod
    def empty(cls, plan: StudyPlan, variances: Mapping[Family, float]) -> Nodes:
        """Nodes of a plan without any number: all NaN."""
        areas = TableLayout(plan).areas.all()
        at = {area.code: i for i, area in enumerate(areas)}
        shape = (len(areas), len(plan.statistics.roles))
        return cls(areas=areas, parent=np.array([at.get(area.parent or "", -1) for area in areas]),
                   variance=np.array([variances[LEVELS[area.level]] for area in areas]),
                   reviewed=np.full(shape, np.nan), flagged=np.full((*shape, len(plan.tasks)), np.nan))

    @classmethod
    def of(cls, measurements: Measurements) -> Nodes:
        """All that was measured."""
        nodes = cls.empty(measurements.layout.plan, measurements.variances)
        for level, family in LEVELS.items():
            rows = nodes.at(level)
            if len(rows):
                table = measurements.table(family).astype(np.float64)
                nodes.reviewed[rows], nodes.flagged[rows] = table[..., 0], table[..., 1:]
        return nodes

    def at(self, level: AreaLevel) -> npt.NDArray[np.int64]:
        """Indices of the places of a level."""
        return np.array([i for i, area in enumerate(self.areas) if area.level is level], dtype=np.int64)

    def countries(self) -> npt.NDArray[np.int64]:
        """`(N,)`: for each place the index of its country, its own for a country."""
        found = np.arange(len(self.areas))
        while (above := np.where(self.parent[found] >= 0, self.parent[found], found)).tolist() != found.tolist():
            found = above
        return found

    def families_complete(self, shown: BoolArray) -> BoolArray:
        """`(N, …)`: whether a place and all that lie directly below it are in `shown`, and some do."""
        children = np.zeros(len(self.areas), dtype=np.int64)
        below = np.zeros(shown.shape, dtype=np.int64)
        inner = self.parent >= 0
        np.add.at(children, self.parent[inner], 1)
        np.add.at(below, self.parent[inner], shown[inner].astype(np.int64))
        wide = children.reshape(-1, *[1] * (shown.ndim - 1))
        return np.asarray(shown & (wide > 0) & (below == wide))
