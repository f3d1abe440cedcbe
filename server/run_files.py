"""The database of a running study: its tables, and how it is opened, written and read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote

from federation.errors import InputError
from federation.private_files import locked_within

_VERSION: Final = 1
_WAIT_SECONDS: Final = 30.0
_LOCK_SECONDS: Final = 1.0
"""Whoever looks whether a run goes on holds its lock for a moment."""
_SCHEMA: Final = """
CREATE TABLE study (plan_sha256 TEXT NOT NULL);
CREATE TABLE report (number INTEGER PRIMARY KEY, report BLOB NOT NULL);
CREATE TABLE stage (name TEXT NOT NULL, exchange TEXT NOT NULL, since REAL NOT NULL);
CREATE TABLE heard (partner TEXT PRIMARY KEY, code TEXT NOT NULL);
CREATE TABLE round (number INTEGER PRIMARY KEY, sha256 TEXT NOT NULL);
CREATE TABLE sum (purpose TEXT NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL, model_sha256 TEXT NOT NULL,
                  begun REAL NOT NULL);
CREATE TABLE answer (exchange TEXT NOT NULL, partner TEXT NOT NULL, payload BLOB NOT NULL,
                     PRIMARY KEY (exchange, partner));
CREATE TABLE closed (exchange TEXT PRIMARY KEY);
CREATE TABLE measured (vector BLOB NOT NULL, partners TEXT NOT NULL, sha256 TEXT NOT NULL);
"""


def damaged(name: str, problem: str) -> NoReturn:
    """Raise the error of a run that cannot go on.

    Raises:
        InputError: always.
    """
    raise InputError(name, problem, remedy="bring the run's folder back from a backup; without one, compose another "
                     "plan: partners answer each round of a plan once")


class RunDatabase:
    """`state.sqlite`. One process writes, others may read meanwhile.

    A rollback journal and `synchronous=FULL`: what a transaction wrote is on disk when it returns, and what it deleted
    is overwritten.

    Args:
        path: of the file; made, with mode 0600, if it is not there and `to_read` is not set.
        plan_sha256: whose run it is.
        to_read: nothing is written, and nothing but the version and the plan is checked.

    Raises:
        InputError: if it is not such a database, is another plan's, or a different version wrote it.
    """

    def __init__(self, path: Path, plan_sha256: str, *, to_read: bool = False) -> None:
        self._path, self._plan_sha256 = path, plan_sha256
        if not to_read:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # Able to write even to read, since what a killed process left half-done is undone by whoever opens it next.
        # Autocommit: transactions are begun here, with the write lock from the start.
        with self._checked():
            self._connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=_WAIT_SECONDS,
                                               isolation_level=None)
        try:
            if to_read:
                with self.reading() as connection:
                    self._check(connection)
            else:
                self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing.

        Raises:
            InputError: if the database cannot be written.
        """
        with self._checked():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Several reads that see one state.

        Raises:
            InputError: if the database cannot be read.
        """
        with self._checked():
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                with suppress(sqlite3.Error):
                    self._connection.execute("COMMIT")

    def _open(self) -> None:
        with self._checked():
            for pragma in ("journal_mode=DELETE", "synchronous=FULL", "secure_delete=ON"):
                self._connection.execute(f"PRAGMA {pragma}").close()
        with self.writing() as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                connection.execute("INSERT INTO study VALUES (?)", (self._plan_sha256,))
            if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
                damaged(str(self._path), "is damaged")
            self._check(connection)

    def _check(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION:
            raise InputError(str(self._path), f"was written with version {version}", bound=f"version {_VERSION}",
                             remedy="use the release that began the study")
        if connection.execute("SELECT plan_sha256 FROM study").fetchall() != [(self._plan_sha256,)]:
            damaged(str(self._path), "belongs to the run of another plan")

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            damaged(str(self._path), f"cannot be used ({error})")


@contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Hold a run for this process alone. The system lets go of the lock when the process dies.

    Raises:
        InputError: if another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not locked_within(handle, _LOCK_SECONDS):
            raise InputError(str(path), "another process runs this study", bound="one process at a time",
                             remedy="wait until it is done, or stop it first")
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether a process holds this lock."""
    if not path.is_file():
        return False
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return not locked_within(handle, 0.0, to_read=True)
    finally:
        os.close(handle)
