"""Each way of showing or withholding against the rules that can be told from a release and its plan alone."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.taxonomy import Family
from server.release import decide, promise
from server.release.recheck import wrongly_decided
from tests.server.release.counted import REGIONS, World, free_of_charge, make_plan, noisy, rich, row
from tests.server.release.test_rebuild import SHAPES

PLAN = make_plan()
RICH = rich(PLAN)
Content = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def _free() -> Any:
    """The price takes seconds for each plan and is checked elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promise, "privacy", free_of_charge)
        yield


@settings(max_examples=15)
@given(st.sampled_from(SHAPES), st.integers(0, 10_000))
def test_nothing_is_found_in_an_honest_release(shape: dict[str, Any], seed: int) -> None:
    world = noisy(make_plan(**shape), seed)
    assert wrongly_decided(world.content(), world.plan) == []


def test_nothing_is_found_where_coverage_and_dominance_withhold() -> None:
    plan = make_plan(coverage=[REGIONS, REGIONS[3:], REGIONS, REGIONS[3:]])
    world = rich(plan).but(Family.DOMINANCE, 4, [9000, 0, 0, 0])
    content = world.content()
    assert {"too_few_partners", "one_partner_dominates"} <= {node.get("reason") for node in content["nodes"]}
    assert wrongly_decided(content, plan) == []


def honest(world: World = RICH) -> Content:
    return deepcopy(world.content())


def withhold(each: dict[str, Any], why: str) -> None:
    for key in ("measured", "adjusted", "band", "signals", "unclipped", "display", "trend", "lifts", "lift", "lower",
                "upper", "class"):
        each.pop(key, None)
    each.update(status="withheld", reason=why)


def gate_without(world: World, *rules: str) -> Content:
    """What the world's content would be without some rules of the gate."""
    changes: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
        "records": lambda patch: patch.setattr(decide, "records_reasons", lambda counts, **_: np.zeros(
            counts.shape, dtype=np.int8)),
        "rates": lambda patch: patch.setattr(decide, "rate_reasons", lambda records, **_: records),
        "cover": lambda patch: patch.setattr(decide, "covered", lambda *_: True),
        "labelled": lambda patch: patch.setattr(decide, "enough_labelled", lambda *_: True),
        "first": lambda patch: patch.setattr(decide, "first_failed", lambda failed, shape: np.zeros(
            shape, dtype=np.int8)),
    }
    with pytest.MonkeyPatch.context() as patch:
        for rule in rules:
            changes[rule](patch)
        return world.content()


def test_too_few_records_shown() -> None:
    world = RICH.but(Family.REGIONS, (1, 0, 0), 103)
    found = wrongly_decided(gate_without(world, "records"), PLAN)
    assert "nodes: XA-02 origin is shown, and the rule says too_few_records" in found
    assert all("XA-02 origin" in line for line in found)


def test_too_few_partners_shown() -> None:
    world = RICH.under(make_plan(coverage=[REGIONS, REGIONS, REGIONS[1:], REGIONS[1:]]))
    found = wrongly_decided(gate_without(world, "cover"), world.plan)
    assert "nodes: XA-01 destination is shown, and the rule says too_few_partners" in found
    assert "cells: XA-01 destination distress is shown, and the rule says too_few_partners" in found
    # And with it XA-02, which keeps it from being worked out.
    assert len(found) == 12
    assert all("XA-01" in line or "XA-02" in line for line in found)


@pytest.mark.parametrize("table", ["indicators", "corridors"])
def test_too_few_partners_shown_in_another_table(table: str) -> None:
    # Two partners cover XB, and so an end of one corridor.
    world = RICH.under(make_plan(coverage=[REGIONS, REGIONS, REGIONS[:7], REGIONS[:7]]))
    found = [line for line in wrongly_decided(gate_without(world, "cover"), world.plan) if line.startswith(table)]
    assert found
    assert all("XB" in line and "too_few_partners" in line for line in found)


