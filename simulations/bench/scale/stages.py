"""What is measured, each in a process of its own: one partner's work on its records, and what all partners do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Final

from clients.counting import noisy_tables
from clients.features import prepare
from clients.ingest.mapping import load_mapping
from clients.ingest.pipeline import ingest_file
from clients.node import NodeHome
from clients.people import training_people
from clients.store import RecordStore
from clients.threads import use_threads
from clients.training import StepRule, train_round
from federation.model import initial_model
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry
from federation.randomness import RandomStream
from simulations.bench.scale.crowd import Crowd, coordinator, nodes
from simulations.world.interface import WorldPartner

LARGE: Final = slice(0, 1)
"""Which partner holds the many records (`Crowd.one_large`)."""
EVERYBODY: Final = slice(None)


def generation(crowd: Crowd, root: Path, which: slice) -> int:
    """Write the files of some partners. Returns how many bytes they are."""
    world, written = crowd.world, 0
    for home in nodes(root)[which]:
        written += world.write(home.settings.name, home.path / "inbox").stat().st_size
    return written


def ingest(crowd: Crowd, root: Path, which: slice) -> int:
    """Take the files of some partners in. Returns how many records they hold."""
    world, accepted = crowd.world, 0
    for home, partner in list(zip(nodes(root), world.partners, strict=True))[which]:
        accepted += _take_in(home, partner)
    return accepted


def _take_in(home: NodeHome, partner: WorldPartner) -> int:
    with RecordStore(home.store_path) as store:
        return ingest_file(
            home.path / "inbox" / f"{partner.name}.csv", mapping=load_mapping(partner.mapping), store=store,
            secret=home.person_secret(), partner_kind=partner.kind, today=date.today(),
            quarantine_dir=home.quarantine_dir, synthetic=True).accepted


def encoding(crowd: Crowd, root: Path, which: slice) -> int:
    """Compute the features of some partners' records. Returns how many there are."""
    del crowd
    _, signed = coordinator(root)
    return sum(len(prepare(home, signed.plan).frame) for home in nodes(root)[which])


def training(crowd: Crowd, root: Path, which: slice) -> int:
    """One round of some partners, each from its records on disk to its update. Returns how many people train."""
    del crowd
    plan, trained = coordinator(root)[1].plan, 0
    for home in nodes(root)[which]:
        use_threads(home.settings.threads)
        entry = _entry(plan, home)
        people = training_people(home, plan, entry, prepare(home, plan))
        train_round(initial_model(plan), people, StepRule.of(plan.training, entry.slots),
                    stream=RandomStream.from_os())
        trained += len(people)
    return trained


def statistics(crowd: Crowd, root: Path, which: slice) -> int:
    """The tables of some partners, with their noise. Returns how many entries each has."""
    del crowd
    plan, entries = coordinator(root)[1].plan, 0
    for home in nodes(root)[which]:
        use_threads(home.settings.threads)
        entries = len(noisy_tables(home, plan, _entry(plan, home), prepare(home, plan), initial_model(plan),
                                   stream=None))
    return entries


def _entry(plan: StudyPlan, home: NodeHome) -> RosterEntry:
    return next(entry for entry in plan.roster if entry.name == home.settings.name)


STAGES: Final[dict[str, Callable[[Crowd, Path, slice], int]]] = {
    "generation": generation, "ingest": ingest, "encoding": encoding, "training": training, "statistics": statistics}
