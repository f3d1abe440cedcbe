"""A node's figures for Prometheus: what is spent on one person and what remains, what runs, what the gate refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from clients.accounts import existing_account
from clients.node import NodeHome
from federation.deployment.keeper import running_state
from federation.deployment.metrics import gauge, process_figures
from federation.errors import InputError, Refusal


def node_figures(home: NodeHome, refusals: Callable[[], int]) -> Iterator[Metric]:
    """The figures as they are now; those of an account that is not there, or in use, are left out.

    Args:
        home: whose they are.
        refusals: how often the gate has refused.
    """
    yield from process_figures(running_state(home.path))
    yield CounterMetricFamily("leelight_gate_refusals", "Answers that the gate kept from the node.", value=refusals())
    try:
        ceilings = home.policy().ceilings
        with existing_account(home) as account:
            balance = account.balance(ceilings)
    except (InputError, Refusal):
        return
    yield from gauge("epsilon_spent", "Epsilon spent on one person, all in all.", balance.total.epsilon)
    yield from gauge("epsilon_remaining", "Epsilon that may still be spent on one person.", balance.total.remaining)
