"""`leelight partner init`: a node's home, with its own secrets and careful rules, ready to be looked through.

Exit codes: 0 the home is there. 2 something given cannot be used, or there is something at that place already.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from federation.errors import InputError

if TYPE_CHECKING:
    from clients.node import NodeHome

_KEY_HELP = "The coordinator's public key, 64 hexadecimal digits, checked with them by another channel."


def init(
    home: Annotated[Path, typer.Argument(help="The folder to make. It must be empty or not there yet.")],
    name: Annotated[str | None, typer.Option(help="Your name in studies, such as shelter-north.")] = None,
    kind: Annotated[str | None, typer.Option(help="platform, ngo or agency.")] = None,
    slots: Annotated[int | None, typer.Option(
        help="A public round number that your people fit into, such as 512 or 65536.")] = None,
    region: Annotated[list[str] | None, typer.Option(
        help="A region you work in, ISO 3166-2, such as RO-IS. Repeat for several.")] = None,
    coordinator_key: Annotated[str | None, typer.Option(help=_KEY_HELP)] = None,
    prevalence: Annotated[list[str] | None, typer.Option(
        help="Share of positives that your kind of work is known to meet, as distress=0.3. Public; repeat.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="For invented records only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the coordinator needs, as JSON.")] = False,
) -> None:
    """Make the home of a node: settings, fresh secrets, and rules to look through.

    Asks for what is missing, if somebody is there to answer. Exit code 0: made. 2: refused, nothing is overwritten.
    """
    try:
        regions = region or _given("--region", None, "Regions you work in (ISO 3166-2, with spaces)").split()
        node = _make(home, {
            "name": _given("--name", name, "Your name in studies (small letters, digits, -)"),
            "kind": _given("--kind", kind, "What you are: platform, ngo or agency"),
            "slots": _given("--slots", slots, "A public round number that your people fit into (512, 4096, 65536)"),
            "regions": tuple(regions),
            "coordinator_key": _given("--coordinator-key", coordinator_key, "The coordinator's public key"),
            "declared_prevalence": dict(_share(text) for text in prevalence or ()), "synthetic": synthetic})
    except InputError as error:
        print(error, file=sys.stderr)  # noqa: T201 - plain on purpose: rich would read [ ] in a path as markup
        raise typer.Exit(2) from None
    typer.echo(json.dumps(_public(node), indent=2) if as_json else _next_steps(node))


def _interactive() -> bool:
    return sys.stdin.isatty()


def _given(option: str, value: Any, question: str) -> Any:
    if value is not None:
        return value
    if not _interactive():
        raise InputError(option, "is missing", remedy=f"add {option}: {question[0].lower()}{question[1:]}")
    return typer.prompt(question, err=True)


def _share(text: str) -> tuple[str, float]:
    task, _, share = text.partition("=")
    try:
        return task, float(share)
    except ValueError:
        raise InputError("--prevalence", f"{text!r} is not a task and a share", bound="such as distress=0.3",
                         remedy="write it as TASK=SHARE") from None


def _make(path: Path, given: dict[str, Any]) -> NodeHome:
    from pydantic import ValidationError

    from clients.node import NodeHome, NodeSettings
    from federation.regions import check_region

    try:
        settings = NodeSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"--{str(first['loc'][0]).replace('_', '-')}", first["msg"],
                         remedy="give another value; `leelight partner init --help` explains each") from None
    for code in settings.regions:
        check_region(code, synthetic=settings.synthetic)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(str(path), "something is there already", bound="a new or empty folder",
                         remedy="name another folder; a home is never overwritten, as its secrets cannot be made again")
    try:
        return NodeHome.create(path, settings)
    except OSError as error:
        raise InputError(str(path), f"cannot be made ({error.strerror})", remedy="name another folder") from None


def _public(node: NodeHome) -> dict[str, Any]:
    """What the coordinator puts into a roster; all of it is meant to be public."""
    public = {"name", "kind", "slots", "regions", "declared_prevalence"}
    return {**node.settings.model_dump(mode="json", include=public), "public_key": node.signing_key().public}


def _next_steps(node: NodeHome) -> str:
    path, settings = node.path, node.settings
    return f"""The home of {settings.name} is in {path}.

Your public key is
  {node.signing_key().public}

What to do now
  1. Send the coordinator your name, kind, number of slots, regions and this key, and let them read the key back to you
     by telephone. All of this is public.
  2. Look through {path / "policy.yaml"}: it says what a study may ask of you. It starts out careful, and only you can
     change it.
  3. Back up person.secret and identity.key to a place that only you can open. They cannot be made again: without the
     first, nobody's records can be matched to them; without the second, you are somebody else to the coordinator.
  4. Take in records:  leelight partner ingest FILE --mapping leelight --home {path}
  5. When a plan arrives:  leelight partner review PLAN --home {path}
     Nothing runs before you approve it."""
