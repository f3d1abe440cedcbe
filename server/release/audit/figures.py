"""Whether what a release shows follows from its plan and its measured numbers, by the plan's rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import chain
from typing import Any

from jinja2 import TemplateError

from federation.errors import InputError
from federation.secure import check_plan
from federation.statistics import Measurements, TableLayout
from federation.taxonomy import AreaLevel
from server.release import promise
from server.release.audit.opened import Opened
from server.release.audit.report import Finding, NotCheckable
from server.release.bundle import PLAN, RELEASE, SCHEMA, bundle_files, same
from server.release.content import Facts, build_content, check_turn
from server.release.rebuild import rebuild
from server.release.recheck import unlike_before, unlike_measured, wrongly_decided

PRIVACY = "privacy.json"
_SHOWN_FINDINGS = 10
_UNFIT = (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, TemplateError, RecursionError)
"""What goes wrong where a content of the right form is not one of its plan."""


def _fits(work: Callable[[], Any]) -> Any:
    """Do something that only a content of its plan lets be done.

    Raises:
        NotCheckable: if it cannot be done.
    """
    try:
        return work()
    except _UNFIT as error:
        raise NotCheckable(RELEASE, f"holds figures that are not those of its plan ({type(error).__name__}): nothing "
                           "can be made of them") from None


def check_places(opened: Opened) -> Iterator[Finding]:
    """Nothing is finer than a region of the plan, and no protected region has a figure."""
    plan, content = opened.plan, opened.content
    layout = TableLayout(plan)
    levels = {code: level.value for level in AreaLevel for code in layout.areas.codes(level)}
    named = chain(
        ((row["area"], row["level"]) for row in chain(content["nodes"], content["cells"])),
        ((row["area"], content["indicators"]["level"]) for row in (content["indicators"] or {"cells": ()})["cells"]),
        ((row["area"], content["series"]["level"]) for row in (content["series"] or {"cells": ()})["cells"]),
        ((row[end], None) for row in content["corridors"] for end in ("origin", "destination")))
    for code, level in dict.fromkeys(named):
        if code in plan.statistics.protected:
            yield Finding(file=RELEASE, words=f"has a figure of {code}, which the plan protects")
        elif code not in levels or level not in (None, levels[code]):
            yield Finding(file=RELEASE, words=f"has a figure of {code} as a {level or 'place'}, and the plan counts no "
                          "such place")


def check_privacy(opened: Opened) -> Iterator[Finding]:
    """The price is recomputed from the plan, and is what content and registry entry state."""
    plan, content = opened.plan, opened.content
    try:
        check_plan(plan)
    except InputError as error:
        yield Finding(file=PLAN, words=f"claims what does not hold ({error})")
    stated = content["privacy"]
    true = _fits(lambda: promise.privacy(plan, partners=len(content["coverage"]["in_sum"])))
    for key in sorted({*stated, *true}):
        if key not in true or key not in stated or not same(stated[key], true[key]):
            yield Finding(file=RELEASE, words=f"states another privacy.{key} than its plan comes to")
    entry = opened.file(PRIVACY)
    try:
        parameters = json.loads(entry)["entry"]["deployment"]["privacy_loss"]["privacy_parameters"]
        if not same(parameters, {"epsilon": true["total_epsilon"], "delta": true["delta"]}):
            yield Finding(file=PRIVACY, words="states another epsilon or delta than the plan comes to")
    except _UNFIT:
        yield Finding(file=PRIVACY, words="cannot be read as a registry entry")


def check_figures(opened: Opened, previous: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Every figure follows from the measured numbers that are shown and from the plan."""
    content, plan = opened.content, opened.plan
    made = _unfit_is_a_finding(lambda: rebuild(content, plan, dict(previous) if previous else None))
    if isinstance(made, Finding):
        yield made
        return
    yield from _differences(content, made, "does not follow from its plan and its measured numbers")
    if previous is not None:
        yield from (Finding(file=RELEASE, words=line) for line in _fits(lambda: unlike_before(content, previous)))
        try:
            _fits(lambda: check_turn(plan, previous))
        except InputError as error:
            yield Finding(file=PLAN, words=f"takes a turn of the year that is over ({error})")


