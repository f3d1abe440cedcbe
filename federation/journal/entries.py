"""An entry of a journal and its one form as a line, and what says where a journal ends.

A line is canonical JSON with six fields: the entry's number, its time, the act, the facts, the SHA-256 of the line
before it, and the owner's signature over the other five. There is one line for one entry, to the byte, so that a hash
of a line is a hash of an entry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, create_model

from federation.canonical import canonical_json, sha256_hex
from federation.identity import SigningKey, verify
from federation.journal.acts import FACTS, Act, Facts
from federation.plan_parts import Hex32

PURPOSE, _HEAD_PURPOSE = "journal", "journal-head"
GENESIS = "0" * 64
"""What the first entry names as the hash of the line before it."""
_BEFORE_SIGNATURE, _AFTER_SIGNATURE, _SIGNATURE_DIGITS = b',"signature":"', b'"}', 128

Number = Annotated[int, Field(ge=0, le=2**53)]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Anchor(_Frozen):
    """Number and hash of an entry. Whoever has it from elsewhere knows that a journal went on at least to there."""

    sequence: Number
    hash: Hex32


class Head(Anchor):
    """The last entry, as the owner notes it beside the journal and signs it."""

    signature: Signature

    @classmethod
    def of(cls, last: Anchor, key: SigningKey) -> Head:
        """The head that points at `last`."""
        return cls(sequence=last.sequence, hash=last.hash, signature=key.sign(_HEAD_PURPOSE, _message(last)))

    @classmethod
    def read(cls, text: bytes) -> Head:
        """Read a head back; whose it is, `signed_by` says.

        Raises:
            ValueError: if it is none, to the letter.
        """
        head = cls.model_validate_json(text)
        if head.to_json() != text:
            raise ValueError("not in canonical form")
        return head

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump())

    def signed_by(self, public_key: str) -> bool:
        """Whether this head is that key's."""
        return verify(public_key, _HEAD_PURPOSE, _message(self), self.signature)


def _message(anchor: Anchor) -> bytes:
    return canonical_json({"sequence": anchor.sequence, "hash": anchor.hash})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One act.

    Attributes:
        sequence: its number, from 0.
        at: when, in UTC and whole seconds; never before the entry before it.
        previous: SHA-256 of the line before it, without its line feed; `GENESIS` for the first.
        signature: the owner's, over all else.
    """

    sequence: int
    at: datetime
    facts: Facts
    previous: str
    signature: str = ""

    @classmethod
    def after(cls, last: Entry | None, facts: Facts, now: datetime, key: SigningKey) -> Entry:
        """The entry that follows `last`, signed. A clock that was set back does not make times go back."""
        now = now.astimezone(UTC).replace(microsecond=0)
        draft = cls(sequence=last.sequence + 1 if last else 0, at=max(now, last.at) if last else now, facts=facts,
                    previous=last.hash if last else GENESIS)
        return replace(draft, signature=key.sign(PURPOSE, canonical_json(draft._unsigned())))

    @property
    def act(self) -> Act:
        """What was done."""
        return self.facts.act

    @property
    def line(self) -> bytes:
        """The entry as it stands in the file, without the line feed."""
        return canonical_json({**self._unsigned(), "signature": self.signature})

    @property
    def hash(self) -> str:
        """SHA-256 of the line."""
        return sha256_hex(self.line)

    @property
    def anchor(self) -> Anchor:
        """What shows later that this entry was there."""
        return Anchor(sequence=self.sequence, hash=self.hash)

    def _unsigned(self) -> dict[str, Any]:
        return {"sequence": self.sequence, "at": self.at.strftime("%Y-%m-%dT%H:%M:%SZ"), "act": self.act,
                "facts": self.facts.model_dump(mode="json"), "previous": self.previous}


class _Line(_Frozen):
    """The fields of a line. There is one such model for each act, with the facts that belong to it."""

    act: Act
    at: AwareDatetime
    facts: Facts
    previous: Hex32
    sequence: Number
    signature: Signature


_LINES: dict[bytes, type[_Line]] = {
    act.encode(): create_model(f"_{kind.__name__}Line", __base__=_Line, facts=(kind, ...))
    for act, kind in FACTS.items()}


def read_entry(line: bytes) -> Entry:
    """Read a line back. Its signature and its place are for the caller to check.

    Raises:
        ValueError: if it is not the one form of an entry that this version knows.
    """
    # The act is the first field, and which it is says what the others may be.
    kind = _LINES.get(line.removeprefix(b'{"act":"').partition(b'"')[0])
    if kind is None:
        raise ValueError("no act that this version knows")
    try:
        found = kind.model_validate_json(line)
    except ValidationError:
        raise ValueError("no entry of a journal") from None
    entry = Entry(sequence=found.sequence, at=found.at, facts=found.facts, previous=found.previous,
                  signature=found.signature)
    if entry.line != line:
        raise ValueError("not in canonical form")
    return entry


def split_signature(line: bytes) -> tuple[bytes, str]:
    """What a line's signature is said to cover, and the signature; nothing that anybody signed, if it is no line.

    The signature is the last field, so the rest is cut out as it stands.
    """
    end = len(line) - len(_AFTER_SIGNATURE)
    start = end - _SIGNATURE_DIGITS
    body = line[:max(0, start)].removesuffix(_BEFORE_SIGNATURE)
    return body + b"}", line[max(0, start):end].decode("latin-1")


def signed_by(line: bytes, public_key: str) -> bool:
    """Whether `public_key` signed the line."""
    return verify(public_key, PURPOSE, *split_signature(line))
