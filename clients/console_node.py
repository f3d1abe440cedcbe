"""`leelight partner join | start`: a node on a real network.

Exit codes: 0 done. 2 something given cannot be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from federation.telling import say, told

Home = Annotated[Path, typer.Option(help="The node's home folder.")]


def join(
    invitation: Annotated[Path, typer.Argument(help="The coordinator's invitation.json.")],
    home: Home,
    new_key: Annotated[bool, typer.Option(
        "--new-key", help="Make a new key for the node; the old one is given up.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Take a coordinator's invitation in, and write the file that it needs to enrol you.

    Exit code 0: joined. 2: the invitation is not from the coordinator whose key you pinned.
    """
    with told():
        from clients.deployment.network import ENROLMENT_FILE
        from clients.deployment.network import join as take_in
        from clients.node import NodeHome

        node = NodeHome.load(home)
        enrolment = take_in(node, invitation, new_key=new_key)
    path = home / ENROLMENT_FILE
    facts = {"enrolment": str(path), "public_key": enrolment.entry.public_key}
    say(facts, as_json=as_json, words=f"""This node knows its coordinator now.

What to do now
  1. Send the coordinator {path}; all of it is public. Read them your key by telephone:
       {enrolment.entry.public_key}
  2. When they have enrolled you, start the node, best as a service:  leelight partner start --home {home}""")


def start(home: Home) -> None:
    """Run the node until it is stopped (Ctrl-C, or SIGTERM). It does nothing that you have not approved.

    Exit code 0: stopped. 2: it cannot start.
    """
    with told():
        import asyncio

        from clients.deployment.running import run_node
        from clients.node import NodeHome
        from federation.deployment.logs import log_to

        node = NodeHome.load(home)
        node.policy()
        log_to(node.path / "logs" / "node.jsonl")
        asyncio.run(run_node(node, lambda: typer.echo(
            f"{node.settings.name} is running. Stop it with Ctrl-C; look at it with `leelight partner status --home "
            f"{home}`.")))
