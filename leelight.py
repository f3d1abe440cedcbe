"""The command line. It only finds the command; each side brings its own.

    leelight simulate …      run a whole federation on this machine
    leelight plan …          what a study plan costs
    leelight partner …       a partner's node
    leelight ledger …        what was spent on a partner's people
    leelight coordinator …   a coordinator: partners, plans, studies
    leelight bundle …        the software that is sent to nodes
    leelight release …       a coordinator's release: draft, dry run, signatures, publication
    leelight audit …         whether what a side shows is whole
"""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from federation.plan import SignedPlan, StudyPlan


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"leelight {installed('leelight')}")
        raise typer.Exit


def main() -> None:
    """Entry point of `leelight`."""
    if sys.argv[1:2] == ["simulate"]:
        # Hydra reads the rest of the line itself: groups, overrides, --multirun, --cfg, --help.
        from simulations.launch import main as run

        sys.argv = ["leelight simulate", *sys.argv[2:]]
        run()
        return
    # A crash must not print local variables: they may hold the text of a record.
    app = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False, rich_markup_mode="rich",
                      pretty_exceptions_enable=False)
    from clients.console import app as partner
    from clients.console_ledger import app as ledger
    from federation.console import plan_app
    from federation.console_bundle import app as bundle
    from server.console_coordinator import coordinator_app
    from server.console_release import app as release

    app.callback()(_leelight)
    app.command("simulate", add_help_option=False)(_simulate)
    app.add_typer(plan_app(_compose), name="plan", help="Study plans: what they cost.")
    app.add_typer(partner, name="partner", help="A partner's node: make one, take files in, decide about plans.")
    app.add_typer(ledger, name="ledger", help="What was spent on a partner's people, and whether the books fit.")
    app.add_typer(coordinator_app(_compose_enrolled), name="coordinator",
                  help="A coordinator: enrol partners, sign plans, run studies.")
    app.add_typer(bundle, name="bundle", help="The software that is sent to nodes, and its hash.")
    app.add_typer(release, name="release", help="A coordinator's release: draft it, look at it, sign it, publish it.")
    app.add_typer(audit_app(), name="audit", help="Check what a side shows, from its files alone.")
    app()


def audit_app() -> typer.Typer:
    """The commands that check files from any side, believing nothing in them."""
    from federation.console_journal import audit_journal
    from server.console_audit import audit_release

    audit = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False,
                        pretty_exceptions_enable=False)
    audit.callback()(_audit)
    audit.command("journal")(audit_journal)
    audit.command("release")(audit_release)
    return audit


def _leelight(version: Annotated[bool, typer.Option(
        "--version", help="Print the version and stop.", is_eager=True, callback=_print_version)] = False) -> None:
    """Federated analysis against human trafficking, with every person protected."""


def _audit() -> None:
    """Check what a side shows, from its files alone."""


def _simulate() -> None:
    """Run a whole federation on this machine. Takes Hydra overrides; see `leelight simulate --help`."""


def _compose(overrides: list[str]) -> StudyPlan:
    from simulations.launch import compose_study

    return compose_study(overrides)


def _compose_enrolled(*given: Any, **facts: Any) -> SignedPlan:
    from simulations.launch import compose_enrolled

    return compose_enrolled(*given, **facts)


if __name__ == "__main__":
    main()
