"""`leelight coordinator ...`: a coordinator on a real network, from its home to a study that has run.

Exit codes: 0 done. 1 the study did not end well. 2 something given cannot be used. 3 too few partners answered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from federation.errors import InputError

if TYPE_CHECKING:
    from federation.plan import SignedPlan
    from server.coordinator import CoordinatorHome
    from server.deployment.network import Network

Home = Annotated[Path, typer.Option(help="The coordinator's home folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Compose = Callable[..., "SignedPlan"]
"""Makes a signed plan from settings and enrolled partners."""


def coordinator_app(compose: Compose) -> typer.Typer:
    """The commands; `compose` comes from whoever may import the launcher."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False,
                      pretty_exceptions_enable=False)
    app.callback()(_coordinator)
    for command in (init, enrol, revoke, renew, start, run, resume, watch):
        app.command()(command)

    @app.command()
    def plan(
        home: Home,
        settings: Annotated[list[str] | None, typer.Argument(
            metavar="[KEY=VALUE ...]", help="As `leelight simulate` takes them, such as study.name=spring-2026 "
            "study.period_start=2026-01-01 study.period_end=2026-03-31 privacy=strict.")] = None,
        signer: Annotated[list[str] | None, typer.Option(
            help="Who must sign the release, as NAME=PUBLIC-KEY; at least two.")] = None,
        role: Annotated[list[str] | None, typer.Option(
            help="Region role that is counted: origin, transit, destination or observed. Repeat; all without it."
        )] = None,
        indicators: Annotated[bool, typer.Option(help="Whether records say which indicators were seen.")] = True,
        regions_drawn: Annotated[bool, typer.Option(
            "--regions-drawn", help="Places were drawn at random: a map describes none.")] = False,
        rehearsal: Annotated[bool, typer.Option(
            "--rehearsal", help="Nodes may draw noise that can be repeated and protects nobody.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Compose the plan of a study among all enrolled partners, price it and sign it. Nothing runs.

        Exit code 0: signed. 2: the settings do not make a plan.
        """
        with _told():
            from federation.plan_parts import Signer
            from federation.taxonomy import RegionRole
            from server.deployment.enrolled import Enrolled

            coordinator, _ = _open(home)
            partners = Enrolled(coordinator).partners()
            signed = compose(
                settings or [], [one.entry for one in partners], key=coordinator.signing_key(),
                signers=_signers(Signer, signer or []),
                roles=tuple(_role(RegionRole, one) for one in role) if role else tuple(RegionRole),
                synthetic=all(one.synthetic for one in partners), regions_drawn=regions_drawn, indicators=indicators,
                rehearsal=rehearsal)
            coordinator.keep_plan(signed)
            _say({"plan_sha256": signed.sha256, "study": signed.plan.study, "plan": str(coordinator.plan_path)},
                 as_json=as_json, words=_after_plan(coordinator, signed))

    return app


def _coordinator() -> None:
    """A coordinator: partners, plans, and studies that run."""


def init(
    home: Annotated[Path, typer.Argument(help="The folder to make. It must be empty or not there yet.")],
    name: Annotated[str, typer.Option(help="What partners know you by, such as north-desk.")],
    address: Annotated[str, typer.Option(help="host:port by which partners will reach you, such as "
                                              "leelight.example.org:8443.")],
    listen: Annotated[str | None, typer.Option(
        help="host:port to listen on, if not all addresses at that port; behind a proxy of your own, 127.0.0.1:PORT."
    )] = None,
    as_json: AsJson = False,
) -> None:
    """Make a coordinator's home: its keys, a certificate authority of its own, and the invitation for partners.

    Exit code 0: made. 2: refused, nothing is overwritten.
    """
    with _told():
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
        _say({"home": str(home), "invitation": str(home / "invitation.json"), "public_key": made.signing_key().public},
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
    with _told():
        from federation.deployment.exchange import Enrolment
        from server.deployment.enrolled import Enrolled

        coordinator, network = _open(home)
        found = Enrolment.read(enrolment)
        fresh = Enrolled(coordinator).enrol(found, key=key)
        told = _tell_superlink(coordinator, network)
        _say({"partner": found.entry.name, "new": fresh, "let_in": told}, as_json=as_json,
             words=f"{found.entry.name} is enrolled" + ("." if fresh else ", as before.")
                   + ("" if told else " It is let in when the coordinator starts."))


def revoke(
    name: Annotated[str, typer.Argument(help="The partner.")], home: Home, as_json: AsJson = False,
) -> None:
    """Turn a partner away: its node is let in no more, and plans from now on do without it.

    Exit code 0: revoked. 2: nobody of that name is enrolled.
    """
    with _told():
        from server.deployment.enrolled import Enrolled

        coordinator, network = _open(home)
        Enrolled(coordinator).revoke(name)
        told = _tell_superlink(coordinator, network)
        _say({"partner": name, "shut_out": told}, as_json=as_json,
             words=f"{name} is turned away" + ("." if told else "; its node finds the door shut when the coordinator "
                                               "starts again.") + " What it took part in stays as it is.")


def renew(home: Home, as_json: AsJson = False) -> None:
    """Make a new server certificate, before the old one expires. Partners have nothing to do; restart afterwards.

    Exit code 0: made. 2: the authority's files are not there.
    """
    with _told():
        from federation.deployment.certificates import days_left
        from server.deployment.network import renew as make_anew

        _, network = _open(home)
        make_anew(network)
        days = int(days_left(network.certificate))
        _say({"days": days}, as_json=as_json, words=f"The certificate holds for {days} days. "
             "Start the coordinator again.")


def start(home: Home) -> None:
    """Run the coordinator until it is stopped (Ctrl-C, or SIGTERM): the edge, and Flower behind it.

    Exit code 0: stopped. 2: it cannot start.
    """
    with _told():
        import asyncio

        from federation.deployment.certificates import days_left
        from federation.deployment.logs import log_to
        from server.deployment.running import run_coordinator

        coordinator, network = _open(home)
        settings = network.settings()
        left = days_left(network.certificate)
        if left <= 0:
            raise InputError(str(network.certificate), f"expired {-left:.0f} days ago",
                             remedy="run `leelight coordinator renew`, and start again")
        if left < 30:
            print(f"The server's certificate expires in {left:.0f} days: "  # noqa: T201
                  "run `leelight coordinator renew` and start again.", file=sys.stderr)
        log_to(coordinator.path / "logs" / "coordinator.jsonl")
        print(f"{settings.name} listens on {':'.join(map(str, settings.listens_on()))} for {settings.address}. "  # noqa: T201
              "Stop it with Ctrl-C.", flush=True)
        asyncio.run(run_coordinator(coordinator))


def run(home: Home, as_json: AsJson = False) -> None:
    """Run the study of the plan at hand and wait until it ends.

    Exit code 0: it has run. 1: it ended badly. 2: it cannot begin. 3: too few partners answered.
    """
    _run(home, as_json=as_json)


def resume(home: Home, as_json: AsJson = False) -> None:
    """Go on with a study that was broken off. Partners answer again what they have answered, at no further charge.

    Exit codes as of `run`.
    """
    _run(home, as_json=as_json)


def _run(home: Path, *, as_json: bool) -> None:
    from server.deployment.studies import StudyEnd, run_study

    with _told():
        coordinator, network = _open(home)
        ended = run_study(coordinator, network)
    if as_json:
        typer.echo(json.dumps({"ended": ended.name.lower()}, indent=2))
    else:
        typer.echo(ended.words)
    if ended is not StudyEnd.RAN:
        raise typer.Exit(ended.value)


def watch(home: Home, once: Annotated[bool, typer.Option("--once", help="Print it once and stop.")] = False,
          as_json: AsJson = False) -> None:
    """See who is there and how the study goes, until you stop looking (Ctrl-C).

    Exit code 0: looked. 2: there is no coordinator's home.
    """
    with _told():
        from server.deployment.watching import look, view, watch_live

        coordinator, _ = _open(home)
        if as_json:
            typer.echo(json.dumps(look(coordinator), indent=2))
        elif once:
            from rich.console import Console

            Console().print(view(look(coordinator)))
        else:
            watch_live(coordinator)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        print(error, file=sys.stderr)  # noqa: T201 - plain on purpose: rich would read [ ] in a path as markup
        raise typer.Exit(2) from None
    except OSError as error:
        print(f"{error.filename}: cannot be used ({error.strerror}).", file=sys.stderr)  # noqa: T201
        raise typer.Exit(2) from None


def _open(home: Path) -> tuple[CoordinatorHome, Network]:
    from server.coordinator import CoordinatorHome
    from server.deployment.network import Network

    coordinator = CoordinatorHome.load(home)
    network = Network(coordinator)
    network.settings()
    return coordinator, network


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


def _signers(kind: Any, texts: list[str]) -> tuple[Any, ...]:
    found: dict[str, Any] = {}
    for text in texts:
        name, _, key = text.partition("=")
        try:
            signer = kind(name=name, public_key=key.lower())
        except ValueError:
            raise InputError("--signer", f"{text!r} is not NAME=PUBLIC-KEY", bound="a name of a-z, 0-9 and -; a key of "
                             "64 hexadecimal digits", remedy="give it as anna=64 hexadecimal digits") from None
        if name in found:
            raise InputError("--signer", f"{name} is given twice", remedy="give each signer once")
        found[name] = signer
    return tuple(found.values())


def _role(roles: Any, text: str) -> Any:
    try:
        return roles(text)
    except ValueError:
        raise InputError("--role", f"{text!r} is no role", bound=", ".join(roles), remedy="give one of these") from None


def _say(facts: dict[str, Any], *, as_json: bool, words: str) -> None:
    typer.echo(json.dumps(facts, indent=2) if as_json else words)


def _after_plan(coordinator: CoordinatorHome, signed: SignedPlan) -> str:
    from federation.deployment.bundle import installed_bundle_sha256

    names = ", ".join(entry.name for entry in signed.plan.roster)
    return f"""The plan of {signed.plan.study} is signed: {coordinator.plan_path}
It costs one person at one partner ε = {signed.plan.privacy.total_epsilon:.2f} at δ = {signed.plan.privacy.delta:g}.

What to do now
  1. Send the file to {names}. Each looks at it with `leelight partner review` and approves or declines it.
     They need the same software: `leelight bundle hash` says {installed_bundle_sha256()[:16]}… here and must there.
  2. When they have approved and started their nodes:  leelight coordinator run --home {coordinator.path}"""
