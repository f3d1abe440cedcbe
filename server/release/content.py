"""The public content of a release: everything that may be said, as plain JSON values.

Built once, here, from the plan's public constants and the gated cells. The CSV file and the page are made from it and
from nothing else.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import date
from typing import Any

from federation.errors import InputError
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.guarantee import price as compute_price
from federation.privacy.guarantee import table_variance
from federation.regions import region_name
from federation.secure import noise_in_words, parts_in_sums
from federation.statistics import SummedTables
from server.release.estimate import CONFIDENCE, PER, Rate, estimate_cells
from server.release.gate import (
    MINIMUM_KINDS,
    MINIMUM_PARTNERS,
    WIDEST_INTERVAL,
    ShownCell,
    WithheldCell,
    apply_gate,
    count_threshold,
    declared_coverage,
)

CONTENT_VERSION = 1
SYNTHETIC = "SYNTHETIC"

RESPONSIBLE_USE = (
    "These figures describe signals in the records of the participating organisations. They are not counts of victims "
    "or offenders, and they say nothing about any individual, community or business. Noise has been added to protect "
    "people. Coverage differs by region and language; a higher rate may reflect better detection. Do not use them to "
    "select persons or places for enforcement, to deny services, or to judge migrants or sex workers. For help: "
    "contact the national helpline."
)
"""Printed word for word in every artefact (domain.md 5.7)."""


def _check(plan: StudyPlan, tables: SummedTables, released_on: date) -> None:
    spec, layout = plan.statistics, tables.layout
    if (layout.regions, layout.roles, layout.tasks) != (spec.regions, spec.roles, plan.tasks):
        raise InputError("tables.layout", "its cells are not those of the plan", bound="the plan's regions, roles and "
                         "tasks, in the plan's order", remedy="add up tables that were made under this plan")
    unknown = set(tables.partners) - {entry.name for entry in plan.roster}
    if unknown or len(set(tables.partners)) != len(tables.partners) or not tables.partners:
        raise InputError("tables.partners", "names a partner that the roster does not, names one twice, or none at all",
                         bound="partners of the plan's roster, each once")
    # A smaller figure here would make thresholds and intervals too bold; a larger one means another plan's noise.
    expected = table_variance(plan, len(tables.partners))
    if not math.isclose(tables.noise_variance, expected, rel_tol=0.01):
        raise InputError("tables.noise_variance", f"is {tables.noise_variance:g}",
                         bound=f"{expected:g}, for {len(tables.partners)} partners and the plan's noise",
                         remedy="add up tables that were made under this plan")
    if released_on < plan.period_end:
        raise InputError("released_on", f"{released_on} lies before the period ends",
                         bound=f"{plan.period_end} or later")
    if plan.synthetic and SYNTHETIC not in plan.label:
        raise InputError("plan.label", "does not say that the study is synthetic",
                         bound=f"a label that holds {SYNTHETIC}")


def _rate(rate: Rate) -> dict[str, Any]:
    """Unclipped values to two decimals (far below the noise, and equal on every machine), and what people are shown."""
    value, lower, upper = rate.display
    return {"unclipped": {"rate": round(rate.value, 2), "lower": round(rate.lower, 2), "upper": round(rate.upper, 2)},
            "display": {"rate": value, "lower": lower, "upper": upper}}


def _cell(cell: ShownCell | WithheldCell) -> dict[str, Any]:
    if isinstance(cell, WithheldCell):
        return {"region": cell.region, "role": cell.role.value, "task": cell.task.value, "status": "withheld",
                "reason": cell.reason.value}
    known = cell.estimate
    return {"region": known.region, "role": known.role.value, "task": known.task.value, "status": "shown",
            "band": cell.band.value, "noisy_counts": {"reviewed": known.reviewed, "flagged": known.flagged},
            **_rate(cell.rate)}


def _privacy(plan: StudyPlan, tables: SummedTables) -> dict[str, Any]:
    training, statistics, price = plan.training, plan.statistics, plan.privacy
    return {
        "privacy_unit": "person (author or subject) at one partner",
        "adjacency": "replace the person's slot by a null person",
        "delta": price.delta,
        "total_epsilon": price.total_epsilon,
        # Composed by the same function as a partner's review and receipts, so that no two places tell two figures.
        "same_person_at_partners": [
            {"partners": k, "epsilon": epsilon} for k, epsilon in compute_price(plan).at_partners],
        "parts": [
            {"part": "training", "epsilon": price.training_epsilon,
             "mechanism": "person-level DP-SGD: clipped per person, discrete Gaussian noise " + (
                 "added to exact sums by each partner" if training.aggregation is Aggregation.LOCAL else
                 "in the exact sum over all partners, to which each adds a share"),
             "noise_multiplier": training.noise_multiplier, "l2_clip_norm": training.l2_clip_norm,
             "sampling_probability": training.sampling_probability, "steps": training.steps},
            {"part": "statistics", "epsilon": price.statistics_epsilon,
             "mechanism": "discrete Gaussian noise " + (
                 "added by each partner to each entry of its table" if statistics.aggregation is Aggregation.LOCAL else
                 "in each entry of the sum over all partners' tables, to which each adds a share"),
             "noise_scale": statistics.noise_scale, "l2_sensitivity": round(tables.layout.l2_sensitivity, 6)},
        ],
        "trust": ("none: a rehearsal, whose noise was drawn from a seed and can be repeated, so it protects nobody"
                  if plan.rehearsal else f"noise: {noise_in_words(plan)}"),
        "secure_sums": _sums(plan),
        "rehearsal": plan.rehearsal,
        "accounting": "PLD (dp-accounting), upper bound",
    }


def _sums(plan: StudyPlan) -> dict[str, Any] | None:
    """Which parts were summed securely, and how many partners may work with the coordinator; None if none was."""
    if plan.secure_aggregation is None:
        return None
    return {"parts": list(parts_in_sums(plan)), "colluders": plan.secure_aggregation.colluders,
            "partners": len(plan.roster), "least_in_a_sum": plan.conduct.quorum}


def build_content(
    *, plan: StudyPlan, plan_sha256: str, tables: SummedTables, model_sha256: str, released_on: date
) -> dict[str, Any]:
    """Everything a release says, as JSON values. Withheld cells hold a reason and no number.

    An `overall` is over all `cells` cells of its role and task; its interval carries the noise of every one of them.

    Raises:
        InputError: if the tables, hash or date do not belong to the plan, or a synthetic study is not labelled so.
    """
    _check(plan, tables, released_on)
    if plan_sha256 != plan.sha256:
        raise InputError("plan_sha256", "is not the hash of the plan", remedy="take it from the signed plan")
    if len(model_sha256) != 64 or set(model_sha256) - set("0123456789abcdef"):
        raise InputError("model_sha256", "is not a SHA-256 hash", bound="64 hexadecimal digits")
    spec = plan.statistics
    threshold = count_threshold(minimum_count=spec.minimum_count, noise_variance=tables.noise_variance,
                                false_publication=spec.false_publication)
    coverage = declared_coverage(plan.roster, spec.regions, partners=tables.partners)
    gated = apply_gate(estimate_cells(tables), threshold=threshold, coverage=coverage,
                       noise_variance=tables.noise_variance)
    present = set(tables.partners)
    return {
        "content_version": CONTENT_VERSION,
        "label": plan.label, "synthetic": plan.synthetic, "regions_drawn": plan.regions_drawn,
        "study": plan.study, "purpose": plan.purpose,
        "period_end": plan.period_end.isoformat(), "released_on": released_on.isoformat(),
        "tasks": [task.value for task in plan.tasks], "roles": [role.value for role in spec.roles],
        "regions": [{"code": code, "name": region_name(code)} for code in spec.regions],
        "rate_per_reviewed_records": PER, "confidence": CONFIDENCE,
        "cells": [_cell(cell) for cell in gated.cells],
        "overall": [{"role": each.role.value, "task": each.task.value, "cells": each.cells, **_rate(each.rate)}
                    for each in gated.overall],
        "threshold": {
            "noisy_count_at_least": threshold, "applies_to": ["reviewed", "flagged"],
            "derivation": "ceil((minimum_count - 1) + noise_sd * inverse_normal_cdf(1 - false_publication) + 1/2)",
            "minimum_count": spec.minimum_count, "noise_sd": round(math.sqrt(tables.noise_variance), 4),
            "false_publication": spec.false_publication,
            "widest_interval": WIDEST_INTERVAL, "partners_at_least": MINIMUM_PARTNERS, "kinds_at_least": MINIMUM_KINDS,
        },
        "coverage": {
            "source": "declarations in the study plan",
            "partners": dict(sorted(Counter(e.kind.value for e in plan.roster if e.name in present).items())),
            "regions": {code: {kind.value: n for kind, n in kinds.items()} for code, kinds in coverage.items()},
        },
        "privacy": _privacy(plan, tables),
        "responsible_use": RESPONSIBLE_USE,
        "plan_sha256": plan_sha256, "model_sha256": model_sha256,
        "versions": {"content": CONTENT_VERSION, "plan": plan.plan_version,
                     "encoder": f"{plan.encoder.name} {plan.encoder.version}"},
    }
