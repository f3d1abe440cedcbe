"""Public research texts dealt out to partners, with regions drawn at random in proportion to real magnitudes.

The texts and labels are real and untouched; who holds them is a choice and where they are is drawn, so a map made from
this world says nothing about any place. The data folder is the user's own (`data.root`); none of it is in the project.

Sources (each folder's README has the licence): Dreaddit (Turcan & McKeown 2019), GoEmotions (Demszky et al. 2020), SMS
Spam Collection (Almeida & Hidalgo 2011), a sample of EMSCAD (University of the Aegean), US hotline calls by state.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from federation.errors import InputError
from federation.plan_statistics import SuperRegion
from federation.regions import check_region
from federation.taxonomy import PartnerKind, Task
from simulations.world.files import open_private
from simulations.world.interface import WorldPartner, find_partner

STATES = Path("us_hotline_states") / "calls_cases_2012_2016.csv"
# The four regions of the US Census Bureau.
_CENSUS_REGIONS = (
    ("northeast", "Northeast", "CT ME MA NH NJ NY PA RI VT"),
    ("midwest", "Midwest", "IL IN IA KS MI MN MO NE ND OH SD WI"),
    ("south", "South", "AL AR DE DC FL GA KY LA MD MS NC OK SC TN TX VA WV"),
    ("west", "West", "AK AZ CA CO HI ID MT NV NM OR UT WA WY"),
)
_LONGEST_FIELD = 1 << 24  # characters; job adverts exceed the csv module's usual 131,072 only where a file is broken
_STRONG_SIZES = (0.52, 0.26, 0.13, 0.06, 0.03)
"""With strong skew: the share of a set's records at each partner. What a partner's positives come to is drawn whatever
its size, so that small ones have many and large ones few."""
_MOST_POSITIVE = 0.82
_CONCENTRATION = 1.0  # Dirichlet of the positives over partners: clear label skew, and no partner without positives


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One data set and how it is dealt out.

    `topics` maps the value of the file's `partner` column to a partner; without it rows are dealt with label skew.
    """

    path: Path
    mapping: str
    task: Task
    person: str  # column of the privacy unit; the row's own id where the source has no author
    kinds: Mapping[str, PartnerKind]
    slots: int
    prevalence: float  # public knowledge about the corpus, rounded
    topics: Mapping[str, str] = field(default_factory=dict)
    strong: tuple[str, tuple[int, ...]] | None = None
    """With strong skew: the beginning of the partners' names, and their slots."""
    bands: tuple[int, ...] = ()
    """Slots by partner, where they are not all `slots`."""

    def skewed(self) -> _Part:
        """This set, dealt with strong skew if it has a deal of that kind."""
        if self.strong is None:
            return self
        name, bands = self.strong
        return replace(self, bands=bands, kinds={f"{name}-{i}": PartnerKind.PLATFORM for i, _ in enumerate(bands, 1)})

    def slots_of(self, partner: str) -> int:
        """The public band of one of its partners."""
        return self.bands[list(self.kinds).index(partner)] if self.bands else self.slots


_PLATFORM, _NGO, _AGENCY = PartnerKind.PLATFORM, PartnerKind.NGO, PartnerKind.AGENCY
_PARTS: Mapping[str, _Part] = MappingProxyType({
    "dreaddit": _Part(
        path=Path("dreaddit") / "posts.csv", mapping="dreaddit", task=Task.DISTRESS, person="group", slots=512,
        prevalence=0.5,  # the corpus is balanced
        kinds={"dreaddit-abuse": _NGO, "dreaddit-housing": _AGENCY, "dreaddit-ptsd": _NGO,
               "dreaddit-anxiety": _AGENCY, "dreaddit-relationships": _PLATFORM},
        topics={"domesticviolence": "dreaddit-abuse", "survivorsofabuse": "dreaddit-abuse",
                "homeless": "dreaddit-housing", "almosthomeless": "dreaddit-housing",
                "food_pantry": "dreaddit-housing", "assistance": "dreaddit-housing", "ptsd": "dreaddit-ptsd",
                "anxiety": "dreaddit-anxiety", "stress": "dreaddit-anxiety",
                "relationships": "dreaddit-relationships"}),
    "goemotions": _Part(
        path=Path("goemotions_distress") / "posts.csv", mapping="goemotions", task=Task.DISTRESS, person="group",
        slots=2048, prevalence=0.25,  # built with three negatives to a positive
        kinds={f"goemotions-{i}": _PLATFORM for i in range(1, 5)},
        strong=("goemotions", (4096, 2048, 1024, 512, 256))),
    "sms_spam": _Part(
        path=Path("sms_spam") / "messages.csv", mapping="sms_spam", task=Task.RECRUITMENT, person="doc_id",
        slots=2048, prevalence=0.10,  # published: 13 % of the collection
        kinds={"sms-1": _PLATFORM, "sms-2": _PLATFORM},
        strong=("sms", (2048, 1024, 512, 256, 128))),
    "emscad": _Part(
        path=Path("emscad_small") / "ads.csv", mapping="emscad_small", task=Task.RECRUITMENT, person="doc_id",
        slots=512, prevalence=0.05,  # published: 4.8 % of the adverts
        kinds={"emscad-jobs": _PLATFORM}),
})
PARTS = tuple(_PARTS)


