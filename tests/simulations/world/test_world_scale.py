"""Any number of records and partners: streamed, reproducible, and each partner by itself."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from federation.errors import InputError
from federation.taxonomy import PartnerKind, Task
from simulations.settings import Settings, SyntheticSettings
from simulations.world import Parameters, SyntheticWorld
from simulations.world.partners import DEFAULT_PARTNERS, some_partners


@pytest.mark.parametrize("records", [1000, 5000, 20_000])
def test_records_are_about_as_many_as_asked_for(records: int) -> None:
    world = SyntheticWorld(seed=6, records=records)
    # Campaigns and people with many records make small worlds vary.
    assert sum(1 for p in world.partners for _ in world.stream(p.name)) == pytest.approx(records, rel=0.12)
    assert world.name == f"synthetic-{records}-6"


def test_the_largest_world_starts_at_once_and_in_little_memory() -> None:
    world = SyntheticWorld(seed=6, records=10_000_000)
    assert all(partner.slots >= world._people(next(p for p in DEFAULT_PARTNERS if p.name == partner.name))
               for partner in world.partners)
    stream = world.stream("platform-jobs")
    next(stream)
    tracemalloc.start()
    peaks = []
    for _ in range(2):
        for _ in islice(stream, 2500):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
    tracemalloc.stop()
    assert peaks[1] < peaks[0] + 300_000  # bytes: nothing is kept of what has been drawn
    assert peaks[1] < 5_000_000


def test_streaming_in_turns_gives_what_writing_one_by_one_does(tmp_path: Path) -> None:
    world = SyntheticWorld(seed=6, size="tiny")
    names = [p.name for p in world.partners]
    in_turns: dict[str, list[list[str]]] = {name: [] for name in names}
    for drafts in zip_longest(*(world.stream(name) for name in names)):
        for name, draft in zip(names, drafts, strict=True):
            if draft is not None:
                in_turns[name].append(list(draft.row.values()))
    fresh = SyntheticWorld(seed=6, size="tiny")
    for name in reversed(names):
        assert [list(draft.row.values()) for draft in fresh.stream(name)] == in_turns[name]
        assert len(fresh.write(name, tmp_path).read_text(encoding="utf-8").splitlines()) == len(in_turns[name]) + 1


def test_more_records_leave_the_first_ones_of_each_kind_of_draw_alone() -> None:
    # Which regions are high, which corridors there are and which templates are seen is the seed's alone.
    small, large = SyntheticWorld(seed=6, size="tiny"), SyntheticWorld(seed=6, records=50_000)
    assert small.effects == large.effects
    assert small.corridors == large.corridors
    assert small.templates.positive == large.templates.positive
    assert small.profile("ngo-legal") == large.profile("ngo-legal")


@pytest.mark.parametrize("count", [3, 5, 8, 20, 100, 200])
def test_any_number_of_partners(count: int) -> None:
    partners = some_partners(count)
    assert len({p.name for p in partners}) == len(partners) == count
    assert {p.kind for p in partners} == set(PartnerKind)
    assert {task for p in partners for task in p.declared_prevalence} == set(Task)
    world = SyntheticWorld(seed=1, size="tiny", parameters=Parameters(partners=partners))
    last = world.partners[-1]
    assert any(True for _ in world.stream(last.name))
    assert set(last.regions) <= set(world.regions)


def test_more_partners_leave_the_first_eight_as_they_were(tmp_path: Path) -> None:
    assert some_partners(8) == DEFAULT_PARTNERS
    assert some_partners(20)[:8] == DEFAULT_PARTNERS
    few = SyntheticWorld(seed=1, size="tiny")
    many = SyntheticWorld(seed=1, size="tiny", parameters=Parameters(partners=some_partners(20)))
    for name in ("platform-jobs", "ngo-shelter"):
        assert few.write(name, tmp_path / "few").read_bytes() == many.write(name, tmp_path / "many").read_bytes()
    assert next(iter(many.stream("ngo-shelter-2"))).row["text"] != next(iter(many.stream("ngo-shelter"))).row["text"]


@pytest.mark.parametrize(("override", "name"), [
    ("records=999", "world.records"), ("records=10000001", "world.records"), ("partners=2", "world.partners"),
    ("partners=1001", "world.partners"), ("quarter=-1", "world.quarter"), ("overlap=1.1", "world.overlap"),
    ("overlap=-0.1", "world.overlap"), ("size=vast", "world.size")])
def test_bad_settings_are_refused_by_name(override: str, name: str) -> None:
    with initialize_config_module("conf", version_base="1.3"):
        settings = Settings.from_hydra(compose("config", overrides=[f"world.{override}"]))
    with pytest.raises(InputError, match=name):
        settings.open_world()


def test_settings_reach_the_world() -> None:
    overrides = ["world.records=3000", "world.partners=5", "world.quarter=2", "world.overlap=0.5",
                 "world.shock_quarter=1", "world.definition_quarter=2"]
    with initialize_config_module("conf", version_base="1.3"):
        settings = Settings.from_hydra(compose("config", overrides=overrides))
        default = Settings.from_hydra(compose("config"))
    world = settings.open_world()
    assert isinstance(world, SyntheticWorld)
    assert (world.records, len(world.partners), world.quarter, world.parameters.overlap) == (3000, 5, 2, 0.5)
    assert len(world.climate.shocked) == 2
    assert world.climate.redefined
    assert isinstance(default.world, SyntheticSettings)
    assert default.open_world() == SyntheticWorld(seed=1)


def test_a_partner_added_or_resized_leaves_the_others_as_they_were() -> None:
    alone = SyntheticWorld(seed=5, parameters=Parameters(partners=DEFAULT_PARTNERS[3:4]))
    among = SyntheticWorld(seed=5, parameters=Parameters(partners=(
        replace(DEFAULT_PARTNERS[0], people=7), *DEFAULT_PARTNERS[2:5])))
    assert [d.row for d in alone.stream("ngo-shelter")] == [d.row for d in among.stream("ngo-shelter")]
