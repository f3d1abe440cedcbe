"""Rows that could not be taken in, later on: how many wait, whose they are, and which are too old to be kept.

Only files that an ingest made (`clients.ingest.quarantine`) are looked at; whatever else lies in the folder is the
partner's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from clients.ingest.quarantine import people_of
from federation.private_files import replacing_private, sync_folder

Values = Mapping[str, Any]
_NAME = re.compile(r"(\d{8}T\d{6})\d{6}Z-[0-9a-f]{16}-.+\.jsonl")


@dataclass(frozen=True, kw_only=True)
class RowsFound:
    """Rows that were set aside.

    Attributes:
        rows: those that were looked for.
        people: whose they are, by pseudonym.
        untold: of the others, those that hold something and do not say whose it is.
    """

    rows: int
    people: frozenset[str]
    untold: int


def files(folder: Path) -> list[Path]:
    """The files with rows that were set aside, oldest first."""
    return sorted(path for path in folder.glob("*.jsonl") if _NAME.fullmatch(path.name))


def made_on(path: Path) -> date:
    """The day (UTC) on which one of `files` was made."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise ValueError(f"{path.name} is no file of rows that were set aside")
    return datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).date()


def too_old(folder: Path, today: date, days: int) -> list[Path]:
    """The files that were made more than `days` days before `today`."""
    return [path for path in files(folder) if today - made_on(path) > timedelta(days=days)]


def rows(folder: Path) -> int:
    """How many rows wait."""
    return sum(1 for path in files(folder) for _ in _lines(path))


def look_for(folder: Path, belongs: Callable[[Values], bool]) -> RowsFound:
    """Look for rows by the values that were kept of them."""
    found = untold = 0
    people: set[str] = set()
    for path in files(folder):
        for _, values in _lines(path):
            if values is not None and belongs(values):
                found += 1
                people |= people_of(values)
            elif values is None or (values and not people_of(values)):
                untold += 1
    return RowsFound(rows=found, people=frozenset(people), untold=untold)


def take_out(folder: Path, belongs: Callable[[Values], bool]) -> int:
    """Take rows out of their files; a file that holds nothing more goes. Returns how many there were.

    Only where nobody takes a file in meanwhile (`clients.quiet.alone`).

    Raises:
        OSError: if a file cannot be read or written. It is left as it was.
    """
    taken = 0
    _clear(folder)
    for path in files(folder):
        all_of_it = here = 0
        for _, values in _lines(path):
            all_of_it += 1
            here += values is not None and belongs(values)
        if 0 < here == all_of_it:
            path.unlink()
            sync_folder(folder)
        elif here:
            with replacing_private(path) as fresh:
                fresh.writelines(line for line, values in _lines(path) if values is None or not belongs(values))
        taken += here
    return taken


def clear_out(folder: Path) -> int:
    """Delete all files with rows that were set aside, as `take_out`. Returns how many rows there were."""
    taken = rows(folder)
    _clear(folder)
    for path in files(folder):
        path.unlink()
    return taken


def _clear(folder: Path) -> None:
    # Nobody else writes here meanwhile, so a crash has left it.
    for part in folder.glob(".*.part"):
        part.unlink()


def _lines(path: Path) -> Iterator[tuple[bytes, Values | None]]:
    """Each line, with the values that were kept of its row; None for one that a crash left half-written."""
    with path.open("rb") as file:
        for line in file:
            try:
                values = json.loads(line)["values"]
            except (ValueError, KeyError, TypeError, RecursionError):
                values = None
            yield line, values if isinstance(values, dict) else None