def check_gate(opened: Opened) -> Iterator[Finding]:
    """By the plan's rules, all that is shown may be shown, and nothing is withheld for a public reason that is none."""
    content, plan = opened.content, opened.plan
    wrong = _unfit_is_a_finding(lambda: wrongly_decided(content, plan))
    if isinstance(wrong, Finding):
        yield wrong
        return
    yield from (Finding(file=RELEASE, words=f"breaks a rule of its plan: {line}") for line in wrong[:_SHOWN_FINDINGS])
    if len(wrong) > _SHOWN_FINDINGS:
        yield Finding(file=RELEASE, words=f"breaks the plan's rules in {len(wrong) - _SHOWN_FINDINGS} more numbers")


def _unfit_is_a_finding(work: Callable[[], Any]) -> Any:
    try:
        return _fits(work)
    except NotCheckable as unfit:
        return unfit.finding


def check_files_made_again(opened: Opened) -> Iterator[Finding]:
    """Tables, map, page, registry entry, model card and guide are what content and plan give, byte for byte."""
    content, signed = opened.content, opened.signed
    made: dict[str, bytes] = _fits(lambda: bundle_files(content, signed))
    for name, data in made.items():
        if opened.files.get(name, data) != data:
            yield Finding(file=name, words="is not the form of a release as this version knows it" if name == SCHEMA
                          else "is not what the release's content and plan give")


def check_measurements(opened: Opened, evidence: tuple[Measurements, str] | None,
                       previous: Mapping[str, Any] | None) -> Iterator[Finding]:
    """The noisy sums that were measured are those committed to, and give this release, withheld numbers and all."""
    content = opened.content
    if evidence is None:
        raise NotCheckable(RELEASE, "commits to noisy sums that stay with the coordinator; give them and their salt to "
                           "check that the numbers shown are those that were measured, and that what is withheld had "
                           "to be")
    measurements, commitment = evidence
    if commitment != content["measurements_commitment"]:
        yield Finding(file=RELEASE, words="commits to other noisy sums, or to another salt, than those given")
        return
    facts = Facts(plan=opened.plan, partners=measurements.partners, model_sha256=content["model_sha256"],
                  released_on=date.fromisoformat(content["released_on"]), commitment=commitment,
                  previous=dict(previous) if previous else None)
    try:
        made = build_content(facts, measurements)
    except InputError as error:
        yield Finding(file=RELEASE, words=f"cannot be made of the noisy sums ({error})")
        return
    if opened.plan.statistics.series is not None and opened.plan.statistics.series.index > 1:
        # Those of earlier releases were not given. Of the totals, `check_figures` makes all that are shown.
        made["series"] = content["series"]
        yield from (Finding(file=RELEASE, words=line) for line in unlike_measured(content, measurements))
    if previous is None:
        # Trends are over a release that is not at hand; the check of that release says so.
        made["previous_release_sha256"] = content["previous_release_sha256"]
        for mine, theirs in zip(made["cells"], content["cells"], strict=False):
            mine |= {"trend": theirs["trend"]} if "trend" in mine and "trend" in theirs else {}
    yield from _differences(content, made, "is not what the noisy sums give")


def _differences(content: Mapping[str, Any], made: Mapping[str, Any], words: str) -> Iterator[Finding]:
    """Where two contents differ: the first few rows of each part."""
    for key in sorted({*content, *made}):
        stated, right = content.get(key), made.get(key)
        if same(stated, right):
            continue
        if isinstance(stated, list) and isinstance(right, list) and len(stated) == len(right):
            wrong = [i for i, (one, other) in enumerate(zip(stated, right, strict=True)) if not same(one, other)]
            for i in wrong[:_SHOWN_FINDINGS]:
                yield Finding(file=RELEASE, words=f"{key}[{i}] {_where(stated[i])}{words}")
            if len(wrong) > _SHOWN_FINDINGS:
                yield Finding(file=RELEASE, words=f"{key}: {len(wrong) - _SHOWN_FINDINGS} more {words}")
        else:
            yield Finding(file=RELEASE, words=f"{key} {words}")


def _where(row: Any) -> str:
    keys = ("area", "origin", "destination", "role", "task", "code")
    named = [str(row[key]) for key in keys if key in row] if isinstance(row, dict) else []
    return f"({' '.join(named)}) " if named else ""
