"""Counting what only the generator knows, so that a release can be scored against it.

Two rates are kept per cell (task, role, region). `rate` is the share of true positives among the records that name the
region in that role. `people_rate` gives every person the same weight, spread evenly over their (record, role) mentions:
the expectation of a table in which each person counts once, through one mention drawn at random.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import groupby
from typing import Any

from federation.taxonomy import RegionRole, Task
from simulations.world.drafts import Draft
from simulations.world.grammar import STRENGTH, Voice

_ROLES = tuple((role.value, f"region_{role.value}") for role in RegionRole)
_NAMES = ("records", "positives", "people", "positive_people")


class Tally:
    """Counts over all partners, in memory that does not grow with the records."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, str, str], list[float]] = defaultdict(lambda: [0, 0, 0.0, 0.0])
        self._benign: Counter[int] = Counter()
        self._partners: dict[str, dict[str, int]] = {}
        self._corridors: Counter[tuple[str, str, bool]] = Counter()
        self._tags: Counter[tuple[str, bool]] = Counter()
        self._kinds: Counter[tuple[str, bool]] = Counter()
        self._labels: Counter[tuple[str, bool, str]] = Counter()
        self._templates: Counter[tuple[str, bool]] = Counter()

    def add(self, partner: str, drafts: Iterator[Draft]) -> None:
        """Count a partner's records, given in file order, holding one person at a time."""
        counts: Counter[str] = Counter()
        campaign = ""
        for _, records in groupby(drafts, key=lambda draft: draft.row["person"]):
            counts["people"] += 1
            good = []
            for draft in records:
                counts["rows"] += 1
                if draft.bad:
                    counts["bad_rows"] += 1
                    continue
                good.append(draft)
                self._count(draft, counts)
                if draft.origin is not None and draft.origin.campaign != campaign:
                    campaign = draft.origin.campaign
                    counts["campaigns"] += 1
            self._add_person(partner, good)
        self._partners[partner] = {key: counts[key] for key in sorted(counts)}

    def _count(self, draft: Draft, counts: Counter[str]) -> None:
        row, recruits = draft.row, draft.truth[Task.RECRUITMENT]
        for task, is_true in draft.truth.items():
            counts[f"true_{task.value}"] += is_true
            self._labels[task.value, is_true, row[f"label_{task.value}"]] += 1
        self._kinds[draft.signals.kind.value, recruits] += 1
        for tag in draft.signals.indicators:
            self._tags[tag.value, recruits] += 1
        if draft.signals.voice in (Voice.ADVERT, Voice.TOLD) and not recruits:
            self._benign[sum(tag in STRENGTH for tag in draft.signals.indicators)] += 1  # distress is no indicator
        if draft.origin is not None:
            self._templates[draft.origin.template, draft.origin.seen] += 1
        if row["region_origin"] and row["region_destination"]:
            self._corridors[row["region_origin"], row["region_destination"], recruits] += 1

    def _add_person(self, partner: str, records: list[Draft]) -> None:
        mentions = [(draft, role, region) for draft in records for role, column in _ROLES
                    if (region := draft.row[column])]
        for draft, role, region in mentions:
            for task, is_true in draft.truth.items():
                cell = self._cells[task.value, role, region, partner]
                cell[0] += 1
                cell[1] += is_true
                cell[2] += 1 / len(mentions)
                cell[3] += is_true / len(mentions)

    def table(self) -> dict[str, Any]:
        """Plain JSON values.

        Returns:
            `prevalence[task][role][region]` with the two rates, their parts and `by_partner`; `partners[name]` with
            true sizes; `indicators`, the spread of tags over benign recruitment texts; `tags` and `text_kinds`, records
            by whether they recruit; `corridors[origin][destination]`, records that name both; `labels[task]`, records
            by truth and label; `templates`, records by whether the template is seen. Rows that ingestion must reject
            count only in `rows` and `bad_rows`.
        """
        texts = max(self._benign.total(), 1)
        corridors: dict[str, Any] = {}
        for origin, destination in sorted({(o, d) for o, d, _ in self._corridors}):
            corridors.setdefault(origin, {})[destination] = self._split(self._corridors, origin, destination)
        labels: dict[str, Any] = {}
        for (task, is_true, value), count in sorted(self._labels.items()):
            truth = labels.setdefault(task, {}).setdefault("positive" if is_true else "negative", {})
            truth[value or "none"] = count
        return {
            "partners": self._partners, "prevalence": self._prevalence(), "corridors": corridors, "labels": labels,
            "tags": {tag: self._split(self._tags, tag) for tag in sorted({tag for tag, _ in self._tags})},
            "text_kinds": {kind: self._split(self._kinds, kind) for kind in sorted({kind for kind, _ in self._kinds})},
            "templates": {name: {"records": count, "seen": seen}
                          for (name, seen), count in sorted(self._templates.items())},
            "indicators": {
                "benign_recruitment_texts": self._benign.total(),
                "share_with_one_or_more": 1.0 - self._benign[0] / texts,
                "share_with_five_or_more": sum(n for tags, n in self._benign.items() if tags >= 5) / texts}}

    @staticmethod
    def _split(counter: Counter[Any], *key: str) -> dict[str, int]:
        return {"positive": counter[*key, True], "negative": counter[*key, False]}

    def _prevalence(self) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for (task, role, region, partner), found in sorted(self._cells.items()):
            own = dict(zip(_NAMES, found, strict=True))
            cell = table.setdefault(task, {}).setdefault(role, {}).setdefault(
                region, {**dict.fromkeys(_NAMES, 0), "by_partner": {}})
            cell["by_partner"][partner] = own
            for name in _NAMES:
                cell[name] += own[name]
            cell["rate"] = cell["positives"] / cell["records"]
            cell["people_rate"] = cell["positive_people"] / cell["people"]
        return table


def plain(value: Any) -> Any:
    """Dataclasses, mappings, enums, dates and tuples as JSON values."""
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(getattr(key, "value", key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(getattr(value, "value", value))
