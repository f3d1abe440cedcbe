"""`leelight coordinator ...`: a coordinator on a real network: its home, and the partners that it enrols.

Exit codes: 0 done. 2 something given cannot be used. Those of a study are in `server.console_running`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from federation.errors import InputError
from federation.telling import say, told
from server.console_home import AsJson, Home, open_home
from server.console_plan import Compose, plan_command
from server.console_running import resume, run, start, watch

if TYPE_CHECKING:
    from server.coordinator import CoordinatorHome
    from server.deployment.network import Network


def coordinator_app(compose: Compose) -> typer.Typer:
    """The commands; `compose` comes from whoever may import the launcher."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False,
                      pretty_exceptions_enable=False)
    app.callback()(_coordinator)
    for command in (init, enrol, revoke, renew, start, run, resume, watch):
        app.command()(command)
    app.command("plan")(plan_command(compose))
    return app


def _coordinator() -> None:
    """A coordinator: partners, plans, and studies that run."""


def init(
    home: Annotated[Path, typer.Argument(help="The folder to make. It must be empty or not there yet.")],
    name: Annotated[str, typer.Option(help="What partners know you by, such as north-desk.")],
    address: Annotated[str, typer.Option(help="host:port by which partners will reach you, such as "
                                              "leelight.example.org:8443.")],
    listen: Annotated[str | None, typer.Option(
        help="host:port to listen on, if not all addresses at that port (127.0.0.1 alone, if the address is localhost)"
             "; behind a proxy of your own, 127.0.0.1:PORT."
    )] = None,
    as_json: AsJson = False,
) -> None:
    """Make a coordinator's home: its keys, a certificate authority of its own, and the invitation for partners.

    Exit code 0: made. 2: refused, nothing is overwritten.
    """
    with told():
        from pydantic import ValidationError

        from server.coordinator import CoordinatorHome
        from server.deployment.network import CoordinatorSettings, make_network

        if home.exists() and (not home.is_dir() or any(home.iterdir())):
            raise InputError(str(home), "something is there already", bound="a new or empty folder",
                             remedy="name another folder; a home is never overwritten")
        try:
            settings = CoordinatorSettings(name=name, address=address, listen=listen)
        except ValidationError as error:
            one = error.errors(include_url=False)[0]
            raise InputError(f"--{'.'.join(map(str, one['loc']))}", one["msg"].removeprefix("Value error, "),
                             bound="a name of a-z, 0-9 and -; addresses as host:port", remedy="give another") from None
        made = CoordinatorHome.create(home)
        make_network(made, settings)
        say({"home": str(home), "invitation": str(home / "invitation.json"), "public_key": made.signing_key().public},
            as_json=as_json, words=f"""The home of {name} is in {home}.

What to do now
  1. Back up {home / "coordinator.key"} and {home / "network"} to a place that only you can open.
  2. Give each partner {home / "invitation.json"}, and read them your public key by telephone:
       {made.signing_key().public}
  3. Start the coordinator, best as a service:  leelight coordinator start --home {home}
  4. When a partner's enrolment.json arrives:   leelight coordinator enrol enrolment.json --key KEY --home {home}
     with the key as the partner reads it to you.""")


def enrol(
    enrolment: Annotated[Path, typer.Argument(help="The file that the partner sent.")],
    key: Annotated[str, typer.Option(
        help="The partner's public key, or its first 16 digits, as the partner told you.")],
    home: Home,
    as_json: AsJson = False,
) -> None:
    """Let a partner take part.

    Exit code 0: enrolled, now or before. 2: the file or the key cannot be used.
    """
    with told():
        from federation.deployment.exchange import Enrolment
        from server.deployment.enrolled import Enrolled

        coordinator, network = open_home(home)
        found = Enrolment.read(enrolment)
        fresh = Enrolled(coordinator).enrol(found, key=key)
        inside = _tell_superlink(coordinator, network)
        say({"partner": found.entry.name, "new": fresh, "let_in": inside}, as_json=as_json,
            words=f"{found.entry.name} is enrolled" + ("." if fresh else ", as before.")
                  + ("" if inside else " It is let in when the coordinator starts."))


def revoke(
    name: Annotated[str, typer.Argument(help="The partner.")],
    home: Home,
    node_key_only: Annotated[bool, typer.Option(
        "--node-key-only", help="Its node's key was lost or stolen: shut that key out. The partner comes back with "
                                "another.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a partner away for good: its node is let in no more, and its name and keys are never taken again.

    Plans from now on do without it. With --node-key-only it can come back as itself: `leelight partner join --new-key`.
    Exit code 0: revoked. 2: nobody of that name is enrolled.
    """
    with told():
        from server.deployment.enrolled import Enrolled

        coordinator, network = open_home(home)
        Enrolled(coordinator).revoke(name, node_key_only=node_key_only)
        inside = _tell_superlink(coordinator, network)
        say({"partner": name, "shut_out": inside, "for_good": not node_key_only}, as_json=as_json, words=(
            f"{name} is turned away" + ("" if node_key_only else " for good")
            + ("." if inside else "; its node finds the door shut when the coordinator starts again.")
            + (" To let it in again, have it run `leelight partner join --new-key`, and enrol the new file."
               if node_key_only else " Its name and keys are not taken again.")
            + " What it took part in stays as it is."))


def renew(home: Home, as_json: AsJson = False) -> None:
    """Make a new server certificate, before the old one expires. Partners have nothing to do; restart afterwards.

    Exit code 0: made. 2: the authority's files are not there.
    """
    with told():
        from federation.deployment.certificates import days_left
        from server.deployment.network import renew as make_anew

        _, network = open_home(home)
        make_anew(network)
        days = int(days_left(network.certificate))
        say({"days": days}, as_json=as_json, words=f"The certificate holds for {days} days. "
            "Start the coordinator again.")


def _tell_superlink(coordinator: CoordinatorHome, network: Network) -> bool:
    """Have the SuperLink know who is enrolled, if it runs."""
    from federation.deployment.keeper import running_state
    from server.deployment.control import Control
    from server.deployment.enrolled import Enrolled
    from server.deployment.running import admit

    state = running_state(coordinator.path)
    if state is None or not state.get("ready"):
        return False
    control = Control(port=state["superlink"], authority=network.authority)
    try:
        admit(control, Enrolled(coordinator))
    finally:
        control.close()
    return True
