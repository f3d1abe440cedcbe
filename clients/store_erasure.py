"""Deleting from the record store, so that no byte of what was deleted is left in the file or its log.

Each deletion is one transaction, and the same again finishes one that was cut short. Whoever is erased goes onto the
erasure list (`clients.erased`) in that transaction; what has expired does not.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from pathlib import Path
from uuid import UUID

from sqlalchemy import ColumnElement, Engine, delete, false, or_, true

from clients import erased
from clients.databases import erasing, in_parts, rewrite
from clients.stored import advance, expired, records


class StoreErasure:
    """What deletes from a store; `RecordStore.erasure` is its own.

    Every method raises an InputError if the disk is full or another process holds the file for too long. Then nothing
    is deleted, unless the message says so.
    """

    def __init__(self, path: Path, engine: Engine) -> None:
        self._path, self._engine = path, engine

    def people(self, actor_keys: Collection[str]) -> int:
        """Delete every record of some people, and list the people. Returns how many records there were."""
        keys = list(actor_keys)
        return self._erase(or_(false(), *(records.c.actor_key.in_(part) for part in in_parts(keys))),
                           listed=[erased.person_mark(key) for key in keys])

    def record(self, record_id: UUID) -> int:
        """Delete one record, if it is here, and list it. Returns how many there were."""
        return self._erase(records.c.record_id == record_id.hex, listed=[erased.record_mark(record_id)])

    def expired(self, today: date) -> int:
        """Delete the records whose retention has ended on `today`. Returns how many there were."""
        return self._erase(expired(today))

    def everything(self) -> int:
        """Delete every record; the list stays. Returns how many there were."""
        return self._erase(true())

    def allow_again(self, marks: Collection[str]) -> int:
        """Take people or records (`clients.erased`) off the list. Returns how many were on it."""
        with erasing(self._engine, self._path) as connection:
            return erased.take_off(connection, marks)

    def _erase(self, which: ColumnElement[bool], *, listed: Collection[str] = ()) -> int:
        with erasing(self._engine, self._path) as connection:
            erased.note(connection, listed)
            count = connection.execute(delete(records).where(which)).rowcount
            if count:
                rewrite(connection, records)
                advance(connection)
        return int(count)
