"""What the benchmark of growth says of costs that are known, and that memory does not grow with records."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import typer

from simulations.bench.measured import measured
from simulations.bench.scale.command import FLAT_BYTES, _sizes, judge, of_records
from simulations.bench.scale.crowd import Crowd, coordinator, nodes
from simulations.bench.scale.engines import EngineTiming, study_in_process
from simulations.bench.scale.growth import Point, exponent, growth
from simulations.bench.scale.stages import EVERYBODY, STAGES

SETTINGS = ("encoder=hashing", "encoder.dimension=64", "privacy.delta=1e-7")


def point(stage: str, size: int, *, anonymous: int, processor: float = 1.0) -> Point:
    return Point(stage=stage, size=size, seconds=processor, processor=processor, resident=anonymous,
                 anonymous=anonymous)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_is_that_of_a_power(power: float) -> None:
    sizes = [10.0, 100.0, 5000.0]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=1e-12)


def test_one_size_has_no_exponent_and_a_cost_of_nothing_is_an_error() -> None:
    assert exponent([10.0], [1.0]) is None
    with pytest.raises(ValueError, match=r"math domain|expected a positive"):
        exponent([1.0, 2.0], [0.0, 1.0])


def test_growth_is_told_by_stage_from_the_smallest_to_the_largest() -> None:
    first, second = growth([point("a", 100, anonymous=1200, processor=10), point("b", 7, anonymous=5),
                            point("a", 10, anonymous=300, processor=1)])
    assert (first.stage, first.bytes_each, second.bytes_each) == ("a", 10.0, None)
    assert first.processor == pytest.approx(1.0)
    assert first.anonymous == pytest.approx(math.log10(4))


def test_a_bar_is_missed_by_memory_by_time_and_by_rate() -> None:
    def memory(each: float) -> dict[str, bool]:
        return judge(growth([point("training", 0 + 1, anonymous=10**6),
                             point("training", 1001, anonymous=10**6 + int(1000 * each))]), {})

    assert memory(FLAT_BYTES) == dict.fromkeys(memory(0), True)
    assert not any(memory(FLAT_BYTES + 1).values())
    fast = EngineTiming(round=0.1, table=1.0, stages=4.0, total=59.0)
    slow = EngineTiming(round=1.0, table=1.0, stages=30.0, total=61.0)
    assert [*judge([], {"in_process": fast, "flower": slow}).values()] == [True, True]
    assert [*judge([], {"in_process": slow, "flower": fast}).values()] == [False, False]
    assert slow.start_up == 31.0


@pytest.mark.parametrize("text", ["10,x", "0", "-5", "1.5"])
def test_sizes_that_are_none_are_told(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        _sizes(text)
    assert _sizes("5, 20,") == [5, 20]
    assert _sizes("") == []


def test_a_crowd_of_any_size_runs(tmp_path: Path) -> None:
    crowd = Crowd(people=(20,) * 10, overrides=("training.rounds=2", *SETTINGS))
    crowd.set_up(tmp_path)
    assert [home.settings.name for home in nodes(tmp_path)] == [one.name for one in crowd.world.partners]
    for name in ("generation", "ingest", "encoding", "training", "statistics"):
        assert STAGES[name](crowd, tmp_path, EVERYBODY) > 0
    timing = study_in_process(tmp_path)
    home, signed = coordinator(tmp_path)
    assert [one.stage for one in home.study(signed.sha256).stages()] == ["hello", "round 1", "round 2", "table"]
    assert timing.total >= timing.stages > timing.table > 0


def _hold(megabytes: int) -> int:
    return len(bytearray(megabytes * 10**6).replace(b"\0", b"\1"))


def test_memory_is_that_of_the_work_alone() -> None:
    small, large = measured(_hold, 1), measured(_hold, 200)
    assert large.found == 200 * 10**6
    assert large.anonymous - small.anonymous > 190 * 10**6
    assert large.resident - small.resident > 190 * 10**6
    assert small.seconds > 0


@pytest.mark.long
def test_memory_does_not_grow_with_records(tmp_path: Path) -> None:
    points = [one for size in (2_000, 20_000) for one in of_records(size, ("encoder=hashing", "encoder.dimension=2048",
                                                                           "privacy.delta=1e-7"), tmp_path)]
    each = {one.stage: one.bytes_each for one in growth(points)}
    # A record's features alone are 8,192 bytes here, and in float64 twice that.
    assert all(each[stage] < 3_000 for stage in ("ingest", "encoding", "training", "statistics")), each
