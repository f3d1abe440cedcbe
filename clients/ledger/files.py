"""Where a ledger lies on disk: a SQLite file, the head beside it or elsewhere, and a lock.

Write-ahead log and `synchronous=FULL`: when a transaction returns, it survives a kill and a power cut, and one that was
cut short leaves nothing. The head is written whole under another name and moved into place, and its folder is synced.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
)
from sqlalchemy.exc import DBAPIError

from clients.ledger.chain import Head, Link
from clients.ledger.problems import refusal, unusable
from federation.errors import RefusalCode
from federation.private_files import locked_within, sync_folder

_tables = MetaData()
_entries = Table(
    "entries", _tables,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("signature", String(128), nullable=False),
)
_replies = Table(
    "replies", _tables,
    Column("seq", Integer, primary_key=True, autoincrement=False),  # of the entry that committed it
    Column("body", LargeBinary, nullable=False),
)


class LedgerFiles:
    """The files of one ledger. Nothing here knows what the entries mean."""

    def __init__(self, home: Path, head_path: Path | None = None) -> None:
        self.database = home / "ledger.sqlite"
        self._usual_head = home / "ledger.head"
        self.head = head_path or self._usual_head
        self._lock = home / "ledger.lock"
        self._engine = create_engine(f"sqlite:///{self.database}", hide_parameters=True, isolation_level="AUTOCOMMIT",
                                     connect_args={"timeout": 30})
        event.listen(self._engine, "connect", _configure)
        self._connection: Connection | None = None

    @contextmanager
    def locked(self, wait_seconds: float) -> Iterator[None]:
        """Hold the ledger's lock. It is the operating system's, so that a process that dies lets go of it.

        Raises:
            Refusal: `busy`, if another process holds it for longer than `wait_seconds`.
        """
        with _trouble(self._lock):
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not locked_within(handle, wait_seconds):
                raise refusal(RefusalCode.BUSY, str(self._lock), f"another request has held it for {wait_seconds:g} "
                              "seconds", "wait until it is done; end the process that hangs, if one does")
            yield
        finally:
            os.close(handle)

    @contextmanager
    def locked_if_free(self) -> Iterator[bool]:
        """Hold the lock if nobody else does, and say whether."""
        with _trouble(self._lock):
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield locked_within(handle, 0.0)
        finally:
            os.close(handle)

    def create(self) -> None:
        """Make the database with mode 0600, or finish one whose making was cut short."""
        with _trouble(self.database):
            with suppress(FileExistsError):
                os.close(os.open(self.database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            _tables.create_all(self._connect())
            sync_folder(self.database.parent)

    def check_private(self) -> None:
        """Refuse a ledger that others on the machine can read or change."""
        for path in (self.database, self.head):
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
            if mode & 0o077:
                raise unusable(str(path), f"has mode {mode:04o}, expected 0600", f"chmod 600 {path}")

    def has_entries(self) -> bool:
        """Whether there is a database with an entry in it."""
        if not self.database.exists():
            return False
        with _trouble(self.database):
            found = self._connect().exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = 'entries'").scalar()
        return found is not None and next(self.links(last=1), None) is not None

    def links(self, first: int = 1, last: int = 2**62) -> Iterator[Link]:
        """Stored links numbered `first` to `last`, in order, whatever is wrong with them.

        Raises:
            Refusal: `ledger_unusable`, if the file cannot be read or a column holds another type.
        """
        # Plain SQL: SQLAlchemy's types would make bytes of whatever a damaged column holds.
        with _trouble(self.database):
            rows = self._connect().exec_driver_sql(
                "SELECT seq, body, prev_hash, hash, signature FROM entries WHERE seq BETWEEN ? AND ? ORDER BY seq",
                (first, last)).all()
        for row in rows:
            if [type(value) for value in row] != [int, bytes, str, str, str]:
                raise unusable(str(self.database), "holds an entry of the wrong type", "bring the file back as it was")
            yield Link(*row)

    def reply(self, seq: int) -> bytes | None:
        """The reply that entry `seq` committed, as it lies there."""
        with _trouble(self.database):
            found = self._connect().exec_driver_sql("SELECT body FROM replies WHERE seq = ?", (seq,)).scalar()
        return found if isinstance(found, bytes) else None

    def replies(self) -> Iterator[tuple[int, bytes]]:
        """All replies with the numbers of their entries, in order."""
        with _trouble(self.database):
            for seq, body in self._connect().exec_driver_sql("SELECT seq, body FROM replies ORDER BY seq"):
                yield seq, body if isinstance(body, bytes) else b""

    def drop_replies(self, seqs: Sequence[int]) -> int:
        """Delete the replies that these entries committed. Returns how many were there."""
        with _trouble(self.database):
            connection = self._connect()
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            dropped = sum(connection.exec_driver_sql("DELETE FROM replies WHERE seq = ?", (seq,)).rowcount
                          for seq in seqs)
            connection.exec_driver_sql("COMMIT")
            return dropped

    def append(self, links: Sequence[Link], replies: dict[int, bytes], before_commit: Callable[[], None]) -> None:
        """Write links and replies in one transaction; all of them are on disk when this returns, or none."""
        rows = [{"seq": link.seq, "body": link.body, "prev_hash": link.prev_hash, "hash": link.hash,
                 "signature": link.signature} for link in links]
        with _trouble(self.database):
            connection = self._connect()
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                connection.execute(insert(_entries), rows)
                if replies:
                    connection.execute(insert(_replies), [{"seq": seq, "body": body} for seq, body in replies.items()])
                before_commit()
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                # A failed COMMIT may have ended the transaction already.
                with suppress(DBAPIError):
                    connection.exec_driver_sql("ROLLBACK")
                raise

    def read_head(self) -> bytes | None:
        """The head file's bytes, if it is there."""
        with _trouble(self.head):
            return self.head.read_bytes() if self.head.exists() else None

    def head_left_behind(self) -> Path | None:
        """The head in the home, where the ledger's own is to lie elsewhere and is not there; None if there is none."""
        with _trouble(self.head):
            return self._usual_head if self._usual_head.exists() and not self.head.exists() else None

    def write_head(self, head: Head) -> None:
        """Replace the head; on disk when this returns."""
        fresh = self.head.with_name(f"{self.head.name}.new")
        with _trouble(self.head):
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(head.to_json())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.head)
            sync_folder(self.head.parent)

    def close(self) -> None:
        """Release the files."""
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection


def _configure(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _remedy(error: BaseException | None) -> str:
    # The low byte is SQLite's primary code; the others say more of the same.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return ("the file is damaged: bring back its newest backup together with the newest head. An older one is "
                "refused, as what was spent since cannot be known without it")
    if code == sqlite3.SQLITE_FULL:
        return "make room on the disk"
    return "make room if the disk is full, and check the folder's permissions; otherwise bring the file back as it was"


@contextmanager
def _trouble(path: Path) -> Iterator[None]:
    """Turn what disk and database complain about into a refusal."""
    try:
        yield
    except DBAPIError as error:
        raise unusable(str(path), f"cannot be read or written: {error.orig}", _remedy(error.orig)) from None
    except OSError as error:
        raise unusable(str(path), f"cannot be read or written: {error.strerror}",
                       "make room on the disk and check the folder's permissions") from None
