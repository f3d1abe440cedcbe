"""A simulation's command line."""

from __future__ import annotations

from collections.abc import Callable

import typer


def run_command(main: Callable[..., None]) -> None:
    """Run `main` as the whole program.

    A traceback shows no values: local variables hold records, and real texts must not reach a terminal or a log.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
