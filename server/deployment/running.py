"""What `leelight coordinator start` runs: the edge, Flower's SuperLink behind it, and the executor of the ServerApp.

    partners ── TLS ──► edge ── TLS, this machine ──► SuperLink ◄── executor ── the study's round loop
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx

from federation.deployment.flower import program, scratch_in, surroundings
from federation.deployment.keeper import Keeper
from federation.deployment.metrics import metrics_served
from federation.deployment.processes import ProcessSpec
from federation.deployment.proxy import FLEET_PATHS, Limits, Proxy
from federation.deployment.serving import bound, free_port, port_of, served, trusting
from federation.errors import InputError
from server.app import HOME_VARIABLE
from server.coordinator import CoordinatorHome
from server.deployment.control import Control
from server.deployment.enrolled import Enrolled
from server.deployment.metrics import coordinator_figures
from server.deployment.network import CoordinatorSettings, Network

HEALTH = "/health"
_READY_SECONDS = 90.0


async def run_coordinator(home: CoordinatorHome, listening: Callable[[], None]) -> None:
    """Keep a coordinator running until a signal says stop.

    Args:
        home: the coordinator's.
        listening: called once its port is its own.

    Raises:
        InputError: if its settings cannot be used, or it is running already.
    """
    network = Network(home)
    settings = network.settings()
    keeper = Keeper(home.path, "this coordinator")
    async with keeper.alone():
        listener, port = bound(*settings.listens_on()), free_port()
        proxy = edge(settings, network, port)
        keeper.tell(address=settings.address, edge=port_of(listener), superlink=port)
        async with (served(proxy, listener, certificate=network.certificate, key=network.key),
                    metrics_served(settings.metrics_port, partial(coordinator_figures, home))):
            listening()
            admitting = asyncio.create_task(_admit(home, network, port, keeper))
            # A coordinator that cannot let its partners in is none: it ends, and says why.
            admitting.add_done_callback(lambda task: None if task.cancelled() or not task.exception()
                                        else keeper.stopping.set())
            try:
                await keeper.keep(coordinator_processes(home, network, port))
            finally:
                admitting.cancel()
        await proxy.close()
    with suppress(asyncio.CancelledError):
        await admitting


def edge(settings: CoordinatorSettings, network: Network, superlink: int) -> Proxy:
    """The only thing that is reached from outside: what nodes need passes, everything else does not."""
    limits = Limits(body_bytes=settings.largest_message, requests_a_second=settings.requests_a_second,
                    burst=int(4 * settings.requests_a_second))
    return Proxy(f"https://127.0.0.1:{superlink}", tls=trusting(network.authority), paths=FLEET_PATHS, limits=limits,
                 health=HEALTH)


def coordinator_processes(home: CoordinatorHome, network: Network, superlink: int) -> list[ProcessSpec]:
    """Flower's two processes of a coordinator.

    Args:
        home: of the coordinator.
        network: its keys.
        superlink: port for the SuperLink, on this machine alone.
    """
    path = home.path.resolve()
    scratch, logs = scratch_in(path / "run"), path / "logs"
    for folder in (scratch, logs):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = surroundings(scratch, {HOME_VARIABLE: str(path)})

    def spec(name: str, arguments: list[str | Path]) -> ProcessSpec:
        return ProcessSpec(name=name, command=[program(name), *map(str, arguments)], environment=environment,
                           folder=scratch, log_file=logs / f"{name}.log")

    secret, authority = network.executor_secret.resolve(), network.authority.resolve()
    return [
        spec("flower-superlink", [
            "--ssl-ca-certfile", authority, "--ssl-certfile", network.certificate.resolve(),
            "--ssl-keyfile", network.key.resolve(), "--enable-supernode-auth", "--isolation", "process",
            "--superexec-auth-secret-file", secret, "--host", "127.0.0.1", "--port", str(superlink),
            "--database", scratch / "state.db", "--disable-runtime-dependency-installation"]),
        spec("flower-superexec", [
            "--root-certificates", authority, "--runtime-api-address", f"127.0.0.1:{superlink}",
            "--superexec-auth-secret-file", secret]),
    ]


async def _admit(home: CoordinatorHome, network: Network, superlink: int, keeper: Keeper) -> None:
    """Once the SuperLink is up, have exactly the enrolled partners let in.

    Raises:
        InputError: if the SuperLink does not come up or refuses, or a file of the register was changed.
    """
    await _ready(superlink, network)
    control = Control(port=superlink, authority=network.authority)
    try:
        await asyncio.to_thread(admit, control, Enrolled(home))
    finally:
        control.close()
    keeper.tell(ready=True)


def admit(control: Control, enrolled: Enrolled) -> None:
    """Let in whoever is enrolled, and nobody else.

    Raises:
        InputError: if the SuperLink refuses.
    """
    wanted = {one.node_key: one for one in enrolled.partners()}
    inside = control.nodes()
    for node in inside:
        if node.node_key not in wanted:
            control.shut_out(node)
    for key in wanted.keys() - {node.node_key for node in inside}:
        control.let_in(wanted[key])


async def _ready(superlink: int, network: Network) -> None:
    """Wait until the SuperLink answers.

    Raises:
        InputError: if it does not in a minute and a half.
    """
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    async with httpx.AsyncClient(verify=trusting(network.authority), trust_env=False) as client:
        while asyncio.get_running_loop().time() < deadline:
            try:
                if (await client.get(f"https://127.0.0.1:{superlink}{HEALTH}", timeout=2)).status_code < 500:
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
    raise InputError("SuperLink", f"was not ready within {_READY_SECONDS:g} s", remedy="see logs/flower-superlink.log")
