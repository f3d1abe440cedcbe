"""SQLite files of a node's home: mode 0600, written in whole transactions.

Durability: write-ahead log with `synchronous=FULL`. When a transaction returns, it survives a kill and a power cut; a
kill in the middle leaves none of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, MetaData, Table, create_engine, event, insert, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.schema import CreateTable

from federation.errors import InputError

WAIT_SECONDS = 30
"""How long one process waits for another that holds a file."""
_MOST_VALUES = 1_000


def private_engine(path: Path, *, what: str) -> Engine:
    """Open a database, or create it with mode 0600.

    Args:
        path: of the file.
        what: it is, for the error.

    Raises:
        InputError: if others can read the file, or its folder does not exist.
    """
    _create_private(path, what)
    # hide_parameters: an exception must not carry the text of a record.
    # AUTOCOMMIT: the driver opens no transaction by itself; `writing` does, with the write lock from the start.
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True, isolation_level="AUTOCOMMIT",
                           connect_args={"timeout": WAIT_SECONDS})
    event.listen(engine, "connect", _configure)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction with the write lock: all of it or nothing."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


@contextmanager
def erasing(engine: Engine, path: Path) -> Iterator[Connection]:
    """A transaction that deletes. When this returns, no byte of what was deleted is in the file or its log.

    The transaction has to `rewrite` each table that it deleted from. The same again finishes one that was cut short.

    Raises:
        InputError: if the disk is full, or another process has held the file for too long.
    """
    with in_words(path):
        with writing(engine) as connection:
            yield connection
        with engine.connect() as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
    if busy:
        raise InputError(str(path), "what was deleted is gone from the file, and still lies in the log beside it, as "
                         f"another process has been reading it for {WAIT_SECONDS} seconds",
                         remedy="do the same again once that process is done")


def in_parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """`values` in parts that are short enough for one query."""
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start:start + _MOST_VALUES]


def rewrite(connection: Connection, table: Table) -> None:
    """Copy what a table still holds to fresh pages, and overwrite the old ones with zeros.

    `secure_delete` clears the place where a deleted row lies and nothing more, and of about one row in a thousand
    SQLite has left a copy in the unused part of a page when it divided or joined pages. VACUUM would do, but not in one
    transaction with the deletion, and through a temporary file outside the home.
    """
    name = table.name
    fresh = table.to_metadata(MetaData(), name=f"{name}_rewritten")
    connection.execute(CreateTable(fresh))
    connection.execute(insert(fresh).from_select(list(table.c), select(table)))
    connection.exec_driver_sql(f"DROP TABLE {name}")
    connection.exec_driver_sql(f"ALTER TABLE {name}_rewritten RENAME TO {name}")
    for index in table.indexes:
        index.create(connection)


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Turn what SQLite complains about into an error that says what to do."""
    try:
        yield
    except DatabaseError as error:
        raise trouble(path, error) from None


def trouble(path: Path, error: DatabaseError, *, damaged: str = "cannot be read: it is damaged") -> InputError:
    """What SQLite complains about, in words; `damaged` where it is not that the disk is full or the file is held."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # the low byte is SQLite's primary code
    problem, remedy = _TROUBLE.get(code, (damaged, "bring it back from a backup"))
    return InputError(str(path), problem, remedy=remedy)


_NO_ROOM = ("cannot be written, as the disk is full or failing",
            "make room for a second copy of the file, and do the same again")
_TROUBLE = {
    sqlite3.SQLITE_FULL: _NO_ROOM, sqlite3.SQLITE_IOERR: _NO_ROOM,
    sqlite3.SQLITE_READONLY: ("cannot be written", "check who may write to it and to its folder"),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", "check who may write to it and to its folder"),
    sqlite3.SQLITE_BUSY: ("another process has been writing to it for too long",
                          "do the same again once it is done; end the process that hangs, if one does")}


def _create_private(path: Path, what: str) -> None:
    if not path.exists():
        if not path.parent.is_dir():
            raise InputError(str(path), "its folder does not exist", remedy="run the init command of this node first")
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise InputError(str(path), f"{what} has mode {mode:04o}", bound="0600", remedy=f"chmod 600 {path}")


def _configure(connection: sqlite3.Connection, _: object) -> None:
    # temp_store: whatever SQLite would put into a temporary file would lie outside the home.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").close()
