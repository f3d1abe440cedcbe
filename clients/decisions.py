"""All decisions that were taken in a home, and whether the plans decided on have come to their end here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from clients.accounts import existing_account, has_account
from clients.approvals import Approval, Decision, approval_path, decide, find_approval, kept_plan_path
from clients.ledger import planned_stages
from clients.node import NodeHome
from federation.errors import InputError, Refusal
from federation.plan import SignedPlan, read_plan_file


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A decision about a plan.

    Attributes:
        study: its name; the beginning of the plan's hash if the plan that was kept cannot be read.
        epsilon: what the whole plan was said to cost one person, at `delta`.
        answered: whether anything that the plan asks was answered here.
        ended: whether everything that it can ask was.
        problem: why the decision does not count, or what is wrong with its plan; empty if nothing is.
    """

    plan_sha256: str
    study: str
    answered: bool
    ended: bool
    problem: str
    decision: Decision | None = None
    decided_at: datetime | None = None
    epsilon: float | None = None
    delta: float | None = None

    @property
    def open(self) -> bool:
        """Whether the node would still take part."""
        return self.decision is Decision.APPROVED and not self.ended


def decisions(home: NodeHome) -> tuple[Decided, ...]:
    """Everything that was decided in a home, oldest first. Changes nothing."""
    answered = _answered(home)
    found = [_decided(home, path.stem, answered) for path in sorted(home.approvals_dir.glob("*.json"))
             if not path.name.endswith(".plan.json")]
    return tuple(sorted(found, key=lambda one: (one.decided_at is not None, one.decided_at, one.plan_sha256)))


def take_back(home: NodeHome, decided: Decided) -> None:
    """Decline a plan that was approved. Without the plan, the approval is removed: then it is one that nobody approved.

    Raises:
        InputError: if it cannot be written, or if the journal does not hold it; the message says which.
    """
    try:
        signed = kept_plan(home, decided.plan_sha256)
    except InputError:
        approval_path(home, decided.plan_sha256).unlink(missing_ok=True)
        return
    decide(home, signed, Decision.DECLINED)


def _decided(home: NodeHome, sha256: str, answered: dict[str, int]) -> Decided:
    approval: Approval | None = None
    signed: SignedPlan | None = None
    problem = ""
    try:
        approval = find_approval(home, sha256)
        signed = kept_plan(home, sha256)
    except Refusal as refusal:
        problem = refusal.detail
    except InputError as error:
        problem = str(error)
    stages = planned_stages(signed.plan) if signed is not None else ()
    found = Decided(plan_sha256=sha256, study=signed.plan.study if signed else f"{sha256[:16]}…", problem=problem,
                    answered=answered.get(sha256, 0) > 0,
                    ended=bool(stages) and answered.get(sha256, 0) >= sum(stage.rounds for stage in stages))
    return found if approval is None else replace(
        found, decision=approval.decision, decided_at=approval.decided_at, epsilon=approval.price.total,
        delta=approval.price.delta)


def kept_plan(home: NodeHome, sha256: str) -> SignedPlan:
    """The plan that was decided on. Raises InputError if it is not there, or is another."""
    path = kept_plan_path(home, sha256)
    signed = SignedPlan.open(read_plan_file(path), trusted_key=home.settings.coordinator_key)
    if signed.sha256 != sha256:
        raise InputError(str(path), "is another plan", remedy="ask the coordinator for the plan")
    return signed


def _answered(home: NodeHome) -> dict[str, int]:
    """How many requests of each study were answered; nothing where the account cannot be read."""
    if not has_account(home):
        return {}
    try:
        with existing_account(home) as account:
            return {study.plan_sha256: study.requests_answered
                    for study in account.balance(home.policy().ceilings).studies}
    except (InputError, Refusal):
        return {}