@pytest.mark.parametrize(("value", "why"), [(110, "too_few_signals"), (2500, "insufficient")])
def test_a_rate_shown_that_may_not_be(value: int, why: str) -> None:
    world = RICH.but(Family.REGIONS, (1, 0, 1), value)
    assert wrongly_decided(gate_without(world, "rates"), PLAN) == [
        f"cells: XA-02 origin recruitment is shown, and the rule says {why}"]


@pytest.mark.parametrize("table", ["cells", "corridors"])
def test_rates_of_a_model_that_cannot_tell_shown(table: str) -> None:
    world = RICH.but(Family.CONFUSION, 0, [[1900, 100], [800, 200]])
    found = wrongly_decided(gate_without(world, "rates"), PLAN)
    assert any(line.startswith(table) and line.endswith("model_not_good_enough") for line in found)
    assert all("recruitment" in line for line in found)


@pytest.mark.parametrize(("confusion", "shown"), [
    ([[1900, 100], [70, 329]], True), ([[1900, 100], [70, 330]], False), ([[699, 100], [70, 330]], True)])
def test_errors_of_too_few_labelled_people_shown(confusion: list[list[int]], shown: bool) -> None:
    world = RICH.but(Family.CONFUSION, 1, confusion)
    found = wrongly_decided(gate_without(world, "labelled"), PLAN)
    assert ("calibration: distress is shown, and the rule says that too few are labelled" in found) is shown


@pytest.mark.parametrize(("index", "value", "why"), [
    ((0, 0), 196, "too_few_records"), ((1, 0), 196, "too_few_signals"), ((0, 1), 0, "insufficient")])
def test_a_mix_shown_that_may_not_be(index: tuple[int, int], value: int, why: str) -> None:
    world = RICH.but(Family.INDICATORS, (1, 1, 0, *index), value)
    content = gate_without(world, "first")
    for lift in row(content["indicators"]["cells"], "XB", "destination", "recruitment")["lifts"]:
        assert lift["status"] == "shown"
    found = wrongly_decided(content, PLAN)
    which = " deceptive_offer" if why == "insufficient" else ""
    assert f"indicators: XB destination recruitment{which} is shown, and the rule says {why}" in found
    assert all("XB destination recruitment" in line for line in found)


@pytest.mark.parametrize(("index", "value", "why"), [(0, 103, "too_few_records"), (1, 80, "too_few_signals")])
def test_a_corridor_shown_that_may_not_be(index: int, value: int, why: str) -> None:
    world = RICH.but(Family.CORRIDORS, (1, index), value)
    found = wrongly_decided(gate_without(world, "first", "rates"), PLAN)
    assert f"corridors: XA:south XB:whole recruitment is shown, and the rule says {why}" in found
    assert all("XA:south XB:whole" in line for line in found)


def test_a_rate_shown_where_its_records_are_withheld() -> None:
    content = honest(RICH)
    withhold(row(content["nodes"], "XA-02", "origin"), "too_few_records")
    assert wrongly_decided(content, PLAN) == [
        f"cells: XA-02 origin {task} is shown, and the rule says too_few_records"
        for task in ("recruitment", "distress")]


@pytest.mark.parametrize(("table", "named"), [
    ("nodes", ("XA-02", "origin")), ("cells", ("XA-02", "origin", "distress")),
    ("indicators", ("XA", "origin", "distress")), ("corridors", ("XA:north", "distress"))])
def test_something_withheld_for_lack_of_partners_that_are_there(table: str, named: tuple[str, ...]) -> None:
    content = honest()
    rows = content["indicators"]["cells"] if table == "indicators" else content[table]
    withhold(row(rows, *named), "too_few_partners")
    found = [line for line in wrongly_decided(content, PLAN) if "by declared coverage" in line]
    assert len(found) == 1
    assert found[0].startswith(f"{table}: {named[0]}")


