"""`leelight partner sweep`: what may no longer be kept is deleted from a node's home. A running node does so daily.

Exit codes: 0 done. 2 the home cannot be opened. 3 something could not be deleted, and is named; the rest was.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from federation.telling import complain, told

if TYPE_CHECKING:
    from clients.sweep import Swept


def sweep(
    home: Annotated[Path, typer.Option(help="The node's home folder.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Delete what has expired: records, their features, old quarantine files, replies and half-written files.

    Exit code 0: done. 2: the home cannot be opened. 3: something could not be deleted, and is named; the rest was.
    """
    # Imported here so that `--help` does not wait for pandas and SQLAlchemy.
    from clients.node import NodeHome
    from clients.sweep import sweep_home

    with told():
        node = NodeHome.load(home)
    found = sweep_home(node, datetime.now(UTC).date(), dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, **asdict(found)}, indent=2))
    else:
        typer.echo(_in_words(found, node.settings.quarantine_days, dry_run=dry_run))
        for problem in found.problems:
            complain(problem)
    raise typer.Exit(3 if found.problems else 0)


def _in_words(found: Swept, days: int, *, dry_run: bool) -> str:
    from clients.ledger.account import REPLY_DAYS
    from clients.wording import counted

    return "\n".join([
        "Would be deleted:" if dry_run else "Deleted:",
        f"  {counted(found.records, 'record', 'records')} whose retention has ended",
        f"  {counted(found.features, 'feature', 'features')} of texts that are in no record",
        f"  {counted(found.quarantine_files, 'quarantine file', 'quarantine files')} older than {days} days",
        f"  {counted(found.replies, 'reply', 'replies')} in the account, older than {REPLY_DAYS} days; what they cost "
        "stays spent",
        f"  {counted(found.parts, 'file', 'files')} that a crash left half-written"])
