"""The regional table: its fixed cells, its shape and what one person can change in it.

Each partner fills one integer table. A person counts in at most one cell (one region in one role), through one record
drawn at random among theirs: 1 in `reviewed`, and at most 1 in `flagged` for each task. So replacing a person by a null
person changes one cell by at most (1, 1, …, 1), with tasks + 1 entries:

    l2 sensitivity = sqrt(1 + number of tasks)      e.g. two tasks: 1.732

The list of cells is public and fixed by the plan, hence no cell is discovered from data and none needs to be paid for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federation.taxonomy import RegionRole, Task

IntTable = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """Order of the cells in a table of shape `(regions, roles, 1 + tasks)`; entry 0 of the last axis is `reviewed`."""

    regions: tuple[str, ...]
    roles: tuple[RegionRole, ...]
    tasks: tuple[Task, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.regions), len(self.roles), 1 + len(self.tasks))

    @property
    def l2_sensitivity(self) -> float:
        """How far one person can move the table, in Euclidean norm."""
        return math.sqrt(1 + len(self.tasks))

    def empty(self) -> IntTable:
        return np.zeros(self.shape, dtype=np.int64)

    def check(self, table: IntTable) -> IntTable:
        """Return `table` if it has this layout's shape and 64-bit integers.

        Raises:
            ValueError: otherwise, naming what was found and what was expected.
        """
        if table.shape != self.shape or table.dtype != np.int64:
            raise ValueError(f"table: {table.dtype}{list(table.shape)}, expected int64{list(self.shape)}")
        return table


@dataclass(frozen=True, kw_only=True)
class SummedTables:
    """What the coordinator holds after the statistics stage: a sum of noisy tables, never a partner's true count.

    Attributes:
        counts: int64, `layout.shape`; may be negative, since noise is.
        noise_variance: variance of the noise in each entry of the sum.
        partners: names of the partners whose tables are in it.
    """

    layout: TableLayout
    counts: IntTable
    noise_variance: float
    partners: tuple[str, ...]
