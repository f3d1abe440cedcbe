"""`index.html`: the release for people, in one file that asks the network for nothing and runs no script.

Everything on it comes from the public content (`content.build_content`). Switches, maps and read-outs are radio buttons
and CSS, so the page works with JavaScript off, by keyboard and on paper, and its Content-Security-Policy can forbid
all scripts and requests and admit one style sheet by its hash. Tables are in the order of the codes and cannot be
sorted by rate: this is no league table (domain.md 5.2).

Size. The outline of a region is in the file once, and every map uses it. A country of more than `index.MANY` regions
lists those that are withheld by reason, and of more than a few countries only the first is open.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from federation.privacy.units import up
from federation.regions import is_user_assigned
from federation.taxonomy import Indicator, PartnerKind
from server.release import words
from server.release.awareness import LANGUAGES, load_awareness
from server.release.views import corridors, indicators, maps, quality, tables
from server.release.views.drawings import Drawing, draw
from server.release.views.index import Index, Json
from server.release.views.protection import protection
from server.release.views.style import TEMPLATES, style_hash, stylesheet

FILES = (
    ("release.json", "everything on this page"), ("release.schema.json", "its form"), ("cells.csv", "the rates"),
    ("indicators.csv", "the indicator mix"), ("corridors.csv", "reported movements"), ("totals.csv", "running totals"),
    ("regions.geojson", "the rates with boundaries"), ("privacy.json", "the privacy figures"),
    ("model-card.md", "what the model is, and its limits"),
    ("reading-guide.md", "how to read the figures"), ("plan.json", "the signed study plan"),
    ("signatures.json", "who signed this release"), ("journal.jsonl", "how the release came about"))
"""The other files of the bundle, and what they hold."""


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"grouped": words.grouped, "up": up, "counted": words.counted,
                            "day": lambda text: words.day(date.fromisoformat(text))}
    return environment


def _label(content: Json) -> str:
    return (f"{content['label']}{' · REHEARSAL' if content['privacy']['rehearsal'] else ''}"
            f"{' · REGIONS DRAWN AT RANDOM' if content['regions_drawn'] else ''}")


def _task(index: Index, drawings: dict[str, Drawing], task: str, number: int) -> dict[str, Any]:
    """All roles and countries of a signal on one colour scale and one axis, so that they can be compared."""
    edges, ticks = maps.edges_of(index, task), tables.ticks_of(index, task)
    several = len(index.groups) > 1
    return {
        "task": task, "heading": words.TASKS[task][0], "explained": words.TASKS[task][1],
        "legend": maps.legend(index, drawings, task, edges),
        "overview": tables.table(index, index.countries, task, ticks, levels=("country",)) if several else None,
        "groups": [{
            "number": f"{number}-{i}", "heading": group.heading, "open": group.open,
            "caption": f"by role: {group.heading}" if several else "by role and place",
            "panels": [maps.panel(index, drawings, group, role, task, edges) for role in index.roles],
            "table": tables.table(index, group.countries, task, ticks),
        } for i, group in enumerate(index.groups)]}


def _totals(index: Index) -> dict[str, Any] | None:
    """The running totals; None if the study has none."""
    series = index.content["series"]
    if series is None:
        return None
    held = words.SERIES_REASONS[series["reason"]] if series["status"] == "withheld" else None
    return {"index": series["index"], "reason": held, "tasks": [] if held else [
        {"task": task, "heading": words.TASKS[task][0], "table": tables.series_table(index, task)}
        for task in index.tasks]}


def _awareness(tags: list[str]) -> list[dict[str, Any]]:
    """The texts of the study's indicators, language by language."""
    found = []
    for language in LANGUAGES:
        texts = load_awareness(language)
        found.append({"lang": texts.lang, "name": texts.language_name, "direction": texts.direction,
                      "title": texts.title, "intro": texts.intro, "draft": texts.draft_notice,
                      "signs": [texts.indicators[Indicator(tag)] for tag in tags]})
    return found


def render_page(content: Json, *, release_sha256: str) -> bytes:
    """The page as UTF-8 bytes; equal content gives equal bytes.

    Args:
        content: from `content.build_content`.
        release_sha256: hash of the content, printed in the footer.
    """
    index, label = Index(content), _label(content)
    drawings, sheet = draw(index), stylesheet(index, label)
    tags = content["indicators"]["tags"] if content["indicators"] else [indicator.value for indicator in Indicator]
    names = {indicator.value: text.label for indicator, text in load_awareness("en").indicators.items()}
    html = _environment().get_template("page.html.j2").render(
        content=content, release_sha256=release_sha256, label=label, css=sheet, style_hash=style_hash(sheet),
        files=FILES, invented=all(is_user_assigned(country) for country in index.countries),
        compact=index.compact, drawings=drawings.values(), pair={"origin", "destination"} <= set(index.roles),
        roles=[(role, words.ROLES[role][0]) for role in index.roles], bands=words.BANDS, leans_high=words.LEANS_HIGH,
        kinds=[(kind.value, *words.KINDS[kind.value]) for kind in PartnerKind],
        tasks=[_task(index, drawings, task, number) for number, task in enumerate(index.tasks)],
        mix=indicators.mix(index, names), corridors=corridors.corridors(index), steps=corridors.steps(index),
        totals=_totals(index), errors=quality.errors(index), coverage=quality.coverage(index),
        suppression=quality.suppression(index), protection=protection(content), awareness=_awareness(tags))
    return html.encode()
