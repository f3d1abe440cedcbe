"""A whole federation on one machine: homes, ingestion, features, the study itself, and how good the result is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clients.features import Prepared, prepare
from clients.node import NodeHome
from clients.people import Population, training_people
from clients.threads import use_threads
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import Signer
from federation.privacy.guarantee import Price, price
from federation.taxonomy import RegionRole, Task
from server.coordinator import CoordinatorHome
from server.rounds import Observer
from simulations import baselines
from simulations.compose import compose_plan
from simulations.engine import flower_program, run_flower, run_in_process
from simulations.evaluation import Quality, TestSet, evaluate, held_out
from simulations.homes import (
    IngestJob,
    SourceOutcome,
    approve,
    coordinator_key,
    encode,
    ingest,
    make_coordinator,
    make_node,
    partner_key,
    seeded_key,
    signer_keys,
)
from simulations.settings import Settings
from simulations.workers import Workers
from simulations.world.interface import World

METHODS = ("federated", "alone", "federated_without_privacy", "pooled_without_privacy")
SIGNERS_FOLDER = "signers"
"""Where the keys are of those who sign, if the release is left to be made by hand."""
Comparison = dict[Task, dict[str, Any]]


class Display(Observer, Protocol):
    """What a run tells while it goes on."""

    def plan_ready(self, plan: StudyPlan, cost: Price) -> None:
        """Called before anything touches a record."""

    def working(self, what: str, total: int | None) -> Callable[[int], None]:
        """Begin a piece of work of `total` units and return the function that reports units done."""

    def encoded(self, unreadable: int, encoder: str) -> None:
        """Called when every readable record has its features."""

    def ingested(self, outcomes: list[SourceOutcome]) -> None:
        """Called when every partner's file has been read."""


@dataclass(frozen=True, kw_only=True)
class FederationResult:
    """What a run leaves; the rest is in its folder."""

    plan: StudyPlan
    folder: Path
    release: Path | None
    """Its folder; None if it is left to be made by hand."""
    sources: tuple[SourceOutcome, ...]
    quality: Comparison
    test_people: int


def roles_of(world: World) -> tuple[RegionRole, ...]:
    """Region roles that a world's records carry: invented records know origins, drawn regions are only observed."""
    if world.synthetic:
        return (RegionRole.ORIGIN, RegionRole.DESTINATION, RegionRole.OBSERVED)
    return (RegionRole.OBSERVED,)


def plan_for(settings: Settings, world: World) -> SignedPlan:
    """Compose and sign the plan of a simulation."""
    keys = {partner.name: partner_key(settings, partner.name).public for partner in world.partners}
    return compose_plan(settings, world, settings.open_encoder(), partner_keys=keys, roles=roles_of(world),
                        signers=tuple(Signer(name=name, public_key=key.public)
                                      for name, key in signer_keys(settings).items()),
                        coordinator=coordinator_key(settings))


