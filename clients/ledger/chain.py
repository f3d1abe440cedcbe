"""Entries made fast: a hash chain with a signature on each link, and a counter that is kept apart from it.

The hash of a link is SHA-256 over the hash and the signature of the link before it and its own body, so that a changed
byte anywhere, even in an old signature, breaks the chain from there on. The signature is the partner's own, over the
hash. What a chain cannot show is that its end was cut off, or that the whole file is last week's; the `Head` shows
that, as long as it was not copied back together with the ledger. So it can lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.ledger.problems import unusable
from federation.canonical import canonical_json, sha256_hex
from federation.identity import SigningKey, verify
from federation.plan_parts import Hex32
from federation.signatures import seeking_unsigned

GENESIS = "0" * 64
"""What the first link names as the hash before it."""
_ENTRY, _HEAD = "ledger-entry", "ledger-head"


class Link(NamedTuple):
    """One entry as it is stored. `seq` counts from 1."""

    seq: int
    body: bytes
    prev_hash: str
    hash: str
    signature: str


BEGINNING = Link(0, b"", "", GENESIS, "")
"""What stands before the first entry."""


def _hash(before: Link, body: bytes) -> str:
    return sha256_hex(f"{before.hash}{before.signature}".encode() + body)


def next_link(before: Link, body: bytes, key: SigningKey) -> Link:
    """The link that follows `before` and holds `body`."""
    found = _hash(before, body)
    return Link(before.seq + 1, body, before.hash, found, key.sign(_ENTRY, found.encode()))


def check_follows(link: Link, before: Link) -> None:
    """Check that `link` is whole and is the next after `before`; its signature is another matter.

    Raises:
        Refusal: `ledger_unusable`.
    """
    if link.seq != before.seq + 1 or link.prev_hash != before.hash or link.hash != _hash(before, link.body):
        raise unusable(f"entry {before.seq + 1}", "does not follow from the entry before it: something was changed, "
                       "removed or put in", "bring the ledger file back as it was, and find out who changed it")


def check_signature(link: Link, public_key: str) -> None:
    """Check that `public_key` signed `link`.

    Raises:
        Refusal: `ledger_unusable`.
    """
    if not verify(public_key, _ENTRY, link.hash.encode(), link.signature):
        raise unusable(f"entry {link.seq}", "is signed by another key than this partner's",
                       "bring the ledger file back as it was, and find out who changed it")


class Head(BaseModel):
    """The number and hash of the last entry, signed: small enough to be kept in another place than the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seq: Annotated[int, Field(ge=0)]
    hash: Hex32
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

    @classmethod
    def of(cls, link: Link, key: SigningKey) -> Head:
        """The head that points at `link`."""
        return cls(seq=link.seq, hash=link.hash, signature=key.sign(_HEAD, _head_message(link.seq, link.hash)))

    def to_json(self) -> bytes:
        return canonical_json(self.model_dump())

    @classmethod
    def read(cls, text: bytes, public_key: str, *, name: str = "ledger head") -> Head:
        """Read a head back and check that `public_key` signed it.

        Raises:
            Refusal: `ledger_unusable`.
        """
        remedy = "bring the head file back as it was, and find out who changed it"
        try:
            head = cls.model_validate_json(text)
        except ValidationError:
            raise unusable(name, "cannot be read", remedy) from None
        if head.to_json() != text or not verify(public_key, _HEAD, _head_message(head.seq, head.hash), head.signature):
            raise unusable(name, "was changed, or is signed by another key than this partner's", remedy)
        return head


def _head_message(seq: int, found: str) -> bytes:
    return canonical_json({"seq": seq, "hash": found})


@contextmanager
def checking_signatures(links: Sequence[Link], public_key: str) -> Iterator[None]:
    """Check that `public_key` signed each of `links`, beside whatever the body of the `with` does.

    Raises:
        Refusal: `ledger_unusable`, on leaving.
    """
    signed = [(link.hash.encode(), link.signature) for link in links]
    with seeking_unsigned(public_key, _ENTRY, signed) as first_unsigned:
        yield
        if (bad := first_unsigned()) is not None:
            check_signature(links[bad], public_key)
