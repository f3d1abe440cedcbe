"""How source files are written: as a partner should keep them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TextIO


def open_private(directory: Path, name: str) -> TextIO:
    """Open `directory/name` for writing UTF-8 text, readable by its owner only from the first byte on."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.unlink(missing_ok=True)  # an older file would keep its own, possibly wider, permissions
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(handle, "w", encoding="utf-8", newline="")
