"""A release's content by place: what lies in which country, and the cell of each place, role and task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from federation.areas import country_of
from federation.regions import country_name

Json = Mapping[str, Any]
LEVELS = ("country", "super_region", "region")
SMALL = 6
"""Countries of at most so many regions share a group."""
MANY = 120
"""Above so many regions in a country, those that are withheld are listed by reason and not one by one."""
OPEN = 3
"""Up to so many groups of countries are all open; of more, only the first."""
COMPACT = 8000
"""Above so many rates of regions, maps are pictures and intervals of regions are told in numbers only: a browser would
take long over so many buttons and bars."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Countries that share maps and a table."""

    key: str
    heading: str
    countries: tuple[str, ...]
    open: bool


class Index:
    """Look-ups in a content; codes are in their own order everywhere, so that nothing is in the order of a rate."""

    def __init__(self, content: Json) -> None:
        self.content = content
        self.roles: tuple[str, ...] = tuple(content["roles"])
        self.tasks: tuple[str, ...] = tuple(content["tasks"])
        self._names: dict[str, str] = {area["code"]: area["name"] for area in content["areas"]}
        self._cells = {(cell["area"], cell["role"], cell["task"]): cell for cell in content["cells"]}
        ordered = sorted(content["areas"], key=lambda area: (country_of(area["code"]), area["code"]))
        self._areas = {country: tuple(areas) for country, areas in
                       groupby(ordered, key=lambda area: country_of(area["code"]))}

    @property
    def countries(self) -> tuple[str, ...]:
        """Every country of the study."""
        return tuple(self._areas)

    def name(self, code: str) -> str:
        """Of a place; a country that is protected as a whole is in no list and has its ISO name."""
        return self._names.get(code) or country_name(code)

    def cell(self, area: str, role: str, task: str) -> Json | None:
        """None for a place that is not measured."""
        return self._cells.get((area, role, task))

    def measured(self, country: str, level: str) -> tuple[str, ...]:
        """Codes of a country at one level."""
        return tuple(area["code"] for area in self._areas[country]
                     if area["level"] == level and area["status"] == "measured")

    def protected(self, country: str) -> tuple[str, ...]:
        """Regions in which nobody is counted."""
        return tuple(area["code"] for area in self._areas[country] if area["status"] == "protected")

    def regions(self, country: str) -> tuple[str, ...]:
        """Every region of the study in a country, protected or not."""
        return tuple(sorted((*self.measured(country, "region"), *self.protected(country))))

    @cached_property
    def compact(self) -> bool:
        """Whether the release is so large that each of its rates is told in as few words as will do."""
        regions = sum(len(self.regions(country)) for country in self.countries)
        return regions * len(self.roles) * len(self.tasks) > COMPACT

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Countries one by one, then the small ones together, if there are several."""
        small = [code for code in self.countries if len(self.regions(code)) <= SMALL]
        if len(small) < 2:
            small = []
        found: list[tuple[str, tuple[str, ...]]] = [(code, (code,)) for code in self.countries if code not in small]
        if small:
            found.append(("small", tuple(small)))
        return tuple(Group(key=key.lower(), countries=countries, open=len(found) <= OPEN or i == 0,
                           heading=self.name(key) if key != "small" else "Countries with few regions"
                           if len(found) > 1 else "Countries")
                     for i, (key, countries) in enumerate(found))
