"""How the ledger says no: to the coordinator by a code, to the partner in words with figures."""

from __future__ import annotations

from federation.errors import InputError, Refusal, RefusalCode


class Unusable(Refusal):
    """The ledger cannot be trusted or written, so nothing may be spent."""

    def __init__(self, name: str, problem: str, remedy: str) -> None:
        self.name, self.problem, self.remedy = name, problem, remedy
        super().__init__(RefusalCode.LEDGER_UNUSABLE, str(InputError(name, problem, remedy=remedy)))


def refusal(code: RefusalCode, name: str, problem: str, remedy: str, *, bound: str = "") -> Refusal:
    """A refusal whose detail, for the partner alone, says what is wrong and what to do."""
    return Refusal(code, str(InputError(name, problem, bound=bound, remedy=remedy)))


def unusable(name: str, problem: str, remedy: str) -> Unusable:
    """The ledger cannot be trusted or written, so nothing may be spent."""
    return Unusable(name, problem, remedy)
