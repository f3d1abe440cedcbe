"""Whether the gate would show what a release shows, from the release and its plan alone.

Of numbers that are withheld only those reasons can be checked that follow from what is published: too few partners, a
model that cannot tell, and that a place whose records are withheld has no rate for the same reason. That one partner
dominates, or that there is too little of something, shows in numbers that are not published; but whether one partner
dominates is one decision for each place and role, and all tables must tell the same. That no place follows from others
can be checked as far as it rests on cover. Whoever is given all measurements can make the whole content again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.statistics import Measurements
from federation.taxonomy import AreaLevel, Family
from server.release.content import are_of_the_roster
from server.release.decide import (
    Gated,
    contributions_of,
    corridors_of_one_partner,
    decide_corridors,
    decide_indicators,
    decide_rates,
    decide_records,
    decide_series,
    enough_labelled,
    kept_back,
)
from server.release.derive import Trend
from server.release.gate import REASONS, Coverage, Reasons, code_of, declared_coverage, reason
from server.release.nodes import BoolArray
from server.release.rebuild import gated_of
from server.release.series import SeriesWithheld

_COVER, _DOMINATED, _RECORDS, _PROTECTS, _MODEL, _SIGNALS, _INSUFFICIENT = (code_of(one) for one in REASONS)
Rows = list[dict[str, Any]]


def wrongly_decided(content: dict[str, Any], plan: StudyPlan) -> list[str]:
    """One line for each number that is shown against a rule of the gate, or withheld for a reason that is none.

    Raises:
        ValueError, KeyError, TypeError, IndexError: if `content` is not one of this plan.
    """
    partners = tuple(content["coverage"]["in_sum"])
    if not are_of_the_roster(partners, plan):
        return ["coverage: in_sum names nobody, a partner twice, or one that the plan does not"]
    gated, variances = gated_of(content, plan), table_variances(plan, len(partners))
    coverage = declared_coverage(plan.roster, plan.statistics, gated.nodes.areas, partners=partners)
    usable = np.array([known.usable(plan.release.least_youden) for known in gated.calibrations])
    alone = gated.records == _DOMINATED
    records = decide_records(plan, gated.nodes, coverage, alone, contributions_of(plan, partners, None))
    rates = decide_rates(plan, gated.nodes, records, gated.calibrations)
    found = [*_few_labelled(content["calibration"], plan, gated),
             *_differ("nodes", content["nodes"], gated.records, records),
             *_differ("cells", content["cells"], gated.rates, rates),
             *_of_places(content, gated), *_of_complements(content, gated), *_of_trends(content),
             *_of_the_model("cells", content["cells"], gated.rates, usable)]
    if gated.indicators is not None:
        mix, rows = gated.indicators, content["indicators"]["cells"]
        above = np.where(gated.rates != 0, gated.rates, rates)[
            gated.nodes.at(AreaLevel(content["indicators"]["level"]))]
        again = decide_indicators(plan, mix.counts, variances[Family.INDICATORS], rates=above)
        found += [*_differ("indicators", rows, mix.cells, again.cells), *_of_rates(rows, mix.cells, above),
                  *_of_lifts(rows, mix.lifts),
                  *_differ("indicators", [{**row, "indicator": lift["indicator"]} for row in rows
                                          for lift in row.get("lifts", ())],
                           mix.lifts[mix.cells == 0], again.lifts[mix.cells == 0])]
    if gated.corridors is not None:
        pairs, rows = gated.corridors, content["corridors"]
        routes = decide_corridors(plan, pairs.counts, gated.calibrations, variances[Family.CORRIDORS],
                                  partners=partners, one_partner=corridors_of_one_partner(plan, gated.nodes, alone))
        found += [*_differ("corridors", rows, pairs.reasons, routes.reasons),
                  *_of_one_partner("corridors", rows, pairs.reasons, routes.reasons),
                  *_of_the_model("corridors", rows, pairs.reasons, usable)]
    if gated.series is not None:
        found += _of_the_series(content, plan, gated, coverage, usable)
    return found


def _of_the_series(content: dict[str, Any], plan: StudyPlan, gated: Gated, coverage: Coverage,
                   usable: BoolArray) -> Iterator[str]:
    if isinstance(gated.series, SeriesWithheld) or gated.series is None:
        if content["series"]["index"] == 1:
            yield f"series: is {content['series']['reason']}, and this is its first release"
        return
    rows, said = content["series"]["cells"], gated.series.reasons
    # The newest decision about a place and role is that about the release's own records.
    records = kept_back(gated.records[gated.nodes.at(AreaLevel(content["series"]["level"]))])
    *earlier, newest = gated.series.running.kept_back
    if (newest != records).any():
        yield "series: names other cells as kept back for a partner's sake in this release than the release itself"
    series = replace(gated.series.running, kept_back=np.stack([*earlier, records]))
    again = decide_series(plan, series, gated.calibrations, coverage=coverage)
    yield from _differ("series", rows, said, again.reasons)
    yield from _of_the_model("series", rows, said, usable)
    yield from _of_one_partner("series", rows, said, again.reasons)


def _where(row: dict[str, Any]) -> str:
    return " ".join(str(row[key]) for key in ("area", "origin", "destination", "role", "task", "indicator")
                    if key in row)


def _few_labelled(rows: Rows, plan: StudyPlan, gated: Gated) -> Iterator[str]:
    for row, known in zip(rows, gated.calibrations, strict=True):
        if row["measured"] is not None and not enough_labelled(plan, known):
            yield f"calibration: {row['task']} is shown, and the rule says that too few are labelled"


def _differ(table: str, rows: Rows, said: Reasons, again: Reasons) -> Iterator[str]:
    """What is shown against a rule, and what is withheld for lack of partners or shown in spite of it."""
    for row, stated, right in zip(rows, said.ravel().tolist(), again.ravel().tolist(), strict=True):
        if stated == 0 and right != 0:
            yield f"{table}: {_where(row)} is shown, and the rule says {reason(right)}"
        elif (stated == _COVER) != (right == _COVER):
            yield f"{table}: {_where(row)} is {reason(stated) or 'shown'}, and by declared coverage it is not"


def _of_places(content: dict[str, Any], gated: Gated) -> Iterator[str]:
    """Records withheld for what is no reason of records, and rates withheld for other reasons than their records."""
    for row, stated in zip(content["nodes"], gated.records.ravel().tolist(), strict=True):
        if stated > _PROTECTS:
            yield f"nodes: {_where(row)} is {reason(stated)}, which is no reason to withhold records"
    above = np.broadcast_to(gated.records[..., None], gated.rates.shape).ravel().tolist()
    for row, stated, node in zip(content["cells"], gated.rates.ravel().tolist(), above, strict=True):
        if stated != 0 and (stated != node if node else stated <= _PROTECTS):
            yield f"cells: {_where(row)} is {reason(stated)}, and its records are {reason(node) or 'shown'}"


def _of_complements(content: dict[str, Any], gated: Gated) -> Iterator[str]:
    """Records withheld to protect another place of the country in that role, where there is none to protect."""
    country = gated.nodes.countries()
    protected = np.isin(gated.records, (_COVER, _DOMINATED))
    some = np.stack([protected[country == one].any(axis=0) for one in country])
    for row, stated, right in zip(content["nodes"], gated.records.ravel().tolist(), some.ravel().tolist(), strict=True):
        if stated == _PROTECTS and not right:
            yield f"nodes: {_where(row)} is {reason(stated)}, and no other place of its country is a partner's"


def _of_rates(rows: Rows, said: Reasons, rates: Reasons) -> Iterator[str]:
    """Mixes withheld for another reason than their rate, or where it is shown for one that is none of a mix."""
    for row, stated, rate in zip(rows, said.ravel().tolist(), rates.ravel().tolist(), strict=True):
        if stated != 0 and (stated != rate if rate else stated not in (_RECORDS, _SIGNALS)):
            yield f"indicators: {_where(row)} is {reason(stated)}, and its rate is {reason(rate) or 'shown'}"


def _of_trends(content: dict[str, Any]) -> Iterator[str]:
    """Trends that their own figures contradict. Whether these follow from the release before, that release tells."""
    for row in content["cells"]:
        trend = row.get("trend")
        if trend is None:
            continue
        lower, upper = trend["lower"], trend["upper"]
        # An end that was rounded to 0 lay on either side of it.
        right = {Trend.ROSE: lower >= 0.0, Trend.FELL: upper <= 0.0, Trend.NO_CLEAR_CHANGE: lower <= 0.0 <= upper}
        if not lower <= trend["difference"] <= upper or not right[Trend(trend["class"])]:
            yield f"cells: {_where(row)} has a trend that is {trend['class']}, and its own interval says otherwise"
        if trend["since"] != content["previous_release_sha256"]:
            yield f"cells: {_where(row)} has a trend since another release than the one before"


def _of_one_partner(table: str, rows: Rows, said: Reasons, again: Reasons) -> Iterator[str]:
    """What is withheld as one partner's where the decisions about its places say otherwise, or for another reason."""
    for row, stated, right in zip(rows, said.ravel().tolist(), again.ravel().tolist(), strict=True):
        if stated not in (0, _COVER) and right != _COVER and (stated == _DOMINATED) != (right == _DOMINATED):
            yield f"{table}: {_where(row)} is {reason(stated)}, and of its places the rule says another thing"


