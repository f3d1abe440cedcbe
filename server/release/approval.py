"""Who agreed to a release: one statement that several people sign, and the coordinator's seal over all of it.

A statement names every file of the bundle by its hash, the plan, and the entry of the coordinator's journal that says
that this was drafted. So whoever signs it vouches for all that the release shows, and pins the journal up to that
entry. The rest of the journal, in which the signatures themselves stand, comes after: the seal covers it together with
the statement and the signatures, and is the last thing that is made.

`signatures.json` is one fixed text for one set of signatures, so that no byte of it can be changed unseen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from federation.canonical import canonical_json
from federation.identity import SigningKey, verify
from federation.journal import Anchor
from federation.plan_parts import Hex32, Signer, Slug

APPROVAL_PURPOSE, SEAL_PURPOSE = "release-approval", "release-seal"

Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Statement(_Frozen):
    """What each person signs.

    Attributes:
        files: SHA-256 of every file by name, but for the journal and the signatures.
        drafted: number and hash of the journal's entry about this draft.
    """

    bundle_version: Literal[1] = 1
    plan_sha256: Hex32
    content_sha256: Hex32
    files: dict[str, Hex32]
    drafted: Anchor

    def to_json(self) -> bytes:
        """The canonical bytes that are signed."""
        return canonical_json(self.model_dump(mode="json"))


class Approval(_Frozen):
    """One person's signature under a statement."""

    name: Slug
    public_key: Hex32
    signature: Signature

    @classmethod
    def sign(cls, statement: Statement, name: str, key: SigningKey) -> Self:
        """Sign as `name`."""
        return cls(name=name, public_key=key.public, signature=key.sign(APPROVAL_PURPOSE, statement.to_json()))

    def fits(self, statement: Statement) -> bool:
        """Whether this key signed that statement."""
        return verify(self.public_key, APPROVAL_PURPOSE, statement.to_json(), self.signature)

    def of(self, signers: Iterable[Signer]) -> bool:
        """Whether this name and key are one of `signers`."""
        return (self.name, self.public_key) in {(one.name, one.public_key) for one in signers}


class Signatures(_Frozen):
    """`signatures.json`.

    Attributes:
        statement: what was signed.
        approvals: by whom, in the order of names.
        journal_sha256: of `journal.jsonl` in the bundle.
        public_key: the coordinator's.
        seal: the coordinator's signature over all the rest.
    """

    statement: Statement
    approvals: tuple[Approval, ...]
    journal_sha256: Hex32
    public_key: Hex32
    seal: Signature

    @classmethod
    def seal_with(cls, key: SigningKey, statement: Statement, approvals: Iterable[Approval],
                  journal_sha256: str) -> Self:
        """Close a bundle as the coordinator."""
        draft = cls(statement=statement, approvals=tuple(sorted(approvals, key=lambda one: one.name)),
                    journal_sha256=journal_sha256, public_key=key.public, seal="0" * 128)
        return draft.model_copy(update={"seal": key.sign(SEAL_PURPOSE, draft._sealed())})

    def _sealed(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"seal"}))

    @property
    def sealed(self) -> bool:
        """Whether the key that is named here made the seal."""
        return verify(self.public_key, SEAL_PURPOSE, self._sealed(), self.seal)

    def to_text(self) -> bytes:
        """The one text of these signatures."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True).encode() + b"\n"

    @classmethod
    def read(cls, text: bytes) -> Self:
        """Read them back. Whether they are valid is another matter.

        Raises:
            ValueError: if this is no such file, to the letter.
        """
        try:
            found = cls.model_validate_json(text)
        except RecursionError:
            raise ValueError("not signatures of a release") from None
        if found.to_text() != text:
            raise ValueError("not in the form in which signatures are written")
        return found

    def manifest(self, journal: str) -> dict[str, str]:
        """SHA-256 of every file of the bundle but this one; `journal` is the name of the journal's."""
        return {**self.statement.files, journal: self.journal_sha256}
