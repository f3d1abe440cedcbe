"""`model-card.md` and `reading-guide.md`: for whoever uses the figures, from the plan and the content alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from federation.plan import StudyPlan
from federation.privacy.units import up
from server.release import words
from server.release.boundaries import has_boundaries

Content = Mapping[str, Any]
_TEMPLATES = Path(__file__).parent / "templates"
_MARKDOWN = str.maketrans({"\n": " ", "\r": " ", **{character: f"\\{character}" for character in "\\`*_[]<>#|"}})


def model_card(content: Content, plan: StudyPlan) -> bytes:
    """What the model is, how often it errs and what it costs (sections as in domain.md 5.7), as UTF-8 Markdown."""
    return _rendered("model-card.md.j2", content=_escaped(content), plan=plan,
                     purpose=plan.purpose.translate(_MARKDOWN), version=plan.encoder.version.translate(_MARKDOWN),
                     kinds=list(_kinds(content, plan)))


def reading_guide(content: Content) -> bytes:
    """How to read the figures, for people who do not work with statistics, as UTF-8 Markdown."""
    hidden = [area["name"].translate(_MARKDOWN) for area in content["areas"] if area["status"] == "protected"]
    roles = {role: explained for role, (_, explained) in words.ROLES.items()}
    return _rendered("reading-guide.md.j2", content=_escaped(content), hidden=hidden, roles=roles,
                     reasons=words.REASONS, leans_high=words.LEANS_HIGH, empty=dict(_empty(content)))


def _empty(content: Content) -> Iterator[tuple[str, str]]:
    """The files of a release that have no row or region at all, and why."""
    series = content["series"]
    drawn = any(has_boundaries(area["code"]) for area in content["areas"] if area["level"] == "region")
    for name, has_any in (("indicators.csv", content["indicators"] is not None), ("totals.csv", series is not None),
                          ("corridors.csv", bool(content["corridors"])), ("regions.geojson", drawn)):
        if not has_any:
            yield name, words.EMPTY[name]
    if series is not None and series["status"] == "withheld":
        yield "totals.csv", f"the series is withheld, as {words.SERIES_REASONS[series['reason']]}"


def _kinds(content: Content, plan: StudyPlan) -> Iterator[tuple[str, int, str]]:
    """Kind, partners in the sums, and their public bands of slots, smallest first."""
    present = set(content["coverage"]["in_sum"])
    for kind, count in content["coverage"]["partners"].items():
        slots = sorted(entry.slots for entry in plan.roster if entry.name in present and entry.kind == kind)
        yield kind, count, ", ".join(f"{band:,}" for band in slots)


def _escaped(content: Content) -> dict[str, Any]:
    """The content with its free texts made harmless in Markdown: they come from a plan, and a plan from people."""
    return {**content, "label": content["label"].translate(_MARKDOWN)}


def _share(row: Mapping[str, float | None]) -> str:
    """`83.1 % (79.0 to 87.2)`, of a share with its interval."""
    value, lower, upper = (row[name] for name in ("value", "lower", "upper"))
    if value is None or lower is None or upper is None:
        return "not known"
    return f"{100 * value:.1f} % ({100 * lower:.1f} to {100 * upper:.1f})"


@cache
def _environment() -> Environment:
    # Markdown, not HTML: what could be markup in it is escaped by hand.
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=False, undefined=StrictUndefined,  # noqa: S701
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters |= {"up": up, "share": _share}
    return environment


def _rendered(template: str, **values: Any) -> bytes:
    return _environment().get_template(template).render(**values).encode()
