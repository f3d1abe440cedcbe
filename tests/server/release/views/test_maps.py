"""The maps, against what a content says place by place."""

from __future__ import annotations

from typing import Any

import pytest

from server.release import words
from server.release.views import maps
from server.release.views.drawings import draw
from server.release.views.index import Index
from tests.server.release.worlds import many_content, states_content, twelve_content

CONTENTS = {"twelve": twelve_content, "states": states_content, "many": many_content}


def naive_shade(rate: int, edges: tuple[int, ...]) -> int:
    """By walking through the bins, and spreading them over five shades by hand."""
    spread = {1: [2], 2: [0, 4], 3: [0, 2, 4], 4: [0, 1, 3, 4], 5: [0, 1, 2, 3, 4]}[len(edges) - 1]
    for i, upper in enumerate(edges[1:]):
        if rate < upper or upper == edges[-1]:
            return spread[i]
    raise AssertionError(f"{rate} is in no bin")


@pytest.mark.parametrize("name", CONTENTS)
def test_each_region_is_coloured_and_told_as_the_content_says(name: str) -> None:
    content = CONTENTS[name]()
    index = Index(content)
    drawings = draw(index)
    status = {area["code"]: area["status"] for area in content["areas"]}
    cells = {(cell["area"], cell["role"], cell["task"]): cell for cell in content["cells"]}
    regions = {area["code"] for area in content["areas"] if area["level"] == "region"}
    for task in content["tasks"]:
        edges = maps.edges_of(index, task)
        for role in content["roles"]:
            seen = {}
            for group in index.groups:
                panel = maps.panel(index, drawings, group, role, task, edges)
                for spot in (spot for each in panel.maps for spot in each.spots):
                    seen[spot.code] = spot
            assert set(seen) == regions
            for code, spot in seen.items():
                classes = set(spot.classes.split()) - {"dot"}
                if status[code] == "protected":
                    assert (classes, spot.sentence) == ({"protected"}, words.PROTECTED)
                    continue
                cell = cells[code, role, task]
                if cell["status"] == "withheld":
                    assert classes == {"withheld"}
                    assert spot.sentence == f"withheld, {words.REASONS[cell['reason']]}"
                    continue
                shown = cell["display"]
                wide = {"wide"} if shown["upper"] - shown["lower"] > shown["rate"] else set()
                assert classes == {f"b{naive_shade(shown['rate'], edges)}"} | wide
                assert spot.sentence.startswith(f"{shown['rate']:,} signals in 10,000 reviewed records, 95 % interval "
                                                f"{shown['lower']:,} to {shown['upper']:,}")


def test_a_withheld_tile_shows_its_code_alone() -> None:
    index = Index(twelve_content())
    drawings, edges = draw(index), maps.edges_of(index, "recruitment")
    panel = maps.panel(index, drawings, index.groups[0], "origin", "recruitment", edges)
    (tiles,) = panel.maps
    assert len(tiles.texts) == 12
    for text, spot in zip(tiles.texts, tiles.spots, strict=True):
        cell = index.cell(spot.code, "origin", "recruitment")
        if cell is None or cell["status"] == "withheld":
            assert (text.code, text.value) == (spot.code, "")
        else:
            mark = {"high": " ▲", "low": " ▼"}.get(cell["band"], "")
            assert (text.code, text.value) == (spot.code + mark, f"{cell['display']['rate']:,}")


def test_the_summary_counts() -> None:
    content = twelve_content()
    index = Index(content)
    edges = maps.edges_of(index, "recruitment")
    panel = maps.panel(index, draw(index), index.groups[0], "origin", "recruitment", edges)
    shown = sum(cell["status"] == "shown" for cell in content["cells"]
                if (cell["level"], cell["role"], cell["task"]) == ("region", "origin", "recruitment"))
    assert panel.summary == f"{shown} of 12 regions shown, {11 - shown} withheld, 1 protected."


def test_the_legend_explains_what_is_there_and_nothing_else() -> None:
    index = Index(twelve_content())
    legend = maps.legend(index, draw(index), "recruitment", maps.edges_of(index, "recruitment"))
    assert (legend.withheld, legend.protected, legend.others, legend.tiled, legend.drawn) == (
        True, True, False, True, False)
    assert [low for _, low, _ in legend.bins[1:]] == [high for _, _, high in legend.bins[:-1]]
    states = Index(states_content())
    legend = maps.legend(states, draw(states), "distress", maps.edges_of(states, "distress"))
    assert (legend.protected, legend.others, legend.tiled, legend.drawn) == (False, False, False, True)


def test_a_map_of_nothing_shown_has_no_scale() -> None:
    content: dict[str, Any] = {**twelve_content()}
    content["cells"] = [{key: cell[key] for key in ("area", "level", "role", "task")}
                        | {"status": "withheld", "reason": "too_few_partners"} for cell in content["cells"]]
    index = Index(content)
    assert maps.edges_of(index, "recruitment") == ()
    legend = maps.legend(index, draw(index), "recruitment", ())
    assert (legend.bins, legend.wide, legend.withheld) == ((), False, True)
