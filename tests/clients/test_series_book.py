"""Who has counted in which release of a running total: once, in one place, whatever happens in between."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import series as module
from clients.places import Mention, Places
from clients.series import Counted, Group, SeriesBook, new_people, require_turn, series_table
from federation.areas import Areas
from federation.errors import InputError, Refusal, RefusalCode
from federation.plan import StudyPlan
from federation.plan_statistics import SeriesSpec
from federation.privacy.series import SCALE, coefficients, decode_total
from federation.taxonomy import AreaLevel, RegionRole, Task
from tests.worlds import make_home, make_plan

ORIGIN, OBSERVED = RegionRole.ORIGIN, RegionRole.OBSERVED
ALL = (Task.RECRUITMENT, Task.DISTRESS)


def series(index: int, name: str = "borders", level: AreaLevel = AreaLevel.REGION) -> SeriesSpec:
    return SeriesSpec(name=name, index=index, level=level)


def one(region: str = "XA-01", role: RegionRole = ORIGIN, flags: tuple[Task, ...] = ()) -> Counted:
    return Counted(region=region, role=role, flags=flags)


_FIRST = make_plan(statistics={"series": series(1)})


def plan_of(index: int, level: AreaLevel = AreaLevel.REGION, **statistics: Any) -> StudyPlan:
    """Without its price: nothing here asks for it."""
    return _FIRST.model_copy(update={"statistics": _FIRST.statistics.model_copy(update={
        "series": series(index, level=level), **statistics})})


@pytest.fixture
def book(tmp_path: Path) -> SeriesBook:
    return SeriesBook(tmp_path / "series.sqlite")


def releases(groups: list[Group]) -> dict[int, int]:
    """People by release."""
    found: dict[int, int] = {}
    for group in groups:
        found[group.release_index] = found.get(group.release_index, 0) + group.people
    return found


def test_a_person_counts_in_the_first_release_alone(book: SeriesBook) -> None:
    book.count(series(1), {"ann": one("XA-01", ORIGIN, (Task.DISTRESS,)), "bob": one()})
    book.count(series(2), {"ann": one("XA-02", OBSERVED, ALL), "cem": one("XA-03", OBSERVED, ALL)})
    found = book.count(series(3), {"cem": one(), "ann": one()})
    assert {(group.release_index, group.counted, group.people) for group in found} == {
        (1, one("XA-01", ORIGIN, (Task.DISTRESS,)), 1), (1, one(), 1), (2, one("XA-03", OBSERVED, ALL), 1)}
    assert book.newest("borders") == 3


def test_a_release_without_a_book_before_it_begins_one(book: SeriesBook) -> None:
    assert book.newest("borders") == 0
    assert releases(book.count(series(5), {"ann": one()})) == {5: 1}
    assert releases(book.count(series(7), {"ann": one(), "bob": one()})) == {5: 1, 7: 1}


def test_counting_a_release_again_is_counting_it_once(book: SeriesBook) -> None:
    book.count(series(1), {"ann": one()})
    people = {"bob": one("XA-02"), "cem": one("XA-03", OBSERVED, ALL), "ann": one("XA-02")}
    first = book.count(series(2), people)
    assert book.count(series(2), people) == first
    # And what another plan for the same release finds takes the place of it.
    again = book.count(series(2), {"bob": one("XA-03"), "dee": one()})
    assert {(group.release_index, group.counted.region) for group in again} == {
        (1, "XA-01"), (2, "XA-03"), (2, "XA-01")}
    assert releases(book.count(series(3), {"cem": one()})) == {1: 1, 2: 2, 3: 1}


def test_a_release_behind_the_newest_is_refused_and_changes_nothing(book: SeriesBook) -> None:
    book.count(series(1), {"ann": one()})
    # The later one counts, even if nobody was new in it.
    book.count(series(3), {})
    with pytest.raises(Refusal) as refused:
        book.count(series(2), {"bob": one()})
    assert refused.value.code is RefusalCode.BAD_REQUEST
    assert refused.value.detail == "release 2 of series borders is asked for, and release 3 was counted before"
    with pytest.raises(Refusal):
        book.count(series(1), {})
    assert book.newest("borders") == 3
    assert releases(book.count(series(3), {})) == {1: 1}


def test_series_know_nothing_of_one_another(book: SeriesBook) -> None:
    book.count(series(4), {"ann": one()})
    assert releases(book.count(series(1, "other"), {"ann": one(), "bob": one()})) == {1: 2}
    assert releases(book.count(series(4), {"ann": one()})) == {4: 1}
    assert (book.newest("borders"), book.newest("other")) == (4, 1)
    assert releases(book.count(series(4, "other"), {})) == {1: 2}
    assert releases(book.count(series(5), {})) == {4: 1}


def test_who_is_forgotten_is_gone_from_every_series_and_its_files(tmp_path: Path) -> None:
    path, unit = tmp_path / "series.sqlite", "ab" * 16
    with SeriesBook(path) as book:
        for name in ("borders", "other"):
            book.count(series(1, name), {unit: one(), "bob": one()})
        assert book.forget(unit) == 2
        assert book.forget(unit) == 0
        assert all(unit.encode() not in file.read_bytes() for file in tmp_path.iterdir())
        # Taken in again, they count again.
        assert releases(book.count(series(2), {unit: one(), "bob": one()})) == {1: 1, 2: 1}


def test_a_process_that_dies_in_between_leaves_the_book_as_it_was(book: SeriesBook,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    book.count(series(1), {"ann": one()})

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_groups", dies)
        with pytest.raises(KeyboardInterrupt):
            book.count(series(2), {"bob": one()})
    assert book.newest("borders") == 1
    assert releases(book.count(series(1), {"ann": one()})) == {1: 1}


def test_the_file_is_private_and_must_be_what_it_should(tmp_path: Path) -> None:
    path = tmp_path / "series.sqlite"
    SeriesBook(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(InputError, match="book of the series has mode 0644"):
        SeriesBook(path)
    path.chmod(0o600)
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA user_version").fetchone() == (1,)
    raw.execute("PRAGMA user_version = 2")
    raw.close()
    with pytest.raises(InputError, match="was written with version 2"):
        SeriesBook(path)
    other = tmp_path / "other.sqlite"
    other.touch(mode=0o600)
    other.write_bytes(b"no database at all, and long enough to be looked at" * 100)
    with pytest.raises(InputError, match="is not a book of series, or it is damaged"):
        SeriesBook(other)


def test_a_book_survives_being_closed(tmp_path: Path) -> None:
    for index in (1, 2, 3):
        with SeriesBook(tmp_path / "series.sqlite") as book:
            found = book.count(series(index), {"ann": one(), f"new-{index}": one()})
    assert releases(found) == {1: 2, 2: 1, 3: 1}
    with sqlite3.connect(tmp_path / "series.sqlite") as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_whether_it_is_a_releases_turn_is_known_before_anything_is_counted(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0, records=[])
    require_turn(home, make_plan())
    assert not home.series_path.exists()
    require_turn(home, plan_of(3))
    with SeriesBook(home.series_path) as book:
        book.count(series(2), {})
    require_turn(home, plan_of(2))
    require_turn(home, plan_of(3))
    with pytest.raises(Refusal) as behind:
        require_turn(home, plan_of(1))
    assert behind.value.code is RefusalCode.BAD_REQUEST
    home.series_path.chmod(0o644)
    with pytest.raises(Refusal) as unusable:
        require_turn(home, plan_of(3))
    assert unusable.value.code is RefusalCode.NOT_CONFIGURED
    require_turn(home, make_plan())


def naive_new_people(plan: StudyPlan, index: int, people: list[tuple[int, Counted]]) -> list[np.ndarray]:
    """One person after the other."""
    spec, areas = plan.statistics, Areas.of(plan.statistics)
    assert spec.series is not None
    codes = areas.codes(spec.series.level)
    tables = [np.zeros((len(codes), len(spec.roles), 1 + len(plan.tasks)), dtype=np.int64) for _ in range(index)]
    for release, person in people:
        if person.region in areas.regions and person.role in spec.roles:
            cell = tables[release - 1][codes.index(areas.above(person.region, spec.series.level) or "?"),
                                       spec.roles.index(person.role)]
            cell[0] += 1
            for task in person.flags:
                if task in plan.tasks:
                    cell[1 + plan.tasks.index(task)] += 1
    return tables


persons = st.tuples(st.integers(1, 4), st.builds(
    Counted, region=st.sampled_from(["XA-01", "XA-02", "XA-03", "XA-77"]), role=st.sampled_from(list(RegionRole)),
    flags=st.sampled_from([(), (Task.DISTRESS,), (Task.RECRUITMENT,), ALL])))


@given(st.lists(persons, max_size=30), st.sampled_from(list(AreaLevel)))
def test_tables_of_new_people_equal_their_naive_twin(people: list[tuple[int, Counted]], level: AreaLevel) -> None:
    plan = plan_of(4, level)
    groups = [Group(release_index=release, counted=person, people=len(list(same)))
              for (release, person), same in itertools.groupby(sorted(people, key=repr))]
    found = new_people(plan, series(4, level=level), groups)
    for table, expected in zip(found, naive_new_people(plan, 4, people), strict=True):
        np.testing.assert_array_equal(table, expected)


def test_nobody_counts_any_more_where_the_plan_now_protects() -> None:
    groups = [Group(release_index=1, counted=one("XA-03"), people=5), Group(release_index=1, counted=one(), people=2)]
    open_plan = plan_of(2, AreaLevel.COUNTRY)
    shut = plan_of(2, AreaLevel.COUNTRY, protected=("XA-03",), super_regions=(), corridors=())
    for plan, people in ((open_plan, 7), (shut, 2)):
        assert new_people(plan, series(2, level=AreaLevel.COUNTRY), groups)[0][..., 0].sum() == people


def place(*mentions: tuple[int, int, int]) -> Places:
    return Places(mentions=[Mention(row=row, region=region, role=role) for row, region, role in mentions])


FLAGS = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]])


def test_only_a_persons_first_mention_counts(tmp_path: Path) -> None:
    home, plan = make_home(tmp_path, 0, records=[]), plan_of(1)
    found = {"ann": place((1, 2, 1), (2, 0, 0)), "bob": Places(corridor=(2, 0), labelled={0: (1, True)})}
    table = series_table(home, plan, series(1), found, FLAGS)
    expected = np.zeros((3, 2, 3), dtype=np.int64)
    expected[2, 1] = [SCALE, SCALE, 0]
    np.testing.assert_array_equal(table, expected)


History = list[dict[str, tuple[int, int, int]]]
"""By release, what each person's first mention is: row, region, role."""
units = st.sampled_from(["ann", "bob", "cem", "dee"])
mentions = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1))
histories = st.lists(st.dictionaries(units, mentions, max_size=4), min_size=3, max_size=3)


