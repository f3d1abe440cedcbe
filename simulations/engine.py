"""Driving the two apps: on the in-process grid, or by Flower's own simulation engine.

Flower's engine is started as a SuperLink of our own on loopback, with everything of Flower's that reaches out switched
off, and stopped by its process id when the run is over; a plain `flwr run . local` would leave one behind.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import tomli_w
from flwr.app import Context, RecordDict

from clients.app import app as client_app
from clients.door import NODES_VARIABLE
from clients.node import NodeHome
from federation.errors import InputError
from federation.plan import SignedPlan
from server.app import HOME_VARIABLE, make_app
from server.coordinator import CoordinatorHome
from server.rounds import Observer
from simulations.grid import InProcessGrid, Silence

_READY_SECONDS = 60
_PROJECT = Path(__file__).resolve().parent.parent


def run_in_process(signed: SignedPlan, coordinator: CoordinatorHome, homes: Sequence[NodeHome], observer: Observer,
                   *, silent: Silence | None = None) -> None:
    """Run the study in this process; results are in the coordinator's home."""
    run_config = {"plan": signed.to_json()}
    grid = InProcessGrid(client_app, [{"node-home": str(home.path)} for home in homes], run_config, silent=silent)
    context = Context(run_id=1, node_id=0, node_config={"coordinator-home": str(coordinator.path)}, state=RecordDict(),
                      run_config=run_config)  # type: ignore[arg-type]
    make_app(observer)(grid, context)


def flower_program() -> str:
    """Flower's SuperLink, installed together with its simulation engine.

    Raises:
        InputError: if the extra is not installed.
    """
    program = shutil.which("flower-superlink", path=str(Path(sys.executable).parent))
    try:
        import ray  # noqa: F401
    except ImportError:
        program = None
    if program is None:
        raise InputError("simulation.engine", "Flower's engine is not installed",
                         remedy="pip install -e '.[engine]' in the project's folder, or leave out simulation=flower")
    return program


def run_flower(signed: SignedPlan, coordinator: CoordinatorHome, homes: Sequence[NodeHome]) -> None:
    """Run the study under Flower's simulation engine; results are in the coordinator's home.

    Raises:
        InputError: if the extra is not installed or the run does not finish.
    """
    program = flower_program()
    # Absolute: Flower's processes run in other folders.
    scratch = (coordinator.path / "flower").resolve()
    scratch.mkdir(mode=0o700)
    port = _free_port()
    environment = _environment(scratch, coordinator, homes)
    with _superlink(program, port, scratch, environment):
        _configure(scratch, port)
        (scratch / "run.toml").write_text(tomli_w.dumps({"plan": signed.to_json()}), encoding="utf-8")
        finished = subprocess.run(  # noqa: S603  our own arguments only
            [str(Path(program).with_name("flwr")), "run", str(_PROJECT), "study", "--stream", "--run-config",
             str(scratch / "run.toml"), "--federation-config",
             f"num-supernodes={len(homes)} client-resources-num-cpus=1 init-args-num-cpus=2"],
            env=environment, cwd=scratch, capture_output=True, text=True, check=False,
            timeout=60 + signed.plan.conduct.stage_deadline_seconds * (2 + signed.plan.training.rounds))
        (scratch / "flwr.log").write_text(finished.stdout + finished.stderr, encoding="utf-8")
    if not coordinator.study(signed.sha256).path.is_dir():
        raise InputError("simulation.engine", "Flower's engine did not finish the study",
                         remedy=f"read {scratch / 'flwr.log'} and {scratch / 'superlink.log'}")


def _environment(scratch: Path, coordinator: CoordinatorHome, homes: Sequence[NodeHome]) -> dict[str, str]:
    return os.environ | {
        "FLWR_HOME": str(scratch), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1", "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        HOME_VARIABLE: str(coordinator.path.resolve()), NODES_VARIABLE: str(homes[0].path.parent.resolve())}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configure(scratch: Path, port: int) -> None:
    connection = {"address": f"127.0.0.1:{port}", "insecure": True}
    (scratch / "config.toml").write_text(
        tomli_w.dumps({"superlink": {"default": "study", "study": connection}}), encoding="utf-8")


@contextmanager
def _superlink(program: str, port: int, scratch: Path, environment: dict[str, str]) -> Iterator[None]:
    with (scratch / "superlink.log").open("w") as output:
        process = subprocess.Popen(  # noqa: S603  our own arguments only
            [program, "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)],
            env=environment, cwd=scratch, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_ready(process, port)
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).status_code < 500:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise InputError("simulation.engine", f"Flower's SuperLink was not ready within {_READY_SECONDS} s",
                     remedy="see superlink.log in the coordinator's folder")
