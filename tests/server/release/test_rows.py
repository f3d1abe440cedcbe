"""Figures as plain rows: what a withheld one must not hold, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from federation.taxonomy import AreaLevel, Family
from server.release.gate import REASONS
from server.release.rows import code_in, display, per_records, status
from tests.server.release.counted import make_plan, noisy, rich, row

PLAN = make_plan()
RICH = rich(PLAN)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """A content in which everything is shown."""
    return RICH.content()


def numbers(value: Any) -> Iterator[int | float]:
    """Every number in a JSON value, at any depth."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def all_rows(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Everything that is shown or withheld."""
    yield from content["nodes"]
    yield from content["cells"]
    yield from content["corridors"]
    for cell in (content["indicators"] or {"cells": []})["cells"]:
        yield cell
        yield from cell.get("lifts", [])


@pytest.mark.parametrize("code", range(7))
def test_a_status_is_read_back(code: int) -> None:
    assert code_in(status(code)) == code
    assert status(0) == {"status": "shown"}


@pytest.mark.parametrize("bad", [
    {"status": "shown", "reason": "insufficient"}, {"status": "hidden"}, {"status": "withheld", "reason": "because"}])
def test_a_status_that_is_none_is_refused(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        code_in(bad)


def test_a_withheld_row_without_reason_is_refused() -> None:
    with pytest.raises(KeyError):
        code_in({"status": "withheld"})


@pytest.mark.parametrize("seed", range(6))
def test_no_withheld_row_holds_a_number(seed: int) -> None:
    content = noisy(PLAN, seed).content()
    rows = list(all_rows(content))
    withheld = [each for each in rows if each["status"] == "withheld"]
    assert withheld
    for each in withheld:
        assert list(numbers(each)) == []
        assert set(each) <= {"area", "level", "role", "task", "origin", "destination", "indicator", "status", "reason"}
        assert each["reason"] in set(REASONS)
    assert all(list(numbers(each)) and "reason" not in each for each in rows if each["status"] == "shown")


def test_numbers_have_the_promised_rounding() -> None:
    for seed in range(6):
        for each in all_rows(noisy(PLAN, seed).content()):
            assert all(type(n) is int for n in numbers(each.get("measured", {})))
            assert all(type(n) is int and 0 <= n <= 10_000 for n in numbers(each.get("display", {})))
            two = [each.get(name) for name in ("unclipped", "trend", "signals")]
            three = [each.get("adjusted"), *(each.get(name) for name in ("lift", "lower", "upper"))]
            assert all(n == round(n, 2) for n in numbers(two) if n != each.get("signals", {}).get("sd"))
            assert all(n == round(n, 3) for n in numbers([*two, *three]))
            assert all(math.isfinite(n) for n in numbers(each))


def test_rates_and_what_people_see_of_them() -> None:
    assert per_records(0.123456789) == 1234.57
    assert per_records(-0.01) == -100.0
    assert display(0.12345, -0.2, 1.7) == {"rate": 1234, "lower": 0, "upper": 10_000}
    assert display(0.12346, 0.00005, 0.99996) == {"rate": 1235, "lower": 0, "upper": 10_000}


def test_a_shown_node_and_cell_hold_what_was_measured_and_made_of_it(whole: dict[str, Any]) -> None:
    node = row(whole["nodes"], "XA-03", "destination")
    assert node["measured"] == {"reviewed": 2000}
    assert set(node["adjusted"]) == {"reviewed", "sd"}
    cell = row(whole["cells"], "XA-03", "destination", "distress")
    assert list(cell) == ["area", "level", "role", "task", "status", "band", "measured", "adjusted", "signals",
                          "unclipped", "display", "trend"]
    assert cell["measured"] == {"flagged": 300}
    assert cell["trend"] is None
    # 300 of 2000 flagged with errors of 5 % and 10 %: (0.15 - 0.05) / 0.85, of 2000.
    assert cell["unclipped"]["rate"] == 1176.47
    assert cell["display"]["rate"] == 1176
    assert cell["signals"]["estimate"] == pytest.approx(235.29, abs=0.01)
    assert row(whole["cells"], "XA", "country", "origin", "distress")["band"] is None


def test_rows_come_place_by_place_role_by_role_and_task_by_task(whole: dict[str, Any]) -> None:
    order = [(each["area"], each["role"], each["task"]) for each in whole["cells"]]
    codes = [area["code"] for area in whole["areas"] if area["status"] == "measured"]
    assert order == [(code, role, task) for code in codes for role in whole["roles"] for task in whole["tasks"]]
    assert [(each["area"], each["role"]) for each in whole["nodes"]] == list(dict.fromkeys(
        (area, role) for area, role, _ in order))


def test_calibration_tells_errors_and_why_a_model_is_not_used(whole: dict[str, Any]) -> None:
    first, second = whole["calibration"]
    assert first["measured"] == {"true_positive": 900, "false_negative": 100, "false_positive": 100,
                                 "true_negative": 1900}
    assert (first["usable"], first["reason"]) == (True, None)
    assert (first["sensitivity"]["value"], first["false_alarm_rate"]["value"]) == (0.9, 0.05)
    assert first["sensitivity"]["lower"] < 0.9 < first["sensitivity"]["upper"]
    assert second["task"] == "distress"

    (_, bad) = RICH.but(Family.CONFUSION, 1, [[1900, 100], [900, 100]]).content()["calibration"]
    assert (bad["usable"], bad["reason"]) == (False, "model_not_good_enough")
    assert bad["measured"]["false_negative"] == 900

    (_, few) = RICH.but(Family.CONFUSION, 1, [[1900, 100], [40, 60]]).content()["calibration"]
    assert (few["usable"], few["reason"], few["measured"]) == (False, "too_few_labelled", None)
    assert few["sensitivity"] == few["false_alarm_rate"] == {"value": None, "lower": None, "upper": None}


def test_indicator_rows_name_their_sides() -> None:
    table = RICH.table(Family.INDICATORS)[0, 0, 0].copy()
    table[1, 2], table[0, 2] = 300, 900
    content = RICH.but(Family.INDICATORS, (0, 0, 0), table).content()
    cell = row(content["indicators"]["cells"], "XA", "origin", "recruitment")
    assert cell["measured"] == {"flagged": 1500, "others": 8000}
    assert [lift["indicator"] for lift in cell["lifts"]] == ["deceptive_offer", "document_control"]
    assert cell["lifts"][1]["measured"] == {"flagged": 300, "others": 900}
    assert cell["lifts"][1]["lift"] == round(300 / 1500 / (900 / 8000), 3)
    assert cell["lifts"][0]["class"] == "more_often"


@pytest.mark.parametrize("level", list(AreaLevel))
def test_indicators_have_a_row_for_each_place_of_their_level(level: AreaLevel) -> None:
    content = rich(make_plan(indicators=level)).content()
    codes = [area["code"] for area in content["areas"] if (area["level"], area["status"]) == (level, "measured")]
    assert list(dict.fromkeys(cell["area"] for cell in content["indicators"]["cells"])) == codes
    assert content["indicators"]["level"] == level


def test_corridor_rows(whole: dict[str, Any]) -> None:
    cell = row(whole["corridors"], "XA:north", "XA:south", "distress")
    assert cell["measured"] == {"reviewed": 900, "flagged": 300}
    # (300 / 900 - 0.05) / 0.85 of 900
    assert cell["signals"]["estimate"] == pytest.approx(300.0)
    assert cell["band"]["from"] <= cell["signals"]["lower"]
    assert len(whole["corridors"]) == 4


def test_the_spread_that_is_told_is_that_of_the_noise() -> None:
    content = rich(make_plan(super_regions=())).but(Family.REGIONS, (0, slice(None), 0), 50).content()
    # A country one of whose regions is withheld stands by itself.
    assert row(content["nodes"], "XA", "origin")["adjusted"] == {"reviewed": 12_000.0, "sd": 80.0}
    assert row(content["cells"], "XA", "origin", "distress")["adjusted"] == {"flagged": 1800.0, "sd": 80.0}
    # All is shown of the other: 80 and two times 40 say of the country 80² · (2 · 40²) / (80² + 2 · 40²).
    assert row(content["nodes"], "XB", "origin")["adjusted"]["sd"] == round((6400 * 3200 / 9600) ** 0.5, 3)
