"""The public content of a release: everything that may be said, as plain JSON values.

Built once, here, from the plan's public constants and from what the gate let through. All files of a release are made
of it, and `rebuild` makes it again from the measured numbers that it holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from typing import Any

from federation.areas import Area
from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.regions import region_name
from federation.statistics import Measurements, TableLayout
from federation.taxonomy import Family
from server.release import promise, rows
from server.release.decide import Gated, apply_gate
from server.release.derive import derive_rates, derive_trend
from server.release.gate import REASONS, declared_coverage
from server.release.series_rows import series_content
from server.series import SeriesMeasurement

CONTENT_VERSION = 2
SYNTHETIC = "SYNTHETIC"
_HASH = re.compile(r"[0-9a-f]{64}")

RESPONSIBLE_USE = (
    "These figures describe signals in the records of the participating organisations. They are not counts of victims "
    "or offenders, and they say nothing about any individual, community or business. Noise has been added to protect "
    "people. Coverage differs by region and language; a higher rate may reflect better detection. Do not use them to "
    "select persons or places for enforcement, to deny services, or to judge migrants or sex workers. For help: "
    "contact the national helpline."
)
"""Printed word for word in every artefact (domain.md 5.7)."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a release says beside its figures.

    Attributes:
        plan: the study's.
        partners: names of those whose tables are in the sum.
        model_sha256: of the published model.
        released_on: day of publication.
        previous: the published content of the previous release of the series, if there is one.
        commitment: SHA-256 of all measurements with a salt, shown to whoever audits them.
    """

    plan: StudyPlan
    partners: tuple[str, ...]
    model_sha256: str
    released_on: date
    previous: dict[str, Any] | None
    commitment: str
    series: tuple[SeriesMeasurement, ...] = ()
    """What was measured in earlier releases of the plan's series, as far as it is there."""


def content_sha256(content: dict[str, Any]) -> str:
    """The hash by which a content is known."""
    return sha256_hex(canonical_json(content))


def build_content(facts: Facts, measurements: Measurements) -> dict[str, Any]:
    """Gate the measurements, derive the figures and say everything that may be said.

    Raises:
        InputError: if the parts do not belong together.
    """
    _check(facts, measurements)
    return assemble(facts, apply_gate(measurements, facts.series))


def assemble(facts: Facts, gated: Gated) -> dict[str, Any]:
    """The content, from what the gate let through alone."""
    plan = facts.plan
    spec, layout, variances = plan.statistics, TableLayout(plan), table_variances(plan, len(facts.partners))
    rates = derive_rates(plan, gated)
    since = content_sha256(facts.previous) if facts.previous else None
    trends = derive_trend(plan, gated.nodes, rates, facts.previous, partners=facts.partners) if facts.previous else {}
    cells = list(rows.cell_rows(plan, gated, rates, trends, since))
    indicators, present = spec.indicators, set(facts.partners)
    return {
        "content_version": CONTENT_VERSION,
        "label": plan.label, "synthetic": plan.synthetic, "regions_drawn": plan.regions_drawn,
        "study": plan.study, "purpose": plan.purpose,
        "period": {"start": spec.period_start.isoformat(), "end": plan.period_end.isoformat()},
        "released_on": facts.released_on.isoformat(), "previous_release_sha256": since,
        "tasks": [task.value for task in plan.tasks], "roles": [role.value for role in spec.roles],
        "areas": _areas(gated.nodes.areas, spec.protected),
        "rate_per_reviewed_records": rows.PER, "confidence": rows.CONFIDENCE,
        "calibration": list(rows.calibration_rows(plan, gated.calibrations)),
        "nodes": list(rows.node_rows(plan, gated, rates)),
        "cells": cells,
        "indicators": None if indicators is None else {
            "level": indicators.level.value, "tags": [tag.value for tag in indicators.tags],
            "cells": list(rows.indicator_rows(plan, gated, layout.areas.codes(indicators.level),
                                              variances[Family.INDICATORS]))},
        "corridors": list(rows.corridor_rows(plan, gated, variances[Family.CORRIDORS])) if spec.corridors else [],
        "series": series_content(plan, gated.series, gated.calibrations),
        "coverage": {
            "source": "declarations in the study plan", "in_sum": list(facts.partners),
            "partners": dict(sorted(Counter(e.kind.value for e in plan.roster if e.name in present).items())),
            "areas": {code: {kind.value: n for kind, n in kinds.items()} for code, kinds in declared_coverage(
                plan.roster, spec, gated.nodes.areas, partners=facts.partners).items()}},
        "gate": promise.gate(plan, partners=len(facts.partners)),
        "suppression": _suppression(cells),
        "privacy": promise.privacy(plan, partners=len(facts.partners)),
        "measurements_commitment": facts.commitment,
        "responsible_use": RESPONSIBLE_USE,
        "plan_sha256": plan.sha256, "model_sha256": facts.model_sha256,
        "versions": {"content": CONTENT_VERSION, "plan": plan.plan_version,
                     "encoder": f"{plan.encoder.name} {plan.encoder.version}"},
    }


