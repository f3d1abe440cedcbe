"""`index.html`: the release for people, in one file that asks the network for nothing and runs no script.

Everything on it comes from the public content (`content.build_content`). Tabs, tiles and read-outs are radio buttons
and CSS, so the page works with JavaScript off, by keyboard and on paper, and its Content-Security-Policy can forbid
all scripts and requests and admit one style sheet by its hash. The table is in the order of the codes and cannot be
sorted by rate: this is no league table (domain.md 5.2).
"""

from __future__ import annotations

import base64
import hashlib
import math
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from federation.privacy.units import up
from federation.regions import is_user_assigned
from federation.taxonomy import PartnerKind
from server.release import words
from server.release.tiles import Block, axis_ticks, bin_edges, bin_of, lay_out

_TEMPLATES = Path(__file__).parent / "templates"
BAR_WIDTH = 200
"""Width of an interval bar in its own units."""


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"grouped": words.grouped, "up": up, "counted": words.counted,
                            "day": lambda text: words.day(date.fromisoformat(text))}
    return environment


def _style(content: dict[str, Any], blocks: tuple[Block, ...]) -> str:
    """The style sheet, with the rules that depend on this release: what a tab hides, and where tiles lie.

    They are classes and not `style` attributes, because a policy can admit a style sheet by hash but no attribute.
    """
    rules = [(_TEMPLATES / "page.css").read_text(encoding="utf-8")]
    for kind, values in (("task", content["tasks"]), ("role", content["roles"])):
        if len(values) > 1:
            rules += [f"@media screen{{body:has(#{kind}-{value}:checked) .{kind}:not(.{kind}-{value})"
                      "{display:none}}" for value in values]
    for columns in sorted({block.columns for block in blocks}):
        rules.append(f".columns-{columns}{{grid-template-columns:repeat({columns},minmax(0,1fr))}}")
    for axis, name in (("row", "r"), ("column", "c")):
        places = sorted({getattr(tile, axis) for block in blocks for tile in block.tiles})
        rules += [f".{name}{place}{{grid-{axis}:{place}}}" for place in places]
    return "\n".join(rules)


def _cells(content: dict[str, Any]) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Cells by (task, role) and region, with the words and the bar geometry of each."""
    names = {region["code"]: region["name"] for region in content["regions"]}
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for cell in content["cells"]:
        view = {**cell, "name": names[cell["region"]], "sentence": words.cell_sentence(cell, names[cell["region"]])}
        found.setdefault((cell["task"], cell["role"]), {})[cell["region"]] = view
    return found


def _panel(
    content: dict[str, Any], cells: dict[str, dict[str, Any]], task: str, role: str, edges: tuple[int, ...], top: int,
) -> dict[str, Any]:
    """One map and one group of table rows: a role within a task."""
    shown = [cell for cell in cells.values() if cell["status"] == "shown"]
    for cell in shown:
        cell["bin"] = bin_of(cell["display"]["rate"], edges)
        cell["bar"] = {end: round(BAR_WIDTH * value / top, 1) for end, value in cell["display"].items()}
    overall = next((each for each in content["overall"] if (each["task"], each["role"]) == (task, role)), None)
    return {"role": role, "heading": words.ROLES[role][0], "explained": words.ROLES[role][1], "cells": cells,
            "overall": overall and overall["display"], "shown": len(shown), "withheld": len(cells) - len(shown),
            "overall_at": overall and round(BAR_WIDTH * overall["display"]["rate"] / top, 1)}


def _task(
    content: dict[str, Any], cells: dict[tuple[str, str], dict[str, dict[str, Any]]], task: str
) -> dict[str, Any]:
    """All roles of a task on one colour scale and one axis, so that they can be compared with each other."""
    displays = [cell["display"] for (its_task, _), group in cells.items() if its_task == task
                for cell in group.values() if cell["status"] == "shown"]
    edges = bin_edges([each["rate"] for each in displays]) if displays else ()
    ticks = axis_ticks(max((each["upper"] for each in displays), default=1))
    return {"task": task, "heading": words.TASKS[task][0], "explained": words.TASKS[task][1], "ticks": ticks,
            "bins": [(i, edges[i], edges[i + 1]) for i in range(len(edges) - 1)],
            "panels": [_panel(content, cells[task, role], task, role, edges, ticks[-1]) for role in content["roles"]]}


def _coverage(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Regions with the same declared coverage in one row, best covered first."""
    rule = content["threshold"]
    groups: dict[tuple[int, ...], list[str]] = {}
    for region in content["regions"]:
        kinds = content["coverage"]["regions"][region["code"]]
        groups.setdefault(tuple(kinds.get(kind.value, 0) for kind in PartnerKind), []).append(region["code"])
    rows = [{"regions": codes, "counts": counts, "partners": sum(counts), "kinds": sum(n > 0 for n in counts),
             "enough": sum(counts) >= rule["partners_at_least"]
             and sum(n > 0 for n in counts) >= rule["kinds_at_least"]} for counts, codes in groups.items()]
    return sorted(rows, key=lambda row: (-row["partners"], -row["kinds"], row["regions"]))


def render_page(content: dict[str, Any], *, release_sha256: str) -> bytes:
    """The page as UTF-8 bytes; equal content gives equal bytes.

    Args:
        content: from `content.build_content`.
        release_sha256: hash of the content, printed in the footer.
    """
    blocks = lay_out(region["code"] for region in content["regions"])
    css = _style(content, blocks)
    cells = _cells(content)
    privacy, noise_sd = content["privacy"], content["threshold"]["noise_sd"]
    html = _environment().get_template("page.html.j2").render(
        content=content, release_sha256=release_sha256, css=css, blocks=blocks,
        style_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        invented=all(is_user_assigned(region["code"]) for region in content["regions"]),
        tasks=[_task(content, cells, task) for task in content["tasks"]],
        roles=[(role, words.ROLES[role][0]) for role in content["roles"]],
        kinds=[(kind.value, words.KINDS[kind.value]) for kind in PartnerKind],
        coverage=_coverage(content), reasons=words.REASONS, bands=words.BANDS, bar_width=BAR_WIDTH,
        noise_95=math.ceil(1.96 * noise_sd), beliefs=words.beliefs(privacy["total_epsilon"]),
        odds=words.odds(privacy["total_epsilon"]), strength=words.strength(privacy["total_epsilon"]))
    return html.encode()
