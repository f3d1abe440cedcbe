"""The erasure list: who was erased, so that they do not come back with the next file. A table of the record store.

It lies in the store, and not beside it, so that listing somebody and deleting what is there is one transaction, and so
is looking at the list and adding a batch: nobody slips in between. An entry is a hash of a pseudonym or of a record's
id, both of which only the partner's secret can make, and holds nothing else: not even when it was written.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from uuid import UUID

from sqlalchemy import Column, Connection, MetaData, String, Table, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from clients.databases import in_parts

tables = MetaData()
_erased = Table("erased", tables, Column("mark", String(32), primary_key=True), sqlite_with_rowid=False)


def person_mark(actor_key: str) -> str:
    """The entry of a person, from their pseudonym."""
    return _mark(f"person/{actor_key}")


def record_mark(record_id: UUID) -> str:
    """The entry of a record."""
    return _mark(f"record/{record_id.hex}")


def _mark(name: str) -> str:
    # Hashed, so that a pseudonym that was erased is nowhere in the home.
    return sha256(f"erased/{name}".encode()).hexdigest()[:32]


def note(connection: Connection, marks: Collection[str]) -> None:
    """Put people or records on the list."""
    if marks:
        connection.execute(insert(_erased).on_conflict_do_nothing(), [{"mark": mark} for mark in marks])


def listed(connection: Connection, marks: Collection[str]) -> set[str]:
    """Those of `marks` that are on the list."""
    return {mark for part in in_parts(list(marks))
            for mark in connection.execute(select(_erased.c.mark).where(_erased.c.mark.in_(part))).scalars()}


def take_off(connection: Connection, marks: Collection[str]) -> int:
    """Take people or records off the list. Returns how many were on it."""
    return sum(connection.execute(delete(_erased).where(_erased.c.mark.in_(part))).rowcount
               for part in in_parts(list(set(marks))))


def length(connection: Connection) -> int:
    """How many people and records are on the list."""
    return int(connection.execute(select(func.count()).select_from(_erased)).scalar_one())