def run_federation(settings: Settings, folder: Path, display: Display) -> FederationResult:
    """Run everything below `folder` and write `results.json` there.

    Raises:
        InputError: if the settings or the world cannot be used at all.
        server.rounds.StudyStopped: if too few partners answer a stage.
    """
    if settings.simulation.engine == "flower":
        # Now, and not when every file has been taken in.
        flower_program()
    use_threads(settings.simulation.threads)
    world = settings.open_world()
    signed = plan_for(settings, world)
    plan = signed.plan
    display.plan_ready(plan, price(plan))
    coordinator = make_coordinator(folder, settings)
    # Before anything runs: this is the file that a partner reviews.
    coordinator.keep_plan(signed)
    homes, sources = _fill(settings, world, plan, folder, display)
    for home in homes:
        approve(home, signed)
    if settings.simulation.engine == "flower":
        display.working("Flower's engine", None)
        run_flower(signed, coordinator, homes)
    else:
        run_in_process(signed, coordinator, homes, display)
    release = _release(settings, coordinator, folder)
    quality, people = _compare(settings, plan, coordinator, homes, display)
    result = FederationResult(plan=plan, folder=folder, release=release, sources=tuple(sources), quality=quality,
                              test_people=people)
    (folder / "results.json").write_text(json.dumps(as_json(result), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return result


def _release(settings: Settings, coordinator: CoordinatorHome, folder: Path) -> Path | None:
    """Publish, or put the keys of those who sign where somebody can do it by hand."""
    if settings.simulation.release == "published":
        return coordinator.release(signer_keys(settings))
    (folder / SIGNERS_FOLDER).mkdir(mode=0o700)
    for name, key in signer_keys(settings).items():
        key.save(folder / SIGNERS_FOLDER / f"{name}.key")
    return None


def _fill(settings: Settings, world: World, plan: StudyPlan, folder: Path,
          display: Display) -> tuple[list[NodeHome], list[SourceOutcome]]:
    homes = [make_node(folder, settings, world, partner) for partner in world.partners]
    jobs = [IngestJob(home=home, settings=settings, today=plan.period_end) for home in homes]
    with Workers(settings.simulation.workers) as workers:
        sources = workers.run(ingest, jobs, progress=display.working("Ingest", len(homes)))
        display.ingested(sources)
        accepted = sum(source.report.accepted for source in sources if source.report)
        unreadable = workers.run(encode, [(home, plan) for home in homes], progress=display.working("Encode", accepted))
    display.encoded(sum(unreadable), plan.encoder.name)
    return homes, sources


def _compare(settings: Settings, plan: StudyPlan, coordinator: CoordinatorHome, homes: list[NodeHome],
             display: Display) -> tuple[Comparison, int]:
    ready = [home for home in homes if home.store_path.is_file()]
    prepared = [prepare(home, plan) for home in ready]
    test = held_out(ready, plan, prepared)
    quality: Comparison = {task: {} for task in plan.tasks}
    _enter(quality, "federated", evaluate(plan, coordinator.model(), test, coordinator.calibrations()))
    if settings.simulation.baselines:
        people = _people(plan, ready, prepared)
        advance = display.working("Compare", len(people) + 2)
        _compare_alone(settings, plan, people, test, quality, advance)
        _enter(quality, "federated_without_privacy",
               evaluate(plan, baselines.federated_without_privacy(plan, people), test))
        advance(1)
        _enter(quality, "pooled_without_privacy",
               evaluate(plan, baselines.pooled_without_privacy(plan, [*people.values()]), test))
        advance(1)
    return quality, test.people


def _people(plan: StudyPlan, homes: list[NodeHome], prepared: list[Prepared]) -> dict[str, Population]:
    people = {}
    for home, records in zip(homes, prepared, strict=True):
        entry = plan.partner(home.settings.name)
        if entry is not None:
            people[entry.name] = training_people(home, plan, entry, records)
    return people


def _compare_alone(settings: Settings, plan: StudyPlan, people: dict[str, Population], test: TestSet,
                   quality: Comparison, advance: Callable[[int], None]) -> None:
    """Each partner by itself, on everybody's test people; only tasks that it labels count."""
    for task in plan.tasks:
        quality[task]["alone"] = {}
    for partner, own in people.items():
        model = baselines.alone(plan, partner, own, root=seeded_key(settings.seed, "alone", partner))
        figures = evaluate(plan, model, test)
        for column, task in enumerate(plan.tasks):
            if any(group.take(slice(None)).weights[:, :, column].any() for group in own.groups):
                quality[task]["alone"][partner] = figures[task].as_dict()
        advance(1)


def _enter(quality: Comparison, method: str, figures: dict[Task, Quality]) -> None:
    for task, figure in figures.items():
        quality[task][method] = figure.as_dict()


def read_release(folder: Path) -> dict[str, Any]:
    """A release that a run published, as it is in `release.json`."""
    found: dict[str, Any] = json.loads((folder / "release.json").read_text(encoding="utf-8"))
    return found


def as_json(result: FederationResult) -> dict[str, Any]:
    """The machine-readable summary of a run. Holds no record, and no count that a partner's report did not hold."""
    plan = result.plan
    return {
        "label": plan.label, "plan_sha256": plan.sha256, "study": plan.study, "test_people": result.test_people,
        "privacy": plan.privacy.model_dump(mode="json"),
        "release": None if result.release is None else {
            "folder": result.release.relative_to(result.folder).as_posix(),
            "content_sha256": read_release(result.release)["content_sha256"]},
        "quality": {task.value: figures for task, figures in result.quality.items()},
        "problems": {source.partner: source.problem for source in result.sources if source.problem},
    }
