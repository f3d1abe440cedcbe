"""Asking somebody at the terminal, and noticing that nobody is there."""

from __future__ import annotations

import sys

import typer


def somebody_there() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


def answer(question: str) -> str | None:
    """What was answered; None where nobody is there or the question was broken off, after saying so.

    An answer that is piped in counts: whoever pipes it has decided.
    """
    try:
        return str(typer.prompt(question, err=True, default="", show_default=False)).strip()
    except typer.Abort:
        typer.echo("\nNobody answered, so nothing was written. Where there is no terminal, decide beforehand and add "
                   "--yes.", err=True)
        return None


def confirmed(question: str) -> bool:
    """Whether the question was answered with "yes" in full; says that nothing was written if not."""
    found = answer(f"{question} Type yes")
    if found is not None and found.lower() != "yes":
        typer.echo("That is not yes. Nothing was written.", err=True)
    return found is not None and found.lower() == "yes"
