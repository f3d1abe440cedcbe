"""The partner's commands: `leelight partner ...`. Thin: each finds the home and calls the part that does the work."""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from clients import (
    console_erase,
    console_home,
    console_known,
    console_leave,
    console_node,
    console_status,
    console_study,
    console_sweep,
)
from federation.errors import InputError
from federation.telling import told

if TYPE_CHECKING:
    from clients.ingest.report import IngestReport
    from clients.node import NodeHome

# Click suggests the command that may be meant; Typer would do so a second time.
app = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False,
                  pretty_exceptions_enable=False)


@app.callback()
def partner() -> None:
    """A partner's node."""
    # Typer prints the local variables of every frame when something breaks, and ours hold the texts of records. The
    # application above this one decides about that, so it is switched off where it cannot be forgotten.
    os.environ["_TYPER_STANDARD_TRACEBACK"] = "1"


app.command()(console_home.init)
app.command()(console_known.know)
app.command()(console_node.join)
app.command()(console_node.start)
app.command()(console_study.review)
app.command()(console_study.approve)
app.command()(console_study.decline)
app.command()(console_status.status)
app.command()(console_erase.erase)
app.command()(console_sweep.sweep)
app.command()(console_leave.leave)


@app.command()
def ingest(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON Lines or Parquet, in UTF-8.")],
    mapping: Annotated[str, typer.Option(help="A shipped mapping by name, or the path of a YAML file.")],
    home: Annotated[Path, typer.Option(help="The node's home folder.")],
    retention_until: Annotated[str | None, typer.Option(
        help="Keep until this date (YYYY-MM-DD), for rows that carry none.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave this column out. Repeat for several.")] = None,
    language_default: Annotated[str | None, typer.Option(
        help="Language (BCP 47) of texts whose language cannot be told.")] = None,
    synthetic: Annotated[bool, typer.Option(
        "--synthetic", help="The records are invented. A home for invented records takes no others.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read a file into the record store: checked, redacted, pseudonymised.

    Exit code 0: every row is in the store. 3: some rows were set aside. 2: refused, or no row could be used.
    """
    with told():
        report = _ingest(file, mapping, home, _date(retention_until), frozenset(exclude or ()), language_default,
                         synthetic=synthetic)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        report.show(Console())
    raise typer.Exit(report.exit_code)


def _ingest(file: Path, mapping_name: str, home: Path, until: date | None, exclude: frozenset[str],
            language: str | None, *, synthetic: bool) -> IngestReport:
    # Imported here so that `--help` does not wait for pandas and SQLAlchemy.
    from clients.ingest.languages import check_language
    from clients.ingest.mapping import load_mapping
    from clients.ingest.pipeline import ingest_file
    from clients.node import NodeHome
    from clients.quiet import taking_in
    from clients.store import RecordStore

    node = NodeHome.load(home)
    _check_world(node, synthetic=synthetic)
    mapping = load_mapping(mapping_name)
    if language is not None:
        check_language(language, "--language-default")
        mapping = mapping.model_copy(update={"language": mapping.language.model_copy(update={"default": language})})
    with taking_in(node), RecordStore(node.store_path) as store, Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} rows"),
            TimeElapsedColumn(), console=Console(stderr=True), transient=True,
            disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("reading", total=None)
        return ingest_file(
            file, mapping=mapping, store=store, secret=node.person_secret(), partner_kind=node.settings.kind,
            today=datetime.now(UTC).date(), quarantine_dir=node.quarantine_dir, retention_until=until, exclude=exclude,
            declared=node.settings.regions, synthetic=node.settings.synthetic,
            progress=lambda rows: bar.update(task, completed=rows))


def _check_world(node: NodeHome, *, synthetic: bool) -> None:
    """Refuse real records where real people cannot be protected, and invented ones among real ones."""
    settings = node.settings
    unprotected = settings.synthetic or settings.reproducible_noise is not None
    if synthetic and not unprotected:
        raise InputError(
            str(node.path / "node.yaml"), "has synthetic: false, so this home is for real records: invented ones would "
            "train and count as people beside the real ones, and nobody could tell them apart again",
            bound="real records, without --synthetic",
            remedy="make a home for invented records with `leelight partner init --synthetic` and take them in there")
    if unprotected and not synthetic:
        which = "synthetic: true" if settings.synthetic else "reproducible_noise"
        raise InputError(
            str(node.path / "node.yaml"), f"has {which}, so this home is for invented or public records: anybody may "
            "be able to work out its person secret, and so whose records they are, and its noise may protect nobody",
            bound="invented records, with --synthetic",
            remedy="make a home of your own with `leelight partner init` and take real records in there")


def _date(value: str | None) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise InputError("--retention-until", "is not a date", bound="YYYY-MM-DD", remedy="write it as 2030-12-31") \
            from None
