"""What an audit found: one outcome a check, and for each failure the file and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What became of a check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_CHECKABLE = "not_checkable"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong, or could not be looked at.

    Attributes:
        file: of the bundle.
        words: what about it, to follow its name in a sentence.
    """

    file: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: what holds if it passed, and what speaks against that if it did not."""

    name: str
    holds: str
    outcome: Outcome
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of every check, in the order in which they were made.

    Attributes:
        about: what was checked, in a line; empty if the release cannot be read.
    """

    checks: tuple[Check, ...]
    about: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing failed."""
        return all(check.outcome is not Outcome.FAILED for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"about": self.about, "sound": self.sound, "checks": [asdict(check) for check in self.checks]}


class NotCheckable(Exception):
    """Something that a check needs is not there, or is itself broken, which another check says."""

    def __init__(self, file: str, words: str) -> None:
        self.finding = Finding(file=file, words=words)
        super().__init__(f"{file} {words}")


def outcome_of(name: str, holds: str, findings: Iterable[Finding]) -> Check:
    """The check that its findings make; they are looked for while this runs."""
    found: list[Finding] = []
    outcome = Outcome.PASSED
    try:
        for finding in findings:
            found.append(finding)
            outcome = Outcome.FAILED
    except NotCheckable as missing:
        if not found:
            found, outcome = [missing.finding], Outcome.NOT_CHECKABLE
    return Check(name=name, holds=holds, outcome=outcome, findings=tuple(found))
