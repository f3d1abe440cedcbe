"""What the coordinator tells its own SuperLink: which nodes may come in, and to run a study.

The SuperLink takes such orders from anybody who reaches its port, so it listens on this machine alone, and the edge
before it passes none of them on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from flwr.common.serde import user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from federation.deployment.bundle import PLAN_KEY, build_bundle, sha256_of
from federation.deployment.exchange import Enrolment
from federation.errors import InputError
from federation.plan import SignedPlan

_ENDED: Final = "finished"
_GONE: Final = "unregistered"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node that is let in, as the SuperLink knows it."""

    number: int
    node_key: str
    """Its public key in OpenSSH's format, as in an enrolment."""
    online: bool


class Control:
    """Orders to a SuperLink.

    Args:
        port: of the SuperLink on this machine.
        authority: of its certificate.
    """

    def __init__(self, *, port: int, authority: Path) -> None:
        self._client = ControlHttpClient.from_server_address(
            f"127.0.0.1:{port}", insecure=False, root_certificates=str(authority.resolve()),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")])

    def nodes(self) -> tuple[Node, ...]:
        """All nodes that are let in.

        Raises:
            InputError: if the SuperLink does not answer; so for all orders.
        """
        with _answered("the list of nodes"):
            found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return tuple(Node(number=one.node_id, node_key=_openssh(one.public_key), online=one.status == "online")
                     for one in found if one.status != _GONE)

    def let_in(self, enrolment: Enrolment) -> None:
        """Let a partner's node in."""
        key = serialization.load_ssh_public_key(enrolment.node_key.encode("ascii")).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        with _answered(f"letting {enrolment.entry.name} in"):
            self._client.RegisterNode(RegisterNodeRequest(public_key=key, name=enrolment.entry.name))

    def shut_out(self, node: Node) -> None:
        """Let a node in no more."""
        with _answered("shutting a node out"):
            self._client.UnregisterNode(UnregisterNodeRequest(node_id=node.number))

    def run(self, signed: SignedPlan) -> int:
        """Begin a run of a study with the installed software and return its number."""
        bundle = build_bundle()
        with _answered("the run"):
            begun = self._client.StartRun(StartRunRequest(
                fab=Fab(hash_str=sha256_of(bundle), content=bundle),
                override_config=user_config_to_proto({PLAN_KEY: signed.to_json()})))
        return int(begun.run_id)

    def status(self, run: int) -> str:
        """How a run is, in Flower's words, such as `running` or `finished:failed: …`."""
        with _answered("the state of the run"):
            found = self._client.ListRuns(ListRunsRequest(run_id=run)).run_dict[run].status
        return ":".join(part for part in (found.status, found.sub_status, found.details) if part)

    def close(self) -> None:
        self._client.close()


def has_ended(status: str) -> bool:
    """Whether a run of this status is over."""
    return status.startswith(_ENDED)


def _openssh(pem: bytes) -> str:
    """A key as an enrolment holds it; empty, so nobody's, if it cannot be read."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return ""
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


@contextmanager
def _answered(what: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise InputError("SuperLink", f"refused {what} ({error.response.status_code})",
                         remedy="see logs/flower-superlink.log") from None
    except httpx.HTTPError as error:
        raise InputError("SuperLink", f"did not answer about {what} ({type(error).__name__})",
                         remedy="see logs/flower-superlink.log, and start the coordinator again") from None
