"""The figures for spreadsheets: one row a number, withheld ones with a reason and empty number columns.

UTF-8, comma, first row the header. No cell can start a formula: a text that begins as one gets an apostrophe before it,
no text can begin a row of its own, and none holds a character that cannot be seen.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

Content = Mapping[str, Any]
_FORMULA = tuple("=+-@＝＋－＠")
_BREAKS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
"""Control characters and line separators: some programs begin a new row at any of them."""
_RELEASE = ("label", "synthetic", "regions_drawn", "rehearsal", "study", "period_start", "period_end", "released_on")
_STATUS = ("status", "reason")
_RATE = ("rate_per_10000", "lower_95", "upper_95")
_UNCLIPPED = tuple(f"{name}_unclipped" for name in _RATE)
_TREND = ("trend", "trend_difference", "trend_lower_95", "trend_upper_95", "trend_since")
_ENDS = ("rate", "lower", "upper")
CELL_COLUMNS = (*_RELEASE, "area", "area_name", "level", "role", "task", *_STATUS, *_RATE, "band", *_TREND, *_UNCLIPPED)
INDICATOR_COLUMNS = (*_RELEASE, "area", "area_name", "level", "role", "task", "indicator", *_STATUS, "lift",
                     "lift_lower_95", "lift_upper_95", "class")
TOTAL_COLUMNS = (*_RELEASE, "series", "releases", "area", "area_name", "level", "role", "task", *_STATUS, "reviewed",
                 "reviewed_sd", "flagged", "flagged_sd", *_RATE, *_UNCLIPPED)
CORRIDOR_COLUMNS = (*_RELEASE, "origin", "origin_name", "destination", "destination_name", "task", *_STATUS,
                    "signals_from", "signals_to")


def cells_csv(content: Content) -> bytes:
    """The rates: a row a place, role and task."""
    return _written(CELL_COLUMNS, (_cell_row(cell) for cell in content["cells"]), content)


def _cell_row(cell: Mapping[str, Any]) -> dict[str, Any]:
    row = _named(cell, "area", "level", "role", "task")
    if cell["status"] == "shown":
        row |= {"band": cell["band"] or "", **_rates(cell)}
        if cell["trend"] is not None:
            row |= {column: cell["trend"][key] for column, key in zip(
                _TREND, ("class", "difference", "lower", "upper", "since"), strict=True)}
    return row


def indicators_csv(content: Content) -> bytes:
    """The indicator mix: a row a place, role, task and indicator; the header alone where there is none."""
    return _written(INDICATOR_COLUMNS, _indicator_rows(content["indicators"]), content)


def _indicator_rows(mix: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    if mix is None:
        return
    for cell in mix["cells"]:
        place = {**_named(cell, "area", "role", "task"), "level": mix["level"]}
        if cell["status"] != "shown":
            yield from ({**place, "indicator": tag} for tag in mix["tags"])
            continue
        for lift in cell["lifts"]:
            row = {**place, "indicator": lift["indicator"], **_named(lift)}
            if lift["status"] == "shown":
                row |= {"lift": lift["lift"], "lift_lower_95": lift["lower"], "lift_upper_95": lift["upper"],
                        "class": lift["class"]}
            yield row


def totals_csv(content: Content) -> bytes:
    """Running totals over the releases of a series: a row a place, role and task; the header alone without any."""
    return _written(TOTAL_COLUMNS, _total_rows(content["series"]), content)


def _total_rows(series: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    if series is None:
        return
    of = {"series": series["name"], "releases": series["index"], "level": series["level"]}
    for cell in series["cells"]:
        row = {**_named(cell, "area", "role", "task"), **of}
        yield {**row, **cell["total"], **_rates(cell)} if cell["status"] == "shown" else row


def _rates(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {**{column: cell["display"][end] for column, end in zip(_RATE, _ENDS, strict=True)},
            **{column: cell["unclipped"][end] for column, end in zip(_UNCLIPPED, _ENDS, strict=True)}}


def corridors_csv(content: Content) -> bytes:
    """Reported movement: a row a pair and task, in public classes; the header alone where no pair was counted."""
    return _written(CORRIDOR_COLUMNS, (_corridor_row(corridor) for corridor in content["corridors"]), content)


def _corridor_row(corridor: Mapping[str, Any]) -> dict[str, Any]:
    row = _named(corridor, "origin", "destination", "task")
    if corridor["status"] == "shown":
        ends = corridor["band"]
        row |= {"signals_from": ends["from"], "signals_to": "" if ends["to"] is None else ends["to"]}
    return row


def _named(source: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {**{key: source[key] for key in keys}, "status": source["status"], "reason": source.get("reason", "")}


def _written(columns: tuple[str, ...], rows: Iterable[dict[str, Any]], content: Content) -> bytes:
    release, names = _release(content), {area["code"]: area["name"] for area in content["areas"]}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        known = {f"{key}_name": names[row[key]] for key in ("area", "origin", "destination") if key in row}
        whole = {**release, **known, **row}
        writer.writerow([_harmless(value) if isinstance(value := whole.get(name, ""), str) else value
                         for name in columns])
    return out.getvalue().encode()


def _release(content: Content) -> dict[str, Any]:
    return {"label": content["label"], "study": content["study"], "released_on": content["released_on"],
            "period_start": content["period"]["start"], "period_end": content["period"]["end"],
            **{name: "yes" if holds else "no" for name, holds in (
                ("synthetic", content["synthetic"]), ("regions_drawn", content["regions_drawn"]),
                ("rehearsal", content["privacy"]["rehearsal"]))}}


@lru_cache(maxsize=65_536)
def _harmless(value: str) -> str:
    """A text in one line, of what can be seen, with an apostrophe before it if a spreadsheet would calculate it."""
    text = "".join(c for c in value.translate(_BREAKS) if unicodedata.category(c) != "Cf")
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
