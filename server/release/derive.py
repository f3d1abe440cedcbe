"""Everything that is published beside the measured numbers, made of those that are shown and of nothing else.

Whoever has a release and its plan can do this again: `server.release.audit` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from federation.plan import StudyPlan
from server.release.calibration import Calibration
from server.release.comparable import comparable
from server.release.decide import Gated, GatedCorridors, GatedIndicators
from server.release.intervals import corrected_interval, difference_interval, lift_interval, signal_count
from server.release.nodes import FloatArray, Nodes
from server.release.series import GatedSeries
from server.release.tree import make_consistent

CORRIDOR_EDGES = (50, 200, 1000)
"""Classes of the number of signals on a corridor; the first begins at the plan's `minimum_count`."""


class Band(StrEnum):
    """How a place compares with its country. Never a rank."""

    HIGH = "high"
    """Above the country's rate: the whole interval of the difference lies above 0."""
    MEDIUM = "medium"
    """Not told apart from it, and surely within `band_factor` of it."""
    LOW = "low"
    INSUFFICIENT = "insufficient"
    """Too uncertain to be told apart, or the country's own rate is withheld."""


class Trend(StrEnum):
    """How a rate has changed since the earlier release."""

    ROSE = "rose"
    FELL = "fell"
    NO_CLEAR_CHANGE = "no_clear_change"


class Lift(StrEnum):
    """How often an indicator was noted in flagged records, against the other reviewed records."""

    MORE_OFTEN = "more_often"
    LESS_OFTEN = "less_often"
    NO_CLEAR_DIFFERENCE = "no_clear_difference"


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Figures of every node and cell; NaN where withheld. Shapes `(N, R)` and `(N, R, T)`, rates as shares.

    Attributes:
        reviewed, reviewed_variance: made consistent with the levels above and below where all of these are shown.
        flagged, flagged_variance: the same.
        signals, signals_sd: flags without the model's false alarms, scaled up for what it misses.
        value, lower, upper: the rate and its interval, unclipped.
        band: value of a `Band`, or None for a country and where nothing is shown.
    """

    reviewed: FloatArray
    reviewed_variance: FloatArray
    flagged: FloatArray
    flagged_variance: FloatArray
    signals: FloatArray
    signals_sd: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    band: npt.NDArray[np.object_]


def derive_rates(plan: StudyPlan, gated: Gated) -> Rates:
    """Least squares where a place and all its parts are shown, then rates, then bands."""
    nodes = gated.nodes
    reviewed, reviewed_variance = _consistent(nodes, nodes.reviewed)
    flagged, flagged_variance = _consistent(nodes, nodes.flagged)
    figures = []
    for task, known in enumerate(gated.calibrations):
        adjusted = _task(known, flagged[..., task], flagged_variance[..., task], reviewed, reviewed_variance,
                         plan.release.minimum_count)
        figures.append(_bounded(adjusted, known, nodes, task, plan.release.minimum_count))
    value, lower, upper, signals, sd = (np.stack(column, axis=-1) for column in zip(*figures, strict=True))
    return Rates(reviewed=reviewed, reviewed_variance=reviewed_variance, flagged=flagged,
                 flagged_variance=flagged_variance, signals=signals, signals_sd=sd, value=value, lower=lower,
                 upper=upper, band=_bands(nodes, np.stack([value, lower, upper]), plan.release.band_factor))


def derive_series(gated: GatedSeries, calibrations: tuple[Calibration, ...]) -> tuple[FloatArray, FloatArray]:
    """Running totals `(A, R, 1 + T)` in people, and `(3, A, R, T)`: rates as shares, and their intervals."""
    totals, variance = gated.running.totals(), gated.running.variance
    reviewed, figures = totals[..., 0], []
    for task, known in enumerate(calibrations):
        flagged = totals[..., 1 + task]
        ends = corrected_interval(flagged, reviewed, flagged_variance=variance, reviewed_variance=variance,
                                  calibration=known)
        figures.append(np.where(np.isnan(flagged), np.nan, np.stack(ends)))
    return totals, np.stack(figures, axis=-1)


def _task(calibration: Calibration, flagged: FloatArray, flagged_variance: FloatArray, reviewed: FloatArray,
          reviewed_variance: FloatArray, minimum_count: int) -> tuple[FloatArray, ...]:
    """Rate, interval, signals and their standard deviation of one task; NaN where anything they need is."""
    figures = (
        *corrected_interval(flagged, reviewed, flagged_variance=flagged_variance, reviewed_variance=reviewed_variance,
                            calibration=calibration),
        *signal_count(flagged, reviewed, flagged_variance=flagged_variance, reviewed_variance=reviewed_variance,
                      calibration=calibration, minimum_count=minimum_count))
    return tuple(np.where(np.isnan(flagged), np.nan, figure) for figure in figures)


def _bounded(adjusted: tuple[FloatArray, ...], calibration: Calibration, nodes: Nodes,
             task: int, minimum_count: int) -> tuple[FloatArray, ...]:
    """`_task` of the counts as measured where the adjusted ones give no bounded interval.

    The gate saw that the measured ones do. A count near its threshold can be adjusted far below it, in a family whose
    noisy numbers lie far apart.
    """
    lost = ~np.isnan(nodes.flagged[..., task]) & ~(np.isfinite(adjusted[1]) & np.isfinite(adjusted[2]))
    if not lost.any():
        return adjusted
    variance = nodes.variance[:, None]
    measured = _task(calibration, nodes.flagged[..., task], variance, nodes.reviewed, variance, minimum_count)
    return tuple(np.where(lost, other, one) for one, other in zip(adjusted, measured, strict=True))


def _consistent(nodes: Nodes, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`counts` of shape `(N, …)` and the variance of their noise, adjusted within complete families."""
    flat = counts.reshape(len(nodes.areas), -1)
    known = ~np.isnan(flat)
    variances = np.where(known, nodes.variance[:, None], np.nan)
    values, variances = make_consistent(flat, variances, nodes.parent, nodes.families_complete(known))
    return values.reshape(counts.shape), variances.reshape(counts.shape)


