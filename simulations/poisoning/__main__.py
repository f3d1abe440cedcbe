"""`python -m simulations.poisoning`: one partner lies in every round; how good is the model, under each rule?

Figures are means over tasks and runs, on held-out people, with the noise of the plan. Takes the overrides of
`leelight simulate`.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from federation.errors import InputError
from simulations.command import run_command
from simulations.launch import compose_settings
from simulations.poisoning.attacks import ATTACKS
from simulations.poisoning.lab import RULES, Figures, Lab

_TITLES = ("Mean", "Mean, norm bound", "Trimmed mean", "Centred clipping")
Row = dict[str, Figures]
"""By rule."""


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="As for leelight simulate.")] = None,
    liar: Annotated[list[str] | None, typer.Option(
        help="Who lies; repeat for more tables. Otherwise one with the fewest slots, and one with the most.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Each with other noise.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train with one partner that lies, under each rule."""
    errors = Console(stderr=True)
    try:
        settings = compose_settings(overrides or [])
        with tempfile.TemporaryDirectory() as folder, Progress(console=errors, transient=True) as progress:
            task = progress.add_task("Prepare", total=None)
            lab = Lab.prepare(settings, Path(folder))
            liars = liar or _ends(lab)
            progress.update(task, description="Train", total=len(liars) * len(ATTACKS) * len(RULES))
            results: dict[str, dict[str, Row]] = {
                name: {attack: {} for attack in ATTACKS} for name in _known(lab, liars)}
            for name, attacks in results.items():
                for attack, row in attacks.items():
                    for rule in RULES:
                        row[rule] = lab.measure(rule, attack, name, runs=runs)
                        progress.advance(task)
    except InputError as error:
        errors.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(_as_json(lab, runs, results), indent=1))
        return
    for name, attacks in results.items():
        Console().print(_table(lab, name, attacks))


def _ends(lab: Lab) -> list[str]:
    roster = lab.plan.roster
    return [min(roster, key=lambda entry: entry.slots).name, max(roster, key=lambda entry: entry.slots).name]


def _known(lab: Lab, liars: list[str]) -> list[str]:
    for name in liars:
        if lab.plan.partner(name) is None:
            raise InputError("liar", f"{name} is not a partner", remedy="give one of "
                             + ", ".join(entry.name for entry in lab.plan.roster))
    # Two ends of a roster may be one partner.
    return list(dict.fromkeys(liars))


def _table(lab: Lab, liar: str, attacks: dict[str, Row]) -> Table:
    entry = lab.plan.partner(liar)
    slots = entry.slots if entry else 0
    table = Table(title=f"{liar} lies ({slots:,} of {lab.plan.slots:,} slots): AUC / PR-AUC", title_justify="left",
                  box=None, header_style="dim")
    table.add_column("It sends")
    for title in _TITLES:
        table.add_column(title, justify="right")
    for attack, row in attacks.items():
        table.add_row(attack, *(f"{row[rule].auc:.3f} / {row[rule].pr_auc:.3f}" for rule in RULES))
    return table


def _as_json(lab: Lab, runs: int, results: dict[str, dict[str, Row]]) -> dict[str, object]:
    return {
        "label": lab.plan.label, "partners": len(lab.plan.roster), "runs": runs,
        "rules": {rule: spec and spec.model_dump(mode="json") for rule, spec in lab.rules.items()},
        "figures": {name: {attack: {rule: asdict(figures) for rule, figures in row.items()}
                           for attack, row in attacks.items()} for name, attacks in results.items()}}


if __name__ == "__main__":
    run_command(main)
