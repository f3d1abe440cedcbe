"""Running totals as plain JSON values, and back: `series` of `release.json`.

    {name, index, level, status, reason?, noise_sd_total, threshold,
     releases: [{index, plan_sha256, noise_variance, kept_back: [{area, role, reason}]}],
     cells: [{area, role, task, status, reason?,
              measured: {reviewed: [w_1, ...], flagged: [w_1, ...]},
              total: {reviewed, reviewed_sd, flagged, flagged_sd}, unclipped: {rate, lower, upper}, display: {...}}]}

Measured numbers and `noise_variance` are in units of 1 / `federation.privacy.series.SCALE` of a person and of its
square, everything else is in people. `kept_back` names the cells that were withheld in a release for one of
`gate.KEPT_BACK`; their totals are withheld. A series that is withheld has a reason and no release, number or cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from federation.plan import StudyPlan
from federation.plan_statistics import SeriesSpec
from federation.privacy.guarantee import table_variances
from federation.statistics import TableLayout
from federation.taxonomy import Family
from server.release.calibration import Calibration
from server.release.derive import derive_series
from server.release.gate import KEPT_BACK, Withheld, code_of, count_threshold, reason
from server.release.rows import Row, code_in, display, per_records, status
from server.release.series import GatedSeries, Running, SeriesWithheld
from server.series import measured_variance

_KEPT_BACK = tuple(code_of(one) for one in KEPT_BACK)


def series_content(plan: StudyPlan, gated: GatedSeries | SeriesWithheld | None,
                   calibrations: tuple[Calibration, ...]) -> Row | None:
    """What a release says of its series; None if it has none."""
    spec = plan.statistics.series
    if spec is None or gated is None:
        return None
    said: Row = {"name": spec.name, "index": spec.index, "level": spec.level.value}
    if isinstance(gated, SeriesWithheld):
        return {**said, "status": "withheld", "reason": gated.value, "releases": [], "noise_sd_total": None,
                "threshold": None, "cells": []}
    made, variance = gated.running, gated.running.variance
    cells = [{"area": area, "role": role.value} for area in TableLayout(plan).areas.codes(spec.level)
             for role in plan.statistics.roles]
    kept = np.where(np.isin(gated.reasons[..., 0], _KEPT_BACK), made.kept_back, 0).reshape(len(made.plans), -1)
    releases = [{"index": i, "plan_sha256": digest, "noise_variance": each,
                 "kept_back": [{**cell, "reason": why} for cell, code in zip(cells, those.tolist(), strict=True)
                               if (why := reason(code))]}
                for i, (digest, each, those) in enumerate(zip(made.plans, made.variances, kept, strict=True), start=1)]
    return {**said, "status": "shown", "releases": releases, "noise_sd_total": round(math.sqrt(variance), 3),
            "threshold": count_threshold(minimum_count=plan.release.minimum_count, noise_variance=variance,
                                         false_publication=plan.release.false_publication),
            "cells": list(_cells(plan, spec, gated, calibrations))}


def _cells(plan: StudyPlan, spec: SeriesSpec, gated: GatedSeries,
           calibrations: tuple[Calibration, ...]) -> Iterator[Row]:
    totals, figures = derive_series(gated, calibrations)
    codes, ends = gated.reasons.tolist(), np.moveaxis(figures, 0, -1).tolist()
    measured, sd = gated.running.counts, round(math.sqrt(gated.running.variance), 3)
    for a, area in enumerate(TableLayout(plan).areas.codes(spec.level)):
        for r, role in enumerate(plan.statistics.roles):
            for t, task in enumerate(plan.tasks):
                row: Row = {"area": area, "role": role.value, "task": task.value, **status(codes[a][r][t])}
                if row["status"] == "shown":
                    value, lower, upper = ends[a][r][t]
                    row |= {
                        "measured": {"reviewed": measured[:, a, r, 0].astype(int).tolist(),
                                     "flagged": measured[:, a, r, 1 + t].astype(int).tolist()},
                        "total": {"reviewed": round(float(totals[a, r, 0]), 4), "reviewed_sd": sd,
                                  "flagged": round(float(totals[a, r, 1 + t]), 4), "flagged_sd": sd},
                        "unclipped": {"rate": per_records(value), "lower": per_records(lower),
                                      "upper": per_records(upper)},
                        "display": display(value, lower, upper)}
                yield row


def series_of(content: dict[str, Any], plan: StudyPlan) -> GatedSeries | SeriesWithheld | None:
    """What the gate let through of a series, read back from a content.

    Raises:
        ValueError, KeyError, TypeError, IndexError: if it is not one of this plan.
    """
    spec, said = plan.statistics.series, content["series"]
    if spec is None:
        return None
    if said["status"] == "withheld":
        return SeriesWithheld(said["reason"])
    earlier = said["releases"][:-1]
    if len(earlier) != spec.index - 1:
        raise ValueError(f"series: {1 + len(earlier)} releases, expected {spec.index}")
    newest = measured_variance(table_variances(plan, len(content["coverage"]["in_sum"])))
    variances = (*(float(one["noise_variance"]) for one in earlier), newest)
    if not all(math.isfinite(variance) and variance > 0 for variance in variances):
        raise ValueError("series: noise_variance is not a number above 0")
    shape = TableLayout(plan).blocks[Family.SERIES].shape
    reasons = np.array([code_in(row) for row in said["cells"]], dtype=np.int8).reshape(*shape[:2], shape[2] - 1)
    counts = np.full((spec.index, *shape), math.nan)
    for row, (a, r, t) in zip(said["cells"], np.ndindex(reasons.shape), strict=True):
        if row["status"] == "shown":
            counts[:, a, r, 0], counts[:, a, r, 1 + t] = row["measured"]["reviewed"], row["measured"]["flagged"]
    places, roles = TableLayout(plan).areas.codes(spec.level), [role.value for role in plan.statistics.roles]
    kept_back = np.zeros((spec.index, *shape[:2]), dtype=np.int8)
    for t, one in enumerate(said["releases"]):
        for cell in one["kept_back"]:
            kept_back[t, places.index(cell["area"]), roles.index(cell["role"])] = code_of(Withheld(cell["reason"]))
    return GatedSeries(reasons=reasons, running=Running(
        plans=(*(one["plan_sha256"] for one in earlier), plan.sha256), variances=variances, counts=counts,
        kept_back=kept_back))
