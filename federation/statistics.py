"""The tables of a study in one vector of whole numbers: their fixed cells, and what one person can change in them.

Each partner fills the vector; every family of tables (`Family`) is a block of it, with noise of its own. With `C` roles
a person at most (`max_roles_per_person`) and `T` tasks, a person moves

    regions, super-regions, countries   C (1 + T) entries each: a person counts in one region of a role at most, through
                                        one record drawn for it: 1 in reviewed, at most 1 in flagged for each task
    confusion                           T entries: one labelled record a task, in one of four cells
    indicators                          C T (1 + tags) entries: for each task on one side, flagged or not
    corridors                           1 + T entries: one pair
    dominance                           C entries: one for each role, of the region that the person counts in
    series                              1 + T entries: one place in one role, of one release of the series
    scores                              T entries: one labelled record a task, in one bin of its label

each of them by one, of the series by `federation.privacy.series.SCALE` at most. The list of cells is public and fixed
by the plan, hence no cell is discovered from data and none needs to be paid for.

>>> from federation.taxonomy import Family
>>> Block(family=Family.REGIONS, shape=(8, 3, 3), entries=3, shift=1, start=0).l2_sensitivity.__round__(3)
1.732
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from federation.areas import Areas
from federation.canonical import canonical_json, sha256_hex
from federation.plan import StudyPlan
from federation.privacy.series import SCALE
from federation.taxonomy import AreaLevel, Family

IntArray = npt.NDArray[np.int64]

LEVELS = {AreaLevel.REGION: Family.REGIONS, AreaLevel.SUPER_REGION: Family.SUPER_REGIONS,
          AreaLevel.COUNTRY: Family.COUNTRIES}
"""The family that counts each level of places."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One family's place in the vector.

    Attributes:
        shape: of the table.
        entries: how many entries one person moves at most.
        shift: by how much each of them at most.
        start: index of its first entry in the vector.
    """

    family: Family
    shape: tuple[int, ...]
    entries: int
    shift: int
    start: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def l2_sensitivity(self) -> float:
        """How far one person can move the table, in Euclidean norm."""
        return self.shift * math.sqrt(self.entries)


@dataclass(frozen=True)
class TableLayout:
    """Where everything is in the vector of a plan.

    Shapes, with `T` tasks and `I` indicators:

        REGIONS, SUPER_REGIONS, COUNTRIES   (places, roles, 1 + T)          entry 0 of the last axis is `reviewed`
        CONFUSION                           (T, 2, 2)                       task, label (0 negative), flag (0 no)
        INDICATORS                          (places, roles, T, 2, 1 + I)    side (0 not flagged), people and indicators
        CORRIDORS                           (pairs, 1 + T)
        DOMINANCE                           (regions, roles, partners)
        SERIES                              (places, roles, 1 + T), in units of 1 / SCALE of a person
        SCORES                              (T, 2, bins)                    task, label, bin of the score, lowest first
    """

    plan: StudyPlan

    @cached_property
    def areas(self) -> Areas:
        """The places that are counted."""
        return Areas.of(self.plan.statistics)

    @cached_property
    def blocks(self) -> dict[Family, Block]:
        """By family, in the order of the vector."""
        families = self.plan.statistics.families
        shapes = [self._shape(family) for family in families]
        starts = [0, *accumulate(math.prod(shape) for shape in shapes)]
        return {family: Block(family=family, shape=shape, start=start, entries=entries_of(self.plan, family),
                              shift=shift_of(family))
                for family, shape, start in zip(families, shapes, starts, strict=False)}

    def _shape(self, family: Family) -> tuple[int, ...]:
        spec, tasks = self.plan.statistics, len(self.plan.tasks)
        roles = len(spec.roles)
        match family:
            case Family.REGIONS | Family.SUPER_REGIONS | Family.COUNTRIES:
                level = next(level for level, its in LEVELS.items() if its is family)
                return (len(self.areas.codes(level)), roles, 1 + tasks)
            case Family.CONFUSION:
                return (tasks, 2, 2)
            case Family.INDICATORS if spec.indicators is not None:
                places = len(self.areas.codes(spec.indicators.level))
                return (places, roles, tasks, 2, 1 + len(spec.indicators.tags))
            case Family.CORRIDORS:
                return (len(spec.corridors), 1 + tasks)
            case Family.DOMINANCE:
                return (len(self.areas.regions), roles, len(self.plan.roster))
            case Family.SERIES if spec.series is not None:
                return (len(self.areas.codes(spec.series.level)), roles, 1 + tasks)
            case Family.SCORES if spec.scores is not None:
                return (tasks, 2, spec.scores.bins)
        raise ValueError(f"the plan counts no {family}")

    @property
    def length(self) -> int:
        """How many numbers the vector has."""
        return sum(block.size for block in self.blocks.values())

    def empty(self) -> IntArray:
        return np.zeros(self.length, dtype=np.int64)

    def table(self, vector: IntArray, family: Family) -> IntArray:
        """A view of one family's table in a vector.

        Raises:
            KeyError: if the plan does not count it.
        """
        block = self.blocks[family]
        return vector[block.start : block.start + block.size].reshape(block.shape)

    def check(self, vector: IntArray) -> IntArray:
        """Return `vector` if it is one of this layout, of 64-bit integers.

        Raises:
            ValueError: otherwise, naming what was found and what was expected.
        """
        if vector.shape != (self.length,) or vector.dtype != np.int64:
            raise ValueError(f"tables: {vector.dtype}{list(vector.shape)}, expected int64[{self.length}]")
        return vector


def moved_entries(family: Family, *, tasks: int, roles: int, tags: int) -> int:
    """How many entries of a family's table one person moves at most (see the top of this module).

    Args:
        family: which table.
        tasks: of the study.
        roles: that one person may count in.
        tags: indicators of the mix.
    """
    match family:
        case Family.REGIONS | Family.SUPER_REGIONS | Family.COUNTRIES:
            return roles * (1 + tasks)
        case Family.CONFUSION | Family.SCORES:
            return tasks
        case Family.INDICATORS:
            return roles * tasks * (1 + tags)
        case Family.CORRIDORS | Family.SERIES:
            return 1 + tasks
        case Family.DOMINANCE:
            return roles


def shift_of(family: Family) -> int:
    """By how much one person changes each entry that they move, at most."""
    return SCALE if family is Family.SERIES else 1


def entries_of(plan: StudyPlan, family: Family) -> int:
    """`moved_entries` of a plan."""
    spec = plan.statistics
    return moved_entries(family, tasks=len(plan.tasks), roles=spec.max_roles_per_person,
                         tags=len(spec.indicators.tags) if spec.indicators else 0)


def scales_in_people(plan: StudyPlan) -> dict[Family, float]:
    """The noise scales of a plan, all of them in people."""
    return {family: scale / shift_of(family) for family, scale in plan.statistics.noise_scales.items()}


def series_tables_sha256(plan: StudyPlan) -> str:
    """What the series' table of a plan is a table of, and who declared what of it. Releases with another hash cannot be
    added up: what too few partners covered in one of them would be in the total that more cover now.

    Raises:
        ValueError: if the plan has no series.
    """
    spec, areas = plan.statistics, Areas.of(plan.statistics)
    if spec.series is None:
        raise ValueError("the plan has no series")
    places = {code: [region for region in areas.regions if areas.above(region, spec.series.level) == code]
              for code in areas.codes(spec.series.level)}
    declared = {entry.name: {"kind": entry.kind, "regions": sorted(set(entry.regions) & set(areas.regions))}
                for entry in plan.roster}
    return sha256_hex(canonical_json({"places": places, "roles": list(spec.roles), "tasks": list(plan.tasks),
                                      "declared": declared}))


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What the coordinator holds after the statistics stage: a sum of noisy tables, never a partner's true count.

    Attributes:
        values: int64, as long as the layout's vector; may be negative, since noise is.
        variances: of the noise in each entry of a family's table.
        partners: names of the partners whose tables are in it.
    """

    layout: TableLayout
    values: IntArray
    variances: dict[Family, float]
    partners: tuple[str, ...]

    def table(self, family: Family) -> IntArray:
        """One family's sums."""
        return self.layout.table(self.values, family)
