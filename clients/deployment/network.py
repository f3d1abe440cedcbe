"""`network/` in a node's home: how it reaches its coordinator, and the keys for that. Made by `leelight partner join`.

```
invitation.json     from the coordinator: its address and its authority
coordinator.crt     the authority by which its server is known
node.key            the node's own key, for Flower (0600)
ca.*, server.*      for the way between the node and its gate, on this machine alone
superexec.secret    what lets the executor in (0600)
```
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from clients.node import NodeHome
from federation.deployment.certificates import make_authority, make_node_key, make_server_certificate, node_public_key
from federation.deployment.exchange import Enrolment, Invitation
from federation.errors import InputError
from federation.identity import write_secret
from federation.plan_parts import RosterEntry
from federation.private_files import replace_private

ENROLMENT_FILE = "enrolment.json"


@dataclass(frozen=True)
class Network:
    """The files of a home that has joined."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "coordinator.crt"

    @property
    def node_key(self) -> Path:
        return self.folder / "node.key"

    @property
    def gate_authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def gate_certificate(self) -> Path:
        return self.folder / "server.crt"

    @property
    def gate_key(self) -> Path:
        return self.folder / "server.key"

    @property
    def executor_secret(self) -> Path:
        return self.folder / "superexec.secret"

    def invitation(self, coordinator_key: str) -> Invitation:
        """Where the coordinator is.

        Raises:
            InputError: as `Invitation.read`.
        """
        return Invitation.read(self.folder / "invitation.json", coordinator_key=coordinator_key)


def network_of(home: NodeHome) -> Network:
    """The network files of a home.

    Raises:
        InputError: if it has not joined.
    """
    found = Network(home.path / "network")
    missing = [path.name for path in (found.authority, found.node_key, found.gate_certificate, found.gate_key,
                                      found.executor_secret) if not path.is_file()]
    if missing:
        raise InputError(str(found.folder), f"the node has not joined a coordinator: {', '.join(missing)} not there",
                         remedy="run `leelight partner join INVITATION --home HOME` with the coordinator's file")
    return found


def join(home: NodeHome, invitation_file: Path, *, new_key: bool = False) -> Enrolment:
    """Take an invitation in and make the node's keys; a home that has joined before keeps them, unless told otherwise.

    Returns:
        What the coordinator has to be given; it is also written to `enrolment.json`.

    Raises:
        InputError: if the invitation is none of the pinned coordinator's.
    """
    invitation = Invitation.read(invitation_file, coordinator_key=home.settings.coordinator_key)
    folder = home.path / "network"
    folder.mkdir(mode=0o700, exist_ok=True)
    if new_key or not (folder / "node.key").is_file():
        make_node_key(folder)
    if not (folder / "server.crt").is_file():  # which is written last
        make_authority(folder, f"{home.settings.name} gate")
        make_server_certificate(folder, (), days=3650)
    if not (folder / "superexec.secret").is_file():
        write_secret(folder / "superexec.secret", secrets.token_bytes(32))
    replace_private(folder / "coordinator.crt", invitation.authority.encode("ascii"))
    replace_private(folder / "invitation.json", invitation.to_text())
    enrolment = enrolment_of(home)
    replace_private(home.path / ENROLMENT_FILE, enrolment.to_text())
    return enrolment


def enrolment_of(home: NodeHome) -> Enrolment:
    """What a coordinator needs to enrol this node; all of it is meant to be public."""
    mine, key = home.settings, home.signing_key()
    entry = RosterEntry(name=mine.name, kind=mine.kind, slots=mine.slots, regions=mine.regions,
                        declared_prevalence=mine.declared_prevalence, public_key=key.public)
    return Enrolment.sign(key, entry=entry, synthetic=mine.synthetic,
                          node_key=node_public_key(home.path / "network"))
