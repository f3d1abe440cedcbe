"""Reconstruction: what follows about withheld and true numbers from everything that a release publishes.

Unknown to the attacker are the true counts t and the noise n of every entry; measured was t + n. Every published number
is a function of these. Here the functions are not written down again, where a mistake of the code could be left out:
they are found by trying. Each unknown is moved by a step that changes no word of the content (what is shown, and why
something is not), and how each published number moves is one entry of a matrix of equations. With the sums that hold
among true counts of regions, super-regions and countries this gives

- how many independent equations hold for the withheld measurements: none, if nothing published rests on them;
- which withheld measurements, and which true counts, the equations determine (the null space of the matrix);
- by linear programming, how far each of them is bounded, true counts being 0 and more, flagged people being reviewed
  people, and what is withheld as too little being less than the threshold. Numbers are whole: a range below 1 is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from federation.areas import Areas
from federation.plan import StudyPlan
from federation.privacy.noise import REACH
from federation.statistics import LEVELS, IntArray, TableLayout
from federation.taxonomy import AreaLevel, Family
from server.release.decide import Gated, thresholds_of
from server.release.gate import Withheld
from simulations.releases.attacks.classifier import features
from simulations.releases.attacks.worlds import Mechanism, content_of, measurements

FloatArray = npt.NDArray[np.float64]
Publish = Callable[[StudyPlan, IntArray, IntArray], dict[str, Any]]
"""From true counts and noise to a content."""
_STEPS = (32, -32, 8, -8, 1, -1)
_ROUNDED = 0.0051
"""Published numbers are rounded to two decimals or finer."""
_TOLERANCE = 1e-6


def honest(plan: StudyPlan, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """What is published."""
    return content_of(plan, truth + noise)


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What an attacker has found out exactly.

    Attributes:
        equations: independent ones that hold for withheld measurements alone.
        measurements, truths: withheld measurements and true counts that the equations determine.
        bounded: those that are bounded to one whole number, though no equation determines them.
        narrowest: the smallest range among the withheld measurements and true counts.
        withheld: how many measurements are.
    """

    equations: int
    measurements: int
    truths: int
    bounded: int
    narrowest: float
    withheld: int

    @property
    def any(self) -> bool:
        return bool(self.equations or self.measurements or self.truths or self.bounded)


