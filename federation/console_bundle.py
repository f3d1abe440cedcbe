"""`leelight bundle ...`: the software that a coordinator sends and a partner approves, as one file with one hash.

Exit codes: 0 done. 2 it cannot be made or written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from federation.telling import say, told

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
    from federation.deployment.bundle import build_bundle, sha256_of

    with told():
        data = build_bundle()
        file.write_bytes(data)
    sha256 = sha256_of(data)
    say({"file": str(file), "bytes": len(data), "sha256": sha256}, as_json=as_json, words=f"{sha256}  {file}")


@app.command("hash")
def hash_(
    files: Annotated[bool, typer.Option("--files", help="Also list every file in it, with its own hash.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say the hash of the bundle that the installed software gives: what partners and coordinator compare."""
    from federation.deployment.bundle import app_files, installed_bundle_sha256, sha256_of

    with told():
        whole = installed_bundle_sha256()
    each = {name: sha256_of(data) for name, data in app_files().items()} if files else {}
    if as_json:
        typer.echo(json.dumps({"sha256": whole, **({"files": each} if files else {})}, indent=2))
        return
    for name, digest in each.items():
        typer.echo(f"{digest}  {name}")
    typer.echo(whole)