def are_of_the_roster(partners: tuple[str, ...], plan: StudyPlan) -> bool:
    """Whether these can be the partners of a sum: some of the roster, each once."""
    return bool(partners) and len(set(partners)) == len(partners) and (
        set(partners) <= {entry.name for entry in plan.roster})


def _areas(measured: Iterable[Area], protected: Iterable[str]) -> list[dict[str, Any]]:
    known = ({"code": area.code, "name": area.name, "level": area.level.value, "parent": area.parent,
              "status": "measured"} for area in measured)
    hidden = ({"code": code, "name": region_name(code), "level": "region", "parent": code[:2], "status": "protected"}
              for code in protected)
    return list(chain(known, hidden))


def _suppression(cells: list[dict[str, Any]]) -> dict[str, Any]:
    reasons = Counter(cell["reason"] for cell in cells if cell["status"] == "withheld")
    return {"cells": len(cells), "shown": len(cells) - reasons.total(),
            "withheld": {reason.value: reasons[reason.value] for reason in REASONS if reasons[reason.value]}}


def _check(facts: Facts, measurements: Measurements) -> None:
    plan = facts.plan
    if measurements.layout.plan != plan:
        raise InputError("measurements.layout", "belongs to another plan", remedy="add up tables made under this plan")
    try:
        measurements.layout.check(measurements.values)
    except ValueError as error:
        # Whole numbers alone: the last digits of a float can tell what noise was added to.
        raise InputError("measurements.values", str(error), remedy="add up tables made under this plan") from None
    if measurements.partners != facts.partners or not are_of_the_roster(facts.partners, plan):
        raise InputError("measurements.partners", "names a partner that the roster does not, names one twice, or none",
                         bound="partners of the plan's roster, each once")
    # Smaller figures here would make thresholds and intervals too bold; larger ones mean another plan's noise.
    if measurements.variances != table_variances(plan, len(facts.partners)):
        raise InputError("measurements.variances", "are not those of the plan's noise",
                         remedy="add up tables that were made under this plan")
    earliest = plan.period_end + timedelta(days=plan.release.embargo_days)
    if facts.released_on < earliest:
        raise InputError("released_on", f"{facts.released_on} lies within the embargo", bound=f"{earliest} or later")
    if plan.synthetic and SYNTHETIC not in plan.label:
        raise InputError("plan.label", "does not say that the study is synthetic",
                         bound=f"a label that holds {SYNTHETIC}")
    for name, value in (("model_sha256", facts.model_sha256), ("commitment", facts.commitment)):
        if not _HASH.fullmatch(value):
            raise InputError(name, "is not a SHA-256 hash", bound="64 hexadecimal digits")
    if facts.previous is not None and facts.previous["period"]["end"] >= plan.period_end.isoformat():
        raise InputError("previous", "is of a period that does not end before this one",
                         remedy="give the release of the period before")
    if facts.previous is not None:
        check_turn(plan, facts.previous)


def check_turn(plan: StudyPlan, previous: Mapping[str, Any]) -> None:
    """Who counts in which of a year's releases is drawn once: a number that comes twice counts the same people twice.

    Raises:
        InputError: if the release before, of the same year, has this number or a later one, or draws otherwise.
    """
    now, then = plan.statistics.appearances, previous["privacy"]["appearances"]
    if previous["period"]["end"][:4] != f"{plan.period_end.year:04}":
        return
    name = "statistics.appearances"
    if (now.releases_a_year, now.releases_per_person) != (then["releases_a_year"], then["releases_per_person"]):
        raise InputError(name, "is not that of the release before in the same year", bound="the same numbers of "
                         "releases a year and a person", remedy="begin with another number in the next year")
    if now.release_of_year <= then["release_of_year"]:
        raise InputError(f"{name}.release_of_year", f"is {now.release_of_year}, and a release of the same year that is "
                         f"out was number {then['release_of_year']}", bound=f"{then['release_of_year'] + 1} or more",
                         remedy="sign a plan with the number that is next")
