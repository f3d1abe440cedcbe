"""The tables of a plan: which are counted, and how much noise each carries for the price of all."""

from __future__ import annotations

from datetime import date
from itertools import product

from federation.plan_statistics import (
    AppearancesSpec,
    Corridor,
    IndicatorsSpec,
    ScoresSpec,
    SeriesSpec,
    StatisticsSpec,
    SuperRegion,
    counted_families,
)
from federation.privacy.accounting import table_scales_for
from federation.statistics import moved_entries, shift_of
from federation.taxonomy import Family, RegionRole
from simulations.settings import Settings
from simulations.world.interface import World


def compose_statistics(
    settings: Settings, world: World, roles: tuple[RegionRole, ...], *, period_start: date, least_scale: float
) -> StatisticsSpec:
    """The statistics part of a plan on `world`.

    Args:
        settings: the checked configuration.
        world: its regions, super-regions and the indicators that its records hold.
        roles: region roles that are tabulated.
        period_start: first day of the period.
        least_scale: of the noise in any table; shares of smaller noise could not be accounted for.

    Raises:
        ValueError: if the budget is too small for any noise, or the parts do not fit together.
    """
    chosen = settings.statistics
    protected = set(chosen.protected)
    super_regions = tuple(
        SuperRegion(code=one.code, name=one.name, regions=left) for one in world.super_regions
        if (left := tuple(region for region in one.regions if region not in protected)))
    indicators = chosen.indicators if world.indicators else None
    both_ends = {RegionRole.ORIGIN, RegionRole.DESTINATION} <= set(roles)
    pairs = product(super_regions, repeat=2) if chosen.corridors and both_ends else ()
    corridors = tuple(Corridor(origin=start.code, destination=end.code) for start, end in pairs)
    families = counted_families(super_regions=bool(super_regions), indicators=indicators is not None,
                                corridors=bool(corridors), series=chosen.series is not None)
    missing = [family for family in families if family not in chosen.shares]
    if missing:
        raise ValueError(f"statistics.shares says nothing of {', '.join(missing)}")
    entries = [moved_entries(family, tasks=len(world.tasks), roles=chosen.max_roles_per_person,
                             tags=len(indicators.tags) if indicators else 0) for family in families]
    scales = table_scales_for(epsilon=settings.privacy.statistics_epsilon, delta=settings.privacy.delta,
                              entries=entries, shifts=[shift_of(family) for family in families],
                              shares=[chosen.shares[family] for family in families])
    noise = {family: max(scale, least_scale) for family, scale in zip(families, scales, strict=True)}
    if chosen.scores is not None:
        # Nobody moves both tables, so the second is in the price of the first.
        noise[Family.SCORES] = noise[Family.CONFUSION]
    return StatisticsSpec(
        period_start=period_start, regions=world.regions, roles=roles, protected=chosen.protected,
        super_regions=super_regions, corridors=corridors, aggregation=chosen.aggregation,
        series=SeriesSpec(**chosen.series.model_dump()) if chosen.series else None,
        scores=ScoresSpec(**chosen.scores.model_dump()) if chosen.scores else None,
        indicators=IndicatorsSpec(level=indicators.level, tags=indicators.tags) if indicators else None,
        noise_scales=noise,
        max_roles_per_person=chosen.max_roles_per_person, flag_threshold=chosen.flag_threshold,
        appearances=AppearancesSpec(**chosen.appearances.model_dump()))
