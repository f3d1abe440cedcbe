"""Tables for spreadsheets: a row a number, nothing where it is withheld, and nothing that calculates."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.release.csv_files import _harmless, cells_csv, corridors_csv, indicators_csv, totals_csv
from tests.server.release.homes import content_in

Rows = list[dict[str, str]]


def rows(data: bytes) -> Rows:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))


@pytest.fixture
def content(bundle: Path) -> dict[str, Any]:
    return content_in(bundle)


def test_a_rate_is_the_one_of_the_release(content: dict[str, Any]) -> None:
    found = rows(cells_csv(content))
    assert len(found) == len(content["cells"])
    for row, cell in zip(found, content["cells"], strict=True):
        assert {key: row[key] for key in ("area", "level", "role", "task", "status")} == {
            key: cell[key] for key in ("area", "level", "role", "task", "status")}
        if cell["status"] == "shown":
            assert [int(row[key]) for key in ("rate_per_10000", "lower_95", "upper_95")] == [
                cell["display"][key] for key in ("rate", "lower", "upper")]
            assert [float(row[f"{key}_unclipped"]) for key in ("rate_per_10000", "lower_95", "upper_95")] == [
                cell["unclipped"][key] for key in ("rate", "lower", "upper")]
            assert row["band"] == (cell["band"] or "")
            assert row["trend"] == (cell["trend"]["class"] if cell["trend"] else "")
            assert row["reason"] == ""


@pytest.mark.parametrize("made", [cells_csv, indicators_csv, corridors_csv, totals_csv])
def test_a_withheld_row_has_a_reason_and_no_number(
    content: dict[str, Any], made: Callable[[dict[str, Any]], bytes]
) -> None:
    content["corridors"][0] = {**{key: content["corridors"][0][key] for key in ("origin", "destination", "task")},
                               "status": "withheld", "reason": "too_few_signals"}
    total = content["series"]["cells"][0]
    content["series"]["cells"][0] = {**{key: total[key] for key in ("area", "role", "task")},
                                     "status": "withheld", "reason": "too_few_signals"}
    found = rows(made(content))
    hidden = [row for row in found if row["status"] == "withheld"]
    assert found
    assert hidden or made is indicators_csv
    names = {"label", "synthetic", "regions_drawn", "rehearsal", "study", "period_start", "period_end", "released_on",
             "area", "area_name", "level", "role", "task", "indicator", "origin", "origin_name", "destination",
             "destination_name", "status", "reason", "series", "releases"}
    for row in hidden:
        assert row["reason"]
        assert not any(value for key, value in row.items() if key not in names)


def test_every_row_says_what_it_is_of(content: dict[str, Any]) -> None:
    for made in (cells_csv, indicators_csv, corridors_csv, totals_csv):
        for row in rows(made(content)):
            assert row["label"] == "SYNTHETIC"
            assert (row["synthetic"], row["rehearsal"], row["regions_drawn"]) == ("yes", "yes", "no")
            assert (row["period_start"], row["period_end"]) == ("2026-04-01", "2026-06-30")


def test_an_indicator_is_the_one_of_the_release(content: dict[str, Any]) -> None:
    found = rows(indicators_csv(content))
    assert len(found) == len(content["indicators"]["cells"]) * len(content["indicators"]["tags"])
    lifts = [lift for cell in content["indicators"]["cells"] for lift in cell["lifts"]]
    for row, lift in zip(found, lifts, strict=True):
        assert row["indicator"] == lift["indicator"]
        if lift["status"] == "shown":
            assert (float(row["lift"]), row["class"]) == (lift["lift"], lift["class"])


def test_a_corridor_has_a_class_and_no_count(content: dict[str, Any]) -> None:
    for row, corridor in zip(rows(corridors_csv(content)), content["corridors"], strict=True):
        if corridor["status"] == "shown":
            assert int(row["signals_from"]) == corridor["band"]["from"]
            assert row["signals_to"] == ("" if corridor["band"]["to"] is None else str(corridor["band"]["to"]))
        assert str(corridor.get("measured", {}).get("reviewed", "none")) not in row.values()


def test_a_running_total_is_the_one_of_the_release(content: dict[str, Any]) -> None:
    found, series = rows(totals_csv(content)), content["series"]
    assert len(found) == len(series["cells"]) > 0
    for row, cell in zip(found, series["cells"], strict=True):
        assert (row["series"], row["releases"], row["level"]) == ("north-coast-2026", "2", "super_region")
        assert (row["area"], row["role"], row["task"]) == (cell["area"], cell["role"], cell["task"])
        if cell["status"] == "shown":
            assert {key: float(row[key]) for key in cell["total"]} == cell["total"]
            assert int(row["rate_per_10000"]) == cell["display"]["rate"]
    assert {row["status"] for row in found} >= {"shown"}


def test_a_release_without_some_tables_has_their_headers_alone(content: dict[str, Any]) -> None:
    bare = {**content, "indicators": None, "corridors": [], "series": None}
    for made in (indicators_csv, corridors_csv, totals_csv):
        assert made(bare).count(b"\n") == 1


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", '=HYPERLINK("x")', " =1"])
def test_no_name_can_start_a_formula(content: dict[str, Any], name: str) -> None:
    areas = [{**area, "name": name} for area in content["areas"]]
    for row in rows(cells_csv({**content, "areas": areas, "label": name})):
        assert row["area_name"] == row["label"] == f"'{name}"


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u202e", "\u2066", "\u00ad"])
def test_no_name_can_hide_what_it_is(content: dict[str, Any], mark: str) -> None:
    areas = [{**area, "name": f"{mark}=1{mark}+1"} for area in content["areas"]]
    for row in rows(cells_csv({**content, "areas": areas})):
        assert row["area_name"] == "'=1+1"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\t"])
def test_no_name_can_begin_a_row(content: dict[str, Any], end: str) -> None:
    areas = [{**area, "name": f"North{end}=1+1"} for area in content["areas"]]
    text = cells_csv({**content, "areas": areas}).decode()
    assert len(text.splitlines()) == 1 + len(content["cells"])
    assert "\t" not in text


@given(st.text())
def test_no_text_at_all_can(text: str) -> None:
    made = _harmless(text)
    assert not made.lstrip().startswith(tuple("=+-@＝＋－＠"))
    assert made.splitlines() in ([], [made])


def test_a_negative_number_stays_one(content: dict[str, Any]) -> None:
    cell = next(cell for cell in content["cells"] if cell["status"] == "shown")
    cell["unclipped"]["lower"] = -12.5
    found = rows(cells_csv(content))
    assert "-12.5" in {row["lower_95_unclipped"] for row in found}
