"""Reported movements in bands."""

from __future__ import annotations

from typing import Any

import pytest

from server.release import words
from server.release.derive import count_class
from server.release.views import corridors as module
from server.release.views.corridors import UPPER_EDGES, corridors, steps
from server.release.views.index import Index
from tests.server.release.worlds import states_content, twelve_content


def content_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {**twelve_content(), "corridors": rows}


def row(origin: str, destination: str, **said: Any) -> dict[str, Any]:
    return {"origin": f"XA:{origin}", "destination": f"XA:{destination}", "task": "recruitment", **said}


def test_none_without_corridors() -> None:
    assert corridors(Index(states_content())) == ()


def test_pairs_are_in_the_order_of_their_codes_and_say_what_the_content_says() -> None:
    content = twelve_content()
    for part in corridors(Index(content)):
        rows = {(row["origin"], row["destination"]): row for row in content["corridors"] if row["task"] == part.task}
        assert [(each.origin.code, each.destination.code) for each in part.listed] == sorted(rows)
        for each in part.listed:
            known = rows[each.origin.code, each.destination.code]
            if known["status"] == "shown":
                assert each.band == words.band_of_counts(known["band"])
                assert each.reason is None
            else:
                assert (each.band, each.classes, each.reason) == ("", (), words.REASONS[known["reason"]])
        assert part.summary.startswith(f"{sum(row['status'] == 'shown' for row in rows.values())} of {len(rows)} ")


@pytest.mark.parametrize(("lower", "upper", "classes"), [
    (12, 30, (True, False, False, False)), (12, 60, (True, True, False, False)),
    (300, 5000, (False, False, True, True)), (2000, 5000, (False, False, False, True)),
    (-5, 1e6, (True, True, True, True)),
])
def test_a_band_covers_its_classes(lower: float, upper: float, classes: tuple[bool, ...]) -> None:
    """Bands as the content makes them (`derive.count_class`)."""
    band = count_class(lower, upper, minimum_count=11)
    (part, _) = corridors(Index(content_of([row("north", "south", status="shown", band=band)])))
    assert part.listed[0].classes == classes


def test_the_scale_begins_at_the_least_count() -> None:
    assert steps(Index(twelve_content())) == (11, *UPPER_EDGES)


def test_of_very_many_pairs_those_withheld_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY", 2)
    band = {"from": 11, "to": 50}
    rows = [row("north", "south", status="shown", band=band),
            row("south", "north", status="withheld", reason="insufficient"),
            row("north", "middle", status="withheld", reason="insufficient")]
    (part, _) = corridors(Index(content_of(rows)))
    assert [each.destination.code for each in part.listed] == ["XA:south"]
    assert part.folded == ((words.REASONS["insufficient"], 2),)
