"""`leelight bundle ...`: the software that a coordinator sends and a partner approves, as one file with one hash.

Exit codes: 0 done. 2 it cannot be made or written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from federation.errors import InputError

app = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False, pretty_exceptions_enable=False)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback()
def bundle() -> None:
    """The software of a study, as it is sent to nodes."""


@app.command()
def build(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("leelight.fab"), as_json: AsJson = False,
) -> None:
    """Make the bundle from what is installed; equal software gives equal bytes."""
    try:
        from federation.deployment.bundle import build_bundle, sha256_of

        data = build_bundle()
        file.write_bytes(data)
    except (InputError, OSError) as error:
        print(error if isinstance(error, InputError) else f"{file}: cannot be written ({error.strerror}).",  # noqa: T201
              file=sys.stderr)
        raise typer.Exit(2) from None
    facts = {"file": str(file), "bytes": len(data), "sha256": sha256_of(data)}
    typer.echo(json.dumps(facts, indent=2) if as_json else f"{facts['sha256']}  {file}")


@app.command("hash")
def hash_(
    files: Annotated[bool, typer.Option("--files", help="Also list every file in it, with its own hash.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say the hash of the bundle that the installed software gives: what partners and coordinator compare."""
    from federation.deployment.bundle import app_files, installed_bundle_sha256, sha256_of

    try:
        whole = installed_bundle_sha256()
    except InputError as error:
        print(error, file=sys.stderr)  # noqa: T201
        raise typer.Exit(2) from None
    each = {name: sha256_of(data) for name, data in app_files().items()} if files else {}
    if as_json:
        typer.echo(json.dumps({"sha256": whole, **({"files": each} if files else {})}, indent=2))
        return
    for name, digest in each.items():
        typer.echo(f"{digest}  {name}")
    typer.echo(whole)
