"""How far each unknown of a release is bounded by everything that is published, by linear programming.

Besides the equations, up to the rounding of what is published: true counts are 0 and more, flagged people are reviewed
people, noise is within its sampler's reach, and what was withheld as too few records is below the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

from federation.areas import Areas
from federation.privacy.noise import REACH
from federation.statistics import LEVELS
from federation.taxonomy import AreaLevel, Family
from server.release.decide import thresholds_of
from server.release.gate import Withheld
from simulations.releases.attacks.equations import Equations, FloatArray
from simulations.releases.attacks.worlds import Mechanism, measurements

ROUNDING = 0.0051
"""Published numbers are rounded to two decimals or finer."""
_TRIES = 4


@dataclass(frozen=True)
class Ranges:
    """The ranges of one release."""

    equations: Equations

    def width(self, target: FloatArray) -> float:
        """Largest less smallest value of a combination of the unknowns; infinite if there is none."""
        upper, limit = self._inequalities
        margins = self.equations.margins
        ends = []
        for sign in (1.0, -1.0):
            found = linprog(sign * target, A_ub=upper, b_ub=limit, A_eq=csr_matrix(margins),
                            b_eq=np.zeros(len(margins)), bounds=self._bounds, method="highs")
            if found.status != 0:
                return np.inf
            ends.append(found.fun)
        return float(-ends[1] - ends[0])

    @cached_property
    def _bounds(self) -> list[tuple[float, float | None]]:
        plan = self.equations.contents.plan
        reach = REACH * Mechanism(plan=plan).spread() * len(plan.roster)
        return [(0.0, None)] * len(reach) + [(-each, each) for each in reach]

    @cached_property
    def _inequalities(self) -> tuple[csr_matrix, FloatArray]:
        """`A x <= b`."""
        matrix, point = self.equations.matrix, self.equations.point
        rows = matrix[self._affine()]
        parts, limits = [rows, -rows], [rows @ point + ROUNDING, ROUNDING - rows @ point]
        for row, limit in (*self._flagged_are_reviewed(), *self._too_few()):
            parts.append(row[None])
            limits.append(np.array([limit]))
        return csr_matrix(np.vstack(parts)), np.concatenate(limits)

    def _affine(self) -> np.ndarray:
        """Which published numbers follow their equation also when everything moves at once."""
        (values, names), rng = self.equations.here, np.random.default_rng(1)
        fits = np.ones(len(values), dtype=bool)
        for _ in range(_TRIES):
            step = rng.integers(-2, 3, len(self.equations.point))
            numbers, moved = self.equations.published(self.equations.point + step)
            if moved == names:
                fits &= np.abs(numbers - values - self.equations.matrix @ step) < 2 * ROUNDING
        return fits

    def _flagged_are_reviewed(self) -> Iterator[tuple[FloatArray, float]]:
        layout = self.equations.layout
        index = np.arange(layout.length)
        for family in (*LEVELS.values(), Family.CORRIDORS):
            table = layout.table(index, family) if family in layout.blocks else index[:0, None]
            for reviewed, *flags in table.reshape(-1, table.shape[-1]).tolist():
                for flagged in flags:
                    row = np.zeros(len(self.equations.point))
                    row[flagged], row[reviewed] = 1.0, -1.0
                    yield row, 0.0

    def _too_few(self) -> Iterator[tuple[FloatArray, float]]:
        equations, plan = self.equations, self.equations.contents.plan
        thresholds = thresholds_of(plan, measurements(plan, equations.truth).variances)
        index, areas = np.arange(equations.layout.length), Areas.of(plan.statistics)
        roles = [role.value for role in plan.statistics.roles]
        for node in equations.publish(equations.contents, equations.truth, equations.noise)["nodes"]:
            if node.get("reason") == Withheld.TOO_FEW_RECORDS:
                level = AreaLevel(node["level"])
                entry = equations.layout.table(index, LEVELS[level])[
                    areas.codes(level).index(node["area"]), roles.index(node["role"]), 0]
                row = np.zeros(len(equations.point))
                row[entry] = row[equations.layout.length + entry] = 1.0
                yield row, thresholds[LEVELS[level]] - 1.0
