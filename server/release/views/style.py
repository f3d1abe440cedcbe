"""The style sheet of a page, with the rules that depend on its release: what a switch hides, the label on paper.

They are rules and not `style` attributes, because a policy can admit a style sheet by hash but no attribute.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

from server.release.awareness import LANGUAGES
from server.release.scales import BINS
from server.release.views.index import Index

TEMPLATES = Path(__file__).parents[1] / "templates" / "page"


def stylesheet(index: Index, label: str) -> str:
    """The whole sheet; `label` goes to the top of every printed one."""
    fixed = [(TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "figures.css")]
    speckled = [f".task-{task} .b{i}.wide{{--filling:url(#wide-{task}-{i})}}" for task in index.tasks
                for i in range(BINS)]
    # In a string of CSS every character may be written as its code, and so none can end it.
    escaped = "".join(f"\\{ord(letter):06x}" for letter in label)
    return "\n".join((*fixed, *_switches(index), *speckled,
                      f'@media print{{@page{{@top-center{{content:"{escaped}"}}}}}}'))


def _switches(index: Index) -> Iterator[str]:
    """What is hidden while a button is pressed. On paper all signals and roles are there, but one language."""
    pressed: dict[tuple[str, str], tuple[str, ...]] = {}
    if len(index.tasks) > 1:
        pressed |= {("task", task): (task,) for task in index.tasks}
    if len(index.roles) > 1:
        pressed |= {("role", role): (role,) for role in index.roles}
        pressed["role", "pair"] = ("origin", "destination")
    pressed |= {("language", language): (language,) for language in LANGUAGES}
    for (kind, name), shown in pressed.items():
        kept = ",".join(f".{kind}-{value}" for value in shown)
        rule = f"body:has(#{kind}-{name}:checked) .{kind}:not({kept}){{display:none}}"
        yield rule if kind == "language" else f"@media screen{{{rule}}}"


def style_hash(sheet: str) -> str:
    """By which a Content-Security-Policy admits the sheet (CSP 3, "hash-source")."""
    return base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
