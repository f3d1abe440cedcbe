"""What a simulation may ask of a world. Everything here is public configuration; private data is only in the files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from federation.errors import InputError
from federation.plan_statistics import SuperRegion
from federation.taxonomy import PartnerKind, Task

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, kw_only=True)
class WorldPartner:
    """One organisation as the federation sees it before any data is touched.

    Args:
        name: ASCII slug, unique in the world; also the stem of its source file.
        kind: platform, NGO or agency.
        slots: public band, a power of two, at least the number of people it could plausibly hold.
        regions: declared coverage, ISO 3166-2 or, in an invented world, user-assigned codes.
        languages: languages it expects, ISO 639-1.
        declared_prevalence: for each task it labels, the share of positives it declares in (0, 1): a round number from
            domain knowledge, never computed from its data.
        mapping: name of the shipped ingest mapping that reads its source file.
    """

    name: str
    kind: PartnerKind
    slots: int
    regions: tuple[str, ...]
    languages: tuple[str, ...]
    declared_prevalence: Mapping[Task, float]
    mapping: str

    def __post_init__(self) -> None:
        if not _SLUG.fullmatch(self.name):  # it becomes a file name
            raise InputError("partner", "the name is not a slug", bound="a to z, 0 to 9 and -, such as ngo-legal")
        if self.slots < 1 or self.slots & (self.slots - 1):
            raise InputError("slots", f"{self.slots} is not a public band", bound="a power of two")
        for task, share in self.declared_prevalence.items():
            if not 0.0 < share < 1.0:
                raise InputError("declared_prevalence", f"{share} for {task.value}", bound="a number between 0 and 1")


class World(Protocol):
    """A set of partners and the source file of each."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str:
        """Printed on every output: `SYNTHETIC`, or `real texts, drawn regions`."""
        ...

    @property
    def synthetic(self) -> bool:
        """True only where places and texts are invented."""
        ...

    @property
    def regions_drawn(self) -> bool:
        """True where texts are given and their regions drawn at random: a map of such a world describes no place."""
        ...

    @property
    def tasks(self) -> tuple[Task, ...]: ...

    @property
    def regions(self) -> tuple[str, ...]:
        """The fixed, public list of cells."""
        ...

    @property
    def super_regions(self) -> tuple[SuperRegion, ...]:
        """Public groups of the regions, each region in one; none at all is fine."""
        ...

    @property
    def period(self) -> tuple[date, date]:
        """First and last day of the period that the records are from."""
        ...

    @property
    def indicators(self) -> bool:
        """Whether records say which indicators were seen in them."""
        ...

    @property
    def partners(self) -> tuple[WorldPartner, ...]: ...

    def write(self, partner: str, directory: Path) -> Path:
        """Write the raw source file of `partner` into `directory` (made if missing) and return its path.

        Raises:
            InputError: if there is no such partner or its data cannot be read.
        """
        ...


def find_partner(partners: tuple[WorldPartner, ...], name: str) -> WorldPartner:
    """The partner called `name`.

    Raises:
        InputError: if there is none.
    """
    for partner in partners:
        if partner.name == name:
            return partner
    raise InputError("partner", f"{name} is not in this world", bound=", ".join(p.name for p in partners))


def power_of_two(people: int) -> int:
    """The smallest power of two that is at least `people` (1 for 0)."""
    return 1 << max(people - 1, 0).bit_length()
