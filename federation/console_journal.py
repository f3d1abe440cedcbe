"""`leelight audit journal`: whether a journal is whole, from its file alone.

Exit codes: 0 all that can be checked holds. 1 something is wrong, and the file and line are named. 2 there is nothing
to check, or a key or head that was given is none.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from federation.errors import InputError
from federation.telling import told

if TYPE_CHECKING:
    from federation.journal import Head, JournalReport

_KEY = re.compile(r"[0-9a-f]{64}")


def audit_journal(
    file: Annotated[Path, typer.Argument(help="The journal.")],
    key: Annotated[str | None, typer.Option(
        help="Its owner's public key, 64 hexadecimal digits, as the owner told it to you.")] = None,
    head: Annotated[Path | None, typer.Option(
        help="Its head. Without this, FILE.head is used if it is there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Check a journal: every line's form, number, hash, time, facts and signature, and that its end is there.

    Exit code 0: all that can be checked holds; what could not be checked is said. 1: something is wrong, and the file
    and line are named. 2: the file cannot be read, or the key or the head given is none.
    """
    from federation.journal import read_journal, verify_journal

    with told():
        public_key = None if key is None else _checked(key)
        report = verify_journal(read_journal(file), public_key=public_key, head=_head(file, head))
    typer.echo(json.dumps(as_dict(report, file), indent=2) if as_json else as_text(report, file))
    raise typer.Exit(0 if report.sound else 1)


def _checked(key: str) -> str:
    found = key.strip().lower()
    if not _KEY.fullmatch(found):
        raise InputError("--key", f"{key!r} is not a public key", bound="64 hexadecimal digits",
                         remedy="copy it whole, as the journal's owner told it to you")
    return found


def _head(file: Path, given: Path | None) -> Head | None:
    from federation.journal import head_path, read_head

    found = read_head(given or head_path(file))
    if given is not None and found is None:
        raise InputError(str(given), "is not there", remedy="give the head's file, or leave out --head")
    return found


def as_dict(report: JournalReport, file: Path) -> dict[str, Any]:
    """A report for machines."""
    opened, problem, last = report.opened, report.problem, report.entries[-1] if report.entries else None
    return {
        "file": str(file), "sound": report.sound, "entries": len(report.entries),
        "owner": opened and opened.owner, "side": opened and opened.side, "public_key": opened and opened.public_key,
        "key_was_given": report.pinned, "anchored": report.anchored, "acts": report.acts,
        "first": report.entries[0].at.isoformat() if last else None, "last": last.at.isoformat() if last else None,
        "end": last.anchor.model_dump() if last else None,
        "problem": problem and {"line": problem.line, "fault": problem.fault, "words": problem.words}}


def as_text(report: JournalReport, file: Path) -> str:
    """A report in words."""
    entries, problem, opened = report.entries, report.problem, report.opened
    lines = []
    if problem is not None:
        lines += [f"{file}, line {problem.line}: {problem.words}.",
                  "What to do: use nothing from that line on; ask the owner for the journal again, and for what became "
                  "of this one."]
    if opened is not None:
        held = (f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'} of {opened.owner} ({opened.side}), "
                f"{entries[0].at:%Y-%m-%d} to {entries[-1].at:%Y-%m-%d}.")
        lines += [f"The lines before it fit: {held}" if problem else f"All that can be checked holds: {held}",
                  "  " + ", ".join(f"{act} {count}" for act, count in report.acts.items()),
                  f"Signed by {opened.public_key}, " + (
                      "the key that was given." if report.pinned else
                      "the key that the journal names itself. Hold it against what its owner told you by another "
                      "channel, or give that with --key.")]
    if problem is None:
        lines.append(_end_in_words(report))
    return "\n".join(lines)


def _end_in_words(report: JournalReport) -> str:
    last = len(report.entries) - 1
    if report.anchored == last:
        return f"The end is anchored: the head names entry {last}, the last."
    if report.anchored is not None:
        return f"The head names entry {report.anchored}; entries after {last} could have been cut off."
    return (f"The end is not anchored: entries after {last} could have been cut off. A head (--head), or the hash of a "
            "later entry from elsewhere, would tell.")