@dataclass(frozen=True, kw_only=True)
class RealWorld:
    """Real texts at plausible partners, regions drawn.

    Args:
        data_root: folder that holds the data sets, each in its own folder.
        seed: draws regions and the label skew.
        parts: which data sets; a partner's file does not depend on which others are chosen.
        skew: `mild` deals sets without topics to few partners of one size; `strong` to five, each half as large as the
            one before, whose shares of positives run from a few percent to 82.

    Raises:
        InputError: if the folder or a file is missing, or a part is unknown.
    """

    data_root: Path
    seed: int
    parts: tuple[str, ...] = PARTS
    skew: Literal["mild", "strong"] = "mild"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError("world.seed", str(self.seed), bound="0 or more")
        unknown = sorted(set(self.parts) - set(_PARTS))
        if unknown or not self.parts or len(set(self.parts)) != len(self.parts):
            raise InputError("world.parts", f"cannot use {', '.join(unknown) or 'an empty or repeated list'}",
                             bound=", ".join(_PARTS))
        remedy = "set data.root to the folder that holds the public data sets, or use the synthetic world"
        if not self.data_root.is_dir():
            raise InputError("data.root", f"{self.data_root} is not a folder", remedy=remedy)
        for path in (STATES, *(_PARTS[part].path for part in self.parts)):
            if not (self.data_root / path).is_file():
                raise InputError("data.root", f"{self.data_root} lacks {path}", remedy=remedy)

    @property
    def name(self) -> str:
        return "-".join(["real", *self.parts, *(["strong"] if self.skew == "strong" else []), str(self.seed)])

    @cached_property
    def _dealt(self) -> Mapping[str, _Part]:
        """All sets as this world deals them, in their fixed order."""
        return {name: part.skewed() if self.skew == "strong" else part for name, part in _PARTS.items()}

    @property
    def label(self) -> str:
        return "real texts, drawn regions"

    @property
    def synthetic(self) -> bool:
        return False

    @property
    def regions_drawn(self) -> bool:
        return True

    @property
    def tasks(self) -> tuple[Task, ...]:
        used = {_PARTS[part].task for part in self.parts}
        return tuple(task for task in Task if task in used)

    @cached_property
    def regions(self) -> tuple[str, ...]:
        return tuple(self._magnitudes)

    @property
    def super_regions(self) -> tuple[SuperRegion, ...]:
        return census_regions(self.regions)

    @property
    def period(self) -> tuple[date, date]:
        # The sources are of different years; together they are one collection.
        return date(2008, 1, 1), date(2020, 12, 31)

    @property
    def indicators(self) -> bool:
        return False

    @cached_property
    def partners(self) -> tuple[WorldPartner, ...]:
        return tuple(
            WorldPartner(name=name, kind=kind, slots=part.slots_of(name), regions=self.regions, languages=("en",),
                         declared_prevalence=MappingProxyType({part.task: part.prevalence}), mapping=part.mapping)
            for part in (self._dealt[chosen] for chosen in self.parts) for name, kind in part.kinds.items())

    @cached_property
    def _magnitudes(self) -> Mapping[str, int]:
        """Calls per state over all years in the file, by ISO 3166-2 code, sorted by code."""
        calls: dict[str, int] = {}
        for line, row in _rows(self.data_root / STATES, ("postal", "calls")):
            if not row["calls"].isdigit():
                raise InputError(f"{STATES} line {line}", "calls is not a whole number", bound="0 or more")
            code = check_region(f"US-{row['postal']}")
            calls[code] = calls.get(code, 0) + int(row["calls"])
        if not sum(calls.values()):
            raise InputError(str(STATES), "has no calls", bound="a positive number in at least one state")
        return MappingProxyType(dict(sorted(calls.items())))

    def write(self, partner: str, directory: Path) -> Path:
        """Write `<partner>.csv` in the source's own columns plus `region`, readable by its owner only.

        A source that has a `region` column of its own (emscad_small) gets it replaced: real and drawn places must not
        stand side by side.

        Raises:
            InputError: if there is no such partner, a file is broken, or the partner holds more people than slots.
        """
        chosen = find_partner(self.partners, partner)
        index, part = next((i, part) for i, part in enumerate(self._dealt.values()) if partner in part.kinds)
        # Sequences keyed by the fixed index of the data set: the choice of parts changes nothing.
        regions_rng, deal_rng = (np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index, use)))
                                 for use in range(2))
        needed = (part.person, "text", "label", *(("partner",) if part.topics else ()))
        rows = [row for _, row in _rows(self.data_root / part.path, needed)]
        owners = self._owners(part, rows, deal_rng)
        places = self._places([row[part.person] for row in rows], regions_rng)
        held = [row for row, owner in zip(rows, owners, strict=True) if owner == partner]
        people = len({row[part.person] for row in held})
        if people > chosen.slots:
            raise InputError(partner, f"{people} people do not fit into {chosen.slots} slots",
                             remedy="use the published size of the data set")
        columns = list(dict.fromkeys([*(rows[0] if rows else needed), "region"]))
        with open_private(directory, f"{partner}.csv") as handle:
            writer = csv.DictWriter(handle, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "region": places[row[part.person]]} for row in held)
        return directory / f"{partner}.csv"

    def _places(self, people: Sequence[str], rng: np.random.Generator) -> Mapping[str, str]:
        """One region for each person, in proportion to the real magnitudes."""
        unique = tuple(dict.fromkeys(people))
        weights = np.array(list(self._magnitudes.values()), dtype=np.float64)
        drawn = rng.choice(len(weights), size=len(unique), p=weights / weights.sum())
        return {person: self.regions[int(i)] for person, i in zip(unique, drawn, strict=True)}

    def _owners(self, part: _Part, rows: Sequence[Mapping[str, str]], rng: np.random.Generator) -> list[str]:
        names = tuple(part.kinds)
        if part.topics:
            unknown = [at for at, row in enumerate(rows) if row["partner"] not in part.topics]
            if unknown:
                raise InputError(str(part.path), f"record {unknown[0] + 1} has an unknown partner",
                                 bound=", ".join(part.topics))
            return [part.topics[row["partner"]] for row in rows]
        positive = [row["label"] == "1" for row in rows]
        if self.skew == "strong" and part.strong is not None:
            return [names[i] for i in deal_unevenly(positive, rng)]
        return [names[i] for i in deal(positive, len(names), rng)]


