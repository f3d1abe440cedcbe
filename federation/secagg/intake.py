"""How the coordinator takes answers in: the good ones by sender, and a note of each that was not."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from federation.secagg.errors import Code, ProtocolError, Stage
from federation.secagg.session import SessionSpec


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An answer that was not accepted: at which exchange, why, and whom it named (empty if that could not be read)."""

    stage: Stage
    code: Code
    sender: str


class _Sent(Protocol):
    @property
    def sender(self) -> str: ...


_M = TypeVar("_M", bound=_Sent)


class Intake:
    """Collects faults over a session's exchanges.

    Attributes:
        faults: answers that were not accepted so far.
    """

    def __init__(self, spec: SessionSpec) -> None:
        self._spec = spec
        self.faults: list[Fault] = []

    def accept(self, stage: Stage, answers: Iterable[bytes], decode: Callable[[bytes, SessionSpec], _M],
               check: Callable[[_M], None], allowed: Container[str]) -> dict[str, _M]:
        """The good answers of one exchange.

        Args:
            stage: the exchange.
            answers: as they arrived, in any order.
            decode: reads one, or raises ProtocolError.
            check: raises ProtocolError unless it is signed and complete.
            allowed: who is still in.

        Returns:
            By sender, in order of names. The first good answer of a sender counts.
        """
        accepted: dict[str, _M] = {}
        for answer in answers:
            sender = ""
            try:
                message = decode(answer, self._spec)
                sender = message.sender
                if sender not in allowed:
                    raise ProtocolError(Code.NOT_A_MEMBER, stage, f"{sender} is not in this session any more")
                if sender in accepted:
                    raise ProtocolError(Code.DUPLICATE_NAME, stage, f"{sender} has answered before")
                check(message)
            except ProtocolError as error:
                self.faults.append(Fault(stage=stage, code=error.code, sender=sender))
            else:
                accepted[sender] = message
        return dict(sorted(accepted.items()))