@dataclass(frozen=True)
class Solver:
    """All published numbers of one release as equations about its unknowns.

    The unknowns are the true counts, then the noise: `2 L` of them for a vector of `L` entries.
    """

    plan: StudyPlan
    truth: IntArray
    noise: IntArray
    publish: Publish

    @cached_property
    def layout(self) -> TableLayout:
        return TableLayout(self.plan)

    def _published(self, point: IntArray) -> tuple[dict[str, float], set[str]]:
        """Numbers by their place, and words."""
        half = len(self.truth)
        found = dict(features(self.publish(self.plan, point[:half], point[half:])))
        words = {name for name in found if "=" in name}
        return {name: value for name, value in found.items() if name not in words}, words

    @cached_property
    def _point(self) -> IntArray:
        return np.concatenate([self.truth, self.noise])

    @cached_property
    def _here(self) -> tuple[dict[str, float], set[str]]:
        return self._published(self._point)

    @cached_property
    def names(self) -> list[str]:
        """Places of the published numbers."""
        return list(self._here[0])

    @cached_property
    def values(self) -> FloatArray:
        return np.array(list(self._here[0].values()))

    @cached_property
    def matrix(self) -> FloatArray:
        """`(numbers, 2 L)`: how each published number moves with each unknown; nothing where no step is possible."""
        return np.array([self._column(unknown) for unknown in range(len(self._point))]).T

    def _column(self, unknown: int) -> FloatArray:
        for step in _STEPS:
            moved = self._point.copy()
            moved[unknown] += step
            numbers, words = self._published(moved)
            if words == self._here[1]:
                return (np.array(list(numbers.values())) - self.values) / step
        return np.zeros(len(self.values))

    @cached_property
    def affine(self) -> npt.NDArray[np.bool_]:
        """`(numbers,)`: which numbers follow their equation also far from here."""
        fits, rng = np.ones(len(self.values), dtype=bool), np.random.default_rng(1)
        for _ in range(4):
            step = rng.integers(-2, 3, len(self._point))
            numbers, words = self._published(self._point + step)
            if words == self._here[1]:
                fits &= np.abs(np.array(list(numbers.values())) - self.values - self.matrix @ step) < 2 * _ROUNDED
        return fits

    @cached_property
    def margins(self) -> FloatArray:
        """`(sums, 2 L)`: true counts of a coarser place less those of its regions, which is 0."""
        areas, rows = Areas.of(self.plan.statistics), []
        index = np.arange(len(self.truth))
        fine = self.layout.table(index, Family.REGIONS)
        for level, family in LEVELS.items():
            if level is AreaLevel.REGION or family not in self.layout.blocks:
                continue
            for code, entries in zip(areas.codes(level), self.layout.table(index, family), strict=True):
                inside = [i for i, region in enumerate(areas.regions) if areas.above(region, level) == code]
                for at in np.ndindex(entries.shape):
                    row = np.zeros(len(self._point))
                    row[entries[at]], row[fine[(inside, *at)]] = 1.0, -1.0
                    rows.append(row)
        return np.array(rows)

    def recovered(self, gated: Gated) -> Recovered:
        """Everything that follows; `gated` says which measurements were withheld."""
        half, withheld = len(self.truth), withheld_entries(self.layout, gated)
        unit = np.eye(half)
        measured = np.hstack([unit, unit])
        sought = np.vstack([measured[withheld], np.hstack([unit, np.zeros((half, half))])])
        determined = _in_row_space(np.vstack([self.matrix, self.margins]), sought)
        bounds = [self._range(target, withheld, gated) for target in sought[~determined]]
        ranges = np.array([high - low for low, high in bounds])
        # What rests on withheld measurements, once the shown ones are known.
        left = self.matrix[:, half:][:, withheld]
        return Recovered(
            equations=int(np.linalg.matrix_rank(left, tol=_TOLERANCE)) if left.size else 0, withheld=len(withheld),
            measurements=int(determined[: len(withheld)].sum()), truths=int(determined[len(withheld) :].sum()),
            bounded=int((ranges < 1.0).sum()), narrowest=float(ranges.min(initial=np.inf)))

    def _range(self, target: FloatArray, withheld: IntArray, gated: Gated) -> tuple[float, float]:
        upper, limit = self._inequalities
        about = {"A_ub": upper, "b_ub": limit, "A_eq": csr_matrix(self.margins), "b_eq": np.zeros(len(self.margins)),
                 "bounds": self._bounds}
        ends = []
        for sign in (1.0, -1.0):
            found = linprog(sign * target, method="highs", **about)
            ends.append(sign * found.fun if found.status == 0 else -sign * np.inf)
        return ends[0], ends[1]

    @cached_property
    def _bounds(self) -> list[tuple[float, float | None]]:
        reach = REACH * Mechanism(plan=self.plan).spread() * len(self.plan.roster) ** 0.5
        return [(0.0, None)] * len(self.truth) + [(-each, each) for each in reach]

    @cached_property
    def _inequalities(self) -> tuple[csr_matrix, FloatArray]:
        """`A x <= b`: numbers up to their rounding, flagged of reviewed, and counts that were too small."""
        rows, here = self.matrix[self.affine], self.matrix[self.affine] @ self._point
        parts, limits = [rows, -rows], [here + _ROUNDED, _ROUNDED - here]
        for row, limit in (*self._flagged_are_reviewed(), *self._too_few()):
            parts.append(row[None])
            limits.append(np.array([limit]))
        return csr_matrix(np.vstack(parts)), np.concatenate(limits)

    def _flagged_are_reviewed(self) -> Iterator[tuple[FloatArray, float]]:
        index = np.arange(len(self.truth))
        for family in (*LEVELS.values(), Family.CORRIDORS):
            if family in self.layout.blocks:
                table = self.layout.table(index, family)
                for at in np.ndindex(table.shape[:-1]):
                    for flagged in table[at][1:]:
                        row = np.zeros(len(self._point))
                        row[flagged], row[table[at][0]] = 1.0, -1.0
                        yield row, 0.0

    def _too_few(self) -> Iterator[tuple[FloatArray, float]]:
        content = self.publish(self.plan, self.truth, self.noise)
        levels = {level.value: family for level, family in LEVELS.items()}
        thresholds = thresholds_of(self.plan, measurements(self.plan, self.truth).variances)
        index, areas = np.arange(len(self.truth)), Areas.of(self.plan.statistics)
        roles = [role.value for role in self.plan.statistics.roles]
        for node in content["nodes"]:
            if node.get("reason") == Withheld.TOO_FEW_RECORDS:
                family = levels[node["level"]]
                place = areas.codes(AreaLevel(node["level"])).index(node["area"])
                entry = self.layout.table(index, family)[place, roles.index(node["role"]), 0]
                row = np.zeros(len(self._point))
                row[entry] = row[len(self.truth) + entry] = 1.0
                yield row, thresholds[family] - 1.0


