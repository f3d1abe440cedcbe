"""Asking somebody at the terminal, and noticing that nobody is there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from federation.errors import InputError
from federation.telling import complain


def somebody_there() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty()


def ask_until(question: str, check: Callable[[str], Any]) -> Any:
    """The first answer that `check` accepts, as `check` gives it back; what is wrong with the others is said.

    Raises:
        typer.Abort: if the question is broken off.
    """
    while True:
        try:
            return check(_prompt(question))
        except InputError as error:
            complain(error)


def answer(question: str) -> str | None:
    """What was answered; None where nobody is there or the question was broken off, after saying so.

    An answer that is piped in counts: whoever pipes it has decided.
    """
    try:
        return _prompt(question)
    except typer.Abort:
        typer.echo("\nNobody answered, so nothing was written. Where there is no terminal, decide beforehand and add "
                   "--yes.", err=True)
        return None


def confirmed(question: str, *, word: str = "yes") -> bool:
    """Whether the question was answered with `word` in full; says that nothing was written if not."""
    found = answer(f"{question} Type {word}")
    if found is not None and found.lower() != word:
        typer.echo(f"That is not {word}. Nothing was written.", err=True)
    return found is not None and found.lower() == word


def asked_for(what: str, option: str) -> str:
    """Something that is to stand neither on a command line nor on the screen: what is typed, or the next line of what
    is piped in.

    Raises:
        InputError: if nobody answered.
    """
    try:
        return _prompt(f"{what} (not shown as you type)", hidden=somebody_there())
    except typer.Abort:
        raise InputError(option, "nobody answered", remedy="type it, or pipe it in") from None


def _prompt(question: str, *, hidden: bool = False) -> str:
    return str(typer.prompt(question, err=True, default="", show_default=False, hide_input=hidden)).strip()
