"""The places of a study, finest first: regions (ISO 3166-2), super-regions that the plan makes of them, and countries.

Each level is counted and noised by itself, so that no margin is the sum of what is shown below it. A protected region
is in none of them: nobody counts there, so nothing about it can be worked out from anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from federation.regions import country_name, region_name
from federation.taxonomy import AreaLevel

if TYPE_CHECKING:
    from federation.plan_statistics import StatisticsSpec, SuperRegion


@dataclass(frozen=True, kw_only=True)
class Area:
    """A place at one level; `parent` is the code of the next coarser one that is counted, None for a country."""

    code: str
    name: str
    level: AreaLevel
    parent: str | None


@dataclass(frozen=True)
class Areas:
    """All places of a plan that are counted, by level, each in a fixed order.

    >>> from federation.plan_parts import SuperRegion
    >>> north = SuperRegion(code="XA:north", name="North", regions=("XA-01", "XA-02"))
    >>> areas = Areas(("XA-01", "XA-02"), (north,))
    >>> areas.codes(AreaLevel.COUNTRY), areas.above("XA-02", AreaLevel.SUPER_REGION)
    (('XA',), 'XA:north')
    """

    regions: tuple[str, ...]
    super_regions: tuple[SuperRegion, ...]

    @classmethod
    def of(cls, spec: StatisticsSpec) -> Areas:
        """The places that a plan counts: without those it protects."""
        protected = set(spec.protected)
        return cls(tuple(code for code in spec.regions if code not in protected), spec.super_regions)

    @cached_property
    def _parents(self) -> dict[str, str]:
        return {region: one.code for one in self.super_regions for region in one.regions}

    def codes(self, level: AreaLevel) -> tuple[str, ...]:
        """Codes of a level: regions in the plan's order, super-regions too, countries in the order they come up."""
        match level:
            case AreaLevel.REGION:
                return self.regions
            case AreaLevel.SUPER_REGION:
                return tuple(one.code for one in self.super_regions)
            case AreaLevel.COUNTRY:
                return tuple(dict.fromkeys(country_of(code) for code in self.regions))

    def above(self, region: str, level: AreaLevel) -> str | None:
        """The place of `level` that holds `region`, which is itself at the level of regions; None if none does."""
        match level:
            case AreaLevel.REGION:
                return region
            case AreaLevel.SUPER_REGION:
                return self._parents.get(region)
            case AreaLevel.COUNTRY:
                return country_of(region)

    def all(self) -> tuple[Area, ...]:
        """Every place, countries first, then super-regions, then regions."""
        names = {one.code: one.name for one in self.super_regions}
        countries = (Area(code=code, name=country_name(code), level=AreaLevel.COUNTRY, parent=None)
                     for code in self.codes(AreaLevel.COUNTRY))
        middle = (Area(code=code, name=names[code], level=AreaLevel.SUPER_REGION, parent=country_of(code))
                  for code in self.codes(AreaLevel.SUPER_REGION))
        regions = (Area(code=code, name=region_name(code), level=AreaLevel.REGION,
                        parent=self._parents.get(code, country_of(code))) for code in self.regions)
        return (*countries, *middle, *regions)


def country_of(code: str) -> str:
    """The country of a region or super-region: the first two letters of its code."""
    return code[:2]
