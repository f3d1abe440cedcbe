"""Setting up a federation's homes on one machine: a coordinator, and a node for each partner of a world.

All keys come from seeds, so that a run can be repeated to the byte. That is right for invented and public records and
for nothing else; a real home makes its own (`NodeHome.create` without keys).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from clients.approvals import Decision, decide
from clients.features import prepare
from clients.ingest.mapping import load_mapping
from clients.ingest.pipeline import ingest_file
from clients.ingest.report import IngestReport
from clients.known import know
from clients.node import NodeHome, NodeSettings
from clients.policy import Ceilings, Policy
from clients.store import RecordStore
from federation.errors import InputError, Refusal
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from federation.randomness import RandomStream
from federation.taxonomy import Task
from server.coordinator import CoordinatorHome
from simulations.settings import Settings
from simulations.world.interface import World, WorldPartner, find_partner


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


SIGNERS = ("first-officer", "second-officer")
"""The two people who sign a simulated release."""


def signer_keys(settings: Settings) -> dict[str, SigningKey]:
    """The keys of `SIGNERS`, by name."""
    return {name: SigningKey.from_bytes(seeded_key(settings.world.seed, "signer", name)) for name in SIGNERS}


def partner_key(settings: Settings, partner: str) -> SigningKey:
    """A simulated partner's identity."""
    return SigningKey.from_bytes(seeded_key(settings.world.seed, "identity", partner))


def make_coordinator(root: Path, settings: Settings) -> CoordinatorHome:
    """A coordinator's home below `root`."""
    return CoordinatorHome.create(root / "coordinator", key=coordinator_key(settings))


def policy_for(settings: Settings) -> Policy:
    """Rules that a simulated partner could have written from the public settings alone, before there is a plan.

    A study may cost twice the sum of its two parts: more than they come to together at one delta, for any settings. A
    year has room for ten such studies.
    """
    study = 2 * (settings.privacy.training_epsilon + settings.privacy.statistics_epsilon)
    return Policy(
        plans="approved", tasks=tuple(Task), encoders=(settings.encoder.name,),
        statistics=("regional_table", "indicators", "corridors", "series", "scores"),
        # Real public sets have records without a person; they are not what a simulation protects.
        records_without_person_id="own_unit", minimum_partners=1, least_noise_multiplier=0.1, least_l2_clip_norm=1e-4,
        least_table_noise_scale=0.1, distributed_noise=("statistics", "training"), least_colluders=0,
        rehearsal="allow" if settings.simulation.noise == "seeded" else "refuse",
        ceilings=Ceilings(delta=settings.privacy.delta, round=study, study=study, year=10 * study, total=10 * study))


def approve(home: NodeHome, signed: SignedPlan) -> None:
    """Approve a plan as the partner's own command does."""
    decide(home, signed, Decision.APPROVED)


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
    home = NodeHome.create(root / "nodes" / f"{number:03d}-{partner.name}", node,
                           person_secret=seeded_key(settings.world.seed, "person", partner.name),
                           signing_key=partner_key(settings, partner.name), policy=policy_for(settings))
    know(home.path, {other.name: partner_key(settings, other.name).public for other in world.partners})
    return home


@dataclass(frozen=True, kw_only=True)
class IngestJob:
    """One partner's file, to be written by the world and taken in. Holds only what can go to another process.

    Attributes:
        today: the day on which it is taken in, or the present one if that is later.
    """

    home: NodeHome
    settings: Settings
    today: date


@lru_cache(maxsize=1)
def _world(settings: str) -> World:
    """The world of settings, given as JSON: they hold tables, so they cannot be looked up by themselves."""
    return Settings.model_validate_json(settings).open_world()


def ingest(job: IngestJob, progress: Callable[[int], None]) -> SourceOutcome:
    """Let a world write a partner's file and take it in; a problem is told, and stops nobody else."""
    home, report, problem = job.home, None, ""
    try:
        world = _world(job.settings.model_dump_json())
        partner = find_partner(world.partners, home.settings.name)
        source = world.write(partner.name, home.path / "inbox")
        with RecordStore(home.store_path) as store:
            # A world's period may lie years back; whoever takes records in does so today.
            report = ingest_file(
                source, mapping=load_mapping(partner.mapping), store=store, secret=home.person_secret(),
                partner_kind=partner.kind, today=max(date.today(), job.today),
                quarantine_dir=home.quarantine_dir, synthetic=world.synthetic)
    except InputError as error:
        problem = str(error)
        # A home whose file was refused is a home without a store: it declines, and is not counted as coverage.
        for leftover in home.path.glob(f"{home.store_path.name}*"):
            leftover.unlink()
    progress(1)
    return SourceOutcome(partner=home.settings.name, report=report, problem=problem)


def encode(job: tuple[NodeHome, StudyPlan], progress: Callable[[int], None]) -> int:
    """Compute the features of a node's records, or find them in the cache.

    Returns:
        How many records are in languages that the encoder does not read. A node without records has none.
    """
    home, plan = job
    try:
        unreadable = prepare(home, plan, progress=progress).unreadable
    except Refusal:
        return 0
    progress(unreadable)
    return unreadable
