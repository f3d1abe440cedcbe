"""Counting what only the generator knows, so that a release can be scored against it.

Two rates are kept per cell (task, role, region). `rate` is the share of true positives among the records that name the
region in that role. `people_rate` gives every person the same weight, spread evenly over their (record, role) mentions:
the expectation of a table in which each person counts once, through one mention drawn at random.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from itertools import groupby
from typing import Any

from federation.taxonomy import RegionRole, Task
from simulations.world.drafts import Draft
from simulations.world.grammar import STRENGTH, Voice

_Key = tuple[str, str, str, str]  # task, role, region, partner
_Sums = dict[_Key, list[float]]  # records, positives, people, positive people


def tally(streams: Iterable[tuple[str, Iterator[Draft]]]) -> dict[str, Any]:
    """One pass over (partner, its records in file order), holding one person at a time.

    Returns:
        `prevalence[task][role][region]` with the two rates, their parts and `by_partner`; `partners[name]` with true
        sizes; `indicators`, the spread of tags over benign recruitment texts. Rows that ingestion must reject count
        only in `rows` and `bad_rows`.
    """
    sums: _Sums = defaultdict(lambda: [0, 0, 0.0, 0.0])
    benign: Counter[int] = Counter()
    totals: dict[str, dict[str, int]] = {}
    for partner, drafts in streams:
        counts: Counter[str] = Counter()
        for _, records in groupby(drafts, key=lambda draft: draft.row["person"]):
            counts["people"] += 1
            good = []
            for draft in records:
                counts["rows"] += 1
                counts["bad_rows"] += bool(draft.bad)
                if draft.bad:
                    continue
                good.append(draft)
                counts.update(f"true_{task.value}" for task, is_true in draft.truth.items() if is_true)
                if draft.voice in (Voice.ADVERT, Voice.TOLD) and not draft.truth[Task.RECRUITMENT]:
                    benign[sum(tag in STRENGTH for tag in draft.tags)] += 1  # distress is not an indicator
            _add_person(sums, partner, good)
        totals[partner] = {key: counts[key] for key in sorted(counts)}
    texts = max(benign.total(), 1)
    return {"partners": totals, "prevalence": _table(sums), "indicators": {
        "benign_recruitment_texts": benign.total(),
        "share_with_one_or_more": 1.0 - benign[0] / texts,
        "share_with_five_or_more": sum(n for tags, n in benign.items() if tags >= 5) / texts}}


def _add_person(sums: _Sums, partner: str, records: list[Draft]) -> None:
    mentions = [(draft, role.value, region) for draft in records for role in RegionRole
                if (region := draft.row[f"region_{role.value}"])]
    for draft, role, region in mentions:
        for task, is_true in draft.truth.items():
            cell = sums[task.value, role, region, partner]
            for at, step in enumerate((1, is_true, 1 / len(mentions), is_true / len(mentions))):
                cell[at] += step


def _table(sums: _Sums) -> dict[str, Any]:
    names = ("records", "positives", "people", "positive_people")
    table: dict[str, Any] = {}
    for (task, role, region, partner), values in sorted(sums.items()):
        own = dict(zip(names, values, strict=True))
        cell = table.setdefault(task, {}).setdefault(role, {}).setdefault(
            region, {**dict.fromkeys(names, 0), "by_partner": {}})
        cell["by_partner"][partner] = own
        for name in names:
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
