"""The indicator mix: lifts in numbers, on an axis and in words."""

from __future__ import annotations

import math
from typing import Any

from federation.taxonomy import Indicator
from server.release.views.index import Index
from server.release.views.indicators import EACH, mix
from tests.server.release.worlds import many_content, states_content, twelve_content

LABELS = {indicator.value: f"label of {indicator.value}" for indicator in Indicator}


def test_a_study_without_indicators_has_no_such_section() -> None:
    assert mix(Index(states_content()), LABELS) is None


def test_charts_hold_every_lift_and_no_withheld_one() -> None:
    content = twelve_content()
    found = mix(Index(content), LABELS)
    assert found is not None
    assert found.lines == ()
    assert [(chart.task, chart.code) for chart in found.charts] == [("recruitment", "XA"), ("distress", "XA")]
    assert [label for at, label, middle in found.ticks if middle] == ["1"]
    reach = -math.log(1 / float(found.ticks[-1][1].replace(",", "")))
    cells = {(cell["area"], cell["role"], cell["task"]): cell for cell in content["indicators"]["cells"]}
    for chart in found.charts:
        assert chart.indicators == tuple(LABELS[tag] for tag in content["indicators"]["tags"])
        for column in chart.columns:
            cell = cells[chart.code, column.role, chart.task]
            assert (column.reason is None) == (cell["status"] == "shown")
            for lift, known in zip(column.lifts, cell.get("lifts", ()), strict=True):
                assert (lift is None) == (known["status"] != "shown")
                if lift is not None:
                    assert lift.kind == known["class"]
                    assert lift.ratio == f"{known['lift']:.2f}"
                    naive = 50 + 50 * math.log(known["lift"]) / reach
                    assert abs(lift.bar.at - naive) < 0.1


def test_withheld_places_and_lifts_have_no_numbers() -> None:
    content: dict[str, Any] = {**twelve_content()}
    known = content["indicators"]
    first, second, *others = known["cells"]
    first = {key: first[key] for key in ("area", "role", "task")} | {"status": "withheld", "reason": "too_few_records"}
    second = second | {"lifts": [{"indicator": second["lifts"][0]["indicator"], "status": "withheld",
                                  "reason": "insufficient"}, *second["lifts"][1:]]}
    content["indicators"] = known | {"cells": [first, second, *others]}
    found = mix(Index(content), LABELS)
    assert found is not None
    columns = {(chart.task, column.role): column for chart in found.charts for column in chart.columns}
    held = columns[first["task"], first["role"]]
    assert (held.reason, held.lifts) == ("too few records to publish safely", ())
    assert columns[second["task"], second["role"]].lifts[0] is None


def test_very_many_places_are_told_in_words() -> None:
    content = many_content()
    found = mix(Index(content), LABELS)
    cells = content["indicators"]["cells"]
    assert found is not None
    assert len(found.lines) == len(cells) > EACH
    assert found.charts == ()
    for line, cell in zip(found.lines, cells, strict=True):
        assert (line.code, line.role, line.task) == (cell["area"], cell["role"], cell["task"])
        if cell["status"] != "shown":
            assert (line.reason is None, line.more, line.less) == (False, "", "")
            continue
        for told, kind in ((line.more, "more_often"), (line.less, "less_often")):
            assert told == ", ".join(LABELS[lift["indicator"]] for lift in cell["lifts"] if lift.get("class") == kind)
        assert line.unclear == sum(lift.get("class") == "no_clear_difference" for lift in cell["lifts"])
        assert line.withheld == sum(lift["status"] == "withheld" for lift in cell["lifts"])
