"""Look-ups of a content, and which countries share a part of the page."""

from __future__ import annotations

from typing import Any

import pytest

from server.release.views import index as module
from server.release.views.index import Index


def content(regions: dict[str, int], *, protected: tuple[str, ...] = (), roles: int = 1) -> dict[str, Any]:
    """Areas of a content with so many regions in each country, in an order of no meaning, and no cells."""
    areas = [{"code": country, "name": f"Country {country}", "level": "country", "parent": None, "status": "measured"}
             for country in reversed(regions)]
    for country, number in regions.items():
        areas += [{"code": f"{country}-{i:03d}", "name": f"Region {i}", "level": "region", "parent": country,
                   "status": "protected" if f"{country}-{i:03d}" in protected else "measured"}
                  for i in range(number, 0, -1)]
    return {"areas": areas, "cells": [], "tasks": ["recruitment"], "roles": ["origin", "transit"][:roles]}


def test_places_are_in_the_order_of_their_codes() -> None:
    index = Index(content({"XB": 3, "XA": 2}, protected=("XB-002",)))
    assert index.countries == ("XA", "XB")
    assert index.measured("XB", "region") == ("XB-001", "XB-003")
    assert index.protected("XB") == ("XB-002",)
    assert index.regions("XB") == ("XB-001", "XB-002", "XB-003")
    assert index.measured("XB", "super_region") == ()
    assert index.name("XA-001") == "Region 1"
    assert index.cell("XA-001", "origin", "recruitment") is None


def test_a_country_that_is_protected_as_a_whole_has_a_name() -> None:
    known = content({"XA": 1, "XB": 1}, protected=("XB-001",))
    known["areas"] = [area for area in known["areas"] if area["code"] != "XB"]
    index = Index(known)
    assert (index.countries, index.name("XB")) == (("XA", "XB"), "Invented country XB")


@pytest.mark.parametrize(("regions", "groups"), [
    ({"XA": 12}, [("xa", "Country XA", ("XA",))]),
    ({"XA": 3}, [("xa", "Country XA", ("XA",))]),
    ({"XA": 12, "XB": 3}, [("xa", "Country XA", ("XA",)), ("xb", "Country XB", ("XB",))]),
    ({"XA": 12, "XB": 3, "XC": 6, "XD": 7},
     [("xa", "Country XA", ("XA",)), ("xd", "Country XD", ("XD",)),
      ("small", "Countries with few regions", ("XB", "XC"))]),
    ({"XA": 1, "XB": 2}, [("small", "Countries", ("XA", "XB"))]),
])
def test_small_countries_share_a_group(regions: dict[str, int], groups: list[tuple[str, str, tuple[str, ...]]]) -> None:
    index = Index(content(regions))
    assert [(group.key, group.heading, group.countries) for group in index.groups] == groups
    assert all(group.open for group in index.groups)


def test_of_many_groups_only_the_first_is_open() -> None:
    assert [group.open for group in Index(content({"XA": 9, "XB": 9, "XC": 9, "XD": 9})).groups] == [
        True, False, False, False]


def test_a_very_large_release_is_compact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT", 20)
    assert not Index(content({"XA": 10}, roles=2)).compact
    assert Index(content({"XA": 11}, roles=2)).compact
