"""One record, as it lies in a partner's store. It never leaves that store.

The schema follows domain practice (HTCDS 2.0 names where one exists) with one deliberate absence: there is no field for
a name, a contact, an image, a street, a coordinate, a birth date, a nationality or a minor's age.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from federation.taxonomy import (
    ActorKind,
    Channel,
    ConsentBasis,
    DecidingOrganisation,
    Exploitation,
    Indicator,
    LabelValue,
    PartnerKind,
    Provenance,
    RegionRole,
    Task,
    TextRedaction,
)

SCHEMA_VERSION = "1.0.0"
MAX_TEXT_CHARS = 20_000
"""Longest text kept, in characters. Encoders read far less; a longer field is nearly always a broken file."""

BCP47 = re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{2,8})*")
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RegionMention(_Frozen):
    """A place and the part it plays. `code` is checked against ISO 3166-2 at ingestion."""

    code: Annotated[str, Field(pattern=r"^[A-Z]{2}-[A-Z0-9]{1,3}$")]
    role: RegionRole
    confidence: Share = 1.0


class Label(_Frozen):
    task: Task
    value: LabelValue
    confidence: Share = 1.0
    provenance: Provenance
    decided_by: DecidingOrganisation | None = None
    decided_at: date | None = None
    model_version: str | None = None


class IndicatorMark(_Frozen):
    """`None` means nobody looked, which is not the same as 0."""

    value: Literal[0, 1] | None
    source: Provenance


class WeakVote(_Frozen):
    fn: str
    vote: Literal[-1, 0, 1]
    version: str


class Record(_Frozen):
    """One post, advert, call note or narrative, redacted and pseudonymised.

    `actor_key` is the privacy unit: HMAC-SHA-256 of the partner's own person id under a secret that only the partner
    holds, truncated to 128 bits. A record without one is its own unit.
    """

    schema_version: str = SCHEMA_VERSION
    record_id: UUID
    actor_key: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None
    actor_kind: ActorKind
    partner_kind: PartnerKind
    channel: Channel
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]
    text_redaction: TextRedaction
    language: str
    language_confidence: Share
    observed_at: date
    regions: tuple[RegionMention, ...] = ()
    country_only: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    exploitation: frozenset[Exploitation] = frozenset()
    labels: tuple[Label, ...] = ()
    indicators: dict[Indicator, IndicatorMark] = Field(default_factory=dict)
    weak_labels: tuple[WeakVote, ...] = ()
    campaign_key: str | None = None
    consent_basis: ConsentBasis
    retention_until: date
    exclude_training: bool = False

    @field_validator("language")
    @classmethod
    def _language_tag(cls, value: str) -> str:
        if not BCP47.fullmatch(value):
            raise ValueError("not a BCP 47 language tag")
        return value

    @field_validator("regions")
    @classmethod
    def _one_per_role(cls, value: tuple[RegionMention, ...]) -> tuple[RegionMention, ...]:
        if len({mention.role for mention in value}) != len(value):
            raise ValueError("at most one region per role")
        return value

    @property
    def unit_key(self) -> str:
        """The person this record belongs to; the record itself where the partner has no person id."""
        return self.actor_key or self.record_id.hex
