"""Logs of our own processes: a line of JSON for each event, with nothing about a person.

Our log calls name events, codes and partners; no call passes a record, a count of people or the text of an exception.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

_BYTES = 5_000_000
_KEPT = 3


class JsonLines(logging.Formatter):
    """One event as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The exception's text is left out on purpose: it can quote what was being worked on."""
        return json.dumps({"at": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                           "level": record.levelname.lower(), "from": record.name, "event": record.getMessage()},
                          ensure_ascii=False)


class PlainWords(logging.Formatter):
    """The words of an event, in one line, with nothing that could command a terminal; no exception's text either."""

    def format(self, record: logging.LogRecord) -> str:
        return "".join(sign if sign.isprintable() else " " for sign in record.getMessage())


class _PrivateFile(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        # The file that follows one that was set aside is as private as that was.
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return TextIOWrapper(os.fdopen(handle, "ab"), encoding=self.encoding)


def log_to(path: Path) -> None:
    """Write events of `leelight.*` to a file (0600) that is set aside when it grows, and warnings to the terminal."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = _PrivateFile(path, maxBytes=_BYTES, backupCount=_KEPT, encoding="utf-8")
    file.setFormatter(JsonLines())
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    terminal.setFormatter(PlainWords())
    ours = logging.getLogger("leelight")
    ours.setLevel(logging.INFO)
    ours.handlers = [file, terminal]
    ours.propagate = False
