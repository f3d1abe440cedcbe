"""The worlds a simulation runs on: source files as they would lie at each partner, before ingestion.

Two exist. `SyntheticWorld` invents places, people and texts and knows the truth about them. `RealWorld` deals out
public research texts to partners and draws their regions at random, so its texts are real and its map is not.
"""

from simulations.world.interface import World, WorldPartner
from simulations.world.parameters import Parameters
from simulations.world.real import RealWorld
from simulations.world.synthetic import SyntheticWorld

__all__ = ["Parameters", "RealWorld", "SyntheticWorld", "World", "WorldPartner"]
