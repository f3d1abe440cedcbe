"""The two files by which a partner and a coordinator come to know each other: an invitation, and an enrolment.

Neither holds a secret. What makes them safe is that each side compares the other's key by another channel: the
coordinator's key is pinned when a partner's home is made, the partner's is read back by telephone before it enrols.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from federation.canonical import canonical_json
from federation.deployment.certificates import check_authority, check_node_public_key
from federation.errors import InputError
from federation.identity import SigningKey, verify
from federation.plan_parts import Hex32, RosterEntry, Slug

Kind = TypeVar("Kind", bound="_Signed")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_MAX_BYTES = 64_000
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


def check_address(text: str) -> str:
    """`host:port`, if it is one. IPv6 addresses have to have a name.

    Raises:
        ValueError: if it is not.
    """
    host, _, port = text.rpartition(":")
    if not _HOST.fullmatch(host) or len(host) > 253 or not _PORT.fullmatch(port) or int(port) > 65_535:
        raise ValueError(f"{text!r} is not host:port")
    if re.fullmatch(r"[0-9.]+", host):
        # An address in numbers, and not a name that looks like one.
        ipaddress.IPv4Address(host)
    return text


def _authority(pem: str) -> str:
    check_authority(pem)
    return pem


class _Signed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    signature: Signature = "0" * 128

    def body(self) -> bytes:
        """What is signed: canonical JSON without the signature."""
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))

    def to_text(self) -> bytes:
        return canonical_json(self.model_dump(mode="json")) + b"\n"


class Invitation(_Signed):
    """What a coordinator hands to a partner: where it is, and by which authority its server is known."""

    invitation_version: Literal[1] = 1
    coordinator: Slug
    address: Annotated[str, AfterValidator(check_address)]
    authority: Annotated[str, AfterValidator(_authority)]
    coordinator_key: Hex32

    @classmethod
    def sign(cls, key: SigningKey, *, coordinator: str, address: str, authority: str) -> Invitation:
        """An invitation under the coordinator's key."""
        draft = cls(coordinator=coordinator, address=address, authority=authority, coordinator_key=key.public)
        return draft.model_copy(update={"signature": key.sign("invitation", draft.body())})

    @classmethod
    def read(cls, path: Path, *, coordinator_key: str) -> Invitation:
        """An invitation from the coordinator whose key this is.

        Raises:
            InputError: if it is none, was changed, or comes from somebody else.
        """
        found = _read(cls, path, "an invitation", "ask the coordinator for its invitation.json again")
        if found.coordinator_key != coordinator_key:
            raise InputError(str(path), f"comes from the key {found.coordinator_key[:16]}…",
                             bound=f"the coordinator's key in node.yaml, {coordinator_key[:16]}…",
                             remedy="ask the coordinator by telephone which key is theirs. If yours is wrong, correct "
                                    "coordinator_key in node.yaml")
        if not verify(coordinator_key, "invitation", found.body(), found.signature):
            raise InputError(str(path), "was changed after it was signed",
                             remedy="ask the coordinator for its invitation.json again")
        return found


class Enrolment(_Signed):
    """What a partner hands to a coordinator: what goes into rosters, and the key of its node."""

    enrolment_version: Literal[1] = 1
    entry: RosterEntry
    node_key: Annotated[str, AfterValidator(check_node_public_key)]
    synthetic: bool
    """Whether its records are invented."""

    @classmethod
    def sign(cls, key: SigningKey, *, entry: RosterEntry, node_key: str, synthetic: bool) -> Enrolment:
        """An enrolment under the partner's identity key."""
        draft = cls(entry=entry, node_key=node_key, synthetic=synthetic)
        return draft.model_copy(update={"signature": key.sign("enrolment", draft.body())})

    @classmethod
    def read(cls, path: Path) -> Enrolment:
        """An enrolment that its partner signed.

        Raises:
            InputError: if it is none, or was changed.
        """
        found = _read(cls, path, "an enrolment", "ask the partner to send the file that `leelight partner join` wrote")
        if not verify(found.entry.public_key, "enrolment", found.body(), found.signature):
            raise InputError(str(path), "was changed after it was signed",
                             remedy="ask the partner to send the file that `leelight partner join` wrote")
        return found


def _read(kind: type[Kind], path: Path, what: str, remedy: str) -> Kind:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(str(path), f"is larger than {what} can be", remedy=remedy)
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", remedy=remedy) from None
    except ValidationError as error:
        raise InputError(str(path), f"is not {what}: {_first(error)}", remedy=remedy) from None


def _first(error: ValidationError) -> str:
    one: Any = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg'].removeprefix('Value error, ')}"
