"""Small ledgers for tests: invented studies of a few full-batch rounds and a table, and a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from clients.ledger import Ceilings, Ledger, LedgerRequest, PlannedStage, Stage
from clients.ledger.entries import GaussianEvent
from federation.canonical import sha256_hex
from federation.errors import Refusal
from federation.identity import SigningKey
from federation.privacy.accounting import DiscreteGaussianTable, Event, SubsampledGaussian
from federation.privacy.units import Budget

KEY = SigningKey.from_bytes(b"p" * 32)
DELTA = 1e-6
ROUND = SubsampledGaussian(noise_multiplier=20.0, sampling_probability=1.0, steps=4)
TABLE = DiscreteGaussianTable(scale=20.0, entries=3)
ROUNDS = 3
WIDE = Ceilings(delta=DELTA, round=9.0, study=9.0, year=9.0, total=9.0)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    time: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def move(self, **by: float) -> None:
        self.time += timedelta(**by)


def study(name: str = "winter", *, a_round: SubsampledGaussian = ROUND, rounds: int = ROUNDS, table: Event = TABLE,
          tables: int = 1) -> LedgerRequest:
    """The request for round 1 of an invented study.

    Its table stage may be a Gaussian mechanism as well, whose exact cost a test can know.
    """
    match table:
        case SubsampledGaussian():
            body = GaussianEvent(noise_multiplier=table.noise_multiplier, steps=table.steps,
                                 sampling_probability=table.sampling_probability)
            counting = PlannedStage(stage=Stage.TABLE, rounds=tables, event=body)
        case DiscreteGaussianTable():
            counting = PlannedStage.tables(tables, (table,))
    return LedgerRequest(
        plan_sha256=sha256_hex(name.encode()), study=name, delta=DELTA, stage=Stage.TRAIN, round_number=1,
        request_sha256=sha256_hex(b"model"),
        stages=(PlannedStage.training(rounds, a_round), counting))


def ask(request: LedgerRequest, number: int = 1, *, stage: Stage = Stage.TRAIN, model: str = "model") -> LedgerRequest:
    """Another request of the same study."""
    return replace(request, round_number=number, stage=stage, request_sha256=sha256_hex(model.encode()))


def open_ledger(home: Path, clock: Callable[[], datetime] | None = None, **changes: Any) -> Ledger:
    """The account of `partner-0`, with wide budgets unless told otherwise."""
    given: dict[str, Any] = {"key": KEY, "partner": "partner-0", "total": Budget(epsilon=WIDE.total, delta=DELTA),
                             "clock": clock or Clock(), "wait_seconds": 5.0, **changes}
    return Ledger.open(home, **given)


class Work:
    """Stands for what touches the data. Counts how often it was called, and never gives the same reply twice."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> bytes:
        self.calls += 1
        return f"reply {self.calls}".encode()


def never() -> bytes:
    """Work that must not be reached."""
    raise AssertionError("data was touched")


def refusal_of(act: Callable[[], object]) -> Refusal:
    """The refusal that `act` ends with."""
    try:
        act()
    except Refusal as refusal:
        return refusal
    raise AssertionError("was not refused")


def refused(ledger: Ledger, request: LedgerRequest, ceilings: Ceilings = WIDE) -> Refusal:
    """The refusal of `request`, which must not touch data."""
    return refusal_of(lambda: ledger.answer(request, ceilings=ceilings, work=never))
