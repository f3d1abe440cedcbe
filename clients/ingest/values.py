"""Single cells: from whatever a file holds to the word, number, date or list that is meant.

An empty cell, a null and a not-a-number from a table with gaps are all "nothing", except where a number belongs: there
a NaN is a mistake and is said to be one.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date, datetime
from typing import Any

from clients.ingest.quarantine import Reason, RowFault

_MONTH = re.compile(r"(\d{4})-(\d{2})")
_YES = frozenset({"true", "1", "yes", "y", "t"})
_NO = frozenset({"false", "0", "no", "n", "f"})
EARLIEST = date(1900, 1, 1)


def lookup(values: dict[str, Any], column: str) -> Any:
    """A column's value, or a nested one by its dotted path; None if it is not there."""
    if column in values:
        return values[column]
    if "." not in column:
        return None
    at: Any = values
    for part in column.split("."):
        if not isinstance(at, dict) or part not in at:
            return None
        at = at[part]
    return at


def word(value: Any, field: str) -> str | None:
    """A cell as a word without space around it, or None if it is empty.

    Raises:
        RowFault: if the cell holds a list or an object.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        # A column of whole numbers with gaps comes out of many tools as 1.0.
        return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)
    if isinstance(value, (dict, list, tuple, bytes)):
        raise RowFault(Reason.INVALID, field)
    text = value if isinstance(value, str) else value.isoformat() if isinstance(value, date) else str(value)
    return text.strip() or None


def share(value: Any, field: str) -> float | None:
    """A number from 0 to 1, or None for an empty cell. NaN and infinities are refused."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise RowFault(Reason.BAD_NUMBER, field) from None
    if isinstance(value, bool) or not 0.0 <= number <= 1.0:
        raise RowFault(Reason.BAD_NUMBER, field)
    return number


def day(value: Any, field: str, form: str = "iso") -> date | None:
    """A date, or None for an empty cell. A month stands for its first day, a timestamp for its day."""
    if isinstance(value, datetime):
        # pandas' NaT is a datetime that is not equal to itself.
        found = value.date() if value == value else None
    elif isinstance(value, date):
        found = value
    else:
        text = word(value, field)
        if text is None:
            return None
        found = _parse_day(text, field, form)
    if found is not None and found < EARLIEST:
        raise RowFault(Reason.BAD_DATE, field)
    return found


def _parse_day(text: str, field: str, form: str) -> date:
    try:
        if form != "iso":
            return datetime.strptime(text, form).date()
        if month := _MONTH.fullmatch(text):
            return date(int(month[1]), int(month[2]), 1)
        if len(text) > 10 and text[10] in "T ":
            text = text[:10]
        return date.fromisoformat(text)
    except ValueError:
        raise RowFault(Reason.BAD_DATE, field) from None


def flag(value: Any, field: str) -> bool | None:
    """A yes or no, or None for an empty cell."""
    text = word(value, field)
    if text is None:
        return None
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise RowFault(Reason.UNKNOWN_VALUE, field, allowed=(*sorted(_YES), *sorted(_NO)))


def words(value: Any, field: str, separator: str) -> list[str]:
    """Several words: a list, or one cell cut at `separator`."""
    if isinstance(value, (list, tuple, set)):
        found = [word(v, field) for v in value]
        return [w for w in found if w is not None]
    text = word(value, field)
    return [] if text is None else [w.strip() for w in text.split(separator) if w.strip()]


def structure(value: Any, field: str) -> Any:
    """A nested value as it is, or from the JSON text in a cell; None if empty."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise RowFault(Reason.INVALID, field) from None
    return value
