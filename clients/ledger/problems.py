"""How the ledger says no: to the coordinator by a code, to the partner in words with figures."""

from __future__ import annotations

from federation.errors import InputError, Refusal, RefusalCode


def refusal(code: RefusalCode, name: str, problem: str, remedy: str, *, bound: str = "") -> Refusal:
    """A refusal whose detail, for the partner alone, says what is wrong and what to do."""
    return Refusal(code, str(InputError(name, problem, bound=bound, remedy=remedy)))


def unusable(name: str, problem: str, remedy: str) -> Refusal:
    """The ledger cannot be trusted or written, so nothing may be spent."""
    return refusal(RefusalCode.LEDGER_UNUSABLE, name, problem, remedy)
