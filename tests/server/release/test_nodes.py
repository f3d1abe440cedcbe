"""The measured numbers as arrays of places, roles and tasks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from federation.taxonomy import AreaLevel, Family
from server.release.nodes import Nodes
from tests.server.release.counted import make_plan, rich

PLAN = make_plan()
VARIANCES = {Family.REGIONS: 1.0, Family.SUPER_REGIONS: 4.0, Family.COUNTRIES: 9.0}
NODES = Nodes.empty(PLAN, VARIANCES)
CODES = [area.code for area in NODES.areas]


def test_places_come_coarsest_first_each_with_the_noise_of_its_level() -> None:
    assert CODES == ["XA", "XB", "XA:north", "XA:south", "XB:whole", "XA-01", "XA-02", "XA-03", "XA-04", "XA-05",
                     "XA-06", "XB-01", "XB-02"]
    assert NODES.variance.tolist() == [9.0] * 2 + [4.0] * 3 + [1.0] * 8
    assert [CODES[i] for i in NODES.at(AreaLevel.SUPER_REGION)] == ["XA:north", "XA:south", "XB:whole"]
    assert len(NODES.at(AreaLevel.REGION)) == 8


def test_an_empty_one_holds_no_number() -> None:
    assert NODES.reviewed.shape == (13, 2)
    assert NODES.flagged.shape == (13, 2, 2)
    assert np.isnan(NODES.reviewed).all()
    assert np.isnan(NODES.flagged).all()


def test_parents_and_countries() -> None:
    assert [CODES[i] if i >= 0 else None for i in NODES.parent] == [
        None, None, "XA", "XA", "XB", *["XA:north"] * 3, *["XA:south"] * 3, *["XB:whole"] * 2]
    assert [CODES[i] for i in NODES.countries()] == [code[:2] for code in CODES]
    flat = Nodes.empty(make_plan(super_regions=()), VARIANCES)
    assert [flat.areas[i].code for i in flat.parent[2:]] == [area.code[:2] for area in flat.areas[2:]]


@pytest.mark.parametrize("super_regions", [True, False])
def test_each_table_goes_to_the_places_of_its_level(super_regions: bool) -> None:
    plan = make_plan() if super_regions else make_plan(super_regions=())
    world = rich(plan)
    world.values[:] = np.arange(len(world.values))
    nodes = Nodes.of(world.measurements())
    for level, family in ((AreaLevel.REGION, Family.REGIONS), (AreaLevel.COUNTRY, Family.COUNTRIES)):
        table = world.table(family)
        np.testing.assert_array_equal(nodes.reviewed[nodes.at(level)], table[..., 0])
        np.testing.assert_array_equal(nodes.flagged[nodes.at(level)], table[..., 1:])
    assert not np.isnan(nodes.reviewed).any()
    assert len(nodes.at(AreaLevel.SUPER_REGION)) == (3 if super_regions else 0)
    if super_regions:
        np.testing.assert_array_equal(nodes.reviewed[2:5], world.table(Family.SUPER_REGIONS)[..., 0])


def test_the_arrays_do_not_share_memory_with_the_measurements() -> None:
    world = rich(PLAN)
    before = world.values.copy()
    nodes = Nodes.of(world.measurements())
    nodes.reviewed[:] = nodes.flagged[:] = -1.0
    np.testing.assert_array_equal(world.values, before)


def complete_by_hand(shown: np.ndarray) -> np.ndarray:
    found = np.zeros(shown.shape, dtype=bool)
    for place in range(len(CODES)):
        children = [i for i in range(len(CODES)) if NODES.parent[i] == place]
        for rest in np.ndindex(shown.shape[1:]):
            found[(place, *rest)] = bool(children) and all(shown[(i, *rest)] for i in (place, *children))
    return found


@given(st.one_of(arrays(bool, (13,)), arrays(bool, (13, 2)), arrays(bool, (13, 2, 2))))
def test_complete_families_against_a_naive_twin(shown: np.ndarray) -> None:
    np.testing.assert_array_equal(NODES.families_complete(shown), complete_by_hand(shown))


def test_a_family_is_incomplete_without_any_of_its_members() -> None:
    everything = np.ones(13, dtype=bool)
    assert [CODES[i] for i in np.flatnonzero(NODES.families_complete(everything))] == CODES[:5]
    for missing, left in (("XA", "XB XA:north XA:south XB:whole"), ("XA:north", "XB XA:south XB:whole"),
                          ("XA-02", "XA XB XA:south XB:whole"), ("XB-01", "XA XB XA:north XA:south")):
        shown = everything.copy()
        shown[CODES.index(missing)] = False
        assert [CODES[i] for i in np.flatnonzero(NODES.families_complete(shown))] == left.split()
