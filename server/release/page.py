"""`index.html`: the release for people, in one file that asks the network for nothing and runs no script.

Everything on it comes from the public content (`content.build_content`). Switches, maps and read-outs are radio buttons
and CSS, so the page works with JavaScript off, by keyboard and on paper, and its Content-Security-Policy can forbid
all scripts and requests and admit one style sheet by its hash. Tables are in the order of the codes and cannot be
sorted by rate: this is no league table (domain.md 5.2).

Size. The outline of a region is in the file once, and every map uses it. A country of more than `index.MANY` regions
lists those that are withheld by reason, and of more than a few countries only the first is open.
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
from federation.taxonomy import Indicator, PartnerKind
from server.release import words
from server.release.awareness import LANGUAGES, load_awareness
from server.release.views import corridors, indicators, maps, quality, tables
from server.release.views.drawings import Drawing, draw
from server.release.views.index import Index, Json

_TEMPLATES = Path(__file__).parent / "templates" / "page"
FILES = (
    ("release.json", "everything on this page"), ("release.schema.json", "its form"), ("cells.csv", "the rates"),
    ("indicators.csv", "the indicator mix"), ("corridors.csv", "reported movements"),
    ("regions.geojson", "the rates with boundaries"), ("privacy.json", "the privacy figures"),
    ("model-card.md", "what the model is, and its limits"),
    ("reading-guide.md", "how to read the figures"), ("plan.json", "the signed study plan"),
    ("signatures.json", "who signed this release"), ("journal.jsonl", "how the release came about"))
"""The other files of the bundle, and what they hold."""


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"grouped": words.grouped, "up": up, "counted": words.counted,
                            "day": lambda text: words.day(date.fromisoformat(text))}
    return environment


def _label(content: Json) -> str:
    return (f"{content['label']}{' · REHEARSAL' if content['privacy']['rehearsal'] else ''}"
            f"{' · REGIONS DRAWN AT RANDOM' if content['regions_drawn'] else ''}")


def _style(index: Index, label: str) -> str:
    """The style sheet, with the rules that depend on this release: what a switch hides, and the label on paper.

    They are rules and not `style` attributes, because a policy can admit a style sheet by hash but no attribute.
    """
    rules = [(_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "figures.css")]
    choices: dict[tuple[str, str], tuple[str, ...]] = {}
    if len(index.tasks) > 1:
        choices |= {("task", task): (task,) for task in index.tasks}
    if len(index.roles) > 1:
        choices |= {("role", role): (role,) for role in index.roles}
        choices["role", "pair"] = ("origin", "destination")
    choices |= {("language", language): (language,) for language in LANGUAGES}
    for (kind, name), shown in choices.items():
        kept = ",".join(f".{kind}-{value}" for value in shown)
        hides = f"body:has(#{kind}-{name}:checked) .{kind}:not({kept}){{display:none}}"
        # On paper all signals and roles are there, but one language.
        rules.append(hides if kind == "language" else f"@media screen{{{hides}}}")
    for task in index.tasks:
        rules += [f".task-{task} .b{i}.wide{{--filling:url(#wide-{task}-{i})}}" for i in range(5)]
    # In a string of CSS, every character may be written as its code.
    escaped = "".join(f"\\{ord(letter):06x}" for letter in label)
    rules.append(f'@media print{{@page{{@top-center{{content:"{escaped}"}}}}}}')
    return "\n".join(rules)


def _task(index: Index, drawings: dict[str, Drawing], task: str, number: int) -> dict[str, Any]:
    """All roles and countries of a signal on one colour scale and one axis, so that they can be compared."""
    edges, ticks = maps.edges_of(index, task), tables.ticks_of(index, task)
    several = len(index.groups) > 1
    return {
        "task": task, "heading": words.TASKS[task][0], "explained": words.TASKS[task][1],
        "legend": maps.legend(index, drawings, task, edges),
        "axis": [(round(100 * tick / ticks[-1], 1), words.grouped(tick), False) for tick in ticks],
        "overview": tables.table(index, index.countries, task, ticks, levels=("country",)) if several else None,
        "groups": [{
            "number": f"{number}-{i}", "heading": group.heading, "open": group.open,
            "caption": f"by role: {group.heading}" if several else "by role and place",
            "panels": [maps.panel(index, drawings, group, role, task, edges) for role in index.roles],
            "table": tables.table(index, group.countries, task, ticks),
        } for i, group in enumerate(index.groups)]}


def _awareness(tags: list[str]) -> list[dict[str, Any]]:
    """The texts of the study's indicators, language by language."""
    found = []
    for language in LANGUAGES:
        texts = load_awareness(language)
        found.append({"lang": texts.lang, "name": texts.language_name, "direction": texts.direction,
                      "title": texts.title, "intro": texts.intro, "draft": texts.draft_notice,
                      "signs": [texts.indicators[Indicator(tag)] for tag in tags]})
    return found


def _families(privacy: Json) -> list[tuple[str, int, str, int]]:
    """What a table is called, how many of its entries a person changes, its noise, and ± what holds 95 of 100."""
    statistics = next(part for part in privacy["parts"] if part["part"] == "statistics")
    return [(words.FAMILIES[each["family"]], each["entries"], f"{each['noise_sd']:.1f}",
             math.ceil(1.96 * each["noise_sd"])) for each in statistics["families"]]


def render_page(content: Json, *, release_sha256: str) -> bytes:
    """The page as UTF-8 bytes; equal content gives equal bytes.

    Args:
        content: from `content.build_content`.
        release_sha256: hash of the content, printed in the footer.
    """
    index, privacy, label = Index(content), content["privacy"], _label(content)
    drawings, css = draw(index), _style(index, label)
    tags = content["indicators"]["tags"] if content["indicators"] else [indicator.value for indicator in Indicator]
    english = load_awareness("en").indicators
    roles_per_person = next(part for part in privacy["parts"] if part["part"] == "statistics")["max_roles_per_person"]
    html = _environment().get_template("page.html.j2").render(
        content=content, release_sha256=release_sha256, css=css, label=label, files=FILES,
        style_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
        invented=all(is_user_assigned(country) for country in index.countries),
        compact=index.compact, drawings=drawings.values(), pair={"origin", "destination"} <= set(index.roles),
        tasks=[_task(index, drawings, task, number) for number, task in enumerate(index.tasks)],
        roles=[(role, words.ROLES[role][0]) for role in index.roles],
        kinds=[(kind.value, *words.KINDS[kind.value]) for kind in PartnerKind], bands=words.BANDS,
        mix=indicators.mix(index, {indicator.value: text.label for indicator, text in english.items()}),
        corridors=corridors.corridors(index), steps=corridors.steps(index),
        errors=quality.errors(index), coverage=quality.coverage(index), suppression=quality.suppression(index),
        awareness=_awareness(tags), families=_families(privacy),
        counts_once=words.counts_once(roles_per_person), counts_in=words.counts_in(roles_per_person),
        beliefs=words.beliefs(privacy["total_epsilon"]), odds=words.odds(privacy["total_epsilon"]),
        strength=words.strength(privacy["total_epsilon"]))
    return html.encode()
