"""`leelight partner init`: a node's home, with its own secrets and careful rules, ready to be looked through.

Exit codes: 0 the home is there. 2 something given cannot be used, or there is something at that place already.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.asking import ask_until, somebody_there
from federation.errors import InputError
from federation.telling import told

if TYPE_CHECKING:
    from clients.node import NodeHome

_KEY_HELP = "The coordinator's public key, 64 hexadecimal digits, checked with them by another channel."


def init(
    home: Annotated[Path, typer.Argument(help="The folder to make. It must be empty or not there yet.")],
    name: Annotated[str | None, typer.Option(help="Your name in studies, such as shelter-north.")] = None,
    kind: Annotated[str | None, typer.Option(help="platform, ngo or agency.")] = None,
    slots: Annotated[str | None, typer.Option(
        help="A public round number that your people fit into, such as 512 or 65536. It is told instead of how many "
             "they are.")] = None,
    region: Annotated[list[str] | None, typer.Option(
        help="A region that may stand in your records, as origin, destination or otherwise; others are not counted. "
             "ISO 3166-2, such as RO-IS. Repeat for several.")] = None,
    coordinator_key: Annotated[str | None, typer.Option(help=_KEY_HELP)] = None,
    prevalence: Annotated[list[str] | None, typer.Option(
        help="Share of positives that your kind of work is known to meet, as distress=0.3. Public; repeat.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="For invented records only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the coordinator needs, as JSON.")] = False,
) -> None:
    """Make the home of a node: settings, fresh secrets, and rules to look through.

    Asks for what is missing, if somebody is there to answer. Exit code 0: made. 1: broken off, nothing is written. 2:
    refused, nothing is overwritten.
    """
    given = {"name": name, "kind": kind, "slots": slots, "regions": _joined(region),
             "coordinator_key": coordinator_key, "declared_prevalence": _joined(prevalence)}
    with told():
        _check_place(home)
        node = _make(home, {**_settings(given, synthetic=synthetic), "synthetic": synthetic})
    typer.echo(json.dumps(_public(node), indent=2) if as_json else _next_steps(node))


def _joined(several: list[str] | None) -> str | None:
    return " ".join(several) if several else None


def _settings(given: dict[str, str | None], *, synthetic: bool) -> dict[str, Any]:
    """Every setting, from the options or by asking; what was given is checked before anything is asked."""
    from clients.enrolment import SETTINGS

    found = {one.field: one.check(text, synthetic=synthetic)
             for one in SETTINGS if (text := given[one.field]) is not None}
    open_ones = [one for one in SETTINGS if one.field not in found]
    if not somebody_there():
        missing = [one for one in open_ones if not one.optional]
        if missing:
            raise InputError(", ".join(one.option for one in missing), "missing, and nobody is there to be asked",
                             remedy="add " + "; ".join(f"{one.option} ({one.bound})" for one in missing))
        return {**{one.field: one.check("", synthetic=synthetic) for one in open_ones}, **found}
    for one in open_ones:
        found[one.field] = ask_until(one.question, partial(one.check, synthetic=synthetic))
    return found


def _check_place(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(str(path), "something is there already", bound="a new or empty folder",
                         remedy="name another folder; a home is never overwritten, as its secrets cannot be made again")


def _make(path: Path, settings: dict[str, Any]) -> NodeHome:
    from clients.node import NodeHome, NodeSettings

    try:
        return NodeHome.create(path, NodeSettings.model_validate(settings))
    except OSError as error:
        raise InputError(str(path), f"cannot be made ({error.strerror})", remedy="name another folder") from None


def _public(node: NodeHome) -> dict[str, Any]:
    """What the coordinator puts into a roster; all of it is meant to be public."""
    public = {"name", "kind", "slots", "regions", "declared_prevalence"}
    return {**node.settings.model_dump(mode="json", include=public), "public_key": node.signing_key().public}


def _told(node: NodeHome) -> str:
    settings = node.settings
    shares = ", ".join(f"{task} {share:g}" for task, share in settings.declared_prevalence.items())
    return "\n".join(f"       {name:<12}{value}" for name, value in (
        ("name", settings.name), ("kind", settings.kind), ("slots", settings.slots),
        ("regions", ", ".join(settings.regions)), ("prevalence", shares or "none declared"),
        ("public key", node.signing_key().public)))


def _next_steps(node: NodeHome) -> str:
    path, settings = node.path, node.settings
    return f"""The home of {settings.name} is in {path}.

What to do now
  1. This is what others will know of you; all of it is public, and the name is published with every release:
{_told(node)}
     A plan that says anything else of you cannot run here. Read your public key to the coordinator by telephone.
  2. Look through {path / "policy.yaml"}: it says what a study may ask of you. It starts out careful, and only you can
     change it.
  3. Back up person.secret and identity.key to a place that only you can open. They cannot be made again: without the
     first, nobody's records can be matched to them; without the second, you are somebody else to the coordinator.
  4. Join with the coordinator's invitation:  leelight partner join invitation.json --home {path}
  5. Ask the other partners for their public keys, by telephone or in person, and note each of them:
     leelight partner know NAME KEY --home {path}
  6. Take in records:  leelight partner ingest FILE --mapping leelight --home {path}
  7. Start the node:  leelight partner start --home {path}
  8. When a plan arrives:  leelight partner review PLAN --home {path}
     Nothing runs before you approve it."""
