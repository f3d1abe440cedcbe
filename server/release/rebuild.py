"""A release's content made again from the measured numbers that it shows: what an audit compares it with."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.statistics import TableLayout
from federation.taxonomy import Family
from server.release.calibration import Calibration
from server.release.content import Facts, assemble
from server.release.decide import Gated, GatedCorridors, GatedIndicators
from server.release.nodes import Nodes
from server.release.rows import code_in
from server.release.series_rows import series_of


def rebuild(content: dict[str, Any], plan: StudyPlan, previous: dict[str, Any] | None) -> dict[str, Any]:
    """The content that the plan and the measured numbers in `content` give.

    Which numbers are shown is taken as it stands: whether the gate would show them is a question of its own
    (`recheck`). Trends are taken over where the previous release is not at hand.

    Raises:
        ValueError, KeyError, TypeError, IndexError: if `content` is not one of this plan.
    """
    facts = Facts(plan=plan, partners=tuple(content["coverage"]["in_sum"]), model_sha256=content["model_sha256"],
                  released_on=date.fromisoformat(content["released_on"]), previous=previous,
                  commitment=content["measurements_commitment"])
    made = assemble(facts, gated_of(content, plan))
    if previous is None:
        made["previous_release_sha256"] = content["previous_release_sha256"]
        for mine, theirs in zip(made["cells"], content["cells"], strict=True):
            if mine["status"] == "shown":
                mine["trend"] = theirs["trend"]
    return made


def gated_of(content: dict[str, Any], plan: StudyPlan) -> Gated:
    """What the gate let through, read back from a content. Raises as `rebuild`."""
    variances = table_variances(plan, len(content["coverage"]["in_sum"]))
    nodes = Nodes.empty(plan, variances)
    shape = nodes.flagged.shape
    records = np.array([code_in(row) for row in content["nodes"]], dtype=np.int8).reshape(shape[:2])
    rates = np.array([code_in(row) for row in content["cells"]], dtype=np.int8).reshape(shape)
    reviewed = [row["measured"]["reviewed"] if "measured" in row else np.nan for row in content["nodes"]]
    flagged = [row["measured"]["flagged"] if "measured" in row else np.nan for row in content["cells"]]
    return Gated(
        nodes=replace(nodes, reviewed=np.array(reviewed, dtype=np.float64).reshape(shape[:2]),
                      flagged=np.array(flagged, dtype=np.float64).reshape(shape)),
        records=records, rates=rates, calibrations=_calibrations(content, variances[Family.CONFUSION]),
        indicators=_indicators(content, plan) if plan.statistics.indicators else None,
        corridors=_corridors(content, plan) if plan.statistics.corridors else None, series=series_of(content, plan))


def _calibrations(content: dict[str, Any], variance: float) -> tuple[Calibration, ...]:
    names = ("true_positive", "false_negative", "false_positive", "true_negative")
    counts = ([row["measured"][name] if row["measured"] else np.nan for name in names]
              for row in content["calibration"])
    return tuple(Calibration.of(*each, noise_variance=variance) for each in counts)


def _indicators(content: dict[str, Any], plan: StudyPlan) -> GatedIndicators:
    places, roles, tasks, sides, columns = TableLayout(plan).blocks[Family.INDICATORS].shape
    found = content["indicators"]["cells"]
    counts = np.full((len(found), sides, columns), np.nan)
    lifts = np.zeros((len(found), columns - 1), dtype=np.int8)
    cells = np.array([code_in(row) for row in found], dtype=np.int8)
    for i, row in enumerate(found):
        lifts[i] = cells[i]
        if cells[i] == 0:
            counts[i, :, 0] = row["measured"]["others"], row["measured"]["flagged"]
            for j, lift in enumerate(row["lifts"]):
                lifts[i, j] = code_in(lift)
                if lifts[i, j] == 0:
                    counts[i, :, 1 + j] = lift["measured"]["others"], lift["measured"]["flagged"]
    shape = (places, roles, tasks)
    return GatedIndicators(counts=counts.reshape(*shape, sides, columns), cells=cells.reshape(shape),
                           lifts=lifts.reshape(*shape, columns - 1))


def _corridors(content: dict[str, Any], plan: StudyPlan) -> GatedCorridors:
    pairs, columns = TableLayout(plan).blocks[Family.CORRIDORS].shape
    reasons = np.array([code_in(row) for row in content["corridors"]], dtype=np.int8).reshape(pairs, columns - 1)
    counts = np.full((pairs, columns), np.nan)
    for i, row in enumerate(content["corridors"]):
        if "measured" in row:
            counts[i // (columns - 1), 0] = row["measured"]["reviewed"]
            counts[i // (columns - 1), 1 + i % (columns - 1)] = row["measured"]["flagged"]
    return GatedCorridors(counts=counts, reasons=reasons)
