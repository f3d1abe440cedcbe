"""Figures as rows of plain JSON values, and back: what `release.json` holds of places, indicators and corridors.

A withheld row has a reason and no number. Rates are per `PER` reviewed records; they are rounded far below the noise,
so that every machine writes the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from federation.plan import StudyPlan
from server.release.calibration import Calibration
from server.release.decide import Gated
from server.release.derive import (
    Rates,
    count_class,
    derive_corridors,
    derive_lifts,
    lift_class,
)
from server.release.gate import REASONS, Withheld, code_of
from server.release.inputs import FloatArray

CONFIDENCE: Final = 0.95
PER: Final = 10_000
"""Rates are given per this many reviewed records."""
Row = dict[str, Any]
Trends = Mapping[tuple[int, int, int], Mapping[str, Any]]
TOO_FEW_LABELLED = "too_few_labelled"


def status(code: int) -> Row:
    """Whether a number is shown, and why not."""
    return {"status": "shown"} if code == 0 else {"status": "withheld", "reason": REASONS[code - 1].value}


def code_in(row: Mapping[str, Any]) -> int:
    """The code of a row's status (`gate.Reasons`).

    Raises:
        ValueError: if it is neither shown nor withheld for a known reason.
    """
    if row["status"] == "shown" and "reason" not in row:
        return 0
    if row["status"] != "withheld":
        raise ValueError(f"status is {row['status']!r}")
    return code_of(Withheld(row["reason"]))


def per_records(value: float) -> float:
    """A share as a rate, to two decimals."""
    return round(value * PER, 2)


def display(value: float, lower: float, upper: float) -> dict[str, int]:
    """What people are shown of a rate: whole numbers within 0 and `PER`."""
    return {name: round(min(max(share * PER, 0.0), PER))
            for name, share in (("rate", value), ("lower", lower), ("upper", upper))}


def node_rows(plan: StudyPlan, gated: Gated, rates: Rates) -> Iterator[Row]:
    """The counts of records, place by place, role by role."""
    codes, measured = gated.records.tolist(), gated.nodes.reviewed.tolist()
    adjusted, variances = rates.reviewed.tolist(), rates.reviewed_variance.tolist()
    for n, area in enumerate(gated.nodes.areas):
        for r, role in enumerate(plan.statistics.roles):
            row: Row = {"area": area.code, "level": area.level.value, "role": role.value, **status(codes[n][r])}
            if row["status"] == "shown":
                row["measured"] = {"reviewed": int(measured[n][r])}
                row["adjusted"] = {"reviewed": round(adjusted[n][r], 2), "sd": round(variances[n][r] ** 0.5, 3)}
            yield row


def cell_rows(plan: StudyPlan, gated: Gated, rates: Rates, trends: Trends, since: str | None) -> Iterator[Row]:
    """The rates, place by place, role by role, task by task."""
    codes, measured = gated.rates.tolist(), gated.nodes.flagged.tolist()
    adjusted, variances = rates.flagged.tolist(), rates.flagged_variance.tolist()
    signals, sds, bands = rates.signals.tolist(), rates.signals_sd.tolist(), rates.band.tolist()
    ends = np.stack([rates.value, rates.lower, rates.upper], axis=-1).tolist()
    for n, area in enumerate(gated.nodes.areas):
        for r, role in enumerate(plan.statistics.roles):
            for t, task in enumerate(plan.tasks):
                row: Row = {"area": area.code, "level": area.level.value, "role": role.value, "task": task.value,
                            **status(codes[n][r][t])}
                if row["status"] == "shown":
                    value, lower, upper = ends[n][r][t]
                    row |= {
                        "band": bands[n][r][t],
                        "measured": {"flagged": int(measured[n][r][t])},
                        "adjusted": {"flagged": round(adjusted[n][r][t], 2),
                                     "sd": round(variances[n][r][t] ** 0.5, 3)},
                        "signals": {"estimate": round(signals[n][r][t], 2), "sd": round(sds[n][r][t], 3)},
                        "unclipped": {"rate": per_records(value), "lower": per_records(lower),
                                      "upper": per_records(upper)},
                        "display": display(value, lower, upper), "trend": _trend(trends.get((n, r, t)), since)}
                yield row


def _trend(found: Mapping[str, Any] | None, since: str | None) -> Row | None:
    if found is None:
        return None
    return {"class": found["class"], "since": since,
            **{name: per_records(found[name]) for name in ("difference", "lower", "upper")}}


def calibration_rows(plan: StudyPlan, calibrations: tuple[Calibration, ...]) -> Iterator[Row]:
    """How often the model errs, task by task."""
    for task, known in zip(plan.tasks, calibrations, strict=True):
        counts = dict(zip(("true_positive", "false_negative", "false_positive", "true_negative"),
                          (known.tp, known.fn, known.fp, known.tn), strict=True))
        few = any(np.isnan(count) for count in counts.values())
        usable = bool(known.usable(plan.release.least_youden))
        yield {"task": task.value, "usable": usable,
               "reason": None if usable else TOO_FEW_LABELLED if few else Withheld.MODEL_NOT_GOOD_ENOUGH.value,
               "measured": None if few else {name: int(count) for name, count in counts.items()},
               "sensitivity": _share(known.sensitivity, known.sensitivity_interval()),
               "false_alarm_rate": _share(known.false_alarm_rate, known.false_alarm_interval())}


def _share(value: FloatArray, ends: tuple[FloatArray, FloatArray]) -> Row:
    return {name: round(float(each), 4) if np.isfinite(each) else None
            for name, each in (("value", value), ("lower", ends[0]), ("upper", ends[1]))}


def indicator_rows(plan: StudyPlan, gated: Gated, codes: tuple[str, ...], variance: float) -> Iterator[Row]:
    """The indicator mix; `codes` are the places at its level, `variance` that of the noise in each count."""
    if gated.indicators is None or plan.statistics.indicators is None:
        return
    found, tags = gated.indicators, plan.statistics.indicators.tags
    counts, cells, lifts = found.counts.tolist(), found.cells.tolist(), found.lifts.tolist()
    ends = np.stack(derive_lifts(found, variance), axis=-1).tolist()
    for a, code in enumerate(codes):
        for r, role in enumerate(plan.statistics.roles):
            for t, task in enumerate(plan.tasks):
                row: Row = {"area": code, "role": role.value, "task": task.value, **status(cells[a][r][t])}
                if row["status"] == "shown":
                    others, flagged = counts[a][r][t]
                    row["measured"] = {"flagged": int(flagged[0]), "others": int(others[0])}
                    row["lifts"] = [_lift(tag.value, lifts[a][r][t][i], flagged[1 + i], others[1 + i], ends[a][r][t][i])
                                    for i, tag in enumerate(tags)]
                yield row


def _lift(tag: str, code: int, flagged: float, others: float, ends: list[float]) -> Row:
    row: Row = {"indicator": tag, **status(code)}
    if code == 0:
        lift, lower, upper = ends
        row |= {"measured": {"flagged": int(flagged), "others": int(others)}, "lift": round(lift, 3),
                "lower": round(lower, 3), "upper": round(upper, 3), "class": lift_class(lower, upper)}
    return row


def corridor_rows(plan: StudyPlan, gated: Gated, variance: float) -> Iterator[Row]:
    """Reported movement between places, pair by pair, task by task; `variance` is of the noise in each count."""
    if gated.corridors is None:
        return
    found = gated.corridors
    counts, reasons = found.counts.tolist(), found.reasons.tolist()
    ends = np.stack(derive_corridors(plan, found, gated.calibrations, variance), axis=-1).tolist()
    for p, pair in enumerate(plan.statistics.corridors):
        for t, task in enumerate(plan.tasks):
            row: Row = {"origin": pair.origin, "destination": pair.destination, "task": task.value,
                        **status(reasons[p][t])}
            if row["status"] == "shown":
                estimate, lower, upper = ends[p][t]
                row |= {"measured": {"reviewed": int(counts[p][0]), "flagged": int(counts[p][1 + t])},
                        "signals": {"estimate": round(estimate, 2), "lower": round(lower, 2), "upper": round(upper, 2)},
                        "band": count_class(lower, upper, minimum_count=plan.release.minimum_count)}
            yield row
