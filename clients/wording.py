"""Numbers and lists as people write them."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, one: str, several: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{number:,} {one if number == 1 else several}"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def either(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
