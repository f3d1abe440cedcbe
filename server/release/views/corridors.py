"""Reported movements between places, in bands; pairs are in the order of their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.release import words
from server.release.views.index import MANY, Index, Json

UPPER_EDGES = (50, 200, 1000)
"""The classes that a band is made of begin at the least count and at each of these."""


@dataclass(frozen=True, kw_only=True)
class End:
    """One end of a pair."""

    code: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Movement:
    """A pair of places with its band, in words and as classes covered; or the reason why there is none."""

    origin: End
    destination: End
    band: str
    classes: tuple[bool, ...]
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Corridors:
    """One signal's pairs. Of very many, `listed` holds those that are shown, and `folded` counts the others by
    reason."""

    task: str
    heading: str
    listed: tuple[Movement, ...]
    folded: tuple[tuple[str, int], ...]
    summary: str


def steps(index: Index) -> tuple[int, ...]:
    """Where the classes of counts begin."""
    return (index.content["gate"]["minimum_count"], *UPPER_EDGES)


def corridors(index: Index) -> tuple[Corridors, ...]:
    """By signal; () if the study has no corridors."""
    rows = sorted(index.content["corridors"], key=lambda row: (row["origin"], row["destination"]))
    return tuple(_corridors(index, task, [row for row in rows if row["task"] == task])
                 for task in index.tasks) if rows else ()


def _corridors(index: Index, task: str, rows: Sequence[Json]) -> Corridors:
    shown = [row for row in rows if row["status"] == "shown"]
    held = [words.REASONS[row["reason"]] for row in rows if row["status"] != "shown"]
    many = len(rows) > MANY
    listed = shown if many else rows
    return Corridors(
        task=task, heading=words.TASKS[task][0], listed=tuple(_movement(index, row) for row in listed),
        folded=tuple((reason, held.count(reason)) for reason in sorted(set(held))) if many else (),
        summary=f"{words.grouped(len(shown))} of {words.counted(len(rows), 'pair', 'pairs')} shown")


def _movement(index: Index, row: Json) -> Movement:
    origin, destination = (End(code=row[end], name=index.name(row[end])) for end in ("origin", "destination"))
    if row["status"] != "shown":
        return Movement(origin=origin, destination=destination, band="", classes=(),
                        reason=words.REASONS[row["reason"]])
    low, high = row["band"]["from"], row["band"]["to"]
    return Movement(origin=origin, destination=destination, band=words.band_of_counts(row["band"]), reason=None,
                    classes=tuple(low <= start and (high is None or start < high) for start in steps(index)))
