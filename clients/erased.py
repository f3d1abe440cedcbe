"""The erasure list: who was erased, so that they do not come back with the next file. A table of the record store.

It lies in the store, and not beside it, so that listing somebody and deleting what is there is one transaction, and so
is looking at the list and adding a batch: nobody slips in between. An entry is a hash of a pseudonym or of a record's
id, both of which only the partner's secret can make, and holds nothing else: not even when it was written.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

from sqlalchemy import Column, Connection, MetaData, String, Table, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from clients.databases import in_parts

tables = MetaData()
_erased = Table("erased", tables, Column("mark", String(32), primary_key=True), sqlite_with_rowid=False)


def note(connection: Connection, keys: Collection[str]) -> None:
    """Put people (by pseudonym) or records (by id, 32 hexadecimal digits) on the list."""
    rows = [{"mark": _mark(key)} for key in keys]
    if rows:
        connection.execute(insert(_erased).on_conflict_do_nothing(), rows)


def listed(connection: Connection, keys: Collection[str]) -> set[str]:
    """Those of `keys` that are on the list."""
    by_mark = {_mark(key): key for key in keys}
    return {by_mark[mark] for part in in_parts(list(by_mark))
            for mark in connection.execute(select(_erased.c.mark).where(_erased.c.mark.in_(part))).scalars()}


def take_off(connection: Connection, keys: Collection[str]) -> int:
    """Take people or records off the list. Returns how many were on it."""
    found = listed(connection, keys)
    for part in in_parts([_mark(key) for key in found]):
        connection.execute(delete(_erased).where(_erased.c.mark.in_(part)))
    return len(found)


def length(connection: Connection) -> int:
    """How many people and records are on the list."""
    return int(connection.execute(select(func.count()).select_from(_erased)).scalar_one())


def _mark(key: str) -> str:
    # Hashed, so that a pseudonym that was erased is nowhere in the home.
    return sha256(f"erased/{key}".encode()).hexdigest()[:32]