def census_regions(codes: Sequence[str]) -> tuple[SuperRegion, ...]:
    """The census regions of the US that hold some of these states, with the states among them."""
    return tuple(SuperRegion(code=f"US:{slug}", name=name, regions=present)
                 for slug, name, states in _CENSUS_REGIONS
                 if (present := tuple(code for code in codes if code[3:] in states.split())))


def deal(positive: Sequence[bool], hands: int, rng: np.random.Generator) -> list[int]:
    """Deal rows into `hands` of equal size (±1) whose share of positives is skewed by a Dirichlet draw.

    Equal sizes keep every hand inside its public band whatever the seed; the skew is in the labels alone.

    Returns:
        The hand of each row.
    """
    total = len(positive)
    room = np.array([total // hands + (i < total % hands) for i in range(hands)])
    return _dealt(positive, room, room, rng)


def deal_unevenly(positive: Sequence[bool], rng: np.random.Generator) -> list[int]:
    """Deal rows into hands of `_STRONG_SIZES`, none with more than `_MOST_POSITIVE` positives.

    Returns:
        The hand of each row.

    Raises:
        ValueError: if there are too many positives for that.
    """
    room = (len(positive) * np.array(_STRONG_SIZES)).astype(int)
    room[0] += len(positive) - room.sum()
    most = (room * _MOST_POSITIVE).astype(int)
    if sum(positive) > most.sum():
        raise ValueError(f"{sum(positive)} of {len(positive)} rows are positive, expected at most {most.sum()}")
    return _dealt(positive, room, most, rng)


def _dealt(positive: Sequence[bool], size: npt.NDArray[np.int64], room: npt.NDArray[np.int64],
           rng: np.random.Generator) -> list[int]:
    """Deal hands of given sizes; of their positives a Dirichlet draw decides, as far as there is room for them."""
    hands, marks = len(size), np.asarray(positive, dtype=bool)
    share = rng.dirichlet([_CONCENTRATION] * hands) * marks.sum()
    wanted = np.minimum(share.astype(int), room)
    while wanted.sum() < marks.sum():  # what rounding or a full hand left over goes where there is room
        wanted[int(np.argmax(np.where(wanted < room, share - wanted, -np.inf)))] += 1
    result = np.empty(len(marks), dtype=int)
    for mask, counts in ((marks, wanted), (~marks, size - wanted)):
        result[np.flatnonzero(mask)] = rng.permutation(np.repeat(np.arange(hands), counts))
    return [int(i) for i in result]


@contextmanager
def _long_fields() -> Iterator[None]:
    """Raise the csv module's process-wide limit for as long as one of our files is read."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _rows(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """All rows with their line numbers. Errors name file, column and line, never a value."""
    with _long_fields(), path.open(encoding="utf-8", newline="") as handle:
        reader = csv.DictReader(handle, strict=True)
        try:
            missing = sorted(set(needed) - set(reader.fieldnames or ()))
            if missing:
                raise InputError(path.name, f"lacks the column {', '.join(missing)}", bound=", ".join(needed))
            rows = [(reader.line_num, row) for row in reader]
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(path.name, f"line {reader.line_num} is not readable as CSV in UTF-8",
                             remedy="use the published file") from error
    for line, row in rows:
        if None in row or None in row.values():
            raise InputError(f"{path.name} line {line}", "has too many or too few fields",
                             remedy="use the published file")
    return rows
