"""Options that the coordinator's commands share, and the home that they open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from server.coordinator import CoordinatorHome
    from server.deployment.network import Network

Home = Annotated[Path, typer.Option(help="The coordinator's home folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def open_home(home: Path) -> tuple[CoordinatorHome, Network]:
    """A home that is on a network.

    Raises:
        InputError: if it is none, or its settings cannot be used.
    """
    # Imported here so that `--help` does not wait for it.
    from server.coordinator import CoordinatorHome
    from server.deployment.network import Network

    coordinator = CoordinatorHome.load(home)
    network = Network(coordinator)
    network.settings()
    return coordinator, network