def test_another_reason_than_the_lack_of_partners() -> None:
    world = RICH.under(make_plan(coverage=[REGIONS, REGIONS, REGIONS[1:], REGIONS[1:]]))
    content = honest(world)
    for each in (row(content["nodes"], "XA-01", "origin"), row(content["cells"], "XA-01", "origin", "distress"),
                 row(content["cells"], "XA-01", "origin", "recruitment")):
        each["reason"] = "too_few_records"
    assert len([line for line in wrongly_decided(content, world.plan) if "by declared coverage" in line]) == 3


@pytest.mark.parametrize("why", ["one_partner_dominates", "model_not_good_enough", "insufficient"])
def test_a_mix_withheld_for_what_its_rate_is_not(why: str) -> None:
    content = honest()
    withhold(row(content["indicators"]["cells"], "XA", "origin", "distress"), why)
    assert wrongly_decided(content, PLAN) == [f"indicators: XA origin distress is {why}, and its rate is shown"]


def test_a_mix_withheld_for_another_reason_than_its_rate() -> None:
    content = honest(RICH.but(Family.COUNTRIES, (0, 0, 2), 600))
    mix = row(content["indicators"]["cells"], "XA", "origin", "distress")
    assert mix["reason"] == "too_few_signals"
    mix["reason"] = "too_few_records"
    assert wrongly_decided(content, PLAN) == [
        "indicators: XA origin distress is too_few_records, and its rate is too_few_signals"]


def test_a_mix_shown_without_its_rate() -> None:
    content = honest()
    withhold(row(content["cells"], "XA", "origin", "distress"), "too_few_signals")
    found = wrongly_decided(content, PLAN)
    assert found[0] == "indicators: XA origin distress is shown, and the rule says too_few_signals"
    assert all(line.startswith("indicators: XA origin distress") for line in found)


@pytest.mark.parametrize(("table", "named"), [
    ("cells", ("XA-02", "origin", "distress")), ("corridors", ("XA:north", "distress"))])
def test_a_model_that_can_tell_is_no_reason(table: str, named: tuple[str, ...]) -> None:
    content = honest()
    withhold(row(content[table], *named), "model_not_good_enough")
    (line,) = wrongly_decided(content, PLAN)
    assert line.startswith(f"{table}: {named[0]}")
    assert line.endswith("is model_not_good_enough, and the model's published errors say otherwise")


def test_a_later_reason_than_a_model_that_cannot_tell() -> None:
    content = honest(RICH.but(Family.CONFUSION, 1, [[1900, 100], [800, 200]]))
    row(content["cells"], "XA-02", "origin", "distress")["reason"] = "too_few_signals"
    (line,) = wrongly_decided(content, PLAN)
    assert line == ("cells: XA-02 origin distress is too_few_signals, and the model's published errors say otherwise")


@pytest.mark.parametrize("why", ["one_partner_dominates", "too_few_records"])
def test_a_rate_withheld_for_what_its_records_are_not(why: str) -> None:
    content = honest()
    withhold(row(content["cells"], "XA-02", "origin", "distress"), why)
    assert wrongly_decided(content, PLAN) == [
        f"cells: XA-02 origin distress is {why}, and its records are shown"]


def test_a_rate_withheld_for_another_reason_than_its_records() -> None:
    content = honest(RICH.but(Family.REGIONS, (1, 0, 0), 50))
    row(content["cells"], "XA-02", "origin", "distress")["reason"] = "too_few_signals"
    assert wrongly_decided(content, PLAN) == [
        "cells: XA-02 origin distress is too_few_signals, and its records are too_few_records"]


@pytest.mark.parametrize("why", ["model_not_good_enough", "too_few_signals", "insufficient"])
def test_records_withheld_for_a_reason_of_rates(why: str) -> None:
    content = honest(RICH.but(Family.REGIONS, (1, 0, 0), 50))
    for each in (row(content["nodes"], "XA-02", "origin"), row(content["cells"], "XA-02", "origin", "distress"),
                 row(content["cells"], "XA-02", "origin", "recruitment")):
        each["reason"] = why
    assert f"nodes: XA-02 origin is {why}, which is no reason to withhold records" in wrongly_decided(content, PLAN)


