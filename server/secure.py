"""The five exchanges of a secure sum, as the coordinator takes them (`federation.secagg`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from federation.secagg import Collector, SessionSpec, Stage, Total

Ask = Callable[[Stage, Mapping[str, bytes]], list[bytes]]
"""Sends each named partner its message of an exchange and gives what was answered in time."""


def secure_sum(spec: SessionSpec, ask: Ask) -> Total:
    """Hold one session.

    Args:
        spec: the session.
        ask: reaches the partners; whoever does not answer one exchange is asked nothing more.

    Raises:
        federation.secagg.Aborted: if too few partners are left; there is no sum then.
    """
    collector = Collector(spec)

    def everybody(message: bytes) -> dict[str, bytes]:
        return dict.fromkeys(collector.present, message)

    key_list = collector.keys(ask(Stage.KEYS, everybody(b"")))
    deliveries = collector.shares(ask(Stage.SHARES, everybody(key_list)))
    survivor_list = collector.masked(ask(Stage.MASKED, deliveries))
    unmask_request = collector.survivors(ask(Stage.SURVIVORS, everybody(survivor_list)))
    return collector.unmask(ask(Stage.UNMASK, everybody(unmask_request)))
