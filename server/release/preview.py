"""The dry run of a draft: what would be shown, what not and why, at what price, and what is still missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from federation.privacy.units import down, up
from server.coordinator import CoordinatorHome
from server.release.budget import year_budget
from server.release.drafts import Draft, check_draft
from server.release.publication import earliest_day, valid_approvals

Preview = dict[str, Any]


def preview(home: CoordinatorHome, draft: Draft) -> Preview:
    """Everything that whoever signs should look at, as JSON values.

    Raises:
        InputError: if the draft is not what the study gives, or a signature under it is not valid.
    """
    check_draft(home, draft)
    content, plan = draft.content, draft.signed.plan
    signed = [approval.name for approval in valid_approvals(home, draft)]
    budget = year_budget(home, plan)
    return {
        "draft": draft.path.name, "content_sha256": draft.sha256, "study": content["study"], "label": content["label"],
        "period": content["period"], "released_on": content["released_on"],
        "embargo_ends": earliest_day(plan).isoformat(), "embargo_days": plan.release.embargo_days,
        "previous_release_sha256": content["previous_release_sha256"],
        "signatures": {"wanted": plan.release.signatures, "signed": signed,
                       "may_sign": [one.name for one in plan.release.signers if one.name not in signed]},
        "counts": {"nodes": _counts(content["nodes"], "level", "role"),
                   "cells": _counts(content["cells"], "level", "role", "task"),
                   "indicators": _counts(content["indicators"]["cells"] if content["indicators"] else (), "role",
                                         "task"),
                   "corridors": _counts(content["corridors"], "task")},
        "thresholds": content["gate"]["thresholds"], "calibration": content["calibration"],
        "budget": {**asdict(budget), "tables_remaining": budget.tables_remaining},
    }


def _counts(rows: Iterable[Mapping[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """For each combination of `keys`: how many are shown, and how many withheld for each reason."""
    groups: dict[tuple[str, ...], Counter[str]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), Counter())[row.get("reason", "shown")] += 1
    return [{**dict(zip(keys, names, strict=True)), "shown": found.pop("shown", 0), "withheld": dict(found)}
            for names, found in groups.items()]


def show_preview(found: Preview, console: Console) -> None:
    """Print a dry run."""
    console.print(f"[bold]{found['study']}[/bold] ({found['label']}), {found['period']['start']} to "
                  f"{found['period']['end']}, to be published on {found['released_on']}\n"
                  f"draft {found['draft']}, content {found['content_sha256']}")
    for name, rows in found["counts"].items():
        if rows:
            console.print(_counts_table(name, rows))
    console.print(_calibration_table(found))
    console.print(_budget_lines(found["budget"]))
    wanted, done = found["signatures"]["wanted"], found["signatures"]["signed"]
    console.print(f"Not before {found['embargo_ends']}: {found['embargo_days']} days after the period.\n"
                  f"Signed by {len(done)} of {wanted}: {', '.join(done) or 'nobody'}. "
                  f"May sign: {', '.join(found['signatures']['may_sign']) or 'nobody else'}.")


def _counts_table(name: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{name}: would be shown, and withheld why", title_justify="left", box=None, header_style="dim")
    keys = [key for key in rows[0] if key not in ("shown", "withheld")]
    for column in (*keys, "shown", "withheld"):
        table.add_column(column, justify="right" if column == "shown" else "left")
    for row in rows:
        why = ", ".join(f"{number} {reason}" for reason, number in sorted(row["withheld"].items()))
        table.add_row(*(row[key] for key in keys), str(row["shown"]), why or "none")
    return table


def _calibration_table(found: Preview) -> Table:
    limits = ", ".join(f"{family} {limit}" for family, limit in sorted(found["thresholds"].items()))
    table = Table(title=f"Least noisy counts: {limits}", title_justify="left", box=None, header_style="dim")
    for column in ("task", "used", "sensitivity", "false alarms"):
        table.add_column(column)
    for row in found["calibration"]:
        shares = ("not known" if row[name]["value"] is None else f"{row[name]['value']:.3f}"
                  for name in ("sensitivity", "false_alarm_rate"))
        table.add_row(row["task"], "yes" if row["usable"] else f"no: {row['reason']}", *shares)
    return table


def _budget_lines(budget: Mapping[str, Any]) -> str:
    return (f"What it costs one person, as ε at δ = {budget['delta']:g}:\n"
            f"  this release                    {up(budget['this'])}\n"
            f"  {budget['year']} so far, {budget['released']} released          {up(budget['before'])}\n"
            f"  with this one                   {up(budget['after'])}\n"
            f"  its tables alone, with this one {up(budget['tables_after'])} of {up(budget['tables_allowed'])} for "
            f"{budget['releases_per_person']} of {budget['releases_a_year']} releases; "
            f"{down(budget['tables_remaining'])} remain")
