"""All published numbers of a release as equations about what its attacker does not know: true counts and noise.

Measured was t + n, true counts and noise, and every published number is a function of these. The functions are not
written down again, where a mistake of the code could be left out. They are found by trying: each unknown is moved by a
step that changes no word of the content (what is shown, and why something is not), and how each published number moves
is one entry of a matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from federation.areas import Areas
from federation.plan import StudyPlan
from federation.statistics import LEVELS, IntArray, TableLayout
from federation.taxonomy import AreaLevel, Family
from server.release.decide import Gated
from server.release.series import GatedSeries
from simulations.releases.attacks.classifier import features
from simulations.releases.attacks.worlds import content_of

FloatArray = npt.NDArray[np.float64]
STEPS = (32, -32, 8, -8, 1, -1)
SMALL = 1e-6
"""Singular values below this part of the largest are none."""


@dataclass(frozen=True)
class Contents:
    """Contents of noisy sums, each made once."""

    plan: StudyPlan
    _made: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    def of(self, values: IntArray) -> dict[str, Any]:
        key = values.tobytes()
        if key not in self._made:
            self._made[key] = content_of(self.plan, values)
        return self._made[key]


Publish = Callable[[Contents, IntArray, IntArray], dict[str, Any]]
"""From true counts and noise to a content."""


@dataclass(frozen=True)
class Equations:
    """The equations of one release. Its unknowns are the `L` true counts, then the noise in each."""

    contents: Contents
    truth: IntArray
    noise: IntArray
    publish: Publish

    @cached_property
    def layout(self) -> TableLayout:
        return TableLayout(self.contents.plan)

    @cached_property
    def point(self) -> IntArray:
        """Where everything is tried: true counts and noise."""
        return np.concatenate([self.truth, self.noise])

    def published(self, point: IntArray) -> tuple[FloatArray, list[str]]:
        """Numbers of a content, and the places of all its numbers and words."""
        half = len(self.truth)
        found = dict(features(self.publish(self.contents, point[:half], point[half:])))
        return np.array([value for name, value in found.items() if "=" not in name]), list(found)

    @cached_property
    def here(self) -> tuple[FloatArray, list[str]]:
        """`published` at `point`."""
        return self.published(self.point)

    @cached_property
    def matrix(self) -> FloatArray:
        """`(numbers, 2 L)`: how each published number moves with each unknown; 0 where no step is possible."""
        return np.array([self.column(unknown) for unknown in range(len(self.point))]).T

    def column(self, unknown: int) -> FloatArray:
        """One column of the matrix."""
        for step in STEPS:
            moved = self.point.copy()
            moved[unknown] += step
            numbers, names = self.published(moved)
            if names == self.here[1]:
                return np.asarray((numbers - self.here[0]) / step)
        return np.zeros(len(self.here[0]))

    @cached_property
    def margins(self) -> FloatArray:
        """`(sums, 2 L)`: true counts of a coarser place less those of its regions, which is 0."""
        areas, rows = Areas.of(self.contents.plan.statistics), []
        index = np.arange(len(self.truth))
        fine = self.layout.table(index, Family.REGIONS)
        for level, family in LEVELS.items():
            if level is AreaLevel.REGION or family not in self.layout.blocks:
                continue
            for code, entries in zip(areas.codes(level), self.layout.table(index, family), strict=True):
                inside = [i for i, region in enumerate(areas.regions) if areas.above(region, level) == code]
                for at in np.ndindex(entries.shape):
                    row = np.zeros(len(self.point))
                    row[entries[at]], row[fine[(inside, *at)]] = 1.0, -1.0
                    rows.append(row)
        return np.array(rows)

    def about(self, entries: IntArray) -> int:
        """How many independent equations hold for these measurements, once all others are known."""
        left = np.array([self.column(len(self.truth) + entry) for entry in entries.tolist()])
        return int(np.linalg.matrix_rank(left, tol=SMALL)) if left.size else 0

    def determined(self, sought: FloatArray) -> npt.NDArray[np.bool_]:
        """Which of these combinations of unknowns, `(K, 2 L)`, have one value alone: those in the row space."""
        _, size, basis = np.linalg.svd(np.vstack([self.matrix, self.margins]), full_matrices=False)
        basis = basis[size > SMALL * size.max(initial=1.0)]
        rest = sought - (sought @ basis.T) @ basis
        return np.asarray(np.linalg.norm(rest, axis=1) < SMALL**0.5)


def withheld_entries(layout: TableLayout, gated: Gated) -> IntArray:
    """Which entries of the vector are not published as measured."""
    hidden = np.zeros(layout.length, dtype=np.int64)
    for level, family in LEVELS.items():
        if family in layout.blocks:
            rows = gated.nodes.at(level)
            table = layout.table(hidden, family)
            table[..., 0], table[..., 1:] = np.isnan(gated.nodes.reviewed[rows]), np.isnan(gated.nodes.flagged[rows])
    layout.table(hidden, Family.DOMINANCE)[...] = 1
    if isinstance(gated.series, GatedSeries):
        layout.table(hidden, Family.SERIES)[...] = np.isnan(gated.series.running.counts[-1])
    for family, part in ((Family.INDICATORS, gated.indicators), (Family.CORRIDORS, gated.corridors)):
        if part is not None:
            layout.table(hidden, family)[...] = np.isnan(part.counts)
    return np.flatnonzero(hidden)
