"""What the coordinator tells its own SuperLink: which nodes may come in, and to run a study. By Flower's command line.

The SuperLink takes such orders from anybody who reaches its port, so it listens on this machine alone, and the edge
before it passes none of them on.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import tomli_w
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from flwr.proto.control_pb2 import ListNodesRequest, ListNodesResponse
from google.protobuf.message import DecodeError

from federation.deployment.bundle import PLAN_KEY, write_app
from federation.deployment.exchange import Enrolment
from federation.deployment.flower import program, surroundings
from federation.deployment.serving import trusting
from federation.errors import InputError
from federation.plan import SignedPlan

_CONNECTION: Final = "coordinator"
_SECONDS: Final = 60.0
_FINISHED: Final = "finished"


class Control:
    """Orders to a SuperLink.

    Args:
        folder: for configuration; made if it is not there.
        port: of the SuperLink on this machine.
        authority: of its certificate.
    """

    def __init__(self, folder: Path, *, port: int, authority: Path) -> None:
        self._folder = folder.resolve()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._port, self._authority = port, authority
        connection = {"address": f"127.0.0.1:{port}", "root-certificates": str(authority.resolve())}
        (self._folder / "config.toml").write_text(
            tomli_w.dumps({"superlink": {"default": _CONNECTION, _CONNECTION: connection}}), encoding="utf-8")

    def nodes(self) -> list[dict[str, str]]:
        """All nodes that were ever let in: `name`, `node-id`, `status` and `key`, the public key in one line.

        Asked without Flower's command, which leaves names and keys out.

        Raises:
            InputError: if the SuperLink does not answer.
        """
        try:
            answer = httpx.post(
                f"https://127.0.0.1:{self._port}/v1/control/list-nodes", content=ListNodesRequest().SerializeToString(),
                headers={"content-type": "application/protobuf", "accept": "application/protobuf"},
                verify=trusting(self._authority), timeout=_SECONDS, trust_env=False)
            answer.raise_for_status()
            nodes = ListNodesResponse.FromString(answer.content).nodes_info
        except (httpx.HTTPError, DecodeError) as error:
            raise InputError("SuperLink", f"did not say which nodes are in ({type(error).__name__})",
                             remedy="look at logs/flower-superlink.log; start the coordinator again") from None
        return [{"name": node.name, "node-id": str(node.node_id), "status": node.status,
                 "key": _in_one_line(node.public_key)} for node in nodes]

    def let_in(self, enrolment: Enrolment) -> None:
        """Let a partner's node in. One that is in already stays so.

        Raises:
            InputError: if the SuperLink refuses.
        """
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            key = Path(folder) / "node.pub"
            key.write_text(enrolment.node_key + "\n", encoding="ascii")
            found = self._run("supernode", "register", str(key), _CONNECTION, "--name", enrolment.entry.name)
        if found.returncode and "already" not in found.stdout + found.stderr:
            raise _refused("supernode register", found)

    def shut_out(self, node: str) -> None:
        """Let a node in no more.

        Args:
            node: its number, as `nodes` gives it.

        Raises:
            InputError: if the SuperLink refuses.
        """
        self._ask("supernode", "unregister", node, _CONNECTION)

    def run(self, signed: SignedPlan) -> str:
        """Begin a run of a study with the installed software and return its number.

        Raises:
            InputError: if the SuperLink refuses.
        """
        app = self._folder / "leelight"
        shutil.rmtree(app, ignore_errors=True)
        app.mkdir()
        write_app(app)
        config = self._folder / "run.toml"
        config.write_text(tomli_w.dumps({PLAN_KEY: signed.to_json()}), encoding="utf-8")
        return str(self._ask("run", str(app), _CONNECTION, "--run-config", str(config))["run-id"])

    def status(self, run: str) -> str:
        """How a run is, in Flower's words, such as `running` or `finished:failed`."""
        for found in self._ask("list", _CONNECTION, "--run-id", run)["runs"]:
            if str(found["run-id"]) == run:
                return str(found["status"])
        return "unknown"

    def stop(self, run: str) -> None:
        """End a run; one that has ended stays so."""
        self._run("stop", run, _CONNECTION)

    def _ask(self, *arguments: str) -> dict[str, Any]:
        found = self._run(*arguments)
        try:
            answer: dict[str, Any] = json.loads(found.stdout)
        except ValueError:
            raise _refused(arguments[0], found) from None
        if found.returncode or not answer.get("success"):
            raise _refused(arguments[0], found)
        return answer

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = [program("flwr"), *arguments, "--format", "json"]
        try:
            return subprocess.run(command, env=surroundings(self._folder), cwd=self._folder,  # noqa: S603  our own
                                  capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise InputError("SuperLink", f"did not answer within {_SECONDS:g} s",
                             remedy="look at logs/flower-superlink.log; start the coordinator again") from None


def _in_one_line(pem: bytes) -> str:
    """A key as an enrolment holds it; the SuperLink keeps it otherwise."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return ""
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def has_ended(status: str) -> bool:
    """Whether a run of this status is over."""
    return status.startswith(_FINISHED)


def _refused(what: str, found: subprocess.CompletedProcess[str]) -> InputError:
    words = [line for line in (found.stdout + found.stderr).splitlines() if line.strip()]
    return InputError(f"flwr {what}", f"was refused ({words[-1].strip()[:200] if words else 'no words'})",
                      remedy="see logs/flower-superlink.log")
