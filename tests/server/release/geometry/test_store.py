"""The file of boundaries: what was written can be read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from server.release.geometry import store
from server.release.geometry.matching import Match


def test_a_line_is_encoded_as_the_format_says() -> None:
    # The worked example of the Encoded Polyline Algorithm Format, whose points are latitude before longitude.
    points = np.array([[3850000, -12020000], [4070000, -12095000], [4325200, -12645300]])
    assert store.encode_line(points) == "_p~iF~ps|U_ulLnnqC_mqNvxq`@"


@given(arrays(np.int64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(-40_000_000, 40_000_000)))
def test_a_line_comes_back(points: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    assert (store.decode_line(store.encode_line(points)) == points).all()


def _geometry(polygon: str, panel: int, rings: list[list[int]], interval: float = 0.05) -> dict[str, Any]:
    return {"type": "MultiPolygon", "arcs": [rings],
            "properties": {"polygon": polygon, "panel": panel, "interval": interval}}


def test_an_entry_keeps_its_own_arcs_once_and_names_its_regions() -> None:
    arcs: list[list[list[float]]] = [[[9, 9], [9, 8]], [[0, 0], [0.001, 0], [1, 0]], [[1, 0], [1, 1], [0, 0]],
                                     [[1, 0], [2, 2], [0, 0]]]
    country: Any = SimpleNamespace(matches={"XX-2": Match(by="name", name="Two", polygons=("b",)),
                                            "XX-1": Match(by="parts", name="", polygons=("a", "b"))})
    entry = store.encode(country, [_geometry("a", 0, [[1, 2]]), _geometry("b", 1, [[~1, ~3]]),
                                   _geometry("b", -1, [[1, 2]])], arcs)
    assert entry["places"] == 2
    assert len(entry["arcs"]) == 3
    assert entry["polygons"] == [[0, [[0, 1]]], [1, [[-1, -3]]], [-1, [[0, 1]]]]
    assert entry["regions"] == {"XX-1": ["parts", "", [0, 1, 2]], "XX-2": ["name", "Two", [1, 2]]}
    # The second point of the first arc falls onto its first at two places.
    assert (store.decode_line(entry["arcs"][0]) == [[0, 0], [100, 0]]).all()


@pytest.mark.parametrize(("interval", "places"), [(0.05, 2), (0.04, 2), (0.039, 3), (0.004, 3), (0.0001, 5)])
def test_coordinates_are_four_times_as_fine_as_the_detail(interval: float, places: int) -> None:
    country: Any = SimpleNamespace(matches={})
    arcs = [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]]
    assert store.encode(country, [_geometry("a", 0, [[0]], interval)], arcs)["places"] == places


def test_a_country_without_boundaries_is_none() -> None:
    assert store.load("XA") is None
    assert store.load("ZZ") is None


def test_a_country_is_read_once() -> None:
    assert store.load("RO") is store.load("RO")
