"""What a partner allows to be spent, and what it is told when more is asked for.

Four ceilings: a single request, a study, a calendar year (UTC), and for ever. A request and a study are fixed in
advance (a study's further attempts are few and charged in full), so their composed privacy loss is the right figure. A
year and a lifetime hold studies that may be chosen because of what earlier ones showed; there the composed figure must
stay below the ceiling *and* a Rényi filter of fixed order must have room (`federation.privacy.accounting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clients.ledger.account import Account, Charge
from clients.ledger.problems import refusal
from clients.policy import Ceilings
from federation.errors import Refusal, RefusalCode
from federation.privacy.accounting import Event, RenyiFilter, epsilon_of, exceeds
from federation.privacy.units import down, up

_SHOWN = 12


class BudgetRefusal(Refusal):
    """More was asked for than a ceiling allows.

    Attributes:
        asked: the request and what it would charge, in words; `epsilon` is that charge alone.
        ceiling: `round`, `study`, `year` or `total`; `allowed` is its epsilon.
        standing: the epsilon that would be reached; `remaining` is what may still be spent at most.
        charges: what was charged under this ceiling before, with the epsilon of each alone.
    """

    def __init__(self, *, asked: str, epsilon: float, ceiling: str, allowed: float, delta: float, standing: str,
                 remaining: float, charges: tuple[tuple[Charge, float], ...]) -> None:
        self.asked, self.epsilon, self.ceiling, self.allowed = asked, epsilon, ceiling, allowed
        self.standing, self.remaining, self.charges = standing, remaining, charges
        shown = [f"{charge.at:%Y-%m-%d} {charge.study} ({charge.kind}) ε = {up(cost)}"
                 for charge, cost in charges[-_SHOWN:]]
        earlier = len(charges) - len(shown)
        used = "; ".join([f"{earlier} earlier charges"] * (earlier > 0) + shown) or "nothing"
        detail = refusal(
            RefusalCode.BUDGET_EXHAUSTED, asked, f"would charge ε = {up(epsilon)} at δ = {delta:g}, "
            f"and with it {standing}",
            "ask the coordinator for a study that costs less, or, if you answer for these people and agree, raise "
            f"the ceiling `{ceiling}` in your rules",
            bound=f"ε = {allowed:g} for the ceiling `{ceiling}`, of which at most "
            f"{down(remaining)} remain; used by: {used}").detail
        super().__init__(RefusalCode.BUDGET_EXHAUSTED, detail)


def spent(events: Sequence[Event], delta: float) -> float:
    """Composed epsilon of `events`; 0 for none."""
    return epsilon_of(events, delta=delta) if events else 0.0


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a request would add: `charged` is nothing where a held plan covers it.

    `rounds` are the events of the single requests that it allows.
    """

    name: str
    plan_sha256: str
    at: datetime
    rounds: tuple[tuple[Event, ...], ...]
    charged: tuple[Event, ...]


def check(account: Account, ceilings: Ceilings, ask: Ask) -> None:
    """Check every ceiling as it would stand after `ask`. Writes nothing.

    Raises:
        Refusal: `not_configured`, if the ceilings are at another delta than the account.
        BudgetRefusal: if a ceiling would be crossed.
    """
    terms, year, plan = account.terms, ask.at.year, ask.plan_sha256
    if ceilings.delta != terms.delta:
        raise refusal(RefusalCode.NOT_CONFIGURED, "delta", f"is {ceilings.delta:g} in your rules, and this account was "
                      f"opened with {terms.delta:g}", "set it back: an account keeps its delta for ever",
                      bound=f"{terms.delta:g}")
    for events in ask.rounds:
        _Ceiling("round", ceilings.round, (), ()).check(events, ask, terms.delta)
    for ceiling, order in (
        (_Ceiling("study", ceilings.study, account.spent(plan=plan),
                  tuple(charge for charge in account.charges if charge.plan_sha256 == plan)), None),
        (_Ceiling("year", ceilings.year, account.spent(year=year),
                  tuple(charge for charge in account.charges if charge.at.year == year)), terms.year_renyi_order),
        (_Ceiling("total", ceilings.total, account.spent(), tuple(account.charges)), terms.renyi_order),
    ):
        ceiling.check(ask.charged, ask, terms.delta)
        if order is not None:
            ceiling.check_filter(ask.charged, ask, RenyiFilter(order=order, epsilon=ceiling.allowed, delta=terms.delta))


@dataclass(frozen=True)
class _Ceiling:
    """One ceiling and what stands under it already."""

    name: str
    allowed: float
    before: tuple[Event, ...]
    charges: tuple[Charge, ...]

    def check(self, more: tuple[Event, ...], ask: Ask, delta: float) -> None:
        after = (*self.before, *more)
        if after and exceeds(after, epsilon=self.allowed, delta=delta):
            raise self._refusal(ask, delta, self.allowed - spent(self.before, delta),
                                f"the {self.name} would stand at ε = {up(spent(after, delta))}")

    def check_filter(self, more: tuple[Event, ...], ask: Ask, cap: RenyiFilter) -> None:
        after = (*self.before, *more)
        if not cap.admits(after):
            used = cap.share(self.before)
            left = min(self.allowed - spent(self.before, cap.delta), self.allowed * (1 - used))
            raise self._refusal(ask, cap.delta, left, (
                f"the {self.name} would use {100 * cap.share(after):.1f} % of what its adaptive filter allows, "
                f"{100 * used:.1f} % being used already") if cap.budget > 0 else (
                f"the adaptive filter of the {self.name}, whose order ({cap.order}) was fixed when this account was "
                "opened, has nothing to give under so low a ceiling"))

    def _refusal(self, ask: Ask, delta: float, left: float, standing: str) -> BudgetRefusal:
        return BudgetRefusal(
            asked=ask.name, epsilon=spent(ask.charged, delta), ceiling=self.name, allowed=self.allowed, delta=delta,
            standing=standing, remaining=max(0.0, left),
            charges=tuple((charge, spent(charge.events, delta)) for charge in self.charges))
