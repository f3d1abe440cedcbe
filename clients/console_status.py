"""`leelight partner status`: how a home stands, on one screen. Counts are shown to the partner alone.

Exit codes: 0 shown. 2 the home cannot be opened. 3 shown, but for a part that cannot be read and is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from federation.telling import complain, told

if TYPE_CHECKING:
    from clients.decisions import Decided
    from clients.ledger import Balance
    from clients.status import JournalEnd, Quarantine, Records, Status

_UNREAD = "{:<10}cannot be read, so nothing is known of it; what to do is said below"


def status(
    home: Annotated[Path, typer.Option(help="The node's home folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show how the home stands: records, what has expired, plans and decisions, what was spent, the journal, the node.

    Changes nothing. Exit code 0: shown. 2: the home cannot be opened. 3: shown, but for a part that cannot be read and
    is named.
    """
    # Imported here so that `--help` does not wait for pandas and SQLAlchemy.
    from clients.node import NodeHome
    from clients.status import status_of

    with told():
        found = status_of(NodeHome.load(home))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, default=str))
    else:
        typer.echo(status_text(found))
        for problem in found.problems:
            complain(problem)
    raise typer.Exit(3 if found.problems else 0)


def status_text(found: Status) -> str:
    """A home's state in words."""
    return "\n".join([f"{found.partner} on {found.at:%Y-%m-%d %H:%M} UTC" + (
        " (SYNTHETIC: for invented records)" if found.synthetic else ""), *_lines(found)])


def _lines(found: Status) -> Iterator[str]:
    yield "Node      " + ("none runs here" if found.process is None else f"runs as process {found.process}")
    yield from (f"  {one['name']} is down and is started again" for one in (found.state or {}).get("processes", [])
                if one["pid"] is None)
    if refused := (found.state or {}).get("refused"):
        yield f"  a study was refused at the gate, {refused['at']}: {refused['words']}"
    for part, heading, lines in (
            ("records", "Records", _of_records(found.records)), ("quarantine", "Set aside", _of_rows(found.quarantine)),
            ("decisions", "Plans", _of_plans(found.decisions)), ("account", "Budget", _of_account(found.account)),
            ("journal", "Journal", _of_journal(found.journal))):
        yield from [_UNREAD.format(heading)] if part in found.unreadable else lines


def _of_records(found: Records | None) -> Iterator[str]:
    from clients.wording import counted

    if found is None:
        yield "Records   no file was taken in yet"
        return
    yield (f"Records   {found.records:,} of {counted(found.people, 'person', 'people')}; {found.without_person:,} "
           f"without a person id; {found.excluded:,} excluded from training")
    for name, figures in (("labelled", found.labelled), ("held by", found.consent_basis)):
        if figures:
            yield f"  {name}: " + ", ".join(f"{key} {number:,}" for key, number in sorted(figures.items()))
    if found.expired:
        yield (f"  the retention of {counted(found.expired, 'record', 'records')} has ended; to delete: "
               "leelight partner sweep")
    if found.erased:
        yield f"  on the erasure list: {found.erased:,}"


def _of_rows(waiting: Quarantine | None) -> Iterator[str]:
    from clients.wording import counted

    if waiting is not None:
        yield "Set aside " + (
            f"{counted(waiting.rows, 'row', 'rows')} in {counted(waiting.files, 'file', 'files')}, the oldest of "
            f"{waiting.oldest}" + (f"; {waiting.too_old} of the files are too old: leelight partner sweep"
                                   if waiting.too_old else "") if waiting.files else "nothing waits")


def _of_plans(found: tuple[Decided, ...]) -> Iterator[str]:
    yield "Plans     " + ("none was decided on" if not found else "")
    for one in found:
        yield f"  {_of_plan(one)}"


def _of_plan(one: Decided) -> str:
    from federation.privacy.units import up

    if one.decision is None or one.decided_at is None or one.epsilon is None:
        return f"{one.study}: the decision does not count. {one.problem}"
    price = f"ε = {up(one.epsilon)} at δ = {one.delta:g}"
    ended = "; everything in it was answered" if one.ended else ""
    wrong = f". {one.problem}" if one.problem else ""
    return f"{one.study} ({one.plan_sha256[:16]}…): {one.decision} on {one.decided_at:%Y-%m-%d}, {price}{ended}{wrong}"


def _of_account(found: Balance | None) -> Iterator[str]:
    from federation.privacy.units import down, up

    if found is None:
        yield "Budget    nothing was spent: no study has begun"
        return
    yield f"Budget    spent on one person, ε at δ = {found.delta:g}"
    for period in (found.years[-1], found.total):
        yield (f"  {period.period:<6} {up(period.epsilon)} of {period.allowed:g}; at most {down(period.remaining)} "
               "remain")


def _of_journal(found: JournalEnd | None) -> Iterator[str]:
    yield "Journal   " + ("not begun" if found is None else f"entry {found.sequence}, {found.hash}")
