"""What `leelight partner start` runs: the gate, Flower's SuperNode behind it, and the executor of the node's part.

    coordinator ◄── TLS ── gate ◄── TLS, this machine ── SuperNode ◄── executor ── warm ── a process for each message
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from clients.deployment.gate import Gate
from clients.deployment.metrics import node_figures
from clients.deployment.network import Network, network_of
from clients.deployment.warm import PROGRAM, write_small_program
from clients.node import NodeHome
from clients.sweep import sweep_home
from federation.deployment.flower import program, scratch_in, surroundings
from federation.deployment.keeper import Keeper
from federation.deployment.metrics import metrics_served
from federation.deployment.processes import ProcessSpec
from federation.deployment.proxy import Limits
from federation.deployment.serving import bound, free_port, port_of, served, trusting

_DAY_SECONDS = 86_400.0
log = logging.getLogger("leelight.node")
RECONNECT_SECONDS = 65.0
"""A SuperLink takes a node that died back when its last heartbeat is a minute old, and not before."""


async def run_node(home: NodeHome, begun: Callable[[], None]) -> None:
    """Keep a node running until a signal says stop.

    Args:
        home: the node's.
        begun: called once nothing that was given keeps it from running.

    Raises:
        InputError: if it has not joined, or is running already.
    """
    network = network_of(home)
    home.remember_prices()
    address = network.invitation(home.settings.coordinator_key).address
    keeper = Keeper(home.path, "this node")

    def refused(words: str) -> None:
        keeper.tell(refused={"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "words": words} if words else None)

    async with keeper.alone():
        listener = bound("127.0.0.1", 0)
        gate, runtime = Gate(home, told=refused), free_port()
        proxy = gate.before(address, trusting(network.authority), Limits())
        keeper.tell(coordinator=address, gate=port_of(listener), runtime=runtime)
        async with (served(proxy, listener, certificate=network.gate_certificate, key=network.gate_key),
                    metrics_served(home.settings.metrics_port, partial(node_figures, home, lambda: gate.refusals))):
            begun()
            sweeping = asyncio.create_task(_sweep_daily(home))
            try:
                await keeper.keep(node_processes(home, network, gate=port_of(listener), runtime=runtime))
            finally:
                sweeping.cancel()
        await proxy.close()


async def _sweep_daily(home: NodeHome) -> None:
    """Delete what may no longer be kept, now and every day. What cannot be deleted today is tried again tomorrow."""
    while True:
        if (await asyncio.to_thread(sweep_home, home, datetime.now(UTC).date())).problems:
            # What it was may name files and how many: that is for the terminal, and not for a log.
            log.warning("not everything that has expired could be deleted; `leelight partner sweep` says what")
        await asyncio.sleep(_DAY_SECONDS)


def node_processes(home: NodeHome, network: Network, *, gate: int, runtime: int) -> list[ProcessSpec]:
    """Flower's two processes of a node.

    Args:
        home: of the node.
        network: its keys.
        gate: port that the gate listens on.
        runtime: port for the SuperNode's own executor.
    """
    path = home.path.resolve()
    scratch, logs = scratch_in(path / "run"), path / "logs"
    for folder in (scratch, logs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = surroundings(scratch, {"OMP_NUM_THREADS": str(home.settings.threads),
                                         "OPENBLAS_NUM_THREADS": str(home.settings.threads)})
    warm_socket = path / "run" / "warm.socket"
    write_small_program(path / "run" / "bin", socket_path=warm_socket, real=program(PROGRAM))
    environment["PATH"] = f"{path / 'run' / 'bin'}{os.pathsep}{environment['PATH']}"

    def spec(name: str, arguments: list[str | Path], pause: float) -> ProcessSpec:
        return ProcessSpec(name=name, command=[program(name), *map(str, arguments)], environment=environment,
                           folder=scratch, log_file=logs / f"{name}.log", least_pause=pause)

    secret = network.executor_secret.resolve()
    return [
        ProcessSpec(name="warm", command=[sys.executable, "-m", "clients.deployment.warm", str(warm_socket)],
                    environment=environment, folder=scratch, log_file=logs / f"{PROGRAM}.log"),
        spec("flower-supernode", [
            "--root-certificates", network.gate_authority.resolve(), "--superlink", f"127.0.0.1:{gate}",
            "--auth-supernode-private-key", network.node_key.resolve(), "--isolation", "process",
            "--superexec-auth-secret-file", secret, "--host", "127.0.0.1", "--port", str(runtime),
            # A string in JSON is one in TOML, which Flower reads this as.
            "--node-config", f"node-home={json.dumps(str(path))}"], RECONNECT_SECONDS),
        spec("flower-superexec", [
            "--insecure", "--runtime-api-address", f"127.0.0.1:{runtime}",
            "--superexec-auth-secret-file", secret], 1.0),
    ]