def measured(root: Path, history: History, *, again: int | None, skipped: int | None) -> dict[int, np.ndarray]:
    """w_1, w_2, w_3 of a partner, one of whose releases may be asked for twice and one may be missed."""
    home, found = make_home(root, 0, records=[]), {}
    for index in (1, 2, 3):
        for _ in range(2 if index == again else 1):
            if index != skipped:
                places = {unit: place(mention) for unit, mention in history[index - 1].items()}
                found[index] = series_table(home, plan_of(index), series(index), places, FLAGS)
    return found


@settings(max_examples=25, deadline=None)
@given(histories, units, st.none() | st.integers(1, 3), st.none() | st.integers(1, 3))
def test_one_person_moves_each_release_by_what_the_series_says(
        tmp_path_factory: pytest.TempPathFactory, history: History, person: str, again: int | None,
        skipped: int | None) -> None:
    without = [{unit: mention for unit, mention in release.items() if unit != person} for release in history]
    roots = [tmp_path_factory.mktemp("book") for _ in range(2)]
    full, less = (measured(root, each, again=again, skipped=skipped)
                  for root, each in zip(roots, (history, without), strict=True))
    first = next((index for index in full if person in history[index - 1]), None)
    for index in full:
        moved = full[index] - less[index]
        if first is None or index < first:
            assert not moved.any()
            continue
        row, region, role = history[first - 1][person]
        expected = np.zeros_like(moved)
        expected[region, role] = coefficients(3)[index - first] * FLAGS[row]
        np.testing.assert_array_equal(moved, expected)
        assert np.count_nonzero(moved) <= 3
        assert np.abs(moved).max() <= SCALE


