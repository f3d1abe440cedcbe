"""Enrolled partners as a world: public facts only, and no records."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation.errors import InputError
from federation.taxonomy import Task
from simulations.world.enrolled import EnrolledWorld, enrolled_world
from tests.worlds import REGIONS, roster


def world(partners: int = 3, *, synthetic: bool = False, drawn: bool = False) -> EnrolledWorld:
    return enrolled_world(tuple(reversed(roster(partners))), synthetic=synthetic, regions_drawn=drawn, indicators=True)


def test_it_says_what_partners_declared_in_the_order_of_their_names() -> None:
    made = world()
    assert [one.name for one in made.partners] == ["partner-0", "partner-1", "partner-2"]
    assert [(one.slots, one.regions, dict(one.declared_prevalence)) for one in made.partners] == [
        (one.slots, one.regions, dict(one.declared_prevalence)) for one in roster(3)]
    assert made.regions == REGIONS
    assert made.tasks == (Task.RECRUITMENT, Task.DISTRESS)
    assert made.super_regions == ()


@pytest.mark.parametrize(("synthetic", "drawn", "label"), [
    (True, False, "SYNTHETIC"), (True, True, "SYNTHETIC"), (False, True, "real texts, drawn regions"),
    (False, False, "reported signals")])
def test_its_label_says_what_the_records_are(synthetic: bool, drawn: bool, label: str) -> None:
    assert world(synthetic=synthetic, drawn=drawn).label == label


@pytest.mark.parametrize("partners", [0, 1])
def test_fewer_than_two_make_none(partners: int) -> None:
    with pytest.raises(InputError, match=f"{partners} enrolled") as caught:
        world(partners)
    assert "leelight coordinator enrol" in caught.value.remedy


def test_partners_that_label_nothing_make_none() -> None:
    silent = [one.model_copy(update={"declared_prevalence": {}}) for one in roster(2)]
    with pytest.raises(InputError, match="declared_prevalence"):
        enrolled_world(silent, synthetic=False, regions_drawn=False, indicators=True)


def test_it_has_neither_a_period_nor_records(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study\.period_start=2026-04-01"):
        _ = world().period
    with pytest.raises(InputError, match="its records are its own"):
        world().write("partner-0", tmp_path)
    assert list(tmp_path.iterdir()) == []
