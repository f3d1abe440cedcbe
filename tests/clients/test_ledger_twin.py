"""Random lives of an account against a twin that keeps everything in memory and adds it up by closed formulas.

All work here is full-batch Gaussian, whose exact cost is known: mu-GDP for the composed loss (Balle and Wang 2018), and
order / (2 noise^2) a step for the filter.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scipy.optimize import brentq
from scipy.stats import norm

from clients.ledger import STEPS, BudgetRefusal, Ceilings, LedgerRequest, Stage
from federation.errors import Refusal, RefusalCode
from federation.privacy.accounting import SubsampledGaussian
from federation.privacy.units import Budget
from tests.clients.ledgers import DELTA, Clock, ask, open_ledger, refused, study

NOISE, ROUNDS = 15.0, 3
STEPS_OF = {Stage.TRAIN: 4, Stage.TABLE: 3}
PLAN_STEPS = ROUNDS * STEPS_OF[Stage.TRAIN] + STEPS_OF[Stage.TABLE]


def event(stage: Stage) -> SubsampledGaussian:
    return SubsampledGaussian(noise_multiplier=NOISE, sampling_probability=1.0, steps=STEPS_OF[stage])


def request(name: str, stage: Stage, number: int, model: str) -> LedgerRequest:
    first = study(name, a_round=event(Stage.TRAIN), rounds=ROUNDS, table=event(Stage.TABLE))
    return ask(first, number, stage=stage, model=model)


@cache
def exact(steps: int) -> float:
    """Exact epsilon of `steps` full-batch steps."""
    if steps == 0:
        return 0.0
    mu = math.sqrt(steps) / NOISE

    def excess(epsilon: float) -> float:
        return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)) - DELTA

    return float(brentq(excess, 0, 200))


class Crash(BaseException):
    """Nobody catches this one."""


@dataclass
class Twin:
    """All that a ledger has to remember, without any of its care."""

    charges: list[tuple[str, int, int]] = field(default_factory=list)
    """(study, year, steps)"""
    attempts: dict[tuple[str, Stage, int], int] = field(default_factory=dict)
    replies: dict[tuple[str, Stage, int], tuple[str, bytes]] = field(default_factory=dict)
    last: datetime = datetime.min

    def steps(self, *, name: str | None = None, year: int | None = None) -> int:
        return sum(steps for study, when, steps in self.charges if name in (None, study) and year in (None, when))


class Lives(RuleBasedStateMachine):
    """Requests, crashes, replays, reopenings and the passing of time, in any order."""

    @initialize(total=st.sampled_from([2.0, 3.0, 5.0]), year=st.sampled_from([1.5, 2.5, 5.0]),
                study=st.sampled_from([1.2, 5.0]))
    def start(self, total: float, year: float, study: float) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.clock, self.twin = Clock(), Twin()
        self.rules = Ceilings(delta=DELTA, round=5.0, study=study, year=year, total=total)
        self.step, self.calls = "", 0
        self.ledger = self.opened()

    def opened(self):  # type: ignore[no-untyped-def]
        return open_ledger(
            self.home, self.clock, total=Budget(epsilon=self.rules.total, delta=DELTA),
            year=Budget(epsilon=self.rules.year, delta=DELTA), on_step=self.heard)

    def heard(self, step: str) -> None:
        if step == self.step:
            raise Crash(step)

    def work(self) -> bytes:
        self.calls += 1
        self.heard("working")
        return f"reply {self.calls}".encode()

    @rule(name=st.sampled_from(["a", "b", "c", "d"]), stage=st.sampled_from(Stage), number=st.integers(1, ROUNDS),
          model=st.sampled_from(["m", "m", "m", "n"]), crash=st.sampled_from([*[""] * 20, "working", *STEPS]))
    def ask(self, name: str, stage: Stage, number: int, model: str, crash: str) -> None:
        number = number if stage is Stage.TRAIN else 1
        key, calls = (name, stage, number), self.calls
        self.step = crash
        try:
            reply = self.ledger.answer(request(*key, model), ceilings=self.rules, work=self.work)
        except Refusal as refusal:
            assert self.calls == calls
            self.check_refusal(refusal, key, model)
        except Crash:
            self.crashed(crash, key, model)
        else:
            self.check_reply(reply, key, model, called=self.calls > calls)
        self.step = ""

    def check_refusal(self, refusal: Refusal, key: tuple[str, Stage, int], model: str) -> None:
        if refusal.code is RefusalCode.ALREADY_ANSWERED:
            assert self.twin.replies[key][0] != model
            return
        assert isinstance(refusal, BudgetRefusal)
        assert key not in self.twin.replies
        # The exact formulas agree that there was no room (the composed figure may be above the exact one by 0.2 %).
        more = self.price(key)
        balance = self.ledger.balance(self.rules, self.clock())
        year = self.clock().year
        assert more > 0
        assert any((
            exact(self.twin.steps(name=key[0]) + more) > self.rules.study * 0.998,
            exact(self.twin.steps(year=year) + more) > self.rules.year * 0.998,
            exact(self.twin.steps() + more) > self.rules.total * 0.998,
            not self.filter_has_room(self.twin.steps(year=year) + more, balance.year_renyi_order, self.rules.year),
            not self.filter_has_room(self.twin.steps() + more, balance.renyi_order, self.rules.total)))

    @staticmethod
    def filter_has_room(steps: int, order: int, epsilon: float) -> bool:
        overhead = math.log(1 - 1 / order) + (math.log(1 / DELTA) - math.log(order)) / (order - 1)
        return steps * order / (2 * NOISE**2) + overhead <= epsilon * (1 - 1e-12)

    def price(self, key: tuple[str, Stage, int]) -> int:
        if key in self.twin.attempts:
            return STEPS_OF[key[1]]
        return 0 if self.twin.steps(name=key[0]) else PLAN_STEPS

    def crashed(self, step: str, key: tuple[str, Stage, int], model: str) -> None:
        self.ledger.close()
        if step not in ("locked", "checked", "reserved:written"):
            self.charge(key)
        if step in ("committed:stored", "committed:sealed"):
            self.twin.replies[key] = model, f"reply {self.calls}".encode()
        self.step = ""
        self.ledger = self.opened()

    def check_reply(self, reply: bytes, key: tuple[str, Stage, int], model: str, *, called: bool) -> None:
        if called:
            assert key not in self.twin.replies
            self.charge(key)
            self.twin.replies[key] = model, reply
        assert self.twin.replies[key] == (model, reply)

    def charge(self, key: tuple[str, Stage, int]) -> None:
        if (steps := self.price(key)) > 0:
            self.twin.charges.append((key[0], self.clock().year, steps))
        self.twin.attempts[key] = self.twin.attempts.get(key, 0) + 1
        self.twin.last = self.clock()

    @precondition(lambda self: self.twin.replies)
    @rule(data=st.data(), other=st.booleans())
    def replay(self, data: st.DataObject, other: bool) -> None:
        key, (model, reply) = data.draw(st.sampled_from(list(self.twin.replies.items())))
        calls = self.calls
        if other:
            refusal = refused(self.ledger, request(*key, model + "x"), self.rules)
            assert refusal.code is RefusalCode.ALREADY_ANSWERED
        else:
            assert self.ledger.answer(request(*key, model), ceilings=self.rules, work=self.work) == reply
        assert self.calls == calls

    @rule(days=st.sampled_from([1, 120, 300]))
    def time_passes(self, days: int) -> None:
        self.clock.move(days=days)

    @precondition(lambda self: self.twin.charges)
    @rule(seconds=st.integers(121, 3_000))
    def the_clock_is_behind(self, seconds: int) -> None:
        now, self.clock.time = self.clock.time, self.twin.last - timedelta(seconds=seconds)
        assert refused(self.ledger, request("z", Stage.TRAIN, 1, "m"), self.rules).code is RefusalCode.LEDGER_UNUSABLE
        self.clock.time = now

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = self.opened()

    @precondition(lambda self: hasattr(self, "twin"))
    @invariant()
    def nothing_is_overspent_and_nothing_forgotten(self) -> None:
        balance = self.ledger.balance(self.rules, self.clock())
        assert sorted((line.study, line.at.year) for line in balance.charges) == sorted(
            (name, year) for name, year, _ in self.twin.charges)
        periods = [(balance.total, self.twin.steps(), self.rules.total, balance.renyi_order)]
        periods += [(period, self.twin.steps(year=int(period.period)), self.rules.year, balance.year_renyi_order)
                    for period in balance.years]
        for period, steps, ceiling, order in periods:
            assert exact(steps) - 1e-9 <= period.epsilon <= exact(steps) * 1.002 + 1e-3
            assert exact(steps) <= period.epsilon <= ceiling or steps == 0
            assert steps == 0 or self.filter_has_room(steps, order, ceiling * (1 + 1e-9))
        for held in balance.studies:
            assert exact(self.twin.steps(name=held.study)) <= held.epsilon <= self.rules.study

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            found = self.ledger.verify_full()
            assert found.commits == len(self.twin.replies)
            assert found.open_reservations == len(self.twin.attempts) - len(self.twin.replies)
            self.ledger.close()
            shutil.rmtree(self.home)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
