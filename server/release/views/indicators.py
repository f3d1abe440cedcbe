"""The indicator mix: how often each indicator is on a signal, against the other reviewed records of the same place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.release import words
from server.release.scales import Bar, RatioAxis
from server.release.views.index import Index, Json

EACH = 40
"""Up to so many places, roles and signals are drawn one by one; more are told in words, a line each."""


@dataclass(frozen=True, kw_only=True)
class Lift:
    """One indicator in one role: where ratio and interval lie on the axis, in numbers and in words."""

    bar: Bar
    ratio: str
    interval: str
    kind: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """One role of a chart: a lift for each indicator, None where it is withheld; `reason` if all of it is."""

    role: str
    heading: str
    reason: str | None
    lifts: tuple[Lift | None, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One place and signal: indicators down, roles across."""

    task: str
    heading: str
    place: str
    code: str
    indicators: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One place, signal and role in words."""

    task: str
    role: str
    signal: str
    heading: str
    place: str
    code: str
    reason: str | None
    more: str
    less: str
    unclear: int
    withheld: int


@dataclass(frozen=True, kw_only=True)
class Mix:
    """Either charts or lines; `ticks` are (place on the axis, label, whether it is 1)."""

    ticks: tuple[tuple[float, str, bool], ...]
    charts: tuple[Chart, ...]
    lines: tuple[Line, ...]


def mix(index: Index, labels: Mapping[str, str]) -> Mix | None:
    """The whole section, None if the study has no indicators; `labels` are what indicators are called."""
    known = index.content["indicators"]
    if known is None:
        return None
    if len(known["cells"]) > EACH:
        return Mix(ticks=(), charts=(), lines=tuple(_line(index, cell, labels) for cell in known["cells"]))
    axis = RatioAxis.holding(end for cell in known["cells"] for lift in cell.get("lifts", ())
                             if lift["status"] == "shown" for end in (lift["lower"], lift["upper"]))
    cells = {(cell["area"], cell["role"], cell["task"]): cell for cell in known["cells"]}
    places = sorted({cell["area"] for cell in known["cells"]})
    charts = (Chart(task=task, heading=words.TASKS[task][0], place=index.name(place), code=place,
                    indicators=tuple(labels[tag] for tag in known["tags"]),
                    columns=tuple(_column(cells[place, role, task], axis) for role in index.roles))
              for task in index.tasks for place in places)
    ticks = tuple((axis.at(ratio), label, ratio == 1.0) for ratio, label in axis.ticks())
    return Mix(ticks=ticks, charts=tuple(charts), lines=())


def _column(cell: Json, axis: RatioAxis) -> Column:
    shown = cell["status"] == "shown"
    return Column(role=cell["role"], heading=words.ROLES[cell["role"]][0],
                  reason=None if shown else words.REASONS[cell["reason"]],
                  lifts=tuple(_lift(lift, axis) for lift in cell["lifts"]) if shown else ())


def _lift(lift: Json, axis: RatioAxis) -> Lift | None:
    if lift["status"] != "shown":
        return None
    at, start, end = (axis.at(lift[name]) for name in ("lift", "lower", "upper"))
    return Lift(bar=Bar(at=at, start=start, end=end), ratio=words.times(lift["lift"]), kind=lift["class"],
                name=words.LIFTS[lift["class"]],
                interval=f"{words.times(lift['lower'])} to {words.times(lift['upper'])}")


def _line(index: Index, cell: Json, labels: Mapping[str, str]) -> Line:
    found: dict[str, list[str]] = {}
    for lift in cell.get("lifts", ()):
        found.setdefault(lift.get("class", "withheld"), []).append(labels[lift["indicator"]])
    return Line(task=cell["task"], role=cell["role"], heading=words.ROLES[cell["role"]][0], code=cell["area"],
                signal=words.TASKS[cell["task"]][0], place=index.name(cell["area"]),
                reason=None if cell["status"] == "shown" else words.REASONS[cell["reason"]],
                more=", ".join(found.get("more_often", ())), less=", ".join(found.get("less_often", ())),
                unclear=len(found.get("no_clear_difference", ())), withheld=len(found.get("withheld", ())))
