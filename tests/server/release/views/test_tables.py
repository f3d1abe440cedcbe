"""The tables of rates: every row as the content has it, in the order of the codes."""

from __future__ import annotations

import pytest

from federation.areas import country_of
from server.release import words
from server.release.views import index as limits
from server.release.views import tables as module
from server.release.views.index import LEVELS, Index
from server.release.views.tables import Held, Shown, series_table, table, ticks_of
from tests.server.release.worlds import many_content, states_content, twelve_content

CONTENTS = {"twelve": twelve_content, "states": states_content, "many": many_content}


def key(row: Shown | Held) -> str:
    return row.code if isinstance(row, Shown) else row.places[0][0]


@pytest.mark.parametrize("name", CONTENTS)
def test_rows_say_what_the_content_says(name: str) -> None:
    content = CONTENTS[name]()
    index = Index(content)
    cells = {(cell["area"], cell["role"], cell["task"]): cell for cell in content["cells"]}
    seen = set()
    for task in content["tasks"]:
        ticks = ticks_of(index, task)
        bodies = [body for group in index.groups for body in table(index, group.countries, task, ticks).bodies]
        for body in bodies:
            shown = [row for row in body.rows if isinstance(row, Shown)]
            assert [row.code for row in shown] == sorted(row.code for row in shown)
            for row in shown:
                cell = cells[row.code, body.role, task]
                seen.add((row.code, body.role, task))
                known = cell["display"]
                assert cell["status"] == "shown"
                assert row.rate == f"{known['rate']:,}"
                assert row.interval == f"{known['lower']:,} to {known['upper']:,}"
                assert row.band == cell["band"]
                assert row.bar is not None
                for place, end in ((row.bar.at, "rate"), (row.bar.start, "lower"), (row.bar.end, "upper")):
                    assert place == pytest.approx(100 * known[end] / ticks[-1], abs=0.051)
                country = cells[country_of(row.code), body.role, task]
                assert row.whole == (pytest.approx(100 * country["display"]["rate"] / ticks[-1], abs=0.051)
                                     if country["status"] == "shown" else None)
                assert (row.trend is None) == (cell["trend"] is None)
                if row.trend is not None:
                    assert row.trend.kind == cell["trend"]["class"]
            for held in (row for row in body.rows if isinstance(row, Held)):
                for code, _ in held.places:
                    if held.protected:
                        assert (code, body.role, task) not in cells
                        continue
                    seen.add((code, body.role, task))
                    cell = cells[code, body.role, task]
                    assert held.reason == f"withheld: {words.REASONS[cell['reason']]}"
    assert seen == set(cells), "no cell is missing"


def test_a_small_country_lists_every_region_in_order() -> None:
    index = Index(twelve_content())
    bodies = table(index, ("XA",), "distress", ticks_of(index, "distress")).bodies
    assert [body.heading for body in bodies] == [
        f"{role}: {level}" for role in ("Origin", "Destination", "Observed")
        for level in ("country", "super-regions", "regions")]
    for body in bodies[2::3]:
        assert [key(row) for row in body.rows] == [f"XA-{i:02d}" for i in range(1, 13)]


def test_a_large_country_lists_what_is_withheld_by_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 20)
    content = many_content()
    index = Index(content)
    (body,) = [body for body in table(index, ("XA",), "recruitment", ticks_of(index, "recruitment")).bodies
               if body.heading == "Origin: regions"]
    *held, protected = [row for row in body.rows if isinstance(row, Held)]
    reasons = [cell["reason"] for cell in content["cells"] if cell["area"].startswith("XA-")
               and (cell["role"], cell["task"], cell["status"]) == ("origin", "recruitment", "withheld")]
    assert len(held) == len(set(reasons)) < len(reasons)
    assert sum(len(row.places) for row in held) == len(reasons)
    assert body.summary == f"{26 - len(reasons)} of 26 shown"
    assert (protected.places, protected.protected) == ((("XA-005", "Invented region 005"),), True)
    assert body.rows[-1] is protected


def test_a_compact_release_draws_countries_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMPACT", 10)
    index = Index(states_content())
    for body in table(index, ("US",), "distress", ticks_of(index, "distress")).bodies:
        for row in body.rows:
            if isinstance(row, Shown):
                assert (row.bar is None) == row.code.startswith("US-")


def test_some_levels_only() -> None:
    index = Index(twelve_content())
    bodies = table(index, ("XA",), "distress", ticks_of(index, "distress"), levels=LEVELS[:1]).bodies
    assert [[key(row) for row in body.rows] for body in bodies] == [["XA"]] * 3


def test_running_totals_say_what_the_content_says() -> None:
    content = twelve_content()
    index = Index(content)
    cells = {(cell["area"], cell["role"], cell["task"]): cell for cell in content["series"]["cells"]}
    seen = set()
    for task in content["tasks"]:
        totals = series_table(index, task)
        assert (totals.bands, totals.trends) == (False, False)
        for body in totals.bodies:
            assert body.heading == f"{words.ROLES[body.role][0]}: super-regions"
            assert [key(row) for row in body.rows] == ["XA:middle", "XA:north", "XA:south"]
            for row in body.rows:
                cell = cells[key(row), body.role, task]
                seen.add((key(row), body.role, task))
                if isinstance(row, Held):
                    assert row.reason == f"withheld: {words.REASONS[cell['reason']]}"
                    continue
                known = cell["display"]
                assert (row.rate, row.interval) == (f"{known['rate']:,}", f"{known['lower']:,} to {known['upper']:,}")
                assert (row.band, row.trend, row.whole) == (None, None, None)
                assert row.bar is not None
                assert row.bar.end == pytest.approx(100 * known["upper"] / totals.ticks[-1], abs=0.051)
    assert seen == set(cells)


def test_a_tick_lies_where_its_rate_does() -> None:
    index = Index(twelve_content())
    found = table(index, ("XA",), "distress", ticks_of(index, "distress"))
    assert [at for at, _, _ in found.axis] == [pytest.approx(100 * tick / found.ticks[-1], abs=0.051)
                                              for tick in found.ticks]
    assert [label for _, label, _ in found.axis] == [f"{tick:,}" for tick in found.ticks]
