"""The five exchanges of a secure sum, as the coordinator takes them (`federation.secagg`), from the first or from
wherever an earlier process left off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from federation.secagg import Collector, SessionSpec, Stage, Total
from server.progress import SumAtHand

Ask = Callable[[Stage, Mapping[str, bytes]], None]
"""Sends each named partner its message of an exchange, and puts what was answered in time with the sum at hand."""
Made = TypeVar("Made")


def secure_sum(spec: SessionSpec, held: SumAtHand, ask: Ask, close: Callable[[Stage], None]) -> Total:
    """Hold one session to its end.

    An exchange is closed once its answers are enough, before anything of the next one is sent. One with too few is left
    open: whoever has not answered can still be asked.

    Args:
        spec: the session.
        held: what has been answered.
        ask: reaches the partners; whoever does not answer one exchange is asked nothing more.
        close: notes that the answers to an exchange are final.

    Raises:
        federation.secagg.Aborted: if too few partners are left; there is no sum then.
    """
    collector = Collector(spec)

    def exchange(stage: Stage, messages: Mapping[str, bytes], take: Callable[[Iterable[bytes]], Made]) -> Made:
        if stage not in held.closed:
            here = held.answered(stage)
            ask(stage, {name: message for name, message in messages.items() if name not in here})
        made = take(held.answered(stage).values())
        if stage not in held.closed:
            close(stage)
        return made

    def everybody(message: bytes) -> dict[str, bytes]:
        return dict.fromkeys(collector.present, message)

    key_list = exchange(Stage.KEYS, everybody(b""), collector.keys)
    deliveries = exchange(Stage.SHARES, everybody(key_list), collector.shares)
    survivor_list = exchange(Stage.MASKED, deliveries, collector.masked)
    unmask_request = exchange(Stage.SURVIVORS, everybody(survivor_list), collector.survivors)
    return exchange(Stage.UNMASK, everybody(unmask_request), collector.unmask)
