"""The routes people take between regions.

Lawful migrants and trafficked people take the same ones: a corridor is a volume, not a risk, and what is true of the
people on it follows from the effects of its two ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulations.world.draws import Draws
from simulations.world.parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class Corridor:
    """A route that many take. `volume` is relative to the other corridors."""

    origin: str
    destination: str
    volume: float


def corridors(seed: int, parameters: Parameters) -> tuple[Corridor, ...]:
    """The true corridors: pairs of regions and lognormal volumes drawn from the seed."""
    pairs = [(origin, destination) for origin in parameters.regions for destination in parameters.regions
             if origin != destination]
    draws = Draws(seed, "corridors")
    return tuple(Corridor(origin=origin, destination=destination,
                          volume=math.exp(parameters.corridor_spread * draws.normal()))
                 for origin, destination in draws.some(pairs, parameters.corridors))


def origins_into(destination: str, routes: tuple[Corridor, ...], among: tuple[str, ...]) -> dict[str, float]:
    """Shares of the origins of the corridors that end in `destination`, among some regions; empty if there is none."""
    found = {route.origin: route.volume for route in routes
             if route.destination == destination and route.origin in among}
    return {origin: volume / sum(found.values()) for origin, volume in found.items()}
