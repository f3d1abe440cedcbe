"""The partner's regional table: one cell a person, then exact noise.

See `federation.statistics` for the layout and for why one person moves it by at most 1 in each of `1 + tasks` entries.
"""

from __future__ import annotations

import math

import numpy as np

from clients.features import Prepared
from clients.node import NodeHome
from clients.selection import table_places
from federation.exact import exact_logits
from federation.model import MultiTaskHead, partner_prior
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry
from federation.privacy.guarantee import partner_noise
from federation.privacy.noise import add_discrete_gaussian
from federation.randomness import RandomStream
from federation.statistics import IntTable, TableLayout


def layout_of(plan: StudyPlan) -> TableLayout:
    """The plan's table layout."""
    return TableLayout(regions=plan.statistics.regions, roles=plan.statistics.roles, tasks=plan.tasks)


def true_table(
    home: NodeHome, plan: StudyPlan, entry: RosterEntry, prepared: Prepared, model: MultiTaskHead
) -> IntTable:
    """Count people by cell, without noise. Private: it never leaves this process.

    Each person counts through the one mention that `table_places` draws for them.
    """
    layout = layout_of(plan)
    chosen = table_places(home, plan, prepared.frame)
    table = layout.empty()
    if not chosen:
        return table
    rows, regions, roles = (np.array(column) for column in zip(*chosen.values(), strict=True))
    flags = _flags(plan, entry, prepared, model, rows)
    entries = np.hstack([np.ones((len(rows), 1), dtype=np.int64), flags])
    for region, role, entry_row in zip(regions, roles, entries, strict=True):
        table[region, role] += entry_row
    return table


def _flags(
    plan: StudyPlan, entry: RosterEntry, prepared: Prepared, model: MultiTaskHead, rows: np.ndarray
) -> np.ndarray:
    threshold = plan.statistics.flag_threshold
    logits = exact_logits(model, prepared.inputs(rows)) + np.array(partner_prior(plan, entry))
    return np.asarray(logits >= math.log(threshold / (1 - threshold)), dtype=np.int64)


def noisy_table(
    home: NodeHome, plan: StudyPlan, entry: RosterEntry, prepared: Prepared, model: MultiTaskHead,
    *, stream: RandomStream | None
) -> IntTable:
    """The table with discrete Gaussian noise in every entry: all that the plan promises, or this partner's share of it.

    `stream` is None outside a rehearsal: the operating system draws the noise then.
    """
    table = true_table(home, plan, entry, prepared, model)
    return add_discrete_gaussian(table, partner_noise(plan).table, stream)
