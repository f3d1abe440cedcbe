"""One byte string for one value: canonical JSON, and its SHA-256.

Keys sorted, no white space, UTF-8, no NaN or infinity: two parties that hold equal values compute equal hashes
(the subset of RFC 8785 that our plans and journals use: no integers above 2^53, floats by shortest round trip).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_MAX_INTEGER = 2**53


def _check(value: Any) -> None:
    match value:
        case bool() | None | str() | float():
            pass
        case int():
            if abs(value) > _MAX_INTEGER:
                raise ValueError(f"integer {value} is above 2^53 and would not survive JSON")
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"key {key!r} is not a string")
                _check(item)
        case list() | tuple():
            for item in value:
                _check(item)
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def canonical_json(value: Any) -> bytes:
    """Encode `value` (JSON types only) canonically.

    Raises:
        ValueError: on NaN, infinity or an integer above 2^53.
        TypeError: on a type that JSON does not have.
    """
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(data: bytes) -> str:
    """SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
