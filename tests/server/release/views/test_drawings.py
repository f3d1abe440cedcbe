"""Drawings: boundaries where there are some, tiles elsewhere."""

from __future__ import annotations

from server.release.views.drawings import DOT, draw, short
from server.release.views.index import Index
from tests.server.release.views.test_index import content
from tests.server.release.worlds import STATES


def areas(*regions: str) -> Index:
    return Index({"areas": [{"code": code, "name": code, "level": "region", "parent": code[:2], "status": "measured"}
                            for code in regions], "cells": [], "tasks": [], "roles": []})


def test_invented_countries_have_tiles() -> None:
    few, many = draw(Index(content({"XA": 12, "XB": 60}))).values()
    assert few.tiled
    assert few.rest == few.frames == ""
    assert [piece.text for piece in few.pieces][:2] == ["XA-001", "XA-002"]
    assert many.dense
    assert [piece.text for piece in many.pieces][:2] == ["001", "002"], "in a dense block the end of a code has to do"
    keys = [piece.key for drawing in (few, many) for piece in drawing.pieces]
    assert len(set(keys)) == len(keys)
    assert all(piece.marked and not piece.dot for piece in few.pieces)


def test_the_states_have_their_boundaries() -> None:
    (drawing,) = draw(areas(*STATES)).values()
    assert not drawing.tiled
    assert sorted(piece.region for piece in drawing.pieces) == sorted(STATES)
    assert drawing.frames, "Alaska and Hawaii lie in frames"
    by_region = {piece.region: piece for piece in drawing.pieces}
    assert by_region["US-TX"].text == "TX"
    assert by_region["US-DC"].dot
    assert not by_region["US-TX"].dot
    assert by_region["US-DC"].text == ""
    assert drawing.dot == round(drawing.width * DOT, 1)
    for piece in drawing.pieces:
        assert 0 <= piece.x <= drawing.width
        assert 0 <= piece.y <= drawing.height


def test_regions_outside_the_study_are_the_rest_of_the_country() -> None:
    (drawing,) = draw(areas("RO-IS", "RO-CJ")).values()
    assert [piece.region for piece in drawing.pieces] == ["RO-CJ", "RO-IS"]
    assert drawing.rest


def test_the_end_of_a_code() -> None:
    assert (short("XA-01"), short("GB-LND")) == ("01", "LND")
