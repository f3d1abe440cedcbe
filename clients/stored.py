"""How a record lies in the store: the tables, and a record's way in and out of a row."""

from __future__ import annotations

from collections.abc import Callable
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


FRAME_COLUMNS = ("record_id", "unit_key", "has_person", "text", "language", "observed_at", "regions", "labels",
                 "indicators")


class FrameRows:
    """Stored bodies as rows of `RecordStore.frame`.

    Most records are like others in their day, places, labels and marks. Those share an object, which takes a fraction
    of the time to make and of the memory to keep.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Any] = {}

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        """One body's row."""
        key = UUID(body["record_id"]).hex
        regions = tuple((mention["code"], mention["role"]) for mention in body["regions"])
        labels = tuple((label["task"], label["provenance"], label["value"]) for label in body["labels"])
        marks = tuple((tag, mark["value"]) for tag, mark in body["indicators"].items())
        return {"record_id": key, "unit_key": body["actor_key"] or key, "has_person": body["actor_key"] is not None,
                "text": body["text"], "language": body["language"],
                "observed_at": self._one(date.fromisoformat, body["observed_at"]),
                "regions": self._one(_places, regions), "labels": self._one(_labels, labels),
                "indicators": self._one(_marks, marks)}

    def _one(self, make: Callable[[Any], Any], given: Any) -> Any:
        if (make, given) not in self._made:
            self._made[make, given] = make(given)
        return self._made[make, given]


def _places(regions: tuple[tuple[str, str], ...]) -> list[tuple[str, RegionRole]]:
    return [(code, RegionRole(role)) for code, role in regions]


def _labels(labels: tuple[tuple[str, str, str], ...]) -> dict[Task, LabelValue]:
    best: dict[Task, tuple[int, LabelValue]] = {}
    for name, provenance, value in labels:
        task, rank = Task(name), _TRUST[provenance]
        if task not in best or rank >= best[task][0]:
            best[task] = (rank, LabelValue(value))
    return {task: value for task, (_, value) in best.items()}


def _marks(marks: tuple[tuple[str, int | None], ...]) -> dict[Indicator, int]:
    return {Indicator(tag): value for tag, value in marks if value is not None}
