"""An account in figures, for the partner to read. Frozen dataclasses: `dataclasses.asdict` makes them JSON-ready."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from clients.ledger.account import Account, ChargeKind
from clients.ledger.ceilings import spent
from clients.policy import Ceilings
from federation.privacy.accounting import Event, RenyiFilter


@dataclass(frozen=True, kw_only=True)
class ChargeLine:
    """One charge: when, for what, and its epsilon alone (a sum of these is more than what they cost together)."""

    seq: int
    at: datetime
    study: str
    plan_sha256: str
    kind: ChargeKind
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class StudyBalance:
    """A study: its plan, as held, and further attempts. `epsilon` is at the account's delta."""

    study: str
    plan_sha256: str
    held_at: datetime
    epsilon: float
    allowed: float
    remaining: float
    requests_answered: int
    requests_open: int
    """Reserved without a reply: running now, or lost in a crash. They stay spent."""
    further_attempts: int
    colluders: int | None
    """Where noise is in sums of several partners: how many of them may work with the coordinator without `epsilon`
    being wrong. None: all the noise is this partner's own."""


@dataclass(frozen=True, kw_only=True)
class PeriodBalance:
    """A year, or all time.

    Attributes:
        epsilon: the composed privacy loss of what was spent, an upper bound.
        filter_share: part of the adaptive filter's budget that is used; nothing passes it once it would go above 1.
        remaining: what may still be spent at most; the filter may stop it sooner.
    """

    period: str
    epsilon: float
    allowed: float
    remaining: float
    filter_share: float


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What was spent on one person before a study and would be after it: epsilon at the account's delta.

    `problem` says why the account would refuse the study, or is empty. Of a study that has begun, `study_spent` is what
    it has spent already, at the same delta, and `answered` and `unanswered` are its requests with and without a reply.
    """

    year_before: float
    year_after: float
    total_before: float
    total_after: float
    problem: str = ""
    study_spent: float = 0.0
    answered: int = 0
    unanswered: int = 0

    @property
    def begun(self) -> bool:
        """Whether anything was ever asked for the study."""
        return self.answered + self.unanswered > 0


@dataclass(frozen=True, kw_only=True)
class Balance:
    """The whole account at a moment."""

    at: datetime
    partner: str
    delta: float
    renyi_order: int
    year_renyi_order: int
    studies: tuple[StudyBalance, ...]
    years: tuple[PeriodBalance, ...]
    """Each year that has a charge, and the present one."""
    total: PeriodBalance
    charges: tuple[ChargeLine, ...]


def balance_of(account: Account, ceilings: Ceilings, now: datetime) -> Balance:
    """The balance of `account` under `ceilings`, at the account's own delta."""
    terms = account.terms
    years = sorted({charge.at.year for charge in account.charges} | {now.year})
    return Balance(
        at=now, partner=terms.partner, delta=terms.delta, renyi_order=terms.renyi_order,
        year_renyi_order=terms.year_renyi_order,
        studies=tuple(_study(account, plan, ceilings.study) for plan in account.studies),
        years=tuple(_period(str(year), account.spent(year=year), RenyiFilter(
            order=terms.year_renyi_order, epsilon=ceilings.year, delta=terms.delta)) for year in years),
        total=_period("total", account.spent(), RenyiFilter(
            order=terms.renyi_order, epsilon=ceilings.total, delta=terms.delta)),
        charges=tuple(ChargeLine(seq=charge.seq, at=charge.at, study=charge.study, plan_sha256=charge.plan_sha256,
                                 kind=charge.kind, epsilon=spent(charge.events, terms.delta))
                      for charge in account.charges))


def _study(account: Account, plan: str, allowed: float) -> StudyBalance:
    study = account.studies[plan]
    epsilon = spent(account.spent(plan=plan), account.terms.delta)
    answered = sum(state.committed is not None for state in study.requests.values())
    return StudyBalance(
        study=study.held.study, plan_sha256=plan, held_at=study.held.at, epsilon=epsilon, allowed=allowed,
        colluders=min((stage.colluders for stage in study.held.stages if stage.colluders is not None), default=None),
        remaining=max(0.0, allowed - epsilon), requests_answered=answered,
        requests_open=len(study.requests) - answered,
        further_attempts=sum(max(0, state.attempts - 1) for state in study.requests.values()))


def _period(name: str, events: tuple[Event, ...], cap: RenyiFilter) -> PeriodBalance:
    epsilon, share = spent(events, cap.delta), cap.share(events)
    return PeriodBalance(period=name, epsilon=epsilon, allowed=cap.epsilon, filter_share=share,
                         remaining=max(0.0, min(cap.epsilon - epsilon, cap.epsilon * (1 - share))))
