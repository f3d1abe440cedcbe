"""`leelight coordinator start | run | resume | watch`: a coordinator that runs, and its studies.

Exit codes: 0 done. 1 the study did not end well. 2 something given cannot be used. 3 too few partners answered. 130
waiting was broken off (Ctrl-C), and the study goes on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from federation.errors import InputError
from federation.telling import complain, say, told
from server.console_home import AsJson, Home, open_home


def start(home: Home) -> None:
    """Run the coordinator until it is stopped (Ctrl-C, or SIGTERM): the edge, and Flower behind it.

    Exit code 0: stopped. 2: it cannot start.
    """
    with told():
        import asyncio

        from federation.deployment.certificates import days_left
        from federation.deployment.logs import log_to
        from server.deployment.running import run_coordinator

        coordinator, network = open_home(home)
        settings = network.settings()
        left = days_left(network.certificate)
        if left <= 0:
            raise InputError(str(network.certificate), f"expired {-left:.0f} days ago",
                             remedy="run `leelight coordinator renew`, and start again")
        if left < 30:
            complain(f"The server's certificate expires in {left:.0f} days: run `leelight coordinator renew` and start "
                     "again.")
        log_to(coordinator.path / "logs" / "coordinator.jsonl")
        asyncio.run(run_coordinator(coordinator, lambda: typer.echo(
            f"{settings.name} listens on {':'.join(map(str, settings.listens_on()))} for {settings.address}. "
            "Stop it with Ctrl-C.")))


def run(home: Home, as_json: AsJson = False) -> None:
    """Run the study of the plan at hand and wait until it ends. Ctrl-C ends the waiting and not the study.

    Where it stands is said on the error output. Exit code 0: it has run. 1: it ended badly. 2: it cannot begin, or runs
    already. 3: too few partners answered. 130: waiting was broken off.
    """
    _run(home, as_json=as_json)


def resume(home: Home, as_json: AsJson = False) -> None:
    """Go on with a study that was broken off. Partners answer again what they have answered, at no further charge.

    Exit codes as of `run`.
    """
    _run(home, as_json=as_json)


def _run(home: Path, *, as_json: bool) -> None:
    from server.deployment.studies import StudyEnd, run_study

    with told():
        coordinator, network = open_home(home)
        ended, said = run_study(coordinator, network, complain)
    say({"ended": ended.name.lower(), "said": said}, as_json=as_json, words=f"{said}\n{ended.words}".strip())
    if ended is not StudyEnd.RAN:
        raise typer.Exit(ended.value)


def watch(home: Home, once: Annotated[bool, typer.Option("--once", help="Print it once and stop.")] = False,
          as_json: AsJson = False) -> None:
    """See who is there and how the study goes, until you stop looking (Ctrl-C).

    Exit code 0: looked. 2: there is no coordinator's home.
    """
    with told():
        from server.deployment.watching import look, view, watch_live

        coordinator, _ = open_home(home)
        if as_json:
            typer.echo(json.dumps(look(coordinator), indent=2))
        elif once:
            from rich.console import Console

            Console().print(view(look(coordinator)))
        else:
            watch_live(coordinator)
