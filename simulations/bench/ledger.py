"""`python -m simulations.bench ledger`: what the privacy account costs in time, and how that grows."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clients.ledger import Ceilings, Ledger, LedgerRequest, PlannedStage, Stage
from federation.canonical import sha256_hex
from federation.identity import SigningKey
from federation.privacy.accounting import DiscreteGaussianTable, SubsampledGaussian, epsilon_of
from federation.privacy.units import Budget

LEDGER_SIZES = ((100, 5), (1_000, 52), (10_000, 520))
"""Training rounds and table releases in each ledger."""
VERIFY_BAR = 5.0
"""Most seconds that a full check of the largest ledger may take."""
_STUDY_ROUNDS = 100
_KEY = SigningKey.from_bytes(b"b" * 32)
_CEILINGS = Ceilings(delta=1e-6, round=50.0, study=50.0, year=50.0, total=50.0)


@dataclass(frozen=True, kw_only=True)
class LedgerTiming:
    """Seconds for a ledger of some size.

    `charge` is a whole answer with empty work: checked, reserved, committed, and synced to disk four times. `verify` is
    in a process that has composed nothing of it before.
    """

    rounds: int
    releases: int
    entries: int
    open: float
    charge: float
    verify: float


def ledger(as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False) -> None:
    """The privacy account: opening it, charging it and checking all of it, at three sizes.

    Exit code 1 if the full check of the largest takes more than 5 seconds.
    """
    timings = [time_ledger(rounds, releases) for rounds, releases in LEDGER_SIZES]
    steps = [growth(small, large) for small, large in pairwise(timings)]
    met = timings[-1].verify <= VERIFY_BAR
    if as_json:
        typer.echo(json.dumps({"timings": [asdict(timing) for timing in timings], "growth": steps,
                               "verify_bar": VERIFY_BAR, "met": met}, indent=2))
    else:
        _show(timings, steps, met)
    raise typer.Exit(0 if met else 1)


def time_ledger(rounds: int, releases: int) -> LedgerTiming:
    """Fill a ledger through its front door and time what is done with it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with _open(home) as account:
            charges = [_seconds(lambda request=request: account.answer(  # type: ignore[misc]
                request, ceilings=_CEILINGS, work=lambda: b"")) for request in _requests(rounds, releases)]
            entries = account.verify_full().entries
        opens = [_seconds(lambda: _open(home).close()) for _ in range(9)]
        return LedgerTiming(rounds=rounds, releases=releases, entries=entries, open=median(opens),
                            charge=median(charges[-50:]), verify=median(_verified_elsewhere(home) for _ in range(3)))


def growth(small: LedgerTiming, large: LedgerTiming) -> dict[str, float]:
    """How the cost grows: per entry where all entries are read (1 is linear), and of one charge (1 is constant)."""
    more = large.entries / small.entries
    return {"entries": more, "open_per_entry": large.open / small.open / more, "charge": large.charge / small.charge,
            "verify_per_entry": large.verify / small.verify / more}


def _requests(rounds: int, releases: int) -> Iterator[LedgerRequest]:
    """Studies of 100 rounds each, and the releases spread over them."""
    studies = max(1, rounds // _STUDY_ROUNDS)
    stages = (PlannedStage.training(_STUDY_ROUNDS, SubsampledGaussian(
                  noise_multiplier=4.0, sampling_probability=0.01, steps=5)),
              PlannedStage.tables(-(-releases // studies), [DiscreteGaussianTable(scale=100.0, entries=3)]))
    for number in range(rounds + releases):
        study, place = number % studies, number // studies
        stage = Stage.TRAIN if place < _STUDY_ROUNDS else Stage.TABLE
        yield LedgerRequest(
            plan_sha256=sha256_hex(f"{study}".encode()), study=f"study-{study}", stages=stages, delta=_CEILINGS.delta,
            stage=stage, round_number=1 + place % _STUDY_ROUNDS, request_sha256=sha256_hex(b"model"))


def _open(home: Path) -> Ledger:
    budget = Budget(epsilon=_CEILINGS.total, delta=_CEILINGS.delta)
    return Ledger.open(home, key=_KEY, partner="bench", total=budget, year=budget)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _verify(home: Path) -> float:
    epsilon_of([DiscreteGaussianTable(scale=7.0, entries=1)], delta=1e-5)  # so that no import is timed
    with _open(home) as account:
        return _seconds(account.verify_full)


def _verified_elsewhere(home: Path) -> float:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_verify, home).result()


def _show(timings: list[LedgerTiming], steps: list[dict[str, float]], met: bool) -> None:
    table = Table("Rounds", "Releases", "Entries", "Open (ms)", "Charge (ms)", "Full check (s)", box=None)
    for one in timings:
        table.add_row(f"{one.rounds:,}", f"{one.releases:,}", f"{one.entries:,}", f"{one.open * 1e3:.1f}",
                      f"{one.charge * 1e3:.1f}", f"{one.verify:.2f}")
    console = Console()
    console.print(table)
    for step in steps:
        console.print(f"{step['entries']:.1f} times the entries: open × {step['open_per_entry']:.2f} an entry, "
                      f"charge × {step['charge']:.2f}, full check × {step['verify_per_entry']:.2f} an entry")
    console.print(f"Full check of the largest: bar ≤ {VERIFY_BAR:g} s, {'met' if met else 'missed'}.")

