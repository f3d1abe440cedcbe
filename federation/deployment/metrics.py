"""Figures for Prometheus, on this machine alone. They name partners and stages, and nothing of any person."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

from prometheus_client import CollectorRegistry, make_asgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from federation.deployment.serving import bound, served

REFRESH_SECONDS: Final = 10.0
log = logging.getLogger("leelight.metrics")
Read = Callable[[], Iterator[Metric]]
"""Gives the figures as they are now."""


class _Held(Collector):
    """The figures as they were a moment ago: reading them may take long, and answering must not."""

    def __init__(self) -> None:
        self.figures: list[Metric] = []

    def collect(self) -> list[Metric]:
        return self.figures

    async def refresh(self, read: Read) -> None:
        while True:
            try:
                self.figures = await asyncio.to_thread(lambda: list(read()))
            except Exception as error:  # noqa: BLE001  none rather than old ones, and again in a moment
                self.figures = []
                log.warning("no figures: %s", type(error).__name__)
            await asyncio.sleep(REFRESH_SECONDS)


def gauge(name: str, help_text: str, value: float | None) -> Iterator[Metric]:
    """One figure, or nothing where there is none."""
    if value is not None:
        yield GaugeMetricFamily(f"leelight_{name}", help_text, value=value)


def labelled(name: str, help_text: str, label: str, values: dict[str, float]) -> Iterator[Metric]:
    """One figure for each name."""
    family = GaugeMetricFamily(f"leelight_{name}", help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    yield family


def process_figures(state: dict[str, Any] | None) -> Iterator[Metric]:
    """Which of a keeper's processes run, from its `state.json`."""
    yield from labelled("process_up", "1 while a process runs.", "process", {
        str(one["name"]): float(one["pid"] is not None) for one in (state or {}).get("processes", [])})


@asynccontextmanager
async def metrics_served(port: int, read: Read) -> AsyncIterator[None]:
    """Serve `/metrics` while the block runs; nothing, if the port is 0.

    Raises:
        InputError: if the port is taken.
    """
    if port == 0:
        yield
        return
    registry, held = CollectorRegistry(auto_describe=False), _Held()
    registry.register(held)
    async with served(make_asgi_app(registry), bound("127.0.0.1", port)):
        refreshing = asyncio.create_task(held.refresh(read))
        try:
            yield
        finally:
            refreshing.cancel()
