"""Enrolled partners, seen as a world: what a coordinator composes a real study from. It holds no record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NoReturn

from federation.errors import InputError
from federation.plan_parts import RosterEntry
from federation.plan_statistics import SuperRegion
from federation.taxonomy import Task
from simulations.world.interface import WorldPartner

_PERIOD = "give it as study.period_start=2026-04-01 study.period_end=2026-06-30"


@dataclass(frozen=True, kw_only=True)
class EnrolledWorld:
    """Public facts of the partners that a coordinator has enrolled.

    Attributes:
        entries: of the roster.
        synthetic: whether every partner's records are invented.
        regions_drawn: whether places were drawn at random, so that a map would describe none.
        indicators: whether records say which indicators were seen in them.
    """

    entries: tuple[RosterEntry, ...]
    synthetic: bool
    regions_drawn: bool
    indicators: bool

    @property
    def name(self) -> str:
        return "enrolled"

    @property
    def label(self) -> str:
        if self.synthetic:
            return "SYNTHETIC"
        return "real texts, drawn regions" if self.regions_drawn else "reported signals"

    @property
    def tasks(self) -> tuple[Task, ...]:
        labelled = {task for entry in self.entries for task in entry.declared_prevalence}
        return tuple(task for task in Task if task in labelled)

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(sorted({region for entry in self.entries for region in entry.regions}))

    @property
    def super_regions(self) -> tuple[SuperRegion, ...]:
        return ()

    @property
    def period(self) -> tuple[date, date]:
        raise InputError("study.period_start, study.period_end",
                         "a study of enrolled partners has no period of its own",
                         remedy=_PERIOD)

    @property
    def partners(self) -> tuple[WorldPartner, ...]:
        return tuple(WorldPartner(
            name=entry.name, kind=entry.kind, slots=entry.slots, regions=entry.regions, languages=(),
            declared_prevalence=entry.declared_prevalence, mapping="leelight") for entry in self.entries)

    def write(self, partner: str, directory: Path) -> NoReturn:  # noqa: ARG002  as every world
        """Records are with the partners."""
        raise InputError(partner, "is enrolled: its records are its own", remedy="simulate with another world")


def enrolled_world(entries: Sequence[RosterEntry], *, synthetic: bool, regions_drawn: bool, indicators: bool
                   ) -> EnrolledWorld:
    """The world of these partners, in the order of their names.

    Raises:
        InputError: if there are fewer than two, or none says that it labels anything.
    """
    if len(entries) < 2:
        raise InputError("partners", f"{len(entries)} enrolled", bound="at least two",
                         remedy="enrol partners with `leelight coordinator enrol`")
    found = EnrolledWorld(entries=tuple(sorted(entries, key=lambda one: one.name)), synthetic=synthetic,
                          regions_drawn=regions_drawn, indicators=indicators)
    if not found.tasks:
        raise InputError("partners", "none declares a prevalence, so none labels a task",
                         remedy="have a partner that labels records set declared_prevalence in its node.yaml")
    return found