def _of_lifts(rows: Rows, said: Reasons) -> Iterator[str]:
    """Lifts of a mix that is shown, withheld for what is no reason of lifts."""
    for row, stated in zip(rows, said.reshape(len(rows), -1).tolist(), strict=True):
        for lift, code in zip(row.get("lifts", ()), stated, strict=False):
            if code not in (0, _INSUFFICIENT):
                yield (f"indicators: {_where(row)} {lift['indicator']} is {reason(code)}, which is no reason to "
                       "withhold a lift")


def _of_the_model(table: str, rows: Rows, said: Reasons, usable: BoolArray) -> Iterator[str]:
    """Reasons that the model's published errors contradict; the last axis of `said` is that of tasks."""
    wrong = np.where(usable, said == _MODEL, said > _MODEL)
    for row, stated, bad in zip(rows, said.ravel().tolist(), wrong.ravel().tolist(), strict=True):
        if bad:
            yield f"{table}: {_where(row)} is {reason(stated)}, and the model's published errors say otherwise"


def unlike_before(content: dict[str, Any], previous: Mapping[str, Any]) -> list[str]:
    """One line for each earlier measurement of a series that the release before shows otherwise.

    Raises:
        ValueError, KeyError, TypeError, IndexError: if either is no content of a release.
    """
    now, before = content["series"], previous["series"]
    if now is None or before is None or now["name"] != before["name"]:
        return []
    if "withheld" in (now["status"], before["status"]):
        return []
    known, found = len(before["releases"]), []
    said, then = content["coverage"], previous["coverage"]
    if set(said["in_sum"]) != set(then["in_sum"]) or any(
            said["areas"][row["area"]] != then["areas"].get(row["area"]) for row in now["cells"]):
        found.append("series: other partners cover its places than in the release before")
    if now["releases"][:known] != before["releases"]:
        found.append("series: names other earlier measurements than the release before")
    cells = {_where(row): row for row in before["cells"] if row["status"] == "shown"}
    for row in now["cells"]:
        if row["status"] == "shown" and _where(row) in cells and any(
                row["measured"][what][:known] != theirs for what, theirs in cells[_where(row)]["measured"].items()):
            found.append(f"series: {_where(row)} has other earlier measurements than in the release before")
    return found


def unlike_measured(content: dict[str, Any], measurements: Measurements) -> list[str]:
    """One line for each running total whose newest measurement is not among those given. Raises as `unlike_before`."""
    plan, said, found = measurements.layout.plan, content["series"], []
    table = measurements.table(Family.SERIES)
    places = measurements.layout.areas.codes(AreaLevel(said["level"]))
    for row in said["cells"]:
        if row["status"] == "shown":
            at = table[places.index(row["area"]), plan.statistics.roles.index(row["role"])]
            newest = [row["measured"][what][-1] for what in ("reviewed", "flagged")]
            if newest != [int(at[0]), int(at[1 + plan.tasks.index(row["task"])])]:
                found.append(f"series: {_where(row)} has another newest measurement than the noisy sums")
    return found
