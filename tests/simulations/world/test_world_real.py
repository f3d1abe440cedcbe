"""The real-text world, on made-up files in the real layouts, and on the public data where they are at hand."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import InputError
from federation.regions import check_region
from federation.taxonomy import PartnerKind, Task
from simulations.world import RealWorld, World
from simulations.world.real import _CENSUS_REGIONS, PARTS, deal, deal_unevenly

SHARED = Path(__file__).parents[4] / "shared" / "data"


def _roots(root: Path) -> list[Path]:
    return [root, SHARED] if (SHARED / "dreaddit").is_dir() else [root]


def _read(path: Path) -> list[dict[str, str]]:
    limit = csv.field_size_limit(1 << 24)
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return list(csv.DictReader(handle))
    finally:
        csv.field_size_limit(limit)


def test_dreaddit_alone_is_five_partners(root: Path) -> None:
    world: World = RealWorld(data_root=root, seed=1, parts=("dreaddit",))
    assert world.tasks == (Task.DISTRESS,)
    assert [p.name for p in world.partners] == [
        "dreaddit-abuse", "dreaddit-housing", "dreaddit-ptsd", "dreaddit-anxiety", "dreaddit-relationships"]
    assert {p.kind for p in world.partners} == set(PartnerKind)
    assert {p.slots for p in world.partners} == {512}
    assert {share for p in world.partners for share in p.declared_prevalence.values()} == {0.5}
    assert (world.label, world.synthetic, world.regions_drawn) == ("real texts, drawn regions", False, True)


def test_every_row_goes_to_one_partner_unchanged(root: Path, tmp_path: Path) -> None:
    for number, base in enumerate(_roots(root)):
        world = RealWorld(data_root=base, seed=4)
        assert world.tasks == tuple(Task)
        dealt: dict[str, list[tuple[tuple[str, str], ...]]] = defaultdict(list)
        for partner in world.partners:
            path = world.write(partner.name, tmp_path / str(number))
            assert path.stat().st_mode & 0o177 == 0
            held = _read(path)
            assert list(held[0])[-1] == "region" or partner.mapping == "emscad_small"
            assert len({row.get("group", row["doc_id"]) for row in held}) <= partner.slots
            assert all(check_region(row["region"]) in world.regions for row in held)
            dealt[partner.mapping] += [tuple((k, v) for k, v in row.items() if k != "region") for row in held]
        for mapping, file in (("dreaddit", "dreaddit/posts.csv"), ("goemotions", "goemotions_distress/posts.csv"),
                              ("sms_spam", "sms_spam/messages.csv"), ("emscad_small", "emscad_small/ads.csv")):
            source = [tuple((k, v) for k, v in row.items() if k != "region") for row in _read(base / file)]
            same = sorted(dealt[mapping]) == sorted(source)  # a bare comparison would print texts on failure
            assert same, mapping


def test_a_person_lives_in_one_region_and_large_states_hold_more(root: Path, tmp_path: Path) -> None:
    world = RealWorld(data_root=root, seed=2, parts=("dreaddit",))
    homes: dict[str, set[str]] = defaultdict(set)
    for partner in world.partners:
        for row in _read(world.write(partner.name, tmp_path)):
            homes[row["group"]].add(row["region"])
    assert all(len(regions) == 1 for regions in homes.values())
    california = sum(regions == {"US-CA"} for regions in homes.values()) / len(homes)
    assert 0.75 < california < 1.0  # 90 % of the made-up calls


def test_seed_and_parts(root: Path, tmp_path: Path) -> None:
    def bytes_of(seed: int, parts: tuple[str, ...], partner: str) -> bytes:
        return RealWorld(data_root=root, seed=seed, parts=parts).write(partner, tmp_path).read_bytes()

    for partner in ("goemotions-2", "sms-1"):
        assert bytes_of(1, PARTS, partner) == bytes_of(1, PARTS, partner) != bytes_of(2, PARTS, partner)
    assert bytes_of(1, PARTS, "goemotions-2") == bytes_of(1, ("goemotions",), "goemotions-2")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), hands=st.integers(1, 6), marks=st.lists(st.booleans(), max_size=80))
def test_hands_are_equal_and_complete(seed: int, hands: int, marks: list[bool]) -> None:
    dealt = deal(marks, hands, np.random.default_rng(seed))
    sizes = np.bincount(dealt, minlength=hands) if dealt else np.zeros(hands, dtype=int)
    assert sizes.sum() == len(marks)
    assert sizes.max() - sizes.min() <= 1


def test_missing_data_names_the_file_and_the_remedy(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root.*What to do"):
        RealWorld(data_root=tmp_path / "nowhere", seed=1)
    (tmp_path / "us_hotline_states").mkdir()
    (tmp_path / "us_hotline_states" / "calls_cases_2012_2016.csv").write_text("postal,calls\nCA,1\n")
    with pytest.raises(InputError, match=r"lacks dreaddit.posts\.csv"):
        RealWorld(data_root=tmp_path, seed=1)
    with pytest.raises(InputError, match="parts"):
        RealWorld(data_root=root, seed=1, parts=("tweets",))
    with pytest.raises(InputError, match="not in this world"):
        RealWorld(data_root=root, seed=1).write("ngo-legal", tmp_path)


@pytest.mark.parametrize(("content", "message"), [
    ("doc_id,text\na,secret words\n", "column label"),
    ("doc_id,text,label\na,secret words\n", "line 2"),
    ('doc_id,text,label\na,"secret words\n', "not readable"),
])
def test_broken_files_are_refused_without_their_text(root: Path, tmp_path: Path, content: str, message: str) -> None:
    for name in ("us_hotline_states/calls_cases_2012_2016.csv",):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes((root / name).read_bytes())
    (tmp_path / "sms_spam").mkdir()
    (tmp_path / "sms_spam" / "messages.csv").write_text(content)
    limit = csv.field_size_limit()
    with pytest.raises(InputError, match=message) as caught:
        RealWorld(data_root=tmp_path, seed=1, parts=("sms_spam",)).write("sms-1", tmp_path)
    assert "secret" not in str(caught.value)
    assert csv.field_size_limit() == limit


def test_every_region_is_in_one_super_region_of_its_country(root: Path) -> None:
    for base in _roots(root):
        world = RealWorld(data_root=base, seed=1)
        members = [code for one in world.super_regions for code in one.regions]
        assert sorted(members) == sorted(world.regions)
        assert all(one.code.startswith("US:") for one in world.super_regions)
    made_up = RealWorld(data_root=root, seed=1)
    # Only what is there: no group without a region.
    assert {one.code: one.regions for one in made_up.super_regions} == {
        "US:south": ("US-TX",), "US:west": ("US-CA", "US-WY")}


def test_the_census_regions_hold_all_states_once() -> None:
    import pycountry

    states = [part.code for part in pycountry.subdivisions.get(country_code="US") if part.type in ("State", "District")]
    listed = [f"US-{code}" for _, _, codes in _CENSUS_REGIONS for code in codes.split()]
    assert len(listed) == 51
    assert sorted(listed) == sorted(states)


def test_the_period_begins_before_it_ends_and_nobody_looked_for_indicators(root: Path) -> None:
    world = RealWorld(data_root=root, seed=1)
    assert world.period[0] < world.period[1] < date(2026, 1, 1)
    assert world.indicators is False


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), people=st.integers(0, 600), share=st.floats(0, 0.6))
def test_uneven_hands_have_their_sizes_and_no_more_positives_than_they_may(seed: int, people: int, share: float,
                                                                           ) -> None:
    marks = [at < int(share * people) for at in range(people)]
    dealt = np.array(deal_unevenly(marks, np.random.default_rng(seed)), dtype=int)
    sizes = np.bincount(dealt, minlength=5)
    assert sizes.sum() == people
    assert sizes[1:].tolist() == [int(people * size) for size in (0.26, 0.13, 0.06, 0.03)]
    assert (np.bincount(dealt[np.array(marks, dtype=bool)], minlength=5) <= 0.82 * sizes).all()


def test_too_many_positives_for_an_uneven_deal_are_refused() -> None:
    with pytest.raises(ValueError, match="95 of 100 rows are positive, expected at most"):
        deal_unevenly([True] * 95 + [False] * 5, np.random.default_rng(1))


def test_strong_skew_is_five_partners_of_halving_size_and_leaves_other_sets_as_they_are(root: Path, tmp_path: Path,
                                                                                         ) -> None:
    world = RealWorld(data_root=root, seed=1, skew="strong")
    mild = RealWorld(data_root=root, seed=1)
    assert world.name != mild.name
    assert [(p.name, p.slots) for p in world.partners if p.mapping == "sms_spam"] == [
        (f"sms-{i}", slots) for i, slots in enumerate((2048, 1024, 512, 256, 128), start=1)]
    assert [p for p in world.partners if p.mapping == "dreaddit"] == [p for p in mild.partners
                                                                      if p.mapping == "dreaddit"]
    assert world.write("dreaddit-abuse", tmp_path / "a").read_bytes() == mild.write(
        "dreaddit-abuse", tmp_path / "b").read_bytes()
    if (SHARED / "sms_spam").is_dir():
        real = RealWorld(data_root=SHARED, seed=2, skew="strong", parts=("sms_spam",))
        shares = [sum(row["label"] == "1" for row in rows) / len(rows)
                  for rows in (_read(real.write(p.name, tmp_path / "c")) for p in real.partners)]
        assert max(shares) > 0.7
        assert min(shares) < 0.05
