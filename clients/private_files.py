"""Small private files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_private(path: Path, data: bytes) -> None:
    """Put a file of mode 0600 in place in one step, so that a crash leaves the old one or the new one, whole.

    It is on disk when this returns.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
