"""`coordinator.yaml` and `network/` in a coordinator's home: where it is reached, and the keys of its server.

```
coordinator.yaml      name, address, where to listen
network/ca.*          its own authority, which partners trust (the key 0600)
network/server.*      its server's certificate, of that authority
network/superexec.secret   what lets the executor in (0600)
invitation.json       for partners: address, authority, the coordinator's key
```
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from federation.deployment.certificates import make_authority, make_server_certificate
from federation.deployment.exchange import Invitation, check_address
from federation.errors import InputError
from federation.identity import write_secret
from federation.plan_parts import Slug
from federation.private_files import replace_private
from server.coordinator import CoordinatorHome

SETTINGS_FILE = "coordinator.yaml"
Port = Annotated[int, Field(ge=1, le=65_535)]


class CoordinatorSettings(BaseModel):
    """Contents of `coordinator.yaml`.

    Attributes:
        name: of the coordinator, told to partners.
        address: `host:port` by which partners reach it.
        listen: `host:port` that the edge listens on, if not all addresses of the machine at the port of `address`; for
            an address of this machine alone, such as localhost, that one alone. Behind a proxy of one's own: 127.0.0.1.
        metrics_port: on this machine alone, for Prometheus; 0 for none.
        largest_message: bytes of a request or an answer that the edge lets through.
        requests_a_second: of one partner, on average.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Slug
    address: Annotated[str, AfterValidator(check_address)]
    listen: Annotated[str, AfterValidator(check_address)] | None = None
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    largest_message: Annotated[int, Field(ge=1_000_000, le=2_000_000_000)] = 64_000_000
    requests_a_second: Annotated[float, Field(ge=1.0, le=10_000.0)] = 50.0

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    def listens_on(self) -> tuple[str, int]:
        """Host and port of the edge."""
        here = "127.0.0.1" if self.host == "localhost" or self.host.startswith("127.") else "0.0.0.0"  # noqa: S104
        host, _, port = (self.listen or f"{here}:{self.address.rpartition(':')[2]}").rpartition(":")
        return host, int(port)


class Network:
    """The network files of a coordinator's home."""

    def __init__(self, home: CoordinatorHome) -> None:
        self.home, self.folder = home, home.path / "network"

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.crt"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    @property
    def executor_secret(self) -> Path:
        return self.folder / "superexec.secret"

    def settings(self) -> CoordinatorSettings:
        """What `coordinator.yaml` says.

        Raises:
            InputError: if it is missing or cannot be used.
        """
        path = self.home.path / SETTINGS_FILE
        remedy = "correct it, or make the home with `leelight coordinator init`"
        try:
            return CoordinatorSettings.model_validate(yaml.safe_load(path.read_bytes()))
        except OSError:
            raise InputError(str(path), "is not there: this home has never been on a network", remedy=remedy) from None
        except yaml.YAMLError:
            raise InputError(str(path), "is not valid YAML", remedy=remedy) from None
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
                                 for one in error.errors(include_url=False))
            raise InputError(str(path), problems, remedy=remedy) from None

    def invitation(self) -> Invitation:
        """What partners are given."""
        settings = self.settings()
        return Invitation.sign(self.home.signing_key(), coordinator=settings.name, address=settings.address,
                               authority=self.authority.read_text(encoding="ascii"))


def make_network(home: CoordinatorHome, settings: CoordinatorSettings) -> Network:
    """Write settings, keys and the invitation into a new home.

    Raises:
        FileExistsError: if the home has them already.
    """
    network = Network(home)
    network.folder.mkdir(mode=0o700)
    make_authority(network.folder, f"{settings.name} authority")
    make_server_certificate(network.folder, (settings.host,))
    write_secret(network.executor_secret, secrets.token_bytes(32))
    body = settings.model_dump(mode="json", exclude_none=True)
    replace_private(home.path / SETTINGS_FILE, yaml.safe_dump(body, sort_keys=False).encode())
    replace_private(home.path / "invitation.json", network.invitation().to_text())
    return network


def renew(network: Network) -> None:
    """A new certificate for the server, of the same authority; partners have nothing to do.

    Raises:
        InputError: if the authority's files are not there.
    """
    make_server_certificate(network.folder, (network.settings().host,))
