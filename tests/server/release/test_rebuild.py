"""A content made again from its own measured numbers."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.canonical import canonical_json
from federation.plan import StudyPlan
from federation.taxonomy import AreaLevel, Family, RegionRole, Task
from server.release import promise
from server.release.rebuild import gated_of, rebuild
from tests.server.release.counted import REGIONS, free_of_charge, make_plan, noisy, rich

SHAPES: tuple[dict[str, Any], ...] = (
    {}, {"indicators": None}, {"corridors": ()}, {"super_regions": ()}, {"indicators": AreaLevel.REGION},
    {"indicators": None, "super_regions": ()}, {"tasks": (Task.DISTRESS,), "indicators": AreaLevel.SUPER_REGION},
    {"roles": (RegionRole.OBSERVED,), "coverage": [REGIONS[:4], REGIONS[2:], REGIONS, REGIONS[5:], REGIONS[:2]]})


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """The price takes seconds for each plan and is checked elsewhere."""
    monkeypatch.setattr(promise, "privacy", free_of_charge)


def made(shape: dict[str, Any], seed: int, previous: bool) -> tuple[StudyPlan, dict[str, Any], dict[str, Any] | None]:
    plan = make_plan(**shape)
    before = noisy(make_plan(**shape, quarter=1), seed + 1).content() if previous else None
    return plan, noisy(plan, seed).content(before), before


def test_all_of_a_content_with_its_price() -> None:
    plan = make_plan()
    content = noisy(plan, 3).content()
    assert canonical_json(rebuild(content, plan, None)) == canonical_json(content)


@settings(max_examples=12)
@given(st.sampled_from(SHAPES), st.integers(0, 10_000), st.booleans())
def test_rebuilding_gives_the_content(shape: dict[str, Any], seed: int, previous: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promise, "privacy", free_of_charge)
        plan, content, before = made(shape, seed, previous)
        read_back = json.loads(canonical_json(content))
        assert canonical_json(rebuild(read_back, plan, before)) == canonical_json(content)
        # Without the release before, what is said of trends is taken over.
        assert canonical_json(rebuild(read_back, plan, None)) == canonical_json(content)


@pytest.mark.usefixtures("free")
def test_what_was_let_through_is_read_back() -> None:
    world = noisy(make_plan(), 5)
    gated, again = world.gated(), gated_of(world.content(), world.plan)
    for name in ("reviewed", "flagged", "variance", "parent"):
        np.testing.assert_array_equal(getattr(again.nodes, name), getattr(gated.nodes, name))
    np.testing.assert_array_equal(again.records, gated.records)
    np.testing.assert_array_equal(again.rates, gated.rates)
    for part, names in (("indicators", ("counts", "cells", "lifts")), ("corridors", ("counts", "reasons"))):
        for name in names:
            np.testing.assert_array_equal(getattr(getattr(again, part), name), getattr(getattr(gated, part), name))


FREE = {"released_on", "model_sha256", "measurements_commitment", "in_sum", "status", "reason", "measured",
        "previous_release_sha256"}
"""What a rebuilding takes from the content: facts of its own, decisions, and the numbers that everything rests on."""


def forged(value: Any, key: str = "") -> Any:
    """The same with another value wherever a rebuilding takes none from it."""
    match value:
        case _ if key in FREE:
            return value
        case dict():
            return {name: forged(each, name) for name, each in value.items()}
        case list():
            return [forged(each) for each in value]
        case bool():
            return not value
        case int() | float():
            return value + 7
        case None:
            return 0.5
        case _:
            return f"{value}x"


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("seed", range(3))
def test_everything_else_is_made_and_not_taken_over(seed: int) -> None:
    """With every other figure and word changed, the same is made again: none of them could be forged unseen."""
    plan, content, before = made({}, seed, previous=True)
    other = forged(content)
    assert other["nodes"][0]["area"] == "XAx"
    assert other["suppression"]["shown"] == content["suppression"]["shown"] + 7
    assert canonical_json(rebuild(other, plan, before)) == canonical_json(content)


@pytest.mark.usefixtures("free")
def test_measured_numbers_carry_what_follows_from_them() -> None:
    plan = make_plan()
    content = rich(plan).content()
    for table, name in (("nodes", "reviewed"), ("cells", "flagged"), ("corridors", "flagged"),
                        ("corridors", "reviewed")):
        for index in (0, -1):
            forged = deepcopy(content)
            forged[table][index]["measured"][name] += 5
            assert rebuild(forged, plan, None) != forged
    forged = deepcopy(content)
    forged["indicators"]["cells"][0]["lifts"][0]["measured"]["flagged"] += 5
    assert rebuild(forged, plan, None) != forged
    forged = deepcopy(content)
    forged["calibration"][0]["measured"]["true_positive"] += 5
    assert rebuild(forged, plan, None) != forged


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("number", [12.5, "12", True, None])
def test_a_measured_number_that_is_none_does_not_survive(number: object) -> None:
    plan = make_plan()
    forged = rich(plan).content()
    forged["nodes"][3]["measured"]["reviewed"] = number
    try:
        again = rebuild(forged, plan, None)
    except (ValueError, TypeError):
        return
    assert canonical_json(again) != canonical_json(forged)


@pytest.mark.usefixtures("free")
def test_a_number_beside_a_reason_does_not_survive() -> None:
    world = rich(make_plan()).but(Family.REGIONS, (0, 0, 1), 60)
    forged = world.content()
    cell = next(each for each in forged["cells"] if each["status"] == "withheld")
    cell["measured"] = {"flagged": 60}
    assert rebuild(forged, world.plan, None) != forged


@pytest.mark.usefixtures("free")
def test_a_content_of_another_plan_is_refused_or_differs() -> None:
    content = rich(make_plan()).content()
    for changes in ({"regions": REGIONS[:-1], "super_regions": ()}, {"tasks": (Task.DISTRESS,)}, {"indicators": None},
                    {"rule": {"band_factor": 3.0}}, {"corridors": ()}):
        try:
            again = rebuild(content, make_plan(**changes), None)
        except (ValueError, KeyError, TypeError, IndexError):
            continue
        assert again != content