def _bands(nodes: Nodes, rates: FloatArray, factor: float) -> npt.NDArray[np.object_]:
    """By the interval of the difference to the country, whose own rate is uncertain, too; `rates` is `(3, N, R, T)`.

    A place is a part of its country, and both rates are corrected by one model: they vary together, so the interval,
    made as of independent rates, is wider than it need be, never too narrow.
    """
    country = rates[:, nodes.countries()]
    _, above, below = difference_interval(*country, *rates)
    bands = np.full(above.shape, Band.INSUFFICIENT.value, dtype=object)
    bands[(difference_interval(*country / factor, *rates).lower >= 0.0)
          & (difference_interval(*country * factor, *rates).upper <= 0.0)] = Band.MEDIUM.value
    bands[above > 0.0] = Band.HIGH.value
    bands[below < 0.0] = Band.LOW.value
    bands[np.isnan(rates[0]) | (nodes.parent < 0)[:, None, None]] = None
    return bands


def derive_trend(plan: StudyPlan, nodes: Nodes, rates: Rates, previous: Mapping[str, Any], *,
                 partners: tuple[str, ...]) -> dict[tuple[int, int, int], dict[str, Any]]:
    """By place, role and task: how the rate has changed since `previous`, where both releases show it of one place.

    Args:
        plan: of this release.
        nodes, rates: of this release.
        partners: names of those in its sum.
        previous: the published content of the earlier one.
    """
    earlier = {(cell["area"], cell["role"], cell["task"]): cell["unclipped"] for cell in previous["cells"]
               if cell["status"] == "shown"}
    same = comparable(plan, nodes.areas, partners, previous)
    where, old = [], []
    for at in zip(*np.nonzero(~np.isnan(rates.value)), strict=True):
        n, r, t = map(int, at)
        known = earlier.get((nodes.areas[n].code, plan.statistics.roles[r].value, plan.tasks[t].value))
        if known is not None and nodes.areas[n].code in same:
            where.append((n, r, t))
            old.append([known[name] / previous["rate_per_reviewed_records"] for name in ("rate", "lower", "upper")])
    if not where:
        return {}
    index, (value, lower_then, upper_then) = tuple(np.array(where).T), np.array(old).T
    figures = np.stack(difference_interval(value, lower_then, upper_then, rates.value[index], rates.lower[index],
                                           rates.upper[index]), axis=-1)
    return {at: {"class": _sign(lower, upper, Trend.ROSE, Trend.FELL, Trend.NO_CLEAR_CHANGE), "difference": difference,
                 "lower": lower, "upper": upper}
            for at, (difference, lower, upper) in zip(where, figures.tolist(), strict=True)}


def _sign(lower: float, upper: float, above: StrEnum, below: StrEnum, neither: StrEnum, *, level: float = 0.0) -> str:
    return (above if lower > level else below if upper < level else neither).value


def derive_lifts(indicators: GatedIndicators, variance: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`(A, R, T, I)` each: lift and its interval, NaN where withheld."""
    counts = indicators.counts
    lift, lower, upper = lift_interval(counts[..., 1, 1:], counts[..., 1, :1], counts[..., 0, 1:], counts[..., 0, :1],
                                       variance=variance)
    return lift, lower, upper


def lift_class(lower: float, upper: float) -> str:
    """What an interval of a lift says."""
    return _sign(lower, upper, Lift.MORE_OFTEN, Lift.LESS_OFTEN, Lift.NO_CLEAR_DIFFERENCE, level=1.0)


def derive_corridors(plan: StudyPlan, corridors: GatedCorridors, calibrations: tuple[Calibration, ...],
                     variance: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`(P, T)` each: signals on a corridor and an interval for them.

    The interval multiplies the ends of the rate's interval by those of the count of records: wider than 95 %.
    """
    reviewed, sd = corridors.counts[:, 0], math.sqrt(variance)
    columns = []
    for task, calibration in enumerate(calibrations[: len(plan.tasks)]):
        value, lower, upper = corrected_interval(corridors.counts[:, 1 + task], reviewed, flagged_variance=variance,
                                                 reviewed_variance=variance, calibration=calibration)
        columns.append((value * reviewed, np.maximum(lower, 0.0) * (reviewed - 1.96 * sd),
                        upper * (reviewed + 1.96 * sd)))
    signals, low, high = (np.stack(column, axis=-1) for column in zip(*columns, strict=True))
    return signals, low, high


def count_class(lower: float, upper: float, *, minimum_count: int) -> dict[str, int | None]:
    """The smallest run of classes that holds an interval, as its ends; None is no upper end."""
    edges = [minimum_count, *(edge for edge in CORRIDOR_EDGES if edge > minimum_count)]
    return {"from": max([edge for edge in edges if edge <= lower], default=0),
            "to": min([edge for edge in edges if edge > upper], default=None)}
