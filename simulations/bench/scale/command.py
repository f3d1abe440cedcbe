"""`python -m simulations.bench scale`: time and memory by number of records and of partners, and both engines.

Each stage runs in a process of its own (`simulations.bench.measured`). The bar of memory is on anonymous memory: what
is mapped from a file, such as features, the system takes back when it is needed elsewhere.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from simulations.bench.measured import measured
from simulations.bench.scale.crowd import Crowd
from simulations.bench.scale.engines import EngineTiming, compare, study_in_process
from simulations.bench.scale.growth import Growth, Point, growth
from simulations.bench.scale.stages import EVERYBODY, LARGE, STAGES

RECORDS, PARTNERS = "10000,100000,1000000", "5,20,100,200"
PEOPLE: Final = 100
"""At each partner, where partners are many."""
ENGINE_PARTNERS, ENGINE_ROUNDS = 20, 20
FLAT_STAGES, FLAT_BYTES = ("ingest", "encoding", "training"), 400.0
"""Stages whose anonymous memory must not grow by more than so many bytes a record; its features alone are 2,048."""
SECONDS_BAR, RATE_BAR = 60.0, 10.0
_DIMENSION = 512
# The one that promises most people allows no larger delta: slots^-1.1, 2^20 slots.
_SETTINGS = ("privacy.delta=1e-7",)


def scale(
    records: Annotated[str, typer.Option(help="Numbers of records at one partner; empty for none.")] = RECORDS,
    partners: Annotated[str, typer.Option(help="Numbers of partners; empty for none.")] = PARTNERS,
    encoder: Annotated[str, typer.Option(help="hashing, or use: about 45 minutes for 10^6 texts.")] = "hashing",
    engines: Annotated[bool, typer.Option(help="Compare with Flower's Ray engine.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Growth with records and partners, and rounds beside Flower's engine. Exit code 1 if a bar is missed."""
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    dimension = [f"encoder.dimension={_DIMENSION}"] if encoder == "hashing" else []
    settings = (f"encoder={encoder}", *dimension, *_SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        by_records = [point for size in _sizes(records) for point in of_records(size, settings, scratch)]
        by_partners = [point for size in _sizes(partners) for point in of_partners(size, settings, scratch)]
        timings = compare(_crowd(ENGINE_PARTNERS, ENGINE_ROUNDS, settings), scratch) if engines else {}
    bars = judge(growth(by_records), timings)
    if as_json:
        typer.echo(json.dumps({
            "encoder": encoder, "load": os.getloadavg(), "records": [asdict(one) for one in by_records],
            "records_growth": [asdict(one) for one in growth(by_records)],
            "partners": [asdict(one) for one in by_partners],
            "partners_growth": [asdict(one) for one in growth(by_partners)],
            "engines": {name: asdict(timing) for name, timing in timings.items()}, "bars": bars}, indent=1))
    else:
        _show(encoder, by_records, by_partners, timings, bars)
    raise typer.Exit(0 if all(bars.values()) else 1)


def _sizes(text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",") if size.strip()]
    except ValueError:
        sizes = [0]
    if any(size < 1 for size in sizes):
        raise typer.BadParameter(f"{text!r} is not a list of whole numbers above 0, such as 1000,10000")
    return sizes


def _crowd(partners: int, rounds: int, settings: Sequence[str]) -> Crowd:
    return Crowd(people=(PEOPLE,) * partners, overrides=(f"training.rounds={rounds}", *settings))


def of_records(records: int, settings: Sequence[str], scratch: Path) -> list[Point]:
    """Each stage of one partner with about so many records."""
    crowd = Crowd.one_large(records, settings)
    return _points(crowd, records, scratch / f"{records}-records", LARGE, tuple(STAGES))


def of_partners(partners: int, settings: Sequence[str], scratch: Path) -> list[Point]:
    """Each stage of so many small partners, one after the other, and a study of two rounds in one process."""
    root = scratch / f"{partners}-partners"
    points = _points(_crowd(partners, 2, settings), partners, root, EVERYBODY, ("generation", "ingest", "encoding"))
    study = measured(study_in_process, root)
    whole = Point(stage="study of two rounds", size=partners, seconds=study.seconds, processor=study.processor,
                  resident=study.resident, anonymous=study.anonymous)
    return [*points, whole]


def _points(crowd: Crowd, size: int, root: Path, which: slice, stages: Sequence[str]) -> list[Point]:
    root.mkdir(mode=0o700)
    crowd.set_up(root)
    points = []
    for name in stages:
        took = measured(STAGES[name], crowd, root, which)
        points.append(Point(stage=name, size=size, seconds=took.seconds, processor=took.processor,
                            resident=took.resident, anonymous=took.anonymous))
    return points


def judge(grown: Sequence[Growth], timings: dict[str, EngineTiming]) -> dict[str, bool]:
    """Which bars are met, by name; only those of what was measured."""
    bars = {f"{one.stage}: at most {FLAT_BYTES:g} bytes of memory a record": one.bytes_each <= FLAT_BYTES
            for one in grown if one.stage in FLAT_STAGES and one.bytes_each is not None}
    if timings:
        ours, flower = timings["in_process"], timings["flower"]
        bars[f"{ENGINE_PARTNERS} partners, {ENGINE_ROUNDS} rounds in process: under {SECONDS_BAR:g} s"] = (
            ours.total < SECONDS_BAR)
        bars[f"rounds in process: at least {RATE_BAR:g} times as fast as Flower's engine"] = (
            flower.round >= RATE_BAR * ours.round)
    return bars


def _show(encoder: str, by_records: list[Point], by_partners: list[Point], timings: dict[str, EngineTiming],
          bars: dict[str, bool]) -> None:
    console = Console()
    for title, points in ((f"One partner, by records; encoder {encoder}", by_records),
                          (f"All partners, {PEOPLE} people each, by partners; encoder {encoder}", by_partners)):
        if points:
            console.print(_table(title, points))
    if timings:
        table = Table("Engine", "Round, s", "Statistics, s", "Start and end, s", "All, s", box=None,
                      title=f"{ENGINE_PARTNERS} partners, {ENGINE_ROUNDS} rounds, the same apps and plan",
                      title_justify="left")
        for name, one in timings.items():
            table.add_row(name, f"{one.round:.3f}", f"{one.table:.2f}", f"{one.start_up:.1f}", f"{one.total:.1f}")
        console.print(table)
        ratio = timings["flower"].round / timings["in_process"].round
        console.print(f"Rounds in process are {ratio:.1f} times as fast.")
    console.print(f"Load of the machine, 15 minutes: {os.getloadavg()[2]:.1f} on {os.cpu_count()} processors.")
    for name, met in bars.items():
        console.print(f"{name}: {'met' if met else 'missed'}.")


def _table(title: str, points: list[Point]) -> Table:
    table = Table("Stage", "Size", "Wall, s", "Processor, s", "Peak memory, MB", "of it anonymous, MB", box=None,
                  title=title, title_justify="left")
    for one in sorted(points, key=lambda point: list(dict.fromkeys(p.stage for p in points)).index(point.stage)):
        table.add_row(one.stage, f"{one.size:,}", f"{one.seconds:.1f}", f"{one.processor:.1f}",
                      f"{one.resident / 1e6:.0f}", f"{one.anonymous / 1e6:.0f}")
    for grown in growth(points):
        if grown.processor is not None and grown.anonymous is not None:
            table.add_row(grown.stage, "exponent", "", f"{grown.processor:.2f}", "",
                          f"{grown.anonymous:.2f} ({grown.bytes_each or 0:,.0f} bytes each)")
    return table
