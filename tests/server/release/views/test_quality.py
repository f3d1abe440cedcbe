"""Errors of the model, coverage, what is withheld."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from server.release.views import quality
from server.release.views.index import Index
from tests.server.release.worlds import many_content, states_content, twelve_content


def test_errors_are_told_of_100() -> None:
    content = twelve_content()
    for told, known in zip(quality.errors(Index(content)), content["calibration"], strict=True):
        assert told.found is not None
        assert told.alarms is not None
        assert told.found.value == f"{100 * known['sensitivity']['value']:.0f}"
        assert float(told.found.value) + float(told.found.rest) == pytest.approx(100)
        assert told.alarms.value == f"{100 * known['false_alarm_rate']['value']:.1f}"
        assert told.found.bar.at == pytest.approx(100 * known["sensitivity"]["value"], abs=0.051)
        assert told.reason is None


def test_found_and_missed_always_add_up() -> None:
    content: dict[str, Any] = {**twelve_content()}
    for value in (0.805, 0.815, 0.8349, 0.999, 0.03):
        share = {"value": value, "lower": value - 0.1, "upper": value + 0.1}
        content["calibration"] = [content["calibration"][0] | {"sensitivity": share}]
        (told,) = quality.errors(Index(content))
        assert told.found is not None
        assert float(told.found.value) + float(told.found.rest) == pytest.approx(100)
        assert 0 <= told.found.bar.start <= told.found.bar.at <= told.found.bar.end <= 100


def test_too_few_labelled_records_have_no_figures() -> None:
    content: dict[str, Any] = {**twelve_content()}
    nothing = dict.fromkeys(("value", "lower", "upper"))
    content["calibration"] = [{"task": "recruitment", "usable": False, "reason": "too_few_labelled", "measured": None,
                               "sensitivity": nothing, "false_alarm_rate": nothing}]
    (told,) = quality.errors(Index(content))
    assert (told.found, told.alarms) == (None, None)
    assert told.reason == "too few records with a known answer to tell how often the model errs"


@pytest.mark.parametrize("made", [twelve_content, states_content, many_content])
def test_every_measured_region_is_in_one_row_of_coverage(made: Any) -> None:
    content = made()
    rows = quality.coverage(Index(content))
    measured = sorted(area["code"] for area in content["areas"]
                      if (area["level"], area["status"]) == ("region", "measured"))
    assert sorted(code for row in rows for code in row.codes) == measured
    for row in rows:
        for code in row.codes:
            kinds = content["coverage"]["areas"][code]
            assert (row.partners, row.kinds) == (sum(kinds.values()), sum(n > 0 for n in kinds.values()))
        assert row.enough == (row.partners >= 3 and row.kinds >= 2)


@pytest.mark.parametrize("made", [twelve_content, states_content, many_content])
def test_suppression_adds_up(made: Any) -> None:
    content = made()
    told = quality.suppression(Index(content))
    naive = Counter(cell.get("reason", "shown") for cell in content["cells"])
    assert (told.cells, told.shown) == (naive.total(), naive["shown"])
    assert told.shown + sum(n for _, n, _ in told.reasons) == told.cells


@pytest.mark.parametrize(("kinds", "enough"), [
    ({"platform": 2, "ngo": 1}, True), ({"platform": 3}, False), ({"platform": 3, "ngo": 0}, False),
    ({"platform": 1, "ngo": 1}, False), ({}, False),
])
def test_enough_partners_of_enough_kinds(kinds: dict[str, int], enough: bool) -> None:
    content: dict[str, Any] = {**twelve_content()}
    content["coverage"] = content["coverage"] | {"areas": content["coverage"]["areas"] | {"XA-03": kinds}}
    rows = {code: row for row in quality.coverage(Index(content)) for code in row.codes}
    assert rows["XA-03"].enough == enough
