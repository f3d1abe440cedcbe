"""What a partner needs to know before deciding about a plan, gathered at the partner's own machine.

The numbers of people and records are exact and private: they are for whoever sits at this machine and go nowhere else.
Words for them are in `clients.review_text`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clients.admission import listed
from clients.approvals import Approval, ShownPrice, find_approval
from clients.features import plan_encoder, usable_frames
from clients.findings import Finding
from clients.known import UnknownPartner, unknown_partners
from clients.ledger import Outlook
from clients.node import NodeHome
from clients.places import places
from clients.policy import Ceilings
from clients.selection import TakingPart, taking_part, target_matrix, training_rows
from clients.store import RecordStore
from federation.errors import InputError, Refusal
from federation.plan import SignedPlan, StudyPlan
from federation.privacy.guarantee import Price, price

OutlookOf = Callable[[NodeHome, Ceilings, StudyPlan], Outlook | None]
"""Asks the ledger; None where no account was opened yet."""


@dataclass(frozen=True, kw_only=True)
class OwnRecords:
    """Who at this partner would take part.

    Attributes:
        people: people with a record that takes part. Each trains, is held out or is unlabelled, and counts or does not.
        training_people: people who train, after those held out.
        training_records: their records that are read in training.
        held_out_people: people whose labels measure the model instead.
        counted_people: people who count in any of the tables.
        withheld: records whose retention has ended or that are marked to be left out.
        unattached: records left out because they have no person id and the rules refuse such.
        own_units: records without a person id that take part as people of their own.
        unreadable: records in languages that the plan's encoder does not read.
    """

    people: int
    training_people: int
    training_records: int
    held_out_people: int
    counted_people: int
    withheld: int
    unattached: int
    own_units: int
    unreadable: int

    @property
    def unlabelled_people(self) -> int:
        """People with no label that the plan learns from."""
        return self.people - self.training_people - self.held_out_people


@dataclass(frozen=True, kw_only=True)
class Review:
    """Everything that is shown before a decision.

    Attributes:
        own: this partner's numbers, or None; `own_problem` then says why.
        unknown: other partners whose keys are to be confirmed first.
        outlook: None if no account was opened yet.
        earlier: what was decided about this plan before.
        obstacles: why the plan cannot run here whatever is decided, besides broken rules.
    """

    signed: SignedPlan
    partner: str
    cost: Price
    own: OwnRecords | None
    own_problem: str
    ceilings: Ceilings
    outlook: Outlook | None
    findings: tuple[Finding, ...]
    earlier: Approval | None
    obstacles: tuple[str, ...]
    unknown: tuple[UnknownPartner, ...]

    @property
    def plan(self) -> StudyPlan:
        return self.signed.plan

    @property
    def can_be_approved(self) -> bool:
        """Whether the plan lists this partner rightly and keeps every rule."""
        return not self.obstacles and not self.unknown and all(finding.met for finding in self.findings)

    @property
    def price_changed(self) -> bool:
        """Whether an earlier decision was about another price."""
        return self.earlier is not None and self.earlier.price.differs(ShownPrice.of(self.cost))

    def as_json(self) -> dict[str, Any]:
        """For machines on the partner's side. Holds the private numbers."""
        return {
            "plan_sha256": self.signed.sha256, "study": self.plan.study, "partner": self.partner,
            "can_be_approved": self.can_be_approved, "obstacles": list(self.obstacles),
            "keys_not_confirmed": {partner.name: partner.in_plan for partner in self.unknown},
            "price": asdict(self.cost),
            "own_records": asdict(self.own) if self.own else None, "own_records_problem": self.own_problem,
            "ceilings": asdict(self.ceilings), "account": asdict(self.outlook) if self.outlook else None,
            "rules": [asdict(finding) for finding in self.findings],
            "earlier_decision": self.earlier.model_dump(mode="json") if self.earlier else None,
        }


def review(home: NodeHome, signed: SignedPlan, *, outlook_of: OutlookOf) -> Review:
    """Hold a verified plan against everything at this home.

    Raises:
        InputError: if the home has no usable rules.
    """
    policy, obstacles = home.policy(), []
    try:
        listed(home, signed.plan)
    except Refusal as refusal:
        obstacles.append(refusal.detail)
    unknown = unknown_partners(home.path, home.settings.name, signed.plan)
    earlier: Approval | None = None
    try:
        earlier = find_approval(home, signed.sha256)
    except Refusal as refusal:
        obstacles.append(refusal.detail)
    own, problem = _own_records(home, signed.plan)
    return Review(signed=signed, partner=home.settings.name, cost=price(signed.plan), own=own, own_problem=problem,
                  ceilings=policy.ceilings, outlook=outlook_of(home, policy.ceilings, signed.plan),
                  findings=policy.findings(signed.plan), earlier=earlier, obstacles=tuple(obstacles), unknown=unknown)


def _own_records(home: NodeHome, plan: StudyPlan) -> tuple[OwnRecords | None, str]:
    try:
        frames = usable_frames(home, plan)
        policy, encoder = home.policy(), plan_encoder(home, plan.encoder)
        chosen = TakingPart.joined(taking_part(frame.drop(columns="text"), policy, encoder) for frame in frames)
    except Refusal as refusal:
        return None, refusal.detail
    except InputError as error:
        return None, str(error)
    targets = target_matrix(chosen.frame, plan)
    rows = training_rows(home, plan, chosen.frame, targets).values()
    training_people = sum(map(len, rows))
    labelled = chosen.frame["unit_key"][~np.isnan(targets).all(axis=1)].nunique()
    with RecordStore(home.store_path) as store:
        stored = len(store)
    return OwnRecords(
        people=int(chosen.frame["unit_key"].nunique()), training_people=training_people,
        training_records=sum(own.size for own in rows), held_out_people=int(labelled) - training_people,
        counted_people=len(places(home, plan, chosen.frame)), unattached=chosen.unattached,
        withheld=max(0, stored - len(chosen.frame) - chosen.unattached - chosen.unreadable),
        own_units=int((~chosen.frame["has_person"].astype(bool)).sum()), unreadable=chosen.unreadable), ""
