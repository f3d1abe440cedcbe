"""What can stand in a journal: a closed list of acts, and the facts that each must have.

Facts are public: the coordinator's journal is published whole, and a partner may show its own to anybody. They are
flat, so that a reader needs no more than a line.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from federation.errors import RefusalCode
from federation.plan_parts import Hex32, Slug

NO_PLAN = "0" * 64
"""Stands for the hash of a plan where there was none that checked out."""


class Side(StrEnum):
    """Whose journal it is."""

    COORDINATOR = "coordinator"
    PARTNER = "partner"


class Act(StrEnum):
    """Everything that can be done."""

    OPENED = "opened"
    PARTNER_ENROLLED = "partner_enrolled"
    PARTNER_REVOKED = "partner_revoked"
    PLAN_SIGNED = "plan_signed"
    STUDY_RUN = "study_run"
    RELEASE_DRAFTED = "release_drafted"
    RELEASE_SIGNED = "release_signed"
    RELEASE_PUBLISHED = "release_published"
    DRAFT_WITHDRAWN = "draft_withdrawn"
    PLAN_APPROVED = "plan_approved"
    PLAN_DECLINED = "plan_declined"
    ANSWERED = "answered"
    REFUSED = "refused"
    ERASED = "erased"
    LEFT = "left"


def _split(value: Any) -> Any:
    return tuple(value.split(" ")) if isinstance(value, str) else value


def _in_order(value: tuple[str, ...]) -> tuple[str, ...]:
    if list(value) != sorted(set(value)):
        raise ValueError("names must be in order and not come twice")
    return value


PartnerNames = Annotated[
    tuple[Slug, ...], Field(min_length=1), BeforeValidator(_split), AfterValidator(_in_order),
    PlainSerializer(" ".join, return_type=str)]
"""Names in alphabetical order; in the file a space lies between them."""
Epsilon = Annotated[float, Field(ge=0.0)]
Delta = Annotated[float, Field(gt=0.0, lt=1.0)]


class Facts(BaseModel):
    """The facts of an act. `act` and `by` belong to the kind: what was done, and by which side (None: by either)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    act: ClassVar[Act]
    by: ClassVar[Side | None]


class Opened(Facts):
    """The first entry: whose journal this is, and which key signs it."""

    act, by = Act.OPENED, None

    journal_version: Literal[1] = 1
    owner: Slug
    side: Side
    public_key: Hex32


class _ByCoordinator(Facts):
    by = Side.COORDINATOR


class _ByPartner(Facts):
    by = Side.PARTNER


class _OfPartner(_ByCoordinator):
    partner: Slug
    public_key: Hex32


class PartnerEnrolled(_OfPartner):
    """A partner's node was let in."""

    act = Act.PARTNER_ENROLLED


class PartnerRevoked(_OfPartner):
    """A partner's node is let in no more."""

    act = Act.PARTNER_REVOKED


class PlanSigned(_ByCoordinator):
    """The coordinator signed a plan."""

    act = Act.PLAN_SIGNED

    plan_sha256: Hex32
    study: Slug
    period_start: date
    period_end: date


class StudyRun(_ByCoordinator):
    """A study ran to its end.

    Attributes:
        partners: those whose numbers are in the sums.
        measurements_sha256: of a secret salt and the file with the sums, as both were kept. Without the salt, somebody
            who knows all sums but one could find that one by trying.
        model_sha256: of the file with the model.
    """

    act = Act.STUDY_RUN

    plan_sha256: Hex32
    partners: PartnerNames
    measurements_sha256: Hex32
    model_sha256: Hex32


class ReleaseDrafted(_ByCoordinator):
    """A draft of a release was made."""

    act = Act.RELEASE_DRAFTED

    plan_sha256: Hex32
    content_sha256: Hex32
    previous_release_sha256: Hex32 | None


class ReleaseSigned(_ByCoordinator):
    """Somebody signed a draft."""

    act = Act.RELEASE_SIGNED

    content_sha256: Hex32
    signer: Slug
    public_key: Hex32


class ReleasePublished(_ByCoordinator):
    """A release was published, with the privacy loss that it states."""

    act = Act.RELEASE_PUBLISHED

    content_sha256: Hex32
    released_on: date
    epsilon: Epsilon
    delta: Delta


class DraftWithdrawn(_ByCoordinator):
    """A draft was given up before it was published."""

    act = Act.DRAFT_WITHDRAWN

    content_sha256: Hex32


class _Decided(_ByPartner):
    """A decision about a plan.

    Attributes:
        epsilon: what the whole plan was said to cost one person, at `delta`.
        bundle_sha256: of the software that was installed.
        policy_sha256: of the partner's rules at that moment; None if there were none to read.
    """

    plan_sha256: Hex32
    bundle_sha256: Hex32
    study: Slug
    epsilon: Epsilon
    delta: Delta
    policy_sha256: Hex32 | None


class PlanApproved(_Decided):
    """The partner approved a plan."""

    act = Act.PLAN_APPROVED


class PlanDeclined(_Decided):
    """The partner declined a plan."""

    act = Act.PLAN_DECLINED


class Answered(_ByPartner):
    """Something made from records was given to the coordinator: what left, by its hash.

    Attributes:
        request_sha256: hash by which the same request is known again.
        reply_sha256: of the reply as the privacy account keeps it, so that the two can be compared.
        kept: it is the reply that the account kept from before, given again.
    """

    act = Act.ANSWERED

    plan_sha256: Hex32
    stage: Annotated[str, Field(pattern=r"^(train|table)$")]
    round: Annotated[int, Field(ge=1, le=10_000)]
    request_sha256: Hex32
    reply_sha256: Hex32
    kept: bool


class Refused(_ByPartner):
    """A request was refused.

    Attributes:
        plan_sha256: `NO_PLAN`, if the request came with no plan that checked out.
    """

    act = Act.REFUSED

    plan_sha256: Hex32
    code: RefusalCode


class Erased(_ByPartner):
    """Somebody, or a record, was erased at the partner. Without a fact: whom, how many and how much is told nowhere."""

    act = Act.ERASED


class Left(_ByPartner):
    """The partner left: every approval that was still open was taken back."""

    act = Act.LEFT


FACTS: dict[Act, type[Facts]] = {kind.act: kind for kind in (
    Opened, PartnerEnrolled, PartnerRevoked, PlanSigned, StudyRun, ReleaseDrafted, ReleaseSigned, ReleasePublished,
    DraftWithdrawn, PlanApproved, PlanDeclined, Answered, Refused, Erased, Left)}
"""Each act with the kind of its facts."""
