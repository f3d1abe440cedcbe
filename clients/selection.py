"""Whose records take part in a study at this partner, and which of them. No torch and no features here, so that a
partner who reviews a plan is told the same numbers that the node will work with.

Every choice among a person's records is uniform, keyed by the partner's secret to the plan, and made from that person's
records alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clients.node import NodeHome
from clients.policy import Policy
from federation.encoders import Encoder, language_covered
from federation.plan import StudyPlan
from federation.taxonomy import LabelValue


@dataclass(frozen=True, kw_only=True)
class TakingPart:
    """Records that take part, and how many do not: without a person id, or in a language that cannot be read."""

    frame: pd.DataFrame
    unattached: int
    unreadable: int


def taking_part(frame: pd.DataFrame, policy: Policy, encoder: Encoder) -> TakingPart:
    """Leave out what the policy refuses and what the encoder does not read; `frame` is `RecordStore.frame`'s."""
    # Explicitly boolean: pandas takes an empty plain list for a list of columns.
    attached = np.array(frame["has_person"], dtype=bool)
    if policy.records_without_person_id == "own_unit":
        attached[:] = True
    frame = frame[attached].reset_index(drop=True)
    readable = np.array([tag == "und" or language_covered(encoder, tag) for tag in frame["language"]], dtype=bool)
    return TakingPart(frame=frame[readable].reset_index(drop=True), unattached=int((~attached).sum()),
                      unreadable=int((~readable).sum()))


def target_matrix(frame: pd.DataFrame, plan: StudyPlan) -> np.ndarray:
    """Labels as float32 `(records, T)`: 1 positive, 0 negative, NaN anything else."""
    values = {LabelValue.POSITIVE: 1.0, LabelValue.NEGATIVE: 0.0}
    rows = [[values.get(labels.get(task), np.nan) for task in plan.tasks] for labels in frame["labels"]]
    return np.array(rows, dtype=np.float32).reshape(len(frame), len(plan.tasks))


def training_rows(home: NodeHome, plan: StudyPlan, frame: pd.DataFrame, targets: np.ndarray) -> list[list[int]]:
    """For each training person, the rows of up to `max_records_per_person` labelled records.

    Args:
        home: holds the secret of the choices.
        plan: says how many are held out and how many records a person trains with.
        frame: records that take part.
        targets: `target_matrix(frame, plan)`.
    """
    order = home.keyed(f"training/{plan.sha256}")
    holdout = home.keyed("holdout")
    persons: dict[str, list[int]] = {}
    for row in np.flatnonzero(~np.isnan(targets).all(axis=1)):
        persons.setdefault(frame["unit_key"].iat[row], []).append(int(row))
    units = [unit for unit in persons if holdout.value(unit) >= plan.holdout_share]
    limit = plan.training.max_records_per_person
    identifiers = frame["record_id"]
    return [sorted(persons[unit], key=lambda row: order.value("record", str(identifiers.iat[row])))[:limit]
            for unit in units]
