"""Logs of our own processes: a line of JSON for each event, with nothing about a person.

Our log calls name events, codes and partners; no call passes a record, a count of people or the text of an exception.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

_BYTES = 5_000_000
_KEPT = 3


class JsonLines(logging.Formatter):
    """One event as one line."""

    def format(self, record: logging.LogRecord) -> str:
        # The exception's text is left out on purpose: it can quote what was being worked on.
        return json.dumps({"at": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                           "level": record.levelname.lower(), "from": record.name, "event": record.getMessage()},
                          ensure_ascii=False)


def log_to(path: Path) -> None:
    """Write events of `leelight.*` to a file (0600) that is set aside when it grows, and warnings to the terminal."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    file = RotatingFileHandler(path, maxBytes=_BYTES, backupCount=_KEPT, encoding="utf-8")
    file.setFormatter(JsonLines())
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("leelight")
    ours.setLevel(logging.INFO)
    ours.handlers = [file, terminal]
    ours.propagate = False
