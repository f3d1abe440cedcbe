"""Errors that explain themselves to the person who can act on them.

Two kinds, never mixed. An `InputError` speaks to somebody at their own machine and may name their file and field.
A `Refusal` is what may cross from a partner to the coordinator: a fixed code and nothing else (DESIGN 7).
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class InputError(ValueError):
    """Something the user gave cannot be used.

    Args:
        name: what it is: a file, a field, a setting.
        problem: what is wrong with it, in words, including the value where it is safe to show.
        bound: what would be accepted.
        remedy: what to do now.

    The message must never hold the text of a record.

    Attributes:
        exit_code: with which a command ends for it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, name: str, problem: str, *, bound: str = "", remedy: str = "") -> None:
        self.name, self.problem, self.bound, self.remedy = name, problem, bound, remedy
        parts = [f"{name}: {problem}."]
        if bound:
            parts.append(f"Allowed: {bound}.")
        if remedy:
            parts.append(f"What to do: {remedy}.")
        super().__init__(" ".join(parts))


class RefusalCode(StrEnum):
    """Every reason a node may give to the coordinator. Fixed words: no value, count or path is ever added."""

    PLAN_INVALID = "plan_invalid"
    PLAN_NOT_TRUSTED = "plan_not_trusted"
    NOT_IN_ROSTER = "not_in_roster"
    NOT_CONFIGURED = "not_configured"
    NOT_READY = "not_ready"
    NOT_ALLOWED = "not_allowed"
    NOT_APPROVED = "not_approved"
    BAD_REQUEST = "bad_request"
    BUDGET_EXHAUSTED = "budget_exhausted"
    ALREADY_ANSWERED = "already_answered"
    SESSION_REFUSED = "session_refused"
    LEDGER_UNUSABLE = "ledger_unusable"
    BUSY = "busy"
    FAILED = "failed"


class Refusal(Exception):
    """A node declines. Only `code` leaves the house; `detail` is for the partner's own eyes."""

    def __init__(self, code: RefusalCode, detail: str = "") -> None:
        self.code, self.detail = code, detail
        super().__init__(code.value)
