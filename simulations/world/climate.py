"""What the true rates of a quarter depend on beside the partner: the region, the season, and a shock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType

from federation.taxonomy import RegionRole, Task
from simulations.world.draws import Draws
from simulations.world.parameters import Parameters

Effects = Mapping[Task, Mapping[RegionRole, Mapping[str, float]]]

EFFECT_ROLES = (RegionRole.ORIGIN, RegionRole.DESTINATION, RegionRole.OBSERVED)


@dataclass(frozen=True, kw_only=True)
class Climate:
    """Of one quarter; all effects are on the logit of a true rate.

    Attributes:
        quarter: 0, 1, ...
        effects: of each region, by task and role, the shock included.
        season: of the quarter, by task.
        shocked: regions under a shock.
        redefined: whether the narrower definition of a positive is in force.
    """

    quarter: int
    effects: Effects
    season: Mapping[Task, float]
    shocked: tuple[str, ...]
    redefined: bool


def climate(seed: int, parameters: Parameters, quarter: int) -> Climate:
    """The climate of a quarter. Quarter 0 has neither season nor, unless asked for, shock."""
    time = parameters.time
    shocked: tuple[str, ...] = ()
    if time.shock_quarter is not None and quarter >= time.shock_quarter:
        shocked = tuple(sorted(Draws(seed, "shock").some(parameters.regions, time.shock_regions)))
    return Climate(
        quarter=quarter, effects=_effects(seed, parameters, shocked), shocked=shocked,
        season=MappingProxyType({task: _season(seed, parameters, task, quarter) for task in Task}),
        redefined=time.definition_quarter is not None and quarter >= time.definition_quarter)


def _effects(seed: int, parameters: Parameters, shocked: tuple[str, ...]) -> Effects:
    """The sizes are fixed (normal quantiles times `region_spread`); which region gets which is a permutation drawn from
    the seed, so no place is hard-coded as risky, not even an invented one."""
    count = len(parameters.regions)
    ladder = [parameters.region_spread * NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)]
    effects: dict[Task, Mapping[RegionRole, Mapping[str, float]]] = {}
    for task in Task:
        by_role: dict[RegionRole, Mapping[str, float]] = {}
        for role in EFFECT_ROLES:
            order = Draws(seed, "effects", task.value, role.value).some(parameters.regions, count)
            found = dict(zip(order, ladder, strict=True))
            if task is Task.RECRUITMENT and role is RegionRole.ORIGIN:
                found |= {region: found[region] + math.log(parameters.time.shock_factor) for region in shocked}
            by_role[role] = MappingProxyType(found)
        effects[task] = MappingProxyType(by_role)
    return MappingProxyType(effects)


def _season(seed: int, parameters: Parameters, task: Task, quarter: int) -> float:
    """AR(1), started at 0 in quarter 0."""
    time, draws, level = parameters.time, Draws(seed, "season", task.value), 0.0
    for _ in range(quarter):
        level = time.persistence * level + time.season_spread * draws.normal()
    return level
