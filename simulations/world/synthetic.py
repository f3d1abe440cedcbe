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
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from federation.errors import InputError
from federation.taxonomy import RegionRole, Task
from simulations.world.files import open_private
from simulations.world.grammar import Voice, load_language
from simulations.world.interface import WorldPartner, find_partner, power_of_two
from simulations.world.parameters import SIZES, Parameters, PartnerParameters
from simulations.world.people import Draft, Effects, PartnerStream, covered_regions, regional_effects

COLUMNS = ("record_id", "person_id", "actor_kind", "channel", "text", "language", "observed_at", "region_origin",
           "region_transit", "region_destination", "region_observed", "country", "label_recruitment", "label_distress",
           "label_provenance", "consent_basis", "retention_until", "synthetic")
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
            raise InputError("seed", str(self.seed), bound="0 or more")
        if self.size not in SIZES:
            raise InputError("size", f"{self.size} is unknown", bound=", ".join(SIZES))
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
    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task)

    @property
    def regions(self) -> tuple[str, ...]:
        return self.parameters.regions

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
    def _effects(self) -> Effects:
        return regional_effects(self.seed, self.parameters)

    def stream(self, partner: str) -> Iterator[Draft]:
        """The partner's records in file order, each with the truth about it. For auditors; no file holds the truth.

        Raises:
            InputError: if there is no such partner.
        """
        find_partner(self.partners, partner)
        chosen = next(p for p in self.parameters.partners if p.name == partner)
        return iter(PartnerStream(self.seed, self.parameters, chosen, self._people(chosen), self._effects))

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
        """What only the generator knows, as plain JSON values.

        `prevalence[task][role][region]` counts the good rows that name the region in that role: `records`, true
        `positives` among them and their `rate`, overall and `by_partner`. `effects` are the latent effects on the
        logit and `highest` names their maximum. `indicators` describes the benign recruitment texts.
        """
        effects = {task.value: {role.value: dict(by) for role, by in roles.items()}
                   for task, roles in self._effects.items()}
        highest = {task: {role: max(by, key=by.__getitem__) for role, by in roles.items()}
                   for task, roles in effects.items()}
        return {"stamp": STAMP, "seed": self.seed, "size": self.size, "parameters": _plain(self.parameters),
                "effects": effects, "highest": highest, **self._tally}

    def write_truth(self, directory: Path) -> Path:
        """Write `truth()` as `truth.SYNTHETIC.json` into `directory` and return its path."""
        with open_private(directory, "truth.SYNTHETIC.json") as handle:
            json.dump(self.truth(), handle, indent=1, sort_keys=True)
            handle.write("\n")
        return directory / "truth.SYNTHETIC.json"

    @cached_property
    def _tally(self) -> dict[str, Any]:
        """One pass over all partners."""
        cells: Counter[tuple[str, str, str, str, bool]] = Counter()
        benign: Counter[int] = Counter()
        totals: dict[str, dict[str, int]] = {}
        for partner in self.partners:
            people, counts = set(), Counter[str]()
            for draft in self.stream(partner.name):
                counts["rows"] += 1
                counts["bad_rows"] += bool(draft.bad)
                people.add(draft.row["person_id"])
                if draft.bad:
                    continue
                counts.update(f"true_{task.value}" for task, is_true in draft.truth.items() if is_true)
                if draft.voice in (Voice.ADVERT, Voice.TOLD) and not draft.truth[Task.RECRUITMENT]:
                    benign[len(draft.tags)] += 1
                for role in RegionRole:
                    if region := draft.row[f"region_{role.value}"]:
                        cells.update((task.value, role.value, region, partner.name, is_true)
                                     for task, is_true in draft.truth.items())
            totals[partner.name] = {"people": len(people), **{k: counts[k] for k in sorted(counts)}}
        texts = max(sum(benign.values()), 1)
        return {"partners": totals, "prevalence": _prevalence(cells), "indicators": {
            "benign_recruitment_texts": sum(benign.values()),
            "share_with_one_or_more": 1.0 - benign[0] / texts,
            "share_with_five_or_more": sum(n for k, n in benign.items() if k >= 5) / texts}}


def _prevalence(cells: Counter[tuple[str, str, str, str, bool]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for (task, role, region, partner, is_true), count in sorted(cells.items()):
        cell = table.setdefault(task, {}).setdefault(role, {}).setdefault(
            region, {"records": 0, "positives": 0, "rate": 0.0, "by_partner": {}})
        own = cell["by_partner"].setdefault(partner, {"records": 0, "positives": 0})
        for counts in (cell, own):
            counts["records"] += count
            counts["positives"] += count if is_true else 0
        cell["rate"] = cell["positives"] / cell["records"]
    return table


def _plain(value: Any) -> Any:
    """Dataclasses, enums, dates and tuples as JSON values."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(getattr(key, "value", key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(getattr(value, "value", value))
