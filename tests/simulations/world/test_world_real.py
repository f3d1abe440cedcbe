"""The real-text world, on made-up files in the real layouts, and on the public data where they are at hand."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import InputError
from federation.regions import check_region
from federation.taxonomy import PartnerKind, Task
from simulations.world import RealWorld, World
from simulations.world.real import PARTS, deal

SHARED = Path(__file__).parents[4] / "shared" / "data"
SUBREDDITS = ("domesticviolence", "survivorsofabuse", "homeless", "almosthomeless", "food_pantry", "assistance", "ptsd",
              "anxiety", "stress", "relationships")


def _write(path: Path, header: str, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(header.split(","))
        writer.writerows(rows)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up texts, in the layouts of the public files; one field is longer than the csv module's usual limit."""
    folder = tmp_path_factory.mktemp("data")
    _write(folder / "us_hotline_states" / "calls_cases_2012_2016.csv", "postal,state,year,calls,cases",
           [["CA", "california", "2012", "700", "9"], ["CA", "california", "2013", "200", "9"],
            ["TX", "texas", "2012", "90", "2"], ["WY", "wyoming", "2012", "10", "0"]])
    _write(folder / "dreaddit" / "posts.csv", "doc_id,group,partner,text,label,confidence,timestamp_month",
           [[f"dr{i}", f"g{i // 3}-{SUBREDDITS[i % 10]}", SUBREDDITS[i % 10], f'made up, "text" no.\n{i}', str(i % 2),
             "0.8", "2018-01"] for i in range(200)])
    _write(folder / "goemotions_distress" / "posts.csv", "doc_id,group,text,label,emotions",
           [[f"ge{i}", f"u{i}", f"made up comment {i}", str(int(i % 4 == 0)), "fear"] for i in range(120)])
    _write(folder / "sms_spam" / "messages.csv", "doc_id,text,label",
           [[f"sm{i}", f"made up message {i}", str(int(i % 8 == 0))] for i in range(81)])
    _write(folder / "emscad_small" / "ads.csv",
           "doc_id,partner,region,title,text,industry,employment_type,telecommuting,has_company_logo,label",
           [[f"ad{i}", "US", "US, CA", "job", "made up advert " * (9000 if i == 0 else 3), "", "", "0", "1",
             str(int(i == 3))] for i in range(20)])
    return folder


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
