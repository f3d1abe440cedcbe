"""`leelight partner leave`: nothing that was approved runs any more, and what remains is said.

Exit codes: 0 left. 1 not confirmed, nothing is written. 2 the home cannot be opened. 3 left, but for something that is
named.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.asking import confirmed
from federation.errors import InputError
from federation.telling import complain, told

if TYPE_CHECKING:
    from clients.erasure import Done
    from clients.leaving import Leaving
    from clients.node import NodeHome


def leave(
    home: Annotated[Path, typer.Option(help="The node's home folder.")],
    erase_records: Annotated[bool, typer.Option(
        "--erase-records", help="Erase all records, too, and everything made from them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for your name.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Leave the federation: every approved plan that has not ended is declined, and you are told what remains.

    Exit code 0: left. 1: not confirmed, nothing is written. 2: the home cannot be opened. 3: left, but for something
    that is named.
    """
    # Imported here so that `--help` does not wait for pandas and SQLAlchemy.
    from clients.erasure import erase_everybody
    from clients.leaving import leave as go
    from clients.leaving import open_studies
    from clients.node import NodeHome
    from clients.status import running_process

    with told():
        node = NodeHome.load(home)
        name, studies = node.settings.name, open_studies(node)
        if not yes and not confirmed(_question(studies, erase_records=erase_records), word=name):
            raise typer.Exit(1)
        left, done, problems = go(node), None, list[str]()
    if erase_records and node.store_path.is_file():
        try:
            done = erase_everybody(node)
        except InputError as error:
            problems.append(str(error))
    problems += left.problems
    if as_json:
        typer.echo(json.dumps({"declined": left.declined, "erased": done and asdict(done), "problems": problems},
                              indent=2))
    else:
        typer.echo(_in_words(node, left, done, running_process(node)))
        for problem in problems:
            complain(problem)
    raise typer.Exit(3 if problems else 0)


def _question(studies: tuple[str, ...], *, erase_records: bool) -> str:
    from clients.wording import listed

    declined = f"This declines {listed(studies)}." if studies else "No approved study is under way."
    erased = " All records and everything made from them are erased, which cannot be undone." if erase_records else ""
    return f"{declined}{erased} To leave, say who you are."


def _in_words(node: NodeHome, left: Leaving, done: Done | None, process: int | None) -> str:
    from clients.wording import counted, listed

    path = node.path
    lines = [f"Left. Declined: {listed(left.declined) if left.declined else 'nothing, as no study was under way'}."]
    if done is not None:
        lines.append(f"Erased: {counted(done.records, 'record', 'records')}, and everything that was made from them.")
    lines += ["What remains, and what to do:"]
    if done is None and node.store_path.is_file():
        lines.append("  - The records, in records.sqlite. To erase them: leelight partner leave --erase-records "
                     f"--home {path}")
    lines += [
        "  - The account (ledger.sqlite, ledger.head) and the journal. No person is in them, and what was spent is "
        "spent for good: keep them, with identity.key, for as long as you may take part again or may have to show what "
        "left, and for at least as long as your law has you keep such proof.",
        "  - The secrets. Destroying person.secret unlinks every pseudonym from its person for good, in backups too; "
        "destroying identity.key makes you somebody else. Neither can be made again.",
        "  - What left under noise, the models and the figures made with it: it cannot be called back.",
        "  - Your backups, and copies in inbox/."]
    if process is not None:
        lines.append(f"  - The node still runs, as process {process}: stop it.")
    lines.append("  - Tell the coordinator that you left, so that the next plan does not count on you.")
    return "\n".join(lines)
