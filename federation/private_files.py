"""Small private files that are either whole or not there, and a lock that a process which dies lets go of."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.02


def replace_private(path: Path, data: bytes) -> None:
    """Put a file of mode 0600 in place in one step, so that a crash leaves the old one or the new one, whole.

    It is on disk when this returns.
    """
    with replacing_private(path) as file:
        file.write(data)


@contextmanager
def replacing_private(path: Path) -> Iterator[BinaryIO]:
    """As `replace_private`, for what is written bit by bit. If the block raises, nothing is replaced."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have it on disk which files a folder holds."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def locked_within(handle: int, wait_seconds: float, *, to_read: bool = False) -> bool:
    """Lock an open file until `handle` is closed: for this process alone, or together with others that only read.

    Returns:
        False, if another process has held it for `wait_seconds`.
    """
    end = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if to_read else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True