@settings(max_examples=12, deadline=None)
@given(histories)
def test_without_noise_and_gaps_the_totals_are_those_of_people(tmp_path_factory: pytest.TempPathFactory,
                                                               history: History) -> None:
    found = measured(tmp_path_factory.mktemp("book"), history, again=2, skipped=None)
    seen: Mapping[str, tuple[int, int, int]] = {}
    for index in (1, 2, 3):
        seen = {**history[index - 1], **seen}
        total, _ = decode_total([found[i] for i in range(1, index + 1)])
        expected = np.zeros((3, 2, 3))
        for row, region, role in seen.values():
            expected[region, role] += FLAGS[row]
        np.testing.assert_array_equal(total, expected)


def leave_trace(path: Path, trace: bytes, beside: bytes) -> None:
    """Write bytes into the unused part of the page that holds others, as SQLite leaves some when it divides pages."""
    raw, page = bytearray(path.read_bytes()), 4096
    for start in range(page, len(raw), page):
        if beside in raw[start:start + page]:
            # A header of 8 bytes, 2 bytes for each row, and then nothing up to the rows at the end of the page.
            rows = int.from_bytes(raw[start + 3:start + 5], "big")
            raw[start + 8 + 2 * rows:start + 8 + 2 * rows + len(trace)] = trace
    path.write_bytes(raw)


def test_no_byte_is_left_in_the_unused_part_of_a_page(tmp_path: Path) -> None:
    path, unit = tmp_path / "series.sqlite", "ab" * 16
    with SeriesBook(path) as book:
        book.count(series(1), {unit: one(), "bob": one()})
    leave_trace(path, b"a trace", unit.encode())
    assert b"a trace" in path.read_bytes()
    with SeriesBook(path) as book:
        book.forget(unit)
        assert releases(book.count(series(2), {})) == {1: 1}
    assert b"a trace" not in path.read_bytes()
