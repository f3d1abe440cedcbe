"""`python -m simulations.releases.attacks`: all gates of a release and all their mutants, at length, with a report.

Exit code 1 if the code as it is fails a gate, or a mutant passes one.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from simulations.command import run_command
from simulations.releases.attacks.gates import AS_IT_IS, GATES, LARGE, SMALL, Line, lab


def main(
    gates: Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(GATES)}.")] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 1,
    small: Annotated[bool, typer.Option("--small", help="As small as in the tests.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Attack releases made by this code, and by this code with a mistake in it."""
    unknown = set(gates or ()) - set(GATES)
    if unknown:
        raise typer.BadParameter(f"no gate is called {', '.join(sorted(unknown))}")
    console, lines = Console(stderr=as_json), []
    with lab(seed) as place:
        for name, parts in GATES.items():
            if gates and name not in gates:
                continue
            started = time.perf_counter()
            for part in parts:
                for line in part(place, SMALL if small else LARGE):
                    console.print(_told(line), highlight=False, soft_wrap=True)
                    lines.append(line)
            console.print(f"[dim]{name}: {time.perf_counter() - started:.0f} s[/dim]")
    builds = [line for line in lines if line.build != AS_IT_IS]
    failed = [line for line in lines if not line.passed]
    console.print(f"{len(builds) - sum(not line.passed for line in builds)} of {len(builds)} mutants were found; "
                  f"{sum(line.build == AS_IT_IS for line in failed)} findings in the code as it is.")
    if as_json:
        typer.echo(json.dumps([asdict(line) for line in lines], indent=1, ensure_ascii=False))
    raise typer.Exit(1 if failed else 0)


def _told(line: Line) -> str:
    return (f"{'[green]passed[/green]' if line.passed else '[red]FAILED[/red]'}  {line.gate}: {line.build}\n"
            f"        {line.found}")


if __name__ == "__main__":
    run_command(main)
