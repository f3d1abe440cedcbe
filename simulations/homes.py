"""Setting up a federation's homes on one machine: a coordinator, and a node for each partner of a world.

All keys come from seeds, so that a run can be repeated to the byte. That is right for invented and public records and
for nothing else; a real home makes its own (`NodeHome.create` without keys).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clients.ingest.mapping import load_mapping
from clients.ingest.pipeline import ingest_file
from clients.ingest.report import IngestReport

from clients.node import NodeHome, NodeSettings
from clients.people import prepare
from clients.store import RecordStore
from federation.errors import InputError, Refusal
from federation.identity import SigningKey
from federation.plan import StudyPlan
from federation.randomness import RandomStream
from server.coordinator import CoordinatorHome
from simulations.settings import Settings
from simulations.world.interface import World, WorldPartner


@dataclass(frozen=True, kw_only=True)
class SourceOutcome:
    """What became of a partner's file: a report, or the problem that kept it out."""

    partner: str
    report: IngestReport | None
    problem: str = ""


def seeded_key(seed: int, *context: str) -> bytes:
    """32 bytes that depend on `seed` and `context` alone."""
    return RandomStream.derived(seed.to_bytes(8, "big"), *context).bytes(32)


def coordinator_key(settings: Settings) -> SigningKey:
    """The simulated coordinator's key."""
    return SigningKey.from_bytes(seeded_key(settings.world.seed, "coordinator"))


def partner_key(settings: Settings, partner: str) -> SigningKey:
    """A simulated partner's identity."""
    return SigningKey.from_bytes(seeded_key(settings.world.seed, "identity", partner))


def make_coordinator(root: Path, settings: Settings) -> CoordinatorHome:
    """A coordinator's home below `root`."""
    return CoordinatorHome.create(root / "coordinator", key=coordinator_key(settings))


def make_node(root: Path, settings: Settings, world: World, partner: WorldPartner) -> NodeHome:
    """A node's home below `root/nodes`, holding no record yet.

    Names sort in roster order, which is how Flower's engine numbers its partitions.
    """
    number = [p.name for p in world.partners].index(partner.name)
    seeded = settings.simulation.noise == "seeded"
    node = NodeSettings(
        name=partner.name, kind=partner.kind, slots=partner.slots, regions=partner.regions,
        declared_prevalence=dict(partner.declared_prevalence), coordinator_key=coordinator_key(settings).public,
        synthetic=world.synthetic, threads=settings.simulation.threads, encoder_folder=settings.encoder.folder,
        cache=settings.simulation.cache or Path.home() / ".cache" / "leelight",
        reproducible_noise=seeded_key(settings.seed, "noise").hex() if seeded else None)
    return NodeHome.create(root / "nodes" / f"{number:03d}-{partner.name}", node,
                           person_secret=seeded_key(settings.world.seed, "person", partner.name),
                           signing_key=partner_key(settings, partner.name))


def ingest(home: NodeHome, world: World, partner: WorldPartner, plan: StudyPlan) -> SourceOutcome:
    """Let a world write a partner's file and take it in; a problem is told, and stops nobody else."""
    try:
        source = world.write(partner.name, home.path / "inbox")
        with RecordStore(home.store_path) as store:
            report = ingest_file(
                source, mapping=load_mapping(partner.mapping), store=store, secret=home.person_secret(),
                partner_kind=partner.kind, today=plan.period_end, quarantine_dir=home.quarantine_dir,
                synthetic=world.synthetic)
    except InputError as problem:
        return SourceOutcome(partner=partner.name, report=None, problem=str(problem))
    return SourceOutcome(partner=partner.name, report=report)


def encode(home: NodeHome, plan: StudyPlan, progress: Callable[[int], None]) -> None:
    """Compute the features of a node's records, or find them in the cache. A node without records has none."""
    try:
        prepare(home, plan, progress=progress)
    except Refusal:
        return
