"""Whose records take part in a study at this partner, and which of them. No torch and no features here, so that a
partner who reviews a plan is told the same numbers that the node will work with.

Every choice among a person's records is uniform, keyed by the partner's secret to the plan, and made from that person's
records alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from clients.node import NodeHome
from clients.policy import Policy
from federation.encoders import Encoder, language_covered
from federation.plan import StudyPlan
from federation.taxonomy import LabelValue

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TakingPart:
    """Records that take part, and how many do not: without a person id, or in a language that cannot be read."""

    frame: pd.DataFrame
    unattached: int
    unreadable: int

    @classmethod
    def joined(cls, parts: Iterable[TakingPart]) -> TakingPart:
        """Several pieces of a table as one."""
        parts = list(parts)
        return cls(frame=pd.concat([part.frame for part in parts], ignore_index=True),
                   unattached=sum(part.unattached for part in parts), unreadable=sum(part.unreadable for part in parts))


def taking_part(frame: pd.DataFrame, policy: Policy, encoder: Encoder) -> TakingPart:
    """Leave out what the policy refuses and what the encoder does not read.

    Args:
        frame: `RecordStore.frame`, or a piece of it.
    """
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
    found = (values.get(labels.get(task), np.nan) for labels in frame["labels"] for task in plan.tasks)
    return np.fromiter(found, dtype=np.float32).reshape(len(frame), len(plan.tasks))


def training_rows(home: NodeHome, plan: StudyPlan, frame: pd.DataFrame, targets: np.ndarray) -> dict[int, Rows]:
    """Up to `max_records_per_person` labelled records of each training person, by how many that are.

    Args:
        home: holds the secret of the choices.
        plan: says how many are held out and how many records a person trains with.
        frame: records that take part.
        targets: `target_matrix(frame, plan)`.

    Returns:
        By number of records K, ascending: rows of the frame, `(people, K)`. People stand in the order of their first
        labelled record.
    """
    order, holdout = home.keyed(f"training/{plan.sha256}"), home.keyed("holdout")
    labelled, limit = np.flatnonzero(~np.isnan(targets).all(axis=1)), plan.training.max_records_per_person
    identifiers = frame["record_id"]
    # Numbers, not sets of rows: a hundred bytes a person are much for a million people.
    person, units = pd.factorize(frame["unit_key"].iloc[labelled])
    counts = np.bincount(person, minlength=len(units))
    ends = np.cumsum(counts)
    by_person = labelled[np.argsort(person, kind="stable")]
    rows: dict[int, array[int]] = {}
    for unit, start, end in zip(units, ends - counts, ends, strict=True):
        if holdout.value(unit) >= plan.holdout_share:
            own = sorted(by_person[start:end], key=lambda row: order.value("record", str(identifiers.iat[row])))[:limit]
            rows.setdefault(len(own), array("q")).extend(own)
    return {count: np.array(rows[count], dtype=np.int64).reshape(-1, count) for count in sorted(rows)}
