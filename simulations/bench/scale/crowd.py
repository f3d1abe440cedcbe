"""Federations of any size, made of the synthetic world's partners again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Final, Self

from clients.node import NodeHome
from federation.plan import SignedPlan
from federation.taxonomy import PartnerKind
from server.coordinator import CoordinatorHome
from simulations.federation import plan_for
from simulations.homes import approve, make_coordinator, make_node
from simulations.launch import compose_settings
from simulations.world.parameters import Parameters
from simulations.world.partners import DEFAULT_PARTNERS
from simulations.world.synthetic import SyntheticWorld

SEED: Final = 1
_FIRST: Final = "agency-helpline"
"""Who holds the many records where one partner does: it labels most of them, for both tasks."""
_RECORDS_OF_ONE: Final = Parameters().kinds[PartnerKind.AGENCY].records or 1.0
_PARTNERS = sorted(DEFAULT_PARTNERS, key=lambda partner: partner.name != _FIRST)


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """A federation to measure.

    Attributes:
        people: at each partner.
        overrides: of the settings, as `leelight simulate` takes them.
    """

    people: tuple[int, ...]
    overrides: tuple[str, ...]

    @classmethod
    def one_large(cls, records: int, overrides: Iterable[str]) -> Self:
        """Eight partners, the first of which holds about so many records."""
        people = [partner.people for partner in _PARTNERS[1:]]
        return cls(people=(max(1, round(records / _RECORDS_OF_ONE)), *people), overrides=tuple(overrides))

    @property
    def world(self) -> SyntheticWorld:
        """Its world."""
        return SyntheticWorld(seed=SEED, parameters=Parameters(partners=tuple(
            replace(partner, name=f"{partner.name}-{number:03d}", people=people)
            for number, (partner, people) in enumerate(zip(cycle(_PARTNERS), self.people, strict=False)))))

    def set_up(self, root: Path) -> None:
        """Make the homes of everybody below `root`, and a plan that they have approved; nothing is taken in yet."""
        settings, world = compose_settings([
            f"world.seed={SEED}", f"simulation.cache={root / 'cache'}", *self.overrides]), self.world
        signed = plan_for(settings, world)
        make_coordinator(root, settings).keep_plan(signed)
        for partner in world.partners:
            approve(make_node(root, settings, world, partner), signed)


def nodes(root: Path) -> list[NodeHome]:
    """The partners' homes below `root`, in the order of the roster."""
    return [NodeHome.load(path) for path in sorted((root / "nodes").iterdir())]


def coordinator(root: Path) -> tuple[CoordinatorHome, SignedPlan]:
    """The coordinator's home below `root`, and the plan."""
    home = CoordinatorHome.load(root / "coordinator")
    return home, home.signed_plan()
