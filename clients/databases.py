"""SQLite files of a node's home: mode 0600, written in whole transactions.

Durability: write-ahead log with `synchronous=FULL`. When a transaction returns, it survives a kill and a power cut; a
kill in the middle leaves none of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event

from federation.errors import InputError


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
                           connect_args={"timeout": 30})
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


def forget_log(engine: Engine) -> None:
    """Empty the write-ahead log: what was deleted would otherwise live on in it until its next checkpoint."""
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


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
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
