"""A federation of invented organisations in invented places, with the truth kept beside it.

    world = SyntheticWorld(seed=7)
    world.write("ngo-legal", Path("run/sources"))   # the CSV as it lies at the partner
    world.truth()["highest"]["recruitment"]["origin"]  # which region the seed made highest

Files are reproducible byte for byte from (seed, size, parameters) and written one person at a time.
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
from federation.taxonomy import Indicator, Task
from simulations.world.drafts import Draft
from simulations.world.files import open_private
from simulations.world.grammar import load_language
from simulations.world.interface import WorldPartner, find_partner, power_of_two
from simulations.world.parameters import SIZES, Parameters, PartnerParameters
from simulations.world.people import Effects, PartnerStream, covered_regions, regional_effects
from simulations.world.truth import plain, tally

COLUMNS = ("record_id", "person", "actor_kind", "channel", "text", "language", "observed_at", "region_origin",
           "region_transit", "region_destination", "region_observed", "country_only", "label_recruitment",
           "label_recruitment_provenance", "label_distress", "label_distress_provenance", "consent_basis",
           "retention_until", "synthetic", "weak_labels",
           *(f"indicator_{tag.value}" for tag in Indicator if tag is not Indicator.TEMPLATED_CAMPAIGN))
STAMP = "SYNTHETIC"
_ROOM = 1.2  # a public band leaves room for a fifth more people than planned


@dataclass(frozen=True, kw_only=True)
class SyntheticWorld:
    """Invented places, people and texts. Never a finding about any real place.

    Args:
        seed: a non-negative integer; everything follows from it.
        size: one of `SIZES`.
        parameters: every other number, with its source.
    """

    seed: int
    size: str = "small"
    parameters: Parameters = field(default_factory=Parameters)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError("world.seed", str(self.seed), bound="0 or more")
        if self.size not in SIZES:
            raise InputError("world.size", f"{self.size} is unknown", bound=", ".join(SIZES),
                             remedy=f"give one of them, such as world.size={next(iter(SIZES))}")
        for partner in self.parameters.partners:
            for code in (*partner.languages, *partner.uncovered_languages):
                load_language(code)

    @property
    def name(self) -> str:
        return f"synthetic-{self.size}-{self.seed}"

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
        return self.parameters.start, self.parameters.start + timedelta(days=self.parameters.days - 1)

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
        return max(1, round(partner.people * SIZES[self.size]))

    @cached_property
    def effects(self) -> Effects:
        """The latent effect of each region on the logit of the true rate, per task and role."""
        return regional_effects(self.seed, self.parameters)

    def stream(self, partner: str) -> Iterator[Draft]:
        """The partner's records in file order, each with the truth about it. For auditors; no file holds the truth.

        Raises:
            InputError: if there is no such partner.
        """
        find_partner(self.partners, partner)
        chosen = next(p for p in self.parameters.partners if p.name == partner)
        return iter(PartnerStream(self.seed, self.parameters, chosen, self._people(chosen), self.effects))

    def write(self, partner: str, directory: Path) -> Path:
        """Write `<partner>.csv` (readable by its owner only) into `directory` and return its path.

        Raises:
            InputError: if there is no such partner.
        """
        drafts = self.stream(partner)
        with open_private(directory, f"{partner}.csv") as handle:
            writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(draft.row for draft in drafts)
        return directory / f"{partner}.csv"

    def truth(self) -> dict[str, Any]:
        """What only the generator knows, as plain JSON values. The first call draws every partner once.

        `effects` are the latent effects on the logit and `highest` names their maximum; `prevalence`, `partners` and
        `indicators` come from `simulations.world.truth.tally`.
        """
        effects = plain(self.effects)
        highest = {task: {role: max(by, key=by.__getitem__) for role, by in roles.items()}
                   for task, roles in effects.items()}
        return {"stamp": STAMP, "seed": self.seed, "size": self.size, "parameters": plain(self.parameters),
                "effects": effects, "highest": highest, **self._tally}

    def write_truth(self, directory: Path) -> Path:
        """Write `truth()` as `truth.SYNTHETIC.json` into `directory` and return its path."""
        with open_private(directory, "truth.SYNTHETIC.json") as handle:
            json.dump(self.truth(), handle, indent=1, sort_keys=True)
            handle.write("\n")
        return directory / "truth.SYNTHETIC.json"

    @cached_property
    def _tally(self) -> dict[str, Any]:
        return tally((partner.name, self.stream(partner.name)) for partner in self.partners)
