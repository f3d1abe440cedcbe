"""A coordinator's figures for Prometheus: who is there, where the study stands, what runs, and how long TLS holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from prometheus_client.core import Metric

from federation.deployment.metrics import gauge, labelled, process_figures
from federation.errors import InputError
from server.coordinator import CoordinatorHome
from server.deployment.watching import look


def coordinator_figures(home: CoordinatorHome) -> Iterator[Metric]:
    """The figures as they are now; those that cannot be read are left out."""
    try:
        found = look(home)
    except InputError:
        return
    yield from process_figures(found)
    yield from gauge("certificate_days", "Days until the server's certificate expires.", found["certificate_days"])
    yield from gauge("partners_enrolled", "Partners that are enrolled.", len(found["partners"]))
    yield from gauge("partners_online", "Partners whose node is connected.",
                     sum(one["node"] == "online" for one in found["partners"]))
    study = found["study"]
    if study is None:
        return
    yield from gauge("study_round", "Rounds of training that are done.", study["rounds_done"])
    yield from gauge("study_rounds", "Rounds of training in the plan.", study["rounds"])
    yield from gauge("stage_answered", "Partners that have answered the stage at hand.",
                     sum(stands == "has answered" for stands in study["partners"].values()))
    if study["running"] and study["since"] is not None:
        since = datetime.fromisoformat(study["since"])
        yield from gauge("stage_seconds", "Since the stage at hand was begun.",
                         (datetime.now(UTC) - since).total_seconds())
    yield from labelled("stage_took_seconds", "What the stages that are over took.", "stage", {
        one["stage"]: one["seconds"] for one in study["stages"]})
