"""What a command says: results on the output, what is wrong on the error output, and an exit code that means it.

Plain words on purpose: rich would read [ ] in a path as markup and leave it out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from federation.errors import InputError, Refusal


def say(facts: dict[str, Any], *, as_json: bool, words: str) -> None:
    """The result of a command: facts for machines, or words for people."""
    typer.echo(json.dumps(facts, indent=2) if as_json else words)


def complain(words: object) -> None:
    """Something that is wrong, on the error output."""
    print(words, file=sys.stderr)  # noqa: T201  plain, see above


@contextmanager
def told() -> Iterator[None]:
    """End the command with words and an exit code if the block cannot do what it should.

    Exit codes: that of the `InputError`, 3 for a `Refusal`, 2 for a file that cannot be used.
    """
    try:
        yield
    except InputError as error:
        complain(error)
        raise typer.Exit(error.exit_code) from None
    except Refusal as refusal:
        complain(refusal.detail)
        raise typer.Exit(3) from None
    except OSError as error:
        complain(f"{error.filename}: cannot be used ({error.strerror}). What to do: check the disk and the folder's "
                 "permissions.")
        raise typer.Exit(2) from None
