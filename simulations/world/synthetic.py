"""A federation of invented organisations in invented places, with the truth kept beside it.

    world = SyntheticWorld(seed=7)
    world.write("ngo-legal", Path("run/sources"))   # the CSV as it lies at the partner
    world.truth()["highest"]["recruitment"]["origin"]  # which region the seed made highest

Files are reproducible byte for byte from (seed, size or records, quarter, parameters) and written one person at a time,
so that ten million records need no more memory than a thousand.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from federation.errors import InputError
from federation.plan_statistics import SuperRegion
from federation.taxonomy import Task
from simulations.world.campaigns import Templates
from simulations.world.climate import Climate, Effects, climate
from simulations.world.corridors import Corridor, corridors
from simulations.world.drafts import Draft
from simulations.world.files import open_private
from simulations.world.grammar import load_language
from simulations.world.interface import WorldPartner, power_of_two
from simulations.world.parameters import MOST_RECORDS, SIZES, Parameters
from simulations.world.partners import PartnerParameters
from simulations.world.people import PartnerStream
from simulations.world.profiles import Profile, covered_regions, profile
from simulations.world.rows import COLUMNS, STAMP
from simulations.world.signals import SignalModel
from simulations.world.truth import Tally, plain

_ROOM = 1.2  # a public band leaves room for a fifth more people than planned


@dataclass(frozen=True, kw_only=True)
class SyntheticWorld:
    """Invented places, people and texts. Never a finding about any real place.

    Args:
        seed: a non-negative integer; everything follows from it.
        size: one of `SIZES`.
        records: about how many records all partners hold together, in place of `size`: 1,000 to 10,000,000.
        quarter: which quarter the records are of, from 0.
        parameters: every other number, with its source.
    """

    seed: int
    size: str = "small"
    records: int | None = None
    quarter: int = 0
    parameters: Parameters = field(default_factory=Parameters)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError("world.seed", str(self.seed), bound="0 or more")
        if self.size not in SIZES:
            raise InputError("world.size", f"{self.size} is unknown", bound=", ".join(SIZES),
                             remedy=f"give one of them, such as world.size={next(iter(SIZES))}")
        if self.records is not None and not 1000 <= self.records <= MOST_RECORDS:
            raise InputError("world.records", str(self.records), bound=f"1000 to {MOST_RECORDS}")
        if self.quarter < 0:
            raise InputError("world.quarter", str(self.quarter), bound="0 or more")
        for partner in self.parameters.partners:
            for code in (*partner.languages, *partner.uncovered_languages):
                load_language(code)

    @property
    def name(self) -> str:
        later = f"-q{self.quarter}" if self.quarter else ""
        return f"synthetic-{self.records or self.size}-{self.seed}{later}"

    @property
    def label(self) -> str:
        return STAMP

    @property
    def synthetic(self) -> bool:
        return True

    @property
    def regions_drawn(self) -> bool:
        # A region comes first here, and what happens in it follows from it.
        return False

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task)

    @property
    def regions(self) -> tuple[str, ...]:
        return self.parameters.regions

    @property
    def super_regions(self) -> tuple[SuperRegion, ...]:
        p, start, found = self.parameters, 0, []
        for slug, name, count in p.super_regions:
            found.append(SuperRegion(code=f"{p.regions[start][:2]}:{slug}", name=name,
                                     regions=p.regions[start : start + count]))
            start += count
        return tuple(found)

    @property
    def period(self) -> tuple[date, date]:
        start = _later(self.parameters.start, self.quarter)
        next_start = _later(self.parameters.start, self.quarter + 1)
        return start, min(start + timedelta(days=self.parameters.days), next_start) - timedelta(days=1)

    @property
    def indicators(self) -> bool:
        return True

    @cached_property
    def partners(self) -> tuple[WorldPartner, ...]:
        return tuple(
            WorldPartner(
                name=p.name, kind=p.kind, slots=power_of_two(math.ceil(self._people(p) * _ROOM)),
                regions=covered_regions(self.parameters, p), languages=(*p.languages, *p.uncovered_languages),
                declared_prevalence=p.declared_prevalence, mapping="leelight")
            for p in self.parameters.partners)

    def _people(self, partner: PartnerParameters) -> int:
        return max(1, round(partner.people * self._scale))

    @cached_property
    def _scale(self) -> float:
        if self.records is None:
            return SIZES[self.size]
        return self.records / sum(p.people * self.profile(p.name).records_per_account for p in self.parameters.partners)

    @cached_property
    def climate(self) -> Climate:
        """What the true rates of this quarter depend on, beside the partner."""
        return climate(self.seed, self.parameters, self.quarter)

    @property
    def effects(self) -> Effects:
        """The latent effect of each region on the logit of the true rate, per task and role."""
        return self.climate.effects

    @cached_property
    def corridors(self) -> tuple[Corridor, ...]:
        """The routes that many take."""
        return corridors(self.seed, self.parameters)

    @cached_property
    def templates(self) -> Templates:
        """Of the campaigns of this quarter."""
        return Templates(self.seed, self.parameters, self.quarter, self._signals)

    @cached_property
    def _signals(self) -> SignalModel:
        return SignalModel(self.parameters)

    @cached_property
    def _profiles(self) -> dict[str, Profile]:
        return {}

    def profile(self, partner: str) -> Profile:
        """What is fixed about a partner before its first record.

        Raises:
            InputError: if there is no such partner.
        """
        if partner not in self._profiles:
            chosen = next((p for p in self.parameters.partners if p.name == partner), None)
            if chosen is None:
                raise InputError("partner", f"{partner} is not in this world",
                                 bound=", ".join(p.name for p in self.parameters.partners))
            self._profiles[partner] = profile(self.seed, self.parameters, chosen, self.climate, self.corridors)
        return self._profiles[partner]

    def stream(self, partner: str) -> Iterator[Draft]:
        """The partner's records in file order, each with the truth about it. For auditors; no file holds the truth.

        Raises:
            InputError: if there is no such partner.
        """
        found = self.profile(partner)
        start, end = self.period
        return iter(PartnerStream(self.seed, found, self._people(found.partner), self.climate, start=start,
                                  days=(end - start).days + 1, templates=self.templates, model=self._signals))

    def write(self, partner: str, directory: Path) -> Path:
        """Write `<partner>.csv` (readable by its owner only) into `directory` and return its path.

        Raises:
            InputError: if there is no such partner.
        """
        drafts = self.stream(partner)
        with open_private(directory, f"{partner}.csv") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(draft.row.values() for draft in drafts)
        return directory / f"{partner}.csv"

    def truth(self) -> dict[str, Any]:
        """What only the generator knows, as plain JSON values. The first call draws every partner once.

        `effects` are the latent effects on the logit and `highest` names their maximum; the rest comes from
        `simulations.world.truth.Tally`.
        """
        effects = plain(self.climate.effects)
        highest = {task: {role: max(by, key=by.__getitem__) for role, by in roles.items()}
                   for task, roles in effects.items()}
        return {"stamp": STAMP, "seed": self.seed, "size": self.size, "asked_records": self.records,
                "period": plain(self.period), "parameters": plain(self.parameters), "climate": plain(self.climate),
                "effects": effects, "highest": highest, "routes": plain(self.corridors), **self._tally}

    def write_truth(self, directory: Path) -> Path:
        """Write `truth()` as `truth.SYNTHETIC.json` into `directory` and return its path."""
        with open_private(directory, "truth.SYNTHETIC.json") as handle:
            json.dump(self.truth(), handle, indent=1, sort_keys=True)
            handle.write("\n")
        return directory / "truth.SYNTHETIC.json"

    @cached_property
    def _tally(self) -> dict[str, Any]:
        tally = Tally()
        for partner in self.parameters.partners:
            tally.add(partner.name, self.stream(partner.name))
        return tally.table()


def _later(start: date, quarters: int) -> date:
    month = start.month - 1 + 3 * quarters
    return start.replace(year=start.year + month // 12, month=month % 12 + 1)
