"""`python -m simulations.bench secagg`: what secure aggregation costs, beside Flower's SecAgg+, and how it grows.

Each figure is processor time of all parties in one process, without transport. Ours is every message made, encoded,
decoded and checked. Flower's is `SecAggPlusWorkflow` with `secaggplus_mod`, its own code for both sides, over an
in-process grid that copies the coordinator's messages (small ones) and nothing else; every partner shares with every
other, and 60 % of the shares are needed. The two take turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from federation.identity import SigningKey
from federation.secagg import Collector, Participant, SessionSpec

LARGEST = 49
"""Entries are 0 … 49, as in a histogram; Flower's clipping range is 64."""
GROWTH_PARTNERS, GROWTH_LENGTH = (5, 10, 20, 50, 100, 200), 10_000


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Seconds of processor time for one aggregation, medians. `bar` is the most that we accept of ours."""

    partners: int
    length: int
    bar: float
    ours: float = 0.0
    flower: float = 0.0


COMPARISONS = (Comparison(partners=5, length=100_000, bar=0.1), Comparison(partners=20, length=100_000, bar=0.5))


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One aggregation of 10,000 entries: seconds of processor time, and bytes of messages for one partner (means)."""

    partners: int
    partner_seconds: float
    coordinator_seconds: float
    sent: int
    received: int


class Clock:
    """Adds up processor time by who used it."""

    def __init__(self) -> None:
        self.partners = self.coordinator = 0.0

    @contextmanager
    def of_partners(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self.partners += time.process_time() - start

    @contextmanager
    def of_coordinator(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self.coordinator += time.process_time() - start


def make_vectors(partners: int, length: int) -> list[npt.NDArray[np.int64]]:
    """Histograms from a fixed generator; the values do not matter for time."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, LARGEST, length, endpoint=True) for _ in range(partners)]


def run_ours(vectors: list[npt.NDArray[np.int64]], clock: Clock) -> tuple[int, int]:
    """One session in which everybody stays.

    Returns:
        Bytes that all partners sent and received.

    Raises:
        RuntimeError: if the sum is not exact.
    """
    keys = {f"p{number:03d}": SigningKey.generate() for number in range(len(vectors))}
    spec = SessionSpec(
        plan_sha256="0" * 64, context_sha256="0" * 64, purpose="bench", round_number=0, attempt=0,
        length=vectors[0].size, bound=LARGEST,
        roster=tuple((name, key.public) for name, key in keys.items()), colluders=0, quorum=len(keys) // 2 + 1)
    by_name, collector = dict(zip(keys, vectors, strict=True)), Collector(spec)
    sent = received = 0

    def ask(answer: Callable[[str], bytes]) -> list[bytes]:
        nonlocal sent
        with clock.of_partners():
            answers = [answer(name) for name in keys]
        sent += sum(map(len, answers))
        return answers

    def send(message: bytes) -> bytes:
        nonlocal received
        received += len(message) * len(keys)
        return message

    partners: dict[str, Participant] = {}

    def begin(name: str) -> bytes:
        partners[name], answer = Participant.begin(spec, name, keys[name])
        return answer

    answers = ask(begin)
    with clock.of_coordinator():
        key_list = collector.keys(answers)
    send(key_list)
    answers = ask(lambda name: partners[name].shares(key_list))
    with clock.of_coordinator():
        deliveries = collector.shares(answers)
    received += sum(map(len, deliveries.values()))
    answers = ask(lambda name: partners[name].masked(deliveries[name], by_name[name]))
    with clock.of_coordinator():
        survivors = collector.masked(answers)
    send(survivors)
    answers = ask(lambda name: partners[name].survivors(survivors))
    with clock.of_coordinator():
        request = collector.survivors(answers)
    send(request)
    answers = ask(lambda name: partners[name].unmask(request))
    with clock.of_coordinator():
        total = collector.unmask(answers)
    if not np.array_equal(total.values, np.sum(vectors, axis=0)):
        raise RuntimeError("the sum is not exact")
    return sent, received


def measure(setting: Comparison, turns: int) -> Comparison:
    """Ours and Flower's in turns."""
    from simulations.bench.secagg_flower import run_flower

    vectors = make_vectors(setting.partners, setting.length)
    ours, flower = [], []
    for turn in range(turns + 1):
        clock = Clock()
        run_ours(vectors, clock)
        seconds = run_flower(vectors)
        if turn:  # the first warms up
            ours.append(clock.partners + clock.coordinator)
            flower.append(seconds)
    return Comparison(partners=setting.partners, length=setting.length, bar=setting.bar, ours=median(ours),
                      flower=median(flower))


def grow(partners: int, turns: int) -> Growth:
    """Ours for some number of partners; medians."""
    vectors, clocks = make_vectors(partners, GROWTH_LENGTH), [Clock() for _ in range(turns)]
    for clock in clocks:
        sent, received = run_ours(vectors, clock)
    return Growth(partners=partners, partner_seconds=median(clock.partners for clock in clocks) / partners,
                  coordinator_seconds=median(clock.coordinator for clock in clocks), sent=sent // partners,
                  received=received // partners)


def secagg(
    turns: Annotated[int, typer.Option(help="Turns of each side.", min=1)] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Secure aggregation against Flower's SecAgg+, and its growth from 5 to 200 partners."""
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    comparisons = [measure(setting, turns) for setting in COMPARISONS]
    growth = [grow(partners, turns if partners <= 20 else 1) for partners in GROWTH_PARTNERS]
    if as_json:
        typer.echo(json.dumps({
            "comparison": [asdict(one) | {"ratio": one.ours / one.flower, "met": one.ours <= one.bar}
                           for one in comparisons],
            "growth_length": GROWTH_LENGTH, "growth": [asdict(one) for one in growth]}, indent=1))
        return
    console = Console()
    table = Table("Partners × entries", "Ours, s", "Bar, s", "Flower SecAgg+, s", "Ours / Flower", box=None)
    for one in comparisons:
        table.add_row(f"{one.partners} × {one.length:,}", f"{one.ours:.3f}", f"≤ {one.bar:g}", f"{one.flower:.3f}",
                      f"{one.ours / one.flower:.2f}")
    console.print(table)
    table = Table("Partners", "Each partner, ms", "Coordinator, ms", "Sent by each, kB", "Received by each, kB",
                  box=None, title=f"{GROWTH_LENGTH:,} entries of 32 bits", title_justify="left")
    for step in growth:
        table.add_row(f"{step.partners}", f"{step.partner_seconds * 1e3:.1f}", f"{step.coordinator_seconds * 1e3:.1f}",
                      f"{step.sent / 1e3:.1f}", f"{step.received / 1e3:.1f}")
    console.print(table)
