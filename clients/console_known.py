"""`leelight partner know`: note the public key of another partner, once it was confirmed with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from federation.errors import InputError
from federation.telling import told


def know(
    name: Annotated[str, typer.Argument(help="The other partner's name in the plan.")],
    key: Annotated[str, typer.Argument(help="Its public key, as it told you itself: 64 hexadecimal digits.")],
    home: Annotated[Path, typer.Option(help="The node's home folder.")],
) -> None:
    """Confirm another partner's public key, which you got from that partner and not from the coordinator.

    Sums hide your numbers among those of partners that you know. Exit code 0: noted. 2: refused.
    """
    from clients.known import know as note
    from clients.node import NodeHome

    with told():
        node, given = NodeHome.load(home), key.strip().lower()
        if name == node.settings.name or given == node.signing_key().public:
            raise InputError("NAME and KEY", "are this node's own", bound="those of another partner",
                             remedy="nothing: a node knows itself")
        note(node.path, {name: given})
    typer.echo(f"{name} is known by this key from now on.")
