"""Rows that could not become records: kept on the partner's disk, with a reason and a remedy each.

One JSON Lines file (mode 0600) for each file that needed one: taking the same file in again, to the byte, replaces it.
A line holds the row's place in the file, the field, the reason, the remedy, and the mapped columns so that the row can
be repaired. Texts are redacted, the person id is replaced by its key, a row's id that is a UUID stays as it is, and
columns that the mapping does not name are not kept. Of a row whose retention has ended only its place is kept.

The files go when they are as old as the node's `quarantine_days` (`clients.set_aside`).
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as Values
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any


class Reason(StrEnum):
    """Why a row was set aside."""

    MALFORMED_ROW = "malformed_row"
    RAGGED_ROW = "ragged_row"
    NUL_BYTE = "nul_byte"
    LINE_TOO_LONG = "line_too_long"
    MISSING_VALUE = "missing_value"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    UNKNOWN_VALUE = "unknown_value"
    BAD_NUMBER = "bad_number"
    BAD_DATE = "bad_date"
    DATE_IN_FUTURE = "date_in_future"
    BAD_REGION = "bad_region"
    BAD_COUNTRY = "bad_country"
    BAD_LANGUAGE = "bad_language"
    RETENTION_MISSING = "retention_missing"
    RETENTION_EXPIRED = "retention_expired"
    ID_CONFLICT = "id_conflict"
    INVALID = "invalid"


REMEDY: dict[Reason, str] = {
    Reason.MALFORMED_ROW: "repair the line: one JSON object a line, or quotes that open and close around a CSV field",
    Reason.RAGGED_ROW: "give the row as many fields as the header has; put quotes around a field that holds a comma",
    Reason.NUL_BYTE: "remove the NUL byte; the export may be damaged or not UTF-8",
    Reason.LINE_TOO_LONG: "split the record, or check that lines end where they should",
    Reason.MISSING_VALUE: "fill the field in",
    Reason.EMPTY_TEXT: "give the record a text, or leave it out",
    Reason.TEXT_TOO_LONG: "shorten the text to 20,000 characters, or split it",
    Reason.UNKNOWN_VALUE: "use one of the values that the mapping or the schema names",
    Reason.BAD_NUMBER: "give a finite number from 0 to 1",
    Reason.BAD_DATE: "write the date as the mapping says, for instance 2024-05-01 or 2024-05",
    Reason.DATE_IN_FUTURE: "check the date, and the clock of this machine",
    Reason.BAD_REGION: "use an ISO 3166-2 code such as RO-IS, or leave it empty",
    Reason.BAD_COUNTRY: "use an ISO 3166-1 code such as RO, or leave it empty",
    Reason.BAD_LANGUAGE: "use a BCP 47 tag such as ro, or leave it empty",
    Reason.RETENTION_MISSING: "give the row a retention date, or pass --retention-until",
    Reason.RETENTION_EXPIRED: "delete the record at its source; its retention has ended",
    Reason.ID_CONFLICT: "give the record an id of its own; a different text was already stored under this one",
    Reason.INVALID: "compare the field with the record schema",
}


class RowFault(Exception):
    """One row cannot be used. Carries no value of the row; `allowed` are the words that the schema or mapping names."""

    def __init__(self, reason: Reason, field: str, *, allowed: Iterable[str] = (), remedy: str = "") -> None:
        self.reason, self.field, self.allowed = reason, field, tuple(allowed)
        self.remedy = remedy or REMEDY[reason]
        super().__init__(f"{field}: {reason.value}")


def people_of(values: Values[str, Any]) -> frozenset[str]:
    """The pseudonyms in the values of a row as it is kept."""
    return frozenset(key for value in values.values() if isinstance(value, dict) and (key := value.get("actor_key")))


class Quarantine:
    """Writes set-aside rows; makes its file only when the first one comes."""

    def __init__(self, folder: Path, source: Path, *, fingerprint: str) -> None:
        """Prepare a file in `folder` for rows of `source`; `fingerprint` is the same for the same content alone."""
        self._earlier = sorted(folder.glob(f"*-{fingerprint}-*.jsonl"))
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", source.stem)[:60] or "file"
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        self._path = folder / f"{stamp}-{fingerprint}-{stem}.jsonl"
        self._handle: int | None = None
        self._pending: list[str] = []
        self.reasons: Counter[str] = Counter()
        self.faults: Counter[tuple[Reason, str, tuple[str, ...], str]] = Counter()
        """Rows by reason, field, what the field allows, and what to do."""

    @property
    def path(self) -> Path | None:
        """Where the rows lie, or None if there were none."""
        return self._path if self.reasons else None

    def put(self, row: int, fault: RowFault, values: Values[str, Any]) -> None:
        """Set a row aside. `values` must be safe to keep already (see `clients.ingest.convert.keepable`)."""
        self.reasons[fault.reason.value] += 1
        self.faults[fault.reason, fault.field, fault.allowed, fault.remedy] += 1
        allowed = {"allowed": fault.allowed} if fault.allowed else {}
        # Keeping the values would keep the record for longer than anybody may.
        kept = {} if fault.reason is Reason.RETENTION_EXPIRED else dict(values)
        self._pending.append(json.dumps(
            {"row": row, "field": fault.field, "reason": fault.reason.value, "remedy": fault.remedy, **allowed,
             "values": kept}, default=str))

    def flush(self) -> None:
        """Bring what was put so far to the disk."""
        if not self._pending:
            return
        if self._handle is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        data = memoryview(("\n".join(self._pending) + "\n").encode())
        while data:
            data = data[os.write(self._handle, data):]
        os.fsync(self._handle)
        self._pending.clear()

    def replace_earlier(self) -> None:
        """Delete what an earlier ingest of the same content set aside. Only once all of it was read again."""
        self.flush()
        for path in self._earlier:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Flush and release the file."""
        self.flush()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
