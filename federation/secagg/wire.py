"""Bytes on the wire: one encoding for each value, and a reader that accepts nothing else.

A message starts with four fixed bytes and its kind. Counts are two bytes, names one byte of length and ASCII, the rest
has a known size. Lists by name are in ascending order without repeats, so that equal contents have equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from federation.secagg.errors import Code, ProtocolError
from federation.secagg.session import SessionSpec

MAGIC = b"LSA1"
NAME_BYTES = 64
"""Most bytes that a name takes, with its length."""


class Kind(IntEnum):
    """What a string of bytes is meant to be."""

    SIGNED_KEYS = 1
    KEY_LIST = 2
    SHARES = 3
    DELIVERY = 4
    MASKED = 5
    SURVIVOR_LIST = 6
    SIGNED_SURVIVORS = 7
    UNMASK_REQUEST = 8
    UNMASK_REPLY = 9
    STATE = 10


def frame(*parts: bytes) -> bytes:
    """The parts with their lengths, so that no two different tuples of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def header(kind: Kind) -> bytes:
    """The five bytes that a message of this kind starts with."""
    return MAGIC + bytes([kind])


def count_bytes(number: int) -> bytes:
    """A count of list entries, two bytes."""
    return number.to_bytes(2, "big")


def name_bytes(name: str) -> bytes:
    """A name with its length."""
    return bytes([len(name)]) + name.encode("ascii")


def names_bytes(names: Iterable[str]) -> bytes:
    """A list of names with its count."""
    listed = list(names)
    return count_bytes(len(listed)) + b"".join(map(name_bytes, listed))


def check_names(what: str, names: Iterable[str], spec: SessionSpec) -> None:
    """Names must be of the session's roster, ascending, each once.

    Raises:
        ProtocolError: `wrong_type`, `unknown_name`, `duplicate_name`, or `malformed` if they are out of order.
    """
    last = ""
    for name in names:
        if not isinstance(name, str):
            raise ProtocolError(Code.WRONG_TYPE, what, "holds a name that is no text")
        if name not in spec.numbers:
            raise ProtocolError(Code.UNKNOWN_NAME, what, "holds a name that is not in the roster of this session",
                                bound="names of the roster in the plan")
        if name == last:
            raise ProtocolError(Code.DUPLICATE_NAME, what, f"holds {name} twice", bound="each name once")
        if name < last:
            raise ProtocolError(Code.MALFORMED, what, f"holds {name} after {last}", bound="ascending names")
        last = name


def check_bytes(what: str, value: object, size: int) -> None:
    """A field must be bytes of this size.

    Raises:
        ProtocolError: `wrong_type`, or `malformed` for another size.
    """
    if not isinstance(value, bytes):
        raise ProtocolError(Code.WRONG_TYPE, what, f"is of type {type(value).__name__}", bound="bytes")
    if len(value) != size:
        raise ProtocolError(Code.MALFORMED, what, f"has {len(value)} bytes", bound=f"{size} bytes")


class Reader:
    """Takes a message apart from front to end.

    Args:
        data: the message.
        kind: what it must be.
        limit: most bytes that such a message can have in this session.

    Raises:
        ProtocolError: `wrong_type`, `too_long`, `malformed` if it is no message of ours, `wrong_kind`.
    """

    def __init__(self, data: bytes, kind: Kind, *, limit: int) -> None:
        self.what = kind.name.lower()
        if not isinstance(data, bytes):
            raise ProtocolError(Code.WRONG_TYPE, self.what, f"is of type {type(data).__name__}", bound="bytes")
        if len(data) > limit:
            raise ProtocolError(Code.TOO_LONG, self.what, f"has {len(data)} bytes", bound=f"at most {limit} bytes")
        self._data, self._place = memoryview(data), 0
        if self.take(len(MAGIC)) != MAGIC:
            raise ProtocolError(Code.MALFORMED, self.what, "is no message of this protocol")
        if self.take(1) != bytes([kind]):
            raise ProtocolError(Code.WRONG_KIND, self.what, "is a message of another kind")

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            ProtocolError: `malformed` if it ends before.
        """
        return bytes(self.view(size))

    def view(self, size: int) -> memoryview:
        """The next `size` bytes without copying them.

        Raises:
            ProtocolError: `malformed` if it ends before.
        """
        start, self._place = self._place, self._place + size
        if self._place > len(self._data):
            raise ProtocolError(Code.MALFORMED, self.what, f"ends after {len(self._data)} bytes",
                                bound=f"at least {self._place} bytes")
        return self._data[start:self._place]

    def count(self) -> int:
        """A count of list entries."""
        return int.from_bytes(self.take(2), "big")

    def name(self) -> str:
        """A name; whether it is a known one is for the message to say.

        Raises:
            ProtocolError: `malformed` if it is not ASCII or ends before.
        """
        raw = self.take(self.take(1)[0])
        if not raw.isascii():
            raise ProtocolError(Code.MALFORMED, self.what, "holds a name that is not ASCII")
        return raw.decode("ascii")

    def names(self) -> tuple[str, ...]:
        """A list of names."""
        return tuple(self.name() for _ in range(self.count()))

    def end(self) -> None:
        """Nothing may follow.

        Raises:
            ProtocolError: `trailing_data`.
        """
        if self._place != len(self._data):
            raise ProtocolError(Code.TRAILING_DATA, self.what, f"goes on after its end at {self._place} bytes")