def _in_row_space(rows: FloatArray, sought: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of the vectors sought are combinations of the rows."""
    _, size, basis = np.linalg.svd(rows, full_matrices=False)
    basis = basis[size > _TOLERANCE * size.max(initial=1.0)]
    rest = sought - (sought @ basis.T) @ basis
    return np.asarray(np.linalg.norm(rest, axis=1) < _TOLERANCE ** 0.5)


def withheld_entries(layout: TableLayout, gated: Gated) -> IntArray:
    """Which entries of the vector are not published as measured."""
    hidden = np.zeros(layout.length, dtype=np.int64)
    for level, family in LEVELS.items():
        if family in layout.blocks:
            rows = gated.nodes.at(level)
            table = layout.table(hidden, family)
            table[..., 0], table[..., 1:] = np.isnan(gated.nodes.reviewed[rows]), np.isnan(gated.nodes.flagged[rows])
    layout.table(hidden, Family.DOMINANCE)[...] = 1
    for family, part in ((Family.INDICATORS, gated.indicators), (Family.CORRIDORS, gated.corridors)):
        if part is not None:
            layout.table(hidden, family)[...] = np.isnan(part.counts)
    return np.flatnonzero(hidden)


# Mistakes


def exact_margins(plan: StudyPlan, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """Publish true totals of each country beside everything else."""
    totals = TableLayout(plan).table(truth, Family.COUNTRIES)
    return honest(plan, truth, noise) | {"totals": totals.tolist()}


def country_as_a_sum(plan: StudyPlan, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """Add up the noisy regions in place of measuring the country."""
    values, layout = truth + noise, TableLayout(plan)
    layout.table(values, Family.COUNTRIES)[...] = layout.table(values, Family.REGIONS).sum(axis=0)
    return content_of(plan, values)


def total_of_the_withheld(plan: StudyPlan, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """Say how many records all withheld places have together."""
    from server.release.decide import apply_gate

    found = measurements(plan, truth + noise)
    entries = withheld_entries(found.layout, apply_gate(found))
    block = found.layout.blocks[Family.REGIONS]
    own = entries[(block.start <= entries) & (entries < block.start + block.size)]
    return honest(plan, truth, noise) | {"withheld_records": int(found.values[own].sum())}


LEAKS: Mapping[str, Publish] = {
    "exact margins": exact_margins, "the country as the sum of its regions": country_as_a_sum,
    "the total of what is withheld": total_of_the_withheld,
}
