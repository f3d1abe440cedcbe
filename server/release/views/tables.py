"""The tables of rates: by role and level, in the order of the codes, each interval drawn on one axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from federation.areas import country_of
from server.release import words
from server.release.scales import Bar, axis_ticks
from server.release.views.index import LEVELS, MANY, Index, Json


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A rate with its interval, and where they lie on the axis, in hundredths of it (None: told in numbers only).

    `whole` is the country's rate, if that is shown.
    """

    code: str
    name: str
    rate: str
    interval: str
    bar: Bar | None
    whole: float | None
    band: str | None
    trend: Change | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change since the previous release: its class, name and size."""

    kind: str
    name: str
    size: str


@dataclass(frozen=True, kw_only=True)
class Held:
    """Places withheld for one reason, or protected: each in a row of its own, or all in one."""

    places: tuple[tuple[str, str], ...]
    reason: str
    protected: bool = False


Row = Shown | Held


@dataclass(frozen=True, kw_only=True)
class Body:
    """The rows of one role at one level."""

    role: str
    heading: str
    rows: tuple[Row, ...]
    summary: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """Bodies on one axis, `ticks` from 0, with a column of bands and one of trends or without."""

    ticks: tuple[int, ...]
    bodies: tuple[Body, ...]
    bands: bool
    trends: bool

    @property
    def axis(self) -> tuple[tuple[float, str, bool], ...]:
        """The ticks: where each lies in hundredths, its label, and that none is the middle."""
        return tuple((round(100 * tick / self.ticks[-1], 1), words.grouped(tick), False) for tick in self.ticks)


def ticks_of(index: Index, task: str) -> tuple[int, ...]:
    """One axis for all tables of a signal."""
    return axis_ticks(max((cell["display"]["upper"] for cell in index.content["cells"]
                           if cell["task"] == task and cell["status"] == "shown"), default=1))


def table(index: Index, countries: Sequence[str], task: str, ticks: tuple[int, ...], *,
          levels: Sequence[str] = LEVELS) -> Table:
    """The rates of some countries and what lies in them, one signal."""
    bodies = [body for role in index.roles for level in levels
              if (body := _body(index, countries, role, task, level, ticks)) is not None]
    return Table(ticks=ticks, bodies=tuple(bodies), bands=True,
                 trends=index.content["previous_release_sha256"] is not None)


def series_table(index: Index, task: str) -> Table:
    """The running totals of one signal, on an axis of their own."""
    series = index.content["series"]
    cells = [cell for cell in series["cells"] if cell["task"] == task]
    ticks = axis_ticks(max((cell["display"]["upper"] for cell in cells if cell["status"] == "shown"), default=1))
    bodies = []
    for role in index.roles:
        own = sorted((cell for cell in cells if cell["role"] == role), key=lambda cell: str(cell["area"]))
        rows = [_total(index, cell, ticks) if cell["status"] == "shown" else
                Held(places=((cell["area"], index.name(cell["area"])),),
                     reason=f"withheld: {words.REASONS[cell['reason']]}") for cell in own]
        shown = sum(isinstance(row, Shown) for row in rows)
        bodies.append(Body(role=role, heading=_heading(role, series["level"], len(own)), rows=tuple(rows),
                           summary=f"{words.grouped(shown)} of {words.grouped(len(own))} shown"))
    return Table(ticks=ticks, bodies=tuple(bodies), bands=False, trends=False)


def _total(index: Index, cell: Json, ticks: tuple[int, ...]) -> Shown:
    return Shown(code=cell["area"], name=index.name(cell["area"]), rate=words.grouped(cell["display"]["rate"]),
                 interval=_interval(cell), bar=_bar(cell, ticks), whole=None, band=None, trend=None)


def _heading(role: str, level: str, number: int) -> str:
    return f"{words.ROLES[role][0]}: {words.LEVELS[level][number != 1]}"


def _interval(cell: Json) -> str:
    return f"{words.grouped(cell['display']['lower'])} to {words.grouped(cell['display']['upper'])}"


def _bar(cell: Json, ticks: tuple[int, ...]) -> Bar:
    at, start, end = (_at(cell["display"][name], ticks) for name in ("rate", "lower", "upper"))
    return Bar(at=at, start=start, end=end)


def _at(rate: int, ticks: tuple[int, ...]) -> float:
    return round(100 * rate / ticks[-1], 1)


def _body(index: Index, countries: Sequence[str], role: str, task: str, level: str,
          ticks: tuple[int, ...]) -> Body | None:
    codes = [code for country in countries for code in index.measured(country, level)]
    protected = [code for country in countries for code in index.protected(country)] if level == "region" else []
    if not codes and not protected:
        return None
    cells = {code: cell for code in codes if (cell := index.cell(code, role, task)) is not None}
    rows: list[Row] = [_shown(index, cell, ticks) for cell in cells.values() if cell["status"] == "shown"]
    held = [(code, words.REASONS[cell["reason"]]) for code, cell in cells.items() if cell["status"] != "shown"]
    shown, folded = len(rows), len(codes) > MANY
    if folded:
        rows += [Held(places=places, reason=f"withheld: {reason}") for reason, places in _by_reason(index, held)]
        if protected:
            rows.append(Held(places=tuple((code, index.name(code)) for code in protected), reason=words.PROTECTED,
                             protected=True))
    else:
        rows += [Held(places=((code, index.name(code)),), reason=f"withheld: {reason}") for code, reason in held]
        rows += [Held(places=((code, index.name(code)),), reason=words.PROTECTED, protected=True) for code in protected]
        rows.sort(key=lambda row: row.code if isinstance(row, Shown) else row.places[0][0])
    return Body(role=role, heading=_heading(role, level, len(codes)), rows=tuple(rows),
                summary=f"{words.grouped(shown)} of {words.grouped(len(codes))} shown")


def _by_reason(index: Index, held: Iterable[tuple[str, str]]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for code, reason in held:
        found.setdefault(reason, []).append((code, index.name(code)))
    return [(reason, tuple(places)) for reason, places in sorted(found.items())]


def _shown(index: Index, cell: Json, ticks: tuple[int, ...]) -> Shown:
    code = cell["area"]
    whole = index.cell(country_of(code), cell["role"], cell["task"])
    drawn = not (index.compact and cell["level"] == "region")
    return Shown(
        code=code, name=index.name(code), rate=words.grouped(cell["display"]["rate"]), interval=_interval(cell),
        bar=_bar(cell, ticks) if drawn else None, band=cell["band"], trend=_change(cell["trend"]),
        whole=_at(whole["display"]["rate"], ticks) if whole is not None and whole["status"] == "shown" else None)


def _change(trend: Json | None) -> Change | None:
    if trend is None:
        return None
    name, size = words.change(trend)
    return Change(kind=trend["class"], name=name, size=size)
