"""Who has counted in which release of a running total, on the partner's disk: `series.sqlite`, mode 0600.

A person counts in one release of a series: the first in which a mention of theirs is counted here, in that role and
region, with the flags that the model of that release gave them. The tables of later releases have them in it with less
and less weight (`federation.privacy.series`), so a node must remember them, under their pseudonym, for as long as the
series runs, and longer than their records where retention ends before it.

No promise of privacy rests on this file, as each release is charged as if everybody in it were new (docs/guarantee.md).
If it is lost, or if somebody is taken out of it and taken in again, people count twice and totals come out too high.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    select,
    true,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError

from clients.databases import erasing, in_parts, private_engine, rewrite, trouble, writing
from clients.node import NodeHome
from clients.places import Places
from federation.areas import Areas
from federation.errors import InputError, Refusal, RefusalCode
from federation.plan import StudyPlan
from federation.plan_statistics import SeriesSpec
from federation.privacy.series import encode
from federation.statistics import TableLayout
from federation.taxonomy import Family, RegionRole, Task

IntArray = npt.NDArray[np.int64]

BOOK_VERSION = 1
_tables = MetaData()
_counted = Table(
    "counted", _tables,
    Column("series", String(63), primary_key=True),
    Column("unit_key", String(32), primary_key=True),
    Column("release_index", Integer, nullable=False),
    Column("region", String(10), nullable=False),
    Column("role", String(20), nullable=False),
    Column("flags", String(80), nullable=False),  # tasks, with a comma between them
    sqlite_with_rowid=False,
)
_newest = Table("newest", _tables, Column("series", String(63), primary_key=True),
                Column("release_index", Integer, nullable=False))


@dataclass(frozen=True, kw_only=True)
class Counted:
    """How somebody counts. By codes and not by positions: the lists of plans differ."""

    region: str
    role: RegionRole
    flags: tuple[Task, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """So many people who count alike, in one release of a series."""

    release_index: int
    counted: Counted
    people: int


class SeriesBook:
    """The file. Safe to open from several processes; writers queue for up to 30 seconds."""

    def __init__(self, path: Path) -> None:
        """Open, or create with mode 0600.

        Raises:
            InputError: if others can read the file, it is not such a book, or a different version wrote it.
        """
        self._path, self._engine = path, private_engine(path, what="book of the series")
        try:
            with writing(self._engine) as connection:
                _require_version(connection, path)
                _tables.create_all(connection)
        except DatabaseError as error:
            self.close()
            raise trouble(path, error, damaged="is not a book of series, or it is damaged, and without it people who "
                          "have counted count again") from None

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def __enter__(self) -> SeriesBook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def newest(self, series: str) -> int:
        """The number of the release of a series that was counted last; 0 if none was."""
        with self._engine.connect() as connection:
            return _newest_of(connection, series)

    def count(self, spec: SeriesSpec, people: Mapping[str, Counted]) -> list[Group]:
        """Note those who are new in a release, and give everybody who has counted up to it. All of it or nothing.

        Should the release have been counted before, whatever came of that is forgotten first: who counted there counts
        again there, if at all.

        Args:
            spec: the series and its release.
            people: by pseudonym, how each person who has a mention in this release would count.

        Raises:
            Refusal: `bad_request`, if a later release was counted before.
        """
        rows = [{"series": spec.name, "unit_key": unit, "release_index": spec.index, "region": one.region,
                 "role": one.role.value, "flags": ",".join(one.flags)} for unit, one in people.items()]
        with writing(self._engine) as connection:
            _require_turn(_newest_of(connection, spec.name), spec)
            connection.execute(delete(_counted).where(
                _counted.c.series == spec.name, _counted.c.release_index == spec.index))
            if rows:
                connection.execute(insert(_counted).on_conflict_do_nothing(), rows)
            connection.execute(insert(_newest).values(series=spec.name, release_index=spec.index)
                               .on_conflict_do_update(index_elements=["series"], set_={"release_index": spec.index}))
            return list(_groups(connection, spec.name))

    def noted(self, unit_keys: Collection[str]) -> dict[str, int]:
        """In how many series each of some people stands, of those who stand in any."""
        columns = _counted.c.unit_key, func.count()
        with self._engine.connect() as connection:
            return {unit: int(count) for part in in_parts(list(unit_keys)) for unit, count in connection.execute(
                select(*columns).where(_counted.c.unit_key.in_(part)).group_by(_counted.c.unit_key))}

    def forget(self, *unit_keys: str) -> int:
        """Take people out of every series. Returns how many entries they had.

        No byte of them is left in the file or its log. What was measured with them in it stays as it is; of later
        tables they are no part. Should their records be taken in again, they count as somebody new, and so twice in a
        total.

        Raises:
            InputError: if the disk is full, or another process holds the file for too long.
        """
        return self._forget(*(_counted.c.unit_key.in_(part) for part in in_parts(unit_keys)))

    def forget_all(self) -> int:
        """Take everybody out of every series, as `forget`."""
        return self._forget(true())

    def _forget(self, *which: ColumnElement[bool]) -> int:
        with erasing(self._engine, self._path) as connection:
            forgotten = sum(connection.execute(delete(_counted).where(part)).rowcount for part in which)
            if forgotten:
                rewrite(connection, _counted)
        return forgotten


def _require_version(connection: Connection, path: Path) -> None:
    found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if found == 0:
        connection.exec_driver_sql(f"PRAGMA user_version = {BOOK_VERSION}")
    elif found != BOOK_VERSION:
        raise InputError(str(path), f"was written with version {found}", bound=f"version {BOOK_VERSION}",
                         remedy="use the release that wrote it")


def _newest_of(connection: Connection, series: str) -> int:
    found = connection.execute(select(_newest.c.release_index).where(_newest.c.series == series)).scalar()
    return 0 if found is None else int(found)


def _require_turn(newest: int, spec: SeriesSpec) -> None:
    # To count it anew would take people out of the later one, in which they are no longer noted then.
    if newest > spec.index:
        raise Refusal(RefusalCode.BAD_REQUEST, f"release {spec.index} of series {spec.name} is asked for, and release "
                      f"{newest} was counted before")


def _groups(connection: Connection, series: str) -> Iterator[Group]:
    columns = _counted.c.release_index, _counted.c.region, _counted.c.role, _counted.c.flags
    query = select(*columns, func.count()).where(_counted.c.series == series).group_by(*columns)
    for index, region, role, flags, people in connection.execute(query):
        yield Group(release_index=index, people=people, counted=Counted(
            region=region, role=RegionRole(role), flags=tuple(Task(task) for task in flags.split(",") if task)))


def require_turn(home: NodeHome, plan: StudyPlan) -> None:
    """Nothing, if the release of a series that `plan` counts is not behind one that was counted here.

    Raises:
        Refusal: `bad_request`, if it is; `not_configured`, if the book cannot be used.
    """
    spec = plan.statistics.series
    if spec is None:
        return
    try:
        with SeriesBook(home.series_path) as book:
            newest = book.newest(spec.name)
    except InputError as error:
        raise Refusal(RefusalCode.NOT_CONFIGURED, str(error)) from None
    _require_turn(newest, spec)


def series_table(home: NodeHome, plan: StudyPlan, spec: SeriesSpec, found: Mapping[str, Places],
                 flags: npt.NDArray[np.int8]) -> IntArray:
    """This partner's part in a release of a series, without noise, after noting who is new. Private.

    Args:
        home: whose book it is.
        plan: the study's.
        spec: its series.
        found: where people count in this release, by pseudonym.
        flags: by row of a record, 1 and the flags for each task.

    Returns:
        int64, of the shape of the layout's table, in units of 1 / `federation.privacy.series.SCALE` of a person.
    """
    regions, roles = Areas.of(plan.statistics).regions, plan.statistics.roles
    people = {}
    for unit, place in found.items():
        for mention in place.mentions[:1]:
            flagged = tuple(task for task, flag in zip(plan.tasks, flags[mention.row][1:], strict=True) if flag)
            people[unit] = Counted(region=regions[mention.region], role=roles[mention.role], flags=flagged)
    with SeriesBook(home.series_path) as book:
        return encode(new_people(plan, spec, book.count(spec, people)))


def new_people(plan: StudyPlan, spec: SeriesSpec, groups: Iterable[Group]) -> list[IntArray]:
    """x_1, …, x_t: the people who are new in each release, int64, each of the shape of the layout's table.

    Whoever counted in a region or role that the plan does not count (any more) is in none.
    """
    layout = TableLayout(plan)
    codes = layout.areas.codes(spec.level)
    place_of = {region: codes.index(layout.areas.above(region, spec.level) or "") for region in layout.areas.regions}
    role_at = {role: i for i, role in enumerate(plan.statistics.roles)}
    tables = [np.zeros(layout.blocks[Family.SERIES].shape, dtype=np.int64) for _ in range(spec.index)]
    for group in groups:
        one = group.counted
        if one.region in place_of and one.role in role_at:
            tables[group.release_index - 1][place_of[one.region], role_at[one.role]] += group.people * np.array(
                [1, *(task in one.flags for task in plan.tasks)], dtype=np.int64)
    return tables