@pytest.mark.parametrize(("table", "named", "words"), [
    ("indicators", ("XA", "origin", "distress"), "its rate is shown"),
    ("corridors", ("XA:north", "distress"), "of its places the rule says another thing")])
def test_a_table_that_calls_a_place_one_partners_which_is_none(table: str, named: tuple[str, ...], words: str) -> None:
    content = honest()
    rows = content["indicators"]["cells"] if table == "indicators" else content[table]
    withhold(row(rows, *named), "one_partner_dominates")
    (line,) = wrongly_decided(content, PLAN)
    assert line.startswith(f"{table}: {named[0]}")
    assert line.endswith(f"is one_partner_dominates, and {words}")


def test_a_mix_and_a_corridor_shown_of_a_place_that_is_one_partners() -> None:
    content = honest()
    for code in ("XA", "XA:north"):
        for each in (row(content["nodes"], code, "origin"), row(content["cells"], code, "origin", "distress"),
                     row(content["cells"], code, "origin", "recruitment")):
            withhold(each, "one_partner_dominates")
    assert {line for line in wrongly_decided(content, PLAN) if "_offer" not in line and "_control" not in line} == {
        f"{where} {task} is shown, and the rule says one_partner_dominates"
        for where in ("indicators: XA origin", "corridors: XA:north XA:south") for task in ("recruitment", "distress")}
    # Another reason, of what comes later, is none either.
    withhold(row(content["indicators"]["cells"], "XA", "origin", "distress"), "too_few_records")
    assert any("XA origin distress is too_few_records, and its rate is one_partner_dominates" in line
               for line in wrongly_decided(content, PLAN))


@pytest.mark.parametrize("why", ["too_few_records", "too_few_signals", "model_not_good_enough"])
def test_a_lift_withheld_for_what_is_no_reason_of_lifts(why: str) -> None:
    content = honest()
    withhold(row(content["indicators"]["cells"], "XA", "origin", "distress")["lifts"][0], why)
    assert wrongly_decided(content, PLAN) == [
        f"indicators: XA origin distress deceptive_offer is {why}, which is no reason to withhold a lift"]


@pytest.mark.parametrize("change", [
    {"class": "fell", "difference": 500.0, "lower": 400.0, "upper": -600.0},
    {"class": "fell", "difference": 500.0, "lower": 400.0, "upper": 600.0},
    {"class": "rose", "difference": -1.0, "lower": -5.0, "upper": 4.0},
    {"class": "no_clear_change", "difference": 5.0, "lower": 1.0, "upper": 9.0},
    {"class": "rose", "difference": 0.5, "lower": 1.0, "upper": 9.0}, {"since": "e" * 64}])
def test_a_trend_that_its_own_figures_contradict(change: Content) -> None:
    previous = rich(make_plan(quarter=1), rate=0.10).content()
    content = deepcopy(rich(PLAN, rate=0.40).content(previous))
    assert wrongly_decided(content, PLAN) == []
    row(content["cells"], "XA", "origin", "distress")["trend"].update(change)
    (line,) = wrongly_decided(content, PLAN)
    assert line.startswith("cells: XA origin distress has a trend ")


@pytest.mark.parametrize("in_sum", [
    [], ["partner-0"] * 4, ["partner-0", "partner-1", "partner-2", "stranger"]])
def test_partners_that_cannot_be_those_of_the_sum(in_sum: list[str]) -> None:
    content = honest()
    content["coverage"]["in_sum"] = in_sum
    (line,) = wrongly_decided(content, PLAN)
    assert line.startswith("coverage: in_sum")


def test_fewer_partners_than_said_cover_less() -> None:
    content = honest()
    content["coverage"]["in_sum"] = ["partner-0", "partner-1"]
    assert any("too_few_partners" in line for line in wrongly_decided(content, PLAN))
