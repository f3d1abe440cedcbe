"""The partner's records on the partner's disk: one SQLite file of mode 0600 (`clients.databases`).

One transaction a batch. When `add` returns, the batch survives a kill and a power cut; a kill in the middle leaves none
of that batch, and ingesting the file again completes it.

`generation` grows with each committed write. Whoever caches something made from records (features, for instance)
compares it instead of reading the records again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DatabaseError

from clients.databases import forget_log, private_engine, writing
from federation.errors import InputError
from federation.records import Record
from federation.taxonomy import Indicator, LabelValue, Provenance, RegionRole, Task

STORE_VERSION = 1
_PAGE = 1_000
# Where a record carries several labels of one task, the best-founded one speaks.
_TRUST = {p.value: rank for rank, p in enumerate((
    Provenance.MODEL, Provenance.WEAK, Provenance.USER_REPORT, Provenance.HUMAN_CROWD, Provenance.CASE_OUTCOME,
    Provenance.HUMAN_EXPERT))}

_tables = MetaData()
_records = Table(
    "records", _tables,
    Column("record_id", String(32), primary_key=True),
    Column("actor_key", String(32)),
    Column("retention_until", String(10), nullable=False),
    Column("exclude_training", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Index("by_actor", "actor_key"),
    Index("by_retention", "retention_until"),
)
_meta = Table("meta", _tables, Column("key", String(32), primary_key=True), Column("value", Integer, nullable=False))


@dataclass(frozen=True)
class AddResult:
    """What became of a batch. `conflicts` are the duplicates whose text differs from the record already there."""

    accepted: int
    duplicates: tuple[UUID, ...]
    conflicts: tuple[int, ...] = ()
    """Positions, in the batch that was given, of rows whose id is taken by a different text."""
    positions: tuple[int, ...] = ()
    """Positions, in the batch that was given, of the accepted rows."""


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
            InputError: if others can read the file, it is not a store, or a different version wrote it.
        """
        self.path = path
        self._engine = private_engine(path, what="record store")
        try:
            self._open()
        except DatabaseError:
            self._engine.dispose()
            raise InputError(str(path), "is not a record store, or it is damaged",
                             remedy="restore it from backup, or name another file") from None

    def _open(self) -> None:
        with writing(self._engine) as connection:
            _tables.create_all(connection)
            found = dict(connection.execute(select(_meta.c.key, _meta.c.value)).all())
            if not found:
                connection.execute(insert(_meta), [{"key": "store_version", "value": STORE_VERSION},
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
        """Add a batch in one transaction; ids already present are left as they are.

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
        with writing(self._engine) as connection:
            known = self._known(connection, [r.record_id.hex for r in records])
            for position, record in enumerate(records):
                key = record.record_id.hex
                earlier = known.get(key, seen.get(key))
                if earlier is None:
                    seen[key] = record.text, record.actor_key
                    fresh[key] = _row(record)
                    positions.append(position)
                    continue
                duplicates.append(record.record_id)
                if earlier != (record.text, record.actor_key):
                    conflicts.append(position)
            if fresh:
                connection.execute(insert(_records), list(fresh.values()))
                _advance(connection)
        return AddResult(len(fresh), tuple(duplicates), tuple(conflicts), tuple(positions))

    def __len__(self) -> int:
        with self._read() as connection:
            return int(connection.execute(select(func.count()).select_from(_records)).scalar_one())

    def generation(self) -> int:
        """A number that grows with each committed write that changed something."""
        with self._read() as connection:
            return int(connection.execute(select(_meta.c.value).where(_meta.c.key == "generation")).scalar_one())

    def usable(self, today: date) -> Iterator[Record]:
        """Records whose retention has not ended on `today` and that nobody objected to, ordered by id."""
        for body in self._bodies(today):
            yield Record.model_validate_json(body)

    def frame(self, today: date) -> pd.DataFrame:
        """The usable records as a table, ordered by `record_id`.

        Columns: record_id (hex), unit_key (hex), has_person (bool: without a person id the record is its own unit),
        text, language, observed_at (date), regions (list of (code, role)), labels (dict from task to value, the
        best-founded label where there are several), indicators (dict from each that somebody looked for to 0 or 1).
        """
        rows = [_frame_row(json.loads(body)) for body in self._bodies(today)]
        return pd.DataFrame(rows, columns=["record_id", "unit_key", "has_person", "text", "language", "observed_at",
                                           "regions", "labels", "indicators"])

    def erase_person(self, actor_key: str) -> int:
        """Delete every record of a person and overwrite the pages they lay on. Returns how many there were."""
        with writing(self._engine) as connection:
            erased = connection.execute(delete(_records).where(_records.c.actor_key == actor_key)).rowcount
            if erased:
                _advance(connection)
        forget_log(self._engine)
        return int(erased)

    def counts(self) -> StoreCounts:
        """Totals over everything stored, usable or not."""
        query = select(func.count(), func.count(_records.c.actor_key.distinct()), func.count(_records.c.actor_key),
                       func.coalesce(func.sum(_records.c.exclude_training), 0))
        with self._read() as connection:
            total, people, with_person, excluded = connection.execute(query).one()
        return StoreCounts(int(total), int(people), int(total - with_person), int(excluded))

    def records_per_person(self) -> dict[int, int]:
        """How many people have n records, by n. Small however large the store is."""
        sizes = (select(func.count().label("n")).where(_records.c.actor_key.is_not(None))
                 .group_by(_records.c.actor_key).subquery())
        with self._read() as connection:
            rows = connection.execute(select(sizes.c.n, func.count()).group_by(sizes.c.n)).all()
        return {int(size): int(people) for size, people in rows}

    def _bodies(self, today: date) -> Iterator[str]:
        # Page by page, so that a slow reader never holds a lock or the whole store in memory.
        last = ""
        while True:
            query = (select(_records.c.record_id, _records.c.body)
                     .where(_records.c.record_id > last, _records.c.retention_until >= today.isoformat(),
                            _records.c.exclude_training.is_(False))
                     .order_by(_records.c.record_id).limit(_PAGE))
            with self._read() as connection:
                page = connection.execute(query).all()
            if not page:
                return
            yield from (body for _, body in page)
            last = page[-1][0]

    def _known(self, connection: Connection, keys: list[str]) -> dict[str, tuple[str, str | None]]:
        found: dict[str, tuple[str, str | None]] = {}
        for start in range(0, len(keys), _PAGE):
            query = select(_records.c.record_id, _records.c.body).where(
                _records.c.record_id.in_(keys[start:start + _PAGE]))
            for key, body in connection.execute(query):
                held = json.loads(body)
                found[key] = held["text"], held.get("actor_key")
        return found

    def _read(self) -> Connection:
        return self._engine.connect()


def _advance(connection: Connection) -> None:
    connection.execute(update(_meta).where(_meta.c.key == "generation").values(value=_meta.c.value + 1))


def _row(record: Record) -> dict[str, Any]:
    return {"record_id": record.record_id.hex, "actor_key": record.actor_key,
            "retention_until": record.retention_until.isoformat(), "exclude_training": record.exclude_training,
            "body": record.model_dump_json()}


def _frame_row(body: dict[str, Any]) -> dict[str, Any]:
    key = UUID(body["record_id"]).hex
    best: dict[Task, tuple[int, LabelValue]] = {}
    for label in body["labels"]:
        task, rank = Task(label["task"]), _TRUST[label["provenance"]]
        if task not in best or rank >= best[task][0]:
            best[task] = (rank, LabelValue(label["value"]))
    return {"record_id": key, "unit_key": body["actor_key"] or key, "has_person": body["actor_key"] is not None,
            "text": body["text"], "language": body["language"], "observed_at": date.fromisoformat(body["observed_at"]),
            "regions": [(m["code"], RegionRole(m["role"])) for m in body["regions"]],
            "labels": {task: value for task, (_, value) in best.items()},
            "indicators": {Indicator(tag): mark["value"] for tag, mark in body["indicators"].items()
                           if mark["value"] is not None}}
