"""`leelight audit release`: whether a published release is what it says, from its files alone.

Exit codes: 0 nothing failed; what could not be checked is said. 1 something failed, and the file is named. 2 there is
nothing to check, or something given cannot be used.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from federation.errors import InputError
from federation.telling import told

if TYPE_CHECKING:
    from server.release.audit import Evidence, Report

_KEY = re.compile(r"[0-9a-f]{64}")
_MARKS = {"passed": "ok     ", "failed": "FAILED ", "not_checkable": "not checked"}


def audit_release(
    folder: Annotated[Path, typer.Argument(help="The folder of the release.")],
    coordinator_key: Annotated[str | None, typer.Option(
        help="The coordinator's public key, 64 hexadecimal digits, as they told it to you.")] = None,
    previous: Annotated[Path | None, typer.Option(help="The folder of the release before it.")] = None,
    measurements: Annotated[Path | None, typer.Option(
        help="The noisy sums of the study, if the coordinator shows them to you.")] = None,
    salt: Annotated[Path | None, typer.Option(help="The salt that belongs to --measurements.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Check a release: its files, signatures, journal, price, and that every figure follows from what it shows.

    Exit code 0: nothing failed; what could not be checked is said. 1: something failed, and the file is named. 2: there
    is nothing to check, or something given cannot be used.
    """
    from server.release.audit import audit_release as audit

    with told():
        report = audit(folder, coordinator_key=_key(coordinator_key), previous=previous,
                       evidence=_evidence(measurements, salt))
    typer.echo(json.dumps({"folder": str(folder), **report.as_json()}, indent=2) if as_json else as_text(report))
    raise typer.Exit(0 if report.sound else 1)


def _key(given: str | None) -> str | None:
    if given is None:
        return None
    found = given.strip().lower()
    if not _KEY.fullmatch(found):
        raise InputError("--coordinator-key", f"{given!r} is not a public key", bound="64 hexadecimal digits",
                         remedy="copy it whole, as the coordinator told it to you")
    return found


def _evidence(measurements: Path | None, salt: Path | None) -> Evidence | None:
    from server.release.audit import Evidence

    if measurements is None and salt is None:
        return None
    if measurements is None or salt is None:
        raise InputError("--measurements, --salt", "one is given without the other", bound="both or neither",
                         remedy="ask the coordinator for both files")
    return Evidence(measurements=measurements, salt=salt)


def as_text(report: Report) -> str:
    """A report in words, a line a check."""
    lines = [report.about, ""] if report.about else []
    for check in report.checks:
        lines.append(f"{_MARKS[check.outcome]:<12} {check.holds}")
        lines += [f"{'':<12} {finding.file}: {finding.words}" for finding in check.findings]
    failed = sum(check.outcome == "failed" for check in report.checks)
    open_ones = sum(check.outcome == "not_checkable" for check in report.checks)
    verdict = (f"{failed} of {len(report.checks)} checks FAILED: do not rely on this release, and tell the coordinator."
               if failed else "Nothing failed.")
    return "\n".join([*lines, "", verdict + (f" {open_ones} could not be made; they say why." if open_ones else "")])
