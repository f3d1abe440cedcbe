"""The journal on its owner's disk: opening it, adding to it, and the head beside it.

An entry is appended under the operating system's lock, and is on disk before the head is replaced. So a crash leaves at
most an incomplete last line, which was never promised to anybody and is cut away, or a head that is one entry behind,
which is brought up to date. Anything else that does not fit stops the journal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from federation.errors import InputError
from federation.identity import SigningKey
from federation.journal.acts import Facts, Opened, Side
from federation.journal.entries import Entry, Head, read_entry, signed_by
from federation.private_files import locked_within, replace_private

_BLOCK = 65_536
_ROOM = 4_096
"""Bytes; an entry of a partner takes a fifth of it."""
_RESTORE = ("bring the journal and its head back as they were, and find out who changed them; if they are lost, move "
            "what is left to another folder and keep it there, and a new journal begins with the next act")


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def head_path(journal: Path) -> Path:
    """Where the head of a journal lies."""
    return journal.with_name(f"{journal.name}.head")


def read_journal(path: Path, *, wait_seconds: float = 60.0) -> bytes:
    """The bytes of a journal, for `verify_journal`, and never half of an entry that is just being written.

    Raises:
        InputError: if it cannot be read, or somebody has been writing for `wait_seconds`.
    """
    try:
        with path.open("rb") as file:
            try:
                free = locked_within(file.fileno(), wait_seconds, to_read=True)
            except OSError:
                # Not every file system has locks, and a copy that nobody writes to needs none.
                free = True
            if not free:
                raise _held_elsewhere(path, wait_seconds)
            return file.read()
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", remedy="give the journal's file") from None


def read_head(path: Path) -> Head | None:
    """The head in `path` (`head_path` says where a journal's lies); None if nothing is there.

    Raises:
        InputError: if it is not a head, or cannot be read.
    """
    try:
        return Head.read(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise InputError(str(path), "cannot be read as the head of a journal", remedy=_RESTORE) from None


class Journal:
    """One side's journal. Open it with `Journal.open_or_create`; any number of processes may add to it."""

    def __init__(self, path: Path, key: SigningKey, opened: Opened, clock: Callable[[], datetime],
                 wait_seconds: float) -> None:
        self.path, self._key, self._opened, self._clock = path, key, opened, clock
        self._wait_seconds = wait_seconds

    @classmethod
    def open_or_create(cls, path: Path, *, key: SigningKey, owner: str, side: Side,
                       clock: Callable[[], datetime] = utc_now, wait_seconds: float = 60.0) -> Journal:
        """Open the journal in `path`, or begin one there with mode 0600.

        Looks at the first entry, the last and the head; `verify_journal` looks at all.

        Args:
            path: the file. The head lies beside it.
            key: the owner's, which signs every entry.
            owner: its name, a slug.
            side: which acts it may write.
            wait_seconds: how long to wait for another process that is writing.

        Raises:
            InputError: if it is another's journal, is not as it was left, or cannot be read or written.
        """
        journal = cls(path, key, Opened(owner=owner, side=side, public_key=key.public), clock, wait_seconds)
        with journal._held() as handle:
            if journal._last(handle) is None:
                journal._add(handle, None, journal._opened)
            elif journal._own(_first_line(handle)).facts != journal._opened:
                raise InputError(str(path), f"was not opened as the {side}'s journal of {owner}",
                                 remedy="give each owner its own folder")
        return journal

    def append(self, facts: Facts, *, again: bool = True) -> Entry:
        """Write down an act. It is on disk when this returns.

        Args:
            facts: what was done.
            again: False: nothing is written if the last entry says the same already.

        Returns:
            The entry, or the last one if nothing was written.

        Raises:
            InputError: if the journal is not as it was left, or cannot be written. After a full disk there is no new
                entry; if the head alone could not be replaced, there is one.
            ValueError: if the act is not one of this side.
        """
        if facts.by is not self._opened.side:
            raise ValueError(f"{facts.act} is no act that a {self._opened.side} writes down")
        with self._held() as handle:
            last = self._begun(handle)
            return last if not again and last.facts == facts else self._add(handle, last, facts)

    def check_writable(self) -> None:
        """Do nothing if an entry could be written now, to which end as much is written and taken back.

        Raises:
            InputError: as `append`.
        """
        with self._held() as handle:
            self._begun(handle)
            end = os.fstat(handle).st_size
            try:
                _write(handle, b"\0" * _ROOM, end)
            finally:
                os.ftruncate(handle, end)

    @contextmanager
    def _held(self) -> Iterator[int]:
        """The open file under its lock; what the disk complains about becomes an InputError."""
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if not locked_within(handle, self._wait_seconds):
                    raise _held_elsewhere(self.path, self._wait_seconds)
                yield handle
            finally:
                os.close(handle)
        except OSError as error:
            raise InputError(str(self.path), f"cannot be read or written ({error.strerror})",
                             remedy="make room on the disk and check the folder's permissions") from None

    def _begun(self, handle: int) -> Entry:
        last = self._last(handle)
        if last is None:
            raise self._broken("was emptied")
        return last

    def _last(self, handle: int) -> Entry | None:
        """The last entry, which fits the head; None if there has never been one."""
        end, line = _last_line(handle)
        head = read_head(head_path(self.path))
        if line is None:
            if head is not None:
                raise self._broken(f"is missing or empty, and its head names entry {head.sequence}")
            os.ftruncate(handle, 0)
            return None
        last = self._own(line)
        self._check(head, last)
        if end < os.fstat(handle).st_size:
            os.ftruncate(handle, end)
        if head is None or head.sequence != last.sequence:
            # Whoever wrote it may have died before it was on disk.
            os.fsync(handle)
            self._seal(last)
        return last

    def _check(self, head: Head | None, last: Entry) -> None:
        """The head names the last entry, or the one before it if the process died in between."""
        if head is None:
            if last.sequence:
                raise self._broken("has lost its head, so nobody can tell whether its end was cut off")
        elif not head.signed_by(self._key.public):
            raise self._broken("has a head that is signed by another key than this owner's")
        elif head.sequence > last.sequence:
            raise self._broken(f"ends before entry {head.sequence}, which was written")
        elif head.hash != {last.sequence: last.hash, last.sequence - 1: last.previous}.get(head.sequence):
            raise self._broken(f"does not go on from entry {head.sequence}, which its head names")

    def _own(self, line: bytes) -> Entry:
        """The entry that a line holds, if it is this owner's."""
        try:
            entry = read_entry(line)
        except ValueError:
            entry = None
        if entry is None or not signed_by(line, self._key.public):
            raise self._broken("holds an entry that was edited, or is signed by another key than this owner's")
        return entry

    def _add(self, handle: int, last: Entry | None, facts: Facts) -> Entry:
        entry = Entry.after(last, facts, self._clock(), self._key)
        end = os.fstat(handle).st_size
        try:
            _write(handle, entry.line + b"\n", end)
            os.fsync(handle)
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, end)
            raise
        self._seal(entry)
        return entry

    def _seal(self, last: Entry) -> None:
        replace_private(head_path(self.path), Head.of(last.anchor, self._key).to_json())

    def _broken(self, problem: str) -> InputError:
        return InputError(str(self.path), problem, remedy=_RESTORE)


def _held_elsewhere(path: Path, seconds: float) -> InputError:
    return InputError(str(path), f"another process has held it for {seconds:g} seconds",
                      remedy="wait until it is done; end the process that hangs, if one does")


def _write(handle: int, data: bytes, start: int) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(handle, data[written:], start + written)


def _first_line(handle: int) -> bytes:
    text = b""
    while b"\n" not in text and (block := os.pread(handle, _BLOCK, len(text))):
        text += block
    return text.partition(b"\n")[0]


def _last_line(handle: int) -> tuple[int, bytes | None]:
    """Where the last whole line ends, and the line without its line feed; None if there is no whole line."""
    start, tail = os.fstat(handle).st_size, b""
    while start > 0 and tail.count(b"\n") < 2:
        step = min(_BLOCK, start)
        start -= step
        tail = os.pread(handle, step, start) + tail
    end = tail.rfind(b"\n") + 1
    if end == 0:
        return 0, None
    return start + end, tail[tail.rfind(b"\n", 0, end - 1) + 1:end - 1]
