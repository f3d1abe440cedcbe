"""How a record lies in the store: the tables, and a record's way in and out of a row."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    update,
)

from federation.records import Record
from federation.taxonomy import Indicator, LabelValue, Provenance, RegionRole, Task

# Where a record carries several labels of one task, the best-founded one speaks.
_TRUST = {p.value: rank for rank, p in enumerate((
    Provenance.MODEL, Provenance.WEAK, Provenance.USER_REPORT, Provenance.HUMAN_CROWD, Provenance.CASE_OUTCOME,
    Provenance.HUMAN_EXPERT))}

tables = MetaData()
records = Table(
    "records", tables,
    Column("record_id", String(32), primary_key=True),
    Column("actor_key", String(32)),
    Column("retention_until", String(10), nullable=False),
    Column("exclude_training", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Index("by_actor", "actor_key"),
    Index("by_retention", "retention_until"),
)
meta = Table("meta", tables, Column("key", String(32), primary_key=True), Column("value", Integer, nullable=False))


def usable(today: date) -> ColumnElement[bool]:
    """Rows whose retention has not ended on `today` and that nobody objected to."""
    return and_(records.c.retention_until >= today.isoformat(), records.c.exclude_training.is_(False))


def expired(today: date) -> ColumnElement[bool]:
    """Rows whose retention has ended on `today`."""
    return records.c.retention_until < today.isoformat()


def advance(connection: Connection) -> None:
    """Let the generation grow: something has changed."""
    connection.execute(update(meta).where(meta.c.key == "generation").values(value=meta.c.value + 1))


def row_of(record: Record) -> dict[str, Any]:
    """A record's row."""
    return {"record_id": record.record_id.hex, "actor_key": record.actor_key,
            "retention_until": record.retention_until.isoformat(), "exclude_training": record.exclude_training,
            "body": record.model_dump_json()}


def frame_row(body: dict[str, Any]) -> dict[str, Any]:
    """A stored body's row in `RecordStore.frame`."""
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
