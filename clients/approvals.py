"""What the partner decided about a plan, on the partner's disk and under the partner's signature.

`approvals/<plan hash>.json` holds the decision and the price that was shown when it was taken; `<plan hash>.plan.json`
beside it is the plan itself, for a later look. A node runs a plan only with an approval that is there, is its own, and
names the price that the node computes today: a plan does not change, but software can find that it costs more. The
journal holds every decision that was taken, an approval before it counts.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from clients.node import NodeHome
from clients.policy import POLICY_FILE
from federation.canonical import canonical_json, sha256_hex
from federation.deployment.bundle import installed_bundle_sha256
from federation.errors import InputError, Refusal, RefusalCode
from federation.identity import verify
from federation.journal import PlanApproved, PlanDeclined
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import Hex32
from federation.privacy.guarantee import Price, price
from federation.private_files import replace_private

_PURPOSE = "plan-approval"
# The same software on another processor may differ in the last digits; a price that moved by more has changed.
_TOLERANCE = 1e-6

Epsilon = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Decision(StrEnum):
    APPROVED = "approved"
    DECLINED = "declined"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ShownPrice(_Frozen):
    """The price that the partner was shown: epsilon at `delta`, and for somebody at k partners as (k, epsilon)."""

    delta: Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)]
    round: Epsilon
    training: Epsilon
    statistics: Epsilon
    total: Epsilon
    at_partners: tuple[tuple[int, Epsilon], ...]

    @classmethod
    def of(cls, cost: Price) -> ShownPrice:
        return cls(**asdict(cost))

    def differs(self, other: ShownPrice) -> bool:
        """Whether the two are not the same price."""
        mine, theirs = self._figures(), other._figures()
        return mine.keys() != theirs.keys() or not all(
            abs(mine[name] - theirs[name]) <= _TOLERANCE * max(1.0, mine[name]) for name in mine)

    def _figures(self) -> dict[str, float]:
        # Delta is a name here, not a figure: two prices at different deltas cannot be compared.
        return {f"{name} at {self.delta!r}": value for name, value in (
            ("round", self.round), ("training", self.training), ("statistics", self.statistics), ("total", self.total),
            *((f"{k} partners", value) for k, value in self.at_partners))}


class Approval(_Frozen):
    """A decision, as it lies on the disk. `signature` covers everything else.

    Attributes:
        bundle_sha256: the software that was installed when it was taken; a networked node runs the plan with no other.
    """

    approval_version: Literal[2] = 2
    decision: Decision
    plan_sha256: Hex32
    bundle_sha256: Hex32
    partner: str
    price: ShownPrice
    decided_at: AwareDatetime
    software: str
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")] = "0" * 128

    def body(self) -> bytes:
        """What is signed: canonical JSON without the signature."""
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


def approval_path(home: NodeHome, sha256: str) -> Path:
    """Where the decision about the plan of that hash lies."""
    return home.approvals_dir / f"{sha256}.json"


def kept_plan_path(home: NodeHome, sha256: str) -> Path:
    """Where the plan itself is kept beside the decision."""
    return home.approvals_dir / f"{sha256}.plan.json"


def decide(home: NodeHome, signed: SignedPlan, decision: Decision) -> Approval:
    """Write the partner's decision about a verified plan, in place of an earlier one about the same plan.

    On disk when this returns: the plan first, so that there is never a decision without its plan.

    Args:
        home: whose decision it is.
        signed: the plan, as `SignedPlan.open` gave it.
        decision: approve or decline.

    Raises:
        InputError: if the journal cannot be written. Then nothing is approved; a plan that is declined is declined all
            the same.
    """
    home.remember_prices()
    draft = Approval(decision=decision, plan_sha256=signed.sha256, bundle_sha256=installed_bundle_sha256(),
                     partner=home.settings.name,
                     price=ShownPrice.of(price(signed.plan)), decided_at=datetime.now(UTC).replace(microsecond=0),
                     software=f"leelight {version('leelight')}")
    approval = draft.model_copy(update={"signature": home.signing_key().sign(_PURPOSE, draft.body())})
    if decision is Decision.APPROVED:
        home.journal().append(PlanApproved(**_act(home, signed.plan, approval)))
    home.approvals_dir.mkdir(exist_ok=True, mode=0o700)
    replace_private(kept_plan_path(home, signed.sha256), signed.to_json().encode())
    replace_private(approval_path(home, signed.sha256), canonical_json(approval.model_dump(mode="json")))
    if decision is Decision.DECLINED:
        try:
            home.journal().append(PlanDeclined(**_act(home, signed.plan, approval)))
        except InputError as error:
            raise InputError(error.name, f"{error.problem}. The plan is declined all the same, and the journal does "
                             "not hold it", remedy=error.remedy) from None
    return approval


def _act(home: NodeHome, plan: StudyPlan, approval: Approval) -> dict[str, Any]:
    """What the journal says of a decision."""
    try:
        rules = sha256_hex((home.path / POLICY_FILE).read_bytes())
    except OSError:
        rules = None
    return {"plan_sha256": approval.plan_sha256, "bundle_sha256": approval.bundle_sha256, "study": plan.study,
            "epsilon": approval.price.total, "delta": approval.price.delta, "policy_sha256": rules}


def find_approval(home: NodeHome, sha256: str) -> Approval | None:
    """The decision about the plan of that hash; None if there is none.

    Raises:
        Refusal: `not_approved`, if there is a file and it is not a decision of this partner about that plan.
    """
    path = approval_path(home, sha256)
    try:
        found = Approval.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise _not_approved(f"{path.name} cannot be read as a decision; decide about the plan again") from None
    own = verify(home.signing_key().public, _PURPOSE, found.body(), found.signature)
    if not own or found.plan_sha256 != sha256 or found.partner != home.settings.name:
        raise _not_approved(f"{path.name} is not this partner's decision about this plan, or it was changed; decide "
                            "about the plan again")
    return found


def require_approval(home: NodeHome, plan: StudyPlan) -> Approval:
    """The partner's approval of `plan`.

    Raises:
        Refusal: `not_approved`, if there is none, it was declined or tampered with, or the price that was approved is
            not the price that the plan has now.
    """
    found = find_approval(home, plan.sha256)
    if found is None:
        raise _not_approved("nobody here has approved this plan; look at it with `leelight partner review`")
    if found.decision is not Decision.APPROVED:
        raise _not_approved("this plan was declined here")
    if found.price.differs(ShownPrice.of(price(plan))):
        raise _not_approved("the price of this plan is no longer the one that was approved; review it again")
    return found


def _not_approved(detail: str) -> Refusal:
    return Refusal(RefusalCode.NOT_APPROVED, detail)
