"""The partner's records on the partner's disk: one SQLite file of mode 0600 (`clients.databases`).

One transaction a batch. When `add` returns, the batch survives a kill and a power cut; a kill in the middle leaves none
of that batch, and ingesting the file again completes it.

Deleting leaves no byte of what was deleted in the file or its log. Whoever was erased is on a list (`clients.erased`),
and stays out when a file with them is taken in again.

`generation` grows with each committed write. Whoever caches something made from records (features, for instance)
compares it instead of reading the records again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
from sqlalchemy import ColumnElement, Connection, func, insert, select
from sqlalchemy.exc import DatabaseError

from clients import erased
from clients.databases import in_parts, private_engine, trouble, writing
from clients.store_erasure import StoreErasure
from clients.stored import FRAME_COLUMNS, FrameRows, advance, expired, meta, row_of, tables, usable
from clients.stored import records as stored
from federation.errors import InputError
from federation.records import Record

STORE_VERSION = 1
_PAGE = 1_000


@dataclass(frozen=True)
class AddResult:
    """What became of a batch. `conflicts` are the duplicates whose text differs from the record already there."""

    accepted: int
    duplicates: tuple[UUID, ...]
    conflicts: tuple[int, ...] = ()
    """Positions, in the batch that was given, of rows whose id is taken by a different text."""
    positions: tuple[int, ...] = ()
    """Positions, in the batch that was given, of the accepted rows."""
    erased: int = 0
    """Records that were left out, as they or their people were erased before."""


@dataclass(frozen=True)
class StoreCounts:
    """How many records, people and records without a person lie in the store."""

    records: int
    people: int
    without_person: int
    excluded: int


class RecordStore:
    """Records of one partner. Safe to open from several processes; writers queue for up to 30 seconds."""

    def __init__(self, path: Path) -> None:
        """Open, or create with mode 0600.

        Raises:
            InputError: if others can read the file, it is not a store, a different version wrote it, or another process
                holds it for too long.
        """
        self.path = path
        self._engine = private_engine(path, what="record store")
        self.erasure = StoreErasure(path, self._engine)
        """What deletes."""
        try:
            self._open()
        except DatabaseError as error:
            self._engine.dispose()
            raise trouble(path, error, damaged="is not a record store, or it is damaged") from None

    def _open(self) -> None:
        with writing(self._engine) as connection:
            tables.create_all(connection)
            erased.tables.create_all(connection)
            found = dict(connection.execute(select(meta.c.key, meta.c.value)).all())
            if not found:
                connection.execute(insert(meta), [{"key": "store_version", "value": STORE_VERSION},
                                                   {"key": "generation", "value": 0}])
            elif found.get("store_version") != STORE_VERSION:
                raise InputError(str(self.path), f"was written with store version {found.get('store_version')}",
                                 bound=f"version {STORE_VERSION}", remedy="use the release that wrote it")

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def __enter__(self) -> RecordStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, records: Sequence[Record]) -> AddResult:
        """Add a batch in one transaction; ids already present are left as they are, and whoever was erased stays out.

        A duplicate with the same text and person is the same record seen again. One with another is a clash of ids: it
        is a duplicate too, and its position is in `conflicts` so that the caller does not lose it silently.
        """
        if not records:
            return AddResult(0, ())
        duplicates: list[UUID] = []
        conflicts: list[int] = []
        positions: list[int] = []
        fresh: dict[str, dict[str, Any]] = {}
        seen: dict[str, tuple[str, str | None]] = {}
        left_out = 0
        with writing(self._engine) as connection:
            known = self._known(connection, [r.record_id.hex for r in records])
            gone = erased.listed(connection, {mark for one in records for mark in _marks(one)})
            for position, record in enumerate(records):
                key = record.record_id.hex
                if not gone.isdisjoint(_marks(record)):
                    left_out += 1
                    continue
                earlier = known.get(key, seen.get(key))
                if earlier is None:
                    seen[key] = record.text, record.actor_key
                    fresh[key] = row_of(record)
                    positions.append(position)
                    continue
                duplicates.append(record.record_id)
                if earlier != (record.text, record.actor_key):
                    conflicts.append(position)
            if fresh:
                connection.execute(insert(stored), list(fresh.values()))
                advance(connection)
        return AddResult(len(fresh), tuple(duplicates), tuple(conflicts), tuple(positions), left_out)

    def __len__(self) -> int:
        with self._read() as connection:
            return int(connection.execute(select(func.count()).select_from(stored)).scalar_one())

    def generation(self) -> int:
        """A number that grows with each committed write that changed something."""
        with self._read() as connection:
            return int(connection.execute(select(meta.c.value).where(meta.c.key == "generation")).scalar_one())

    def usable(self, today: date) -> Iterator[Record]:
        """Records whose retention has not ended on `today` and that nobody objected to, ordered by id."""
        for body in self._bodies(usable(today)):
            yield Record.model_validate_json(body)

    def frame(self, today: date) -> pd.DataFrame:
        """The usable records as a table, ordered by `record_id`.

        Columns: record_id (hex), unit_key (hex), has_person (bool: without a person id the record is its own unit),
        text, language, observed_at (date), regions (list of (code, role)), labels (dict from task to value, the
        best-founded label where there are several), indicators (dict from each that somebody looked for to 0 or 1).
        Records that are alike in one of the last four share an object: nobody may change one.
        """
        return pd.concat(self.frames(today), ignore_index=True)

    def frames(self, today: date) -> Iterator[pd.DataFrame]:
        """The table of `frame` piece by piece, the first of which may be empty; for stores of any size."""
        rows_of, bodies = FrameRows(), self._bodies(usable(today))
        piece = list(islice(bodies, _PAGE))
        while True:
            yield pd.DataFrame([rows_of(json.loads(body)) for body in piece], columns=list(FRAME_COLUMNS))
            if not (piece := list(islice(bodies, _PAGE))):
                return

    def erased_before(self, marks: Collection[str]) -> set[str]:
        """Those of `marks` (`clients.erased`) that are on the erasure list."""
        with self._read() as connection:
            return erased.listed(connection, marks)

    def present(self, actor_keys: Collection[str]) -> dict[str, int]:
        """How many records there are of each of some people who has any, by pseudonym."""
        columns = stored.c.actor_key, func.count()
        with self._read() as connection:
            return {str(key): int(count) for part in in_parts(list(actor_keys)) for key, count in connection.execute(
                select(*columns).where(stored.c.actor_key.in_(part)).group_by(stored.c.actor_key))}

    def __contains__(self, record_id: UUID) -> bool:
        with self._read() as connection:
            return connection.execute(select(1).where(stored.c.record_id == record_id.hex)).first() is not None

    def expired(self, today: date) -> int:
        """How many records there are whose retention has ended on `today`."""
        with self._read() as connection:
            return int(connection.execute(
                select(func.count()).select_from(stored).where(expired(today))).scalar_one())

    def texts(self, today: date) -> Iterator[str]:
        """The text of each record whose retention has not ended on `today`, whether it may train or not."""
        for body in self._bodies(stored.c.retention_until >= today.isoformat()):
            yield json.loads(body)["text"]

    def counts(self) -> StoreCounts:
        """Totals over everything stored, usable or not."""
        query = select(func.count(), func.count(stored.c.actor_key.distinct()), func.count(stored.c.actor_key),
                       func.coalesce(func.sum(stored.c.exclude_training), 0))
        with self._read() as connection:
            total, people, with_person, excluded = connection.execute(query).one()
        return StoreCounts(int(total), int(people), int(total - with_person), int(excluded))

    def by_consent_basis(self) -> dict[str, int]:
        """How many records there are by the basis on which they are held."""
        return self._figures("SELECT json_extract(body, '$.consent_basis'), count(*) FROM records GROUP BY 1")

    def by_task(self) -> dict[str, int]:
        """How many records have a label for each task that any has one for."""
        return self._figures("SELECT json_extract(label.value, '$.task'), count(DISTINCT record_id) "
                             "FROM records, json_each(records.body, '$.labels') AS label GROUP BY 1")

    def erased(self) -> int:
        """How many people and records are on the erasure list."""
        with self._read() as connection:
            return erased.length(connection)

    def _figures(self, query: str) -> dict[str, int]:
        with self._read() as connection:
            return {str(name): int(number) for name, number in connection.exec_driver_sql(query)}

    def records_per_person(self) -> dict[int, int]:
        """How many people have n records, by n. Small however large the store is."""
        sizes = (select(func.count().label("n")).where(stored.c.actor_key.is_not(None))
                 .group_by(stored.c.actor_key).subquery())
        with self._read() as connection:
            rows = connection.execute(select(sizes.c.n, func.count()).group_by(sizes.c.n)).all()
        return {int(size): int(people) for size, people in rows}

    def _bodies(self, which: ColumnElement[bool]) -> Iterator[str]:
        # Page by page, so that a slow reader never holds a lock or the whole store in memory.
        last = ""
        while True:
            query = (select(stored.c.record_id, stored.c.body)
                     .where(stored.c.record_id > last, which).order_by(stored.c.record_id).limit(_PAGE))
            with self._read() as connection:
                page = connection.execute(query).all()
            if not page:
                return
            yield from (body for _, body in page)
            last = page[-1][0]

    def _known(self, connection: Connection, keys: list[str]) -> dict[str, tuple[str, str | None]]:
        found: dict[str, tuple[str, str | None]] = {}
        for part in in_parts(keys):
            query = select(stored.c.record_id, stored.c.body).where(stored.c.record_id.in_(part))
            for key, body in connection.execute(query):
                held = json.loads(body)
                found[key] = held["text"], held.get("actor_key")
        return found

    def _read(self) -> Connection:
        return self._engine.connect()


def _marks(record: Record) -> list[str]:
    """What a record would be on the erasure list by."""
    person = [] if record.actor_key is None else [erased.person_mark(record.actor_key)]
    return [erased.record_mark(record.record_id), *person]
