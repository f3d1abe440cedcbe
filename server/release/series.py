"""Running totals: from what was measured in all releases of a series to totals with their noise.

A total is a weighted sum of the measurements of all releases so far, the same for every cell. So it can be had only if
each of them is there, is of the same table, and is a sum over the same partners, who declared the same regions: what a
partner would have added to one that lacks it would be missing from the total in that release's weight, and what too few
covered in one would be shown by the next. Otherwise the series is withheld as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from federation.privacy.series import decode_total, total_weights
from federation.statistics import Measurements
from federation.taxonomy import Family
from server.release.gate import Reasons
from server.release.nodes import FloatArray
from server.series import SeriesMeasurement


class SeriesWithheld(StrEnum):
    """Why a whole series is not shown. All of them are public."""

    EARLIER_RELEASE_MISSING = "earlier_release_missing"
    TABLES_CHANGED = "tables_changed"
    """Places, roles, tasks or declared regions are not those of an earlier release."""
    PARTNERS_CHANGED = "partners_changed"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A series of `t` releases in `A` places and `R` roles for `T` tasks, as measured.

    Attributes:
        plans: `t` hashes, of the plan that each release was measured under.
        variances: `t`, of the noise in each entry of a measurement.
        counts: `(t, A, R, 1 + T)`, w_1, …, w_t in units of 1 / `federation.privacy.series.SCALE` of a person; entry 0
            of the last axis is `reviewed`. NaN where withheld.
        kept_back: `(t, A, R)`, the code of why a cell was withheld in each release, if one of `gate.KEPT_BACK`, or 0.
    """

    plans: tuple[str, ...]
    variances: tuple[float, ...]
    counts: FloatArray
    kept_back: Reasons

    @property
    def variance(self) -> float:
        """Of the noise in each total, in people squared."""
        return float(np.square(total_weights(len(self.variances))) @ np.array(self.variances))

    def totals(self) -> FloatArray:
        """`(A, R, 1 + T)`, in people; NaN where withheld.

        Raises:
            ValueError: if a measurement is beyond 2^53.
        """
        shown = ~np.isnan(self.counts).any(axis=0)
        found = np.full(shown.shape, math.nan)
        found[shown], _ = decode_total([one[shown].astype(np.int64) for one in self.counts])
        return found

    def keep(self, shown: npt.NDArray[np.bool_]) -> Running:
        """The same with NaN where `shown`, of shape `(A, R, 1 + T)`, is not."""
        return replace(self, counts=np.where(shown, self.counts, math.nan))


@dataclass(frozen=True, kw_only=True)
class GatedSeries:
    """What the gate let through of a series; `reasons` is `(A, R, T)`."""

    running: Running
    reasons: Reasons


def running(measurements: Measurements, earlier: Sequence[SeriesMeasurement], kept_back: Reasons
            ) -> Running | SeriesWithheld:
    """All releases of a series together, or why they cannot be added up.

    Args:
        measurements: of the newest, whose plan has a series.
        earlier: of those before it, as far as they are there.
        kept_back: `(A, R)`, what the gate kept back of the newest.
    """
    newest = SeriesMeasurement.of(measurements, kept_back)
    found = (*sorted(earlier, key=lambda one: one.index), newest)
    if [one.index for one in found] != list(range(1, newest.index + 1)):
        return SeriesWithheld.EARLIER_RELEASE_MISSING
    if {frozenset(one.partners) for one in found} != {frozenset(newest.partners)}:
        return SeriesWithheld.PARTNERS_CHANGED
    if {one.tables_sha256 for one in found} != {newest.tables_sha256}:
        return SeriesWithheld.TABLES_CHANGED
    shape = measurements.layout.blocks[Family.SERIES].shape
    return Running(plans=tuple(one.plan_sha256 for one in found), variances=tuple(one.variance for one in found),
                   counts=np.stack([one.values.reshape(shape) for one in found]).astype(np.float64),
                   kept_back=np.stack([one.kept_back.reshape(shape[:2]) for one in found]))
