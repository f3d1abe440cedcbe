"""`leelight release ...`: what the coordinator's people do between a study and its publication.

Exit codes: 0 done. 1 not yet: signatures are missing, or the day has not come. 2 something given cannot be used, or the
home does not check out.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from federation.errors import InputError
from federation.telling import say, told
from server.console_home import AsJson, Home

if TYPE_CHECKING:
    from server.coordinator import CoordinatorHome

app = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False,
                  pretty_exceptions_enable=False)

DraftName = Annotated[str | None, typer.Argument(
    metavar="[DRAFT]", help="The draft's name. Not needed while there is one.")]


@app.callback()
def release() -> None:
    """A release, from a draft to its publication."""


@app.command("make-key")
def make_key(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not be there.")], as_json: AsJson = False,
) -> None:
    """Make the key of one person who signs releases, on that person's own machine, and print its public half.

    Exit code 0: made. 2: there is a file already, or it cannot be written; nothing is overwritten.
    """
    with told():
        from federation.identity import SigningKey

        key = SigningKey.generate()
        try:
            key.save(file)
        except FileExistsError:
            raise InputError(str(file), "is there already", bound="a new file",
                             remedy="name another file; a key is never overwritten") from None
        say({"file": str(file), "public_key": key.public}, as_json=as_json, words=f"""Your key is in {file}.

What to do now
  1. Keep the file where only you can open it, and a copy in another such place. Give it to nobody.
  2. Read your public key to whoever makes the plan, by telephone:
       {key.public}""")


@app.command()
def draft(
    home: Home,
    released_on: Annotated[str | None, typer.Option(
        help="Day of publication, YYYY-MM-DD. It stands in the release. Without it: the first day on which it may be "
             "out, or today if that is past.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draft the release of the study that has run. Nothing leaves the home.

    An earlier draft of the same plan is withdrawn. Exit code 0: drafted, now or before. 2: there is nothing to draft,
    or its release is out.
    """
    with told():
        from server.release.drafts import make_draft
        from server.release.publication import earliest_day

        coordinator = _open(home)
        plan = coordinator.signed_plan().plan
        day = max(earliest_day(plan), _today()) if released_on is None else _date("--released-on", released_on)
        made = make_draft(coordinator, released_on=day)
        say({"draft": made.path.name, "content_sha256": made.sha256, "released_on": made.content["released_on"],
             "path": str(made.path)}, as_json=as_json, words=(
            f"Draft {made.path.name} of {made.content['study']}, to be published on {made.content['released_on']}.\n"
            f"Look at it:  {made.path / 'index.html'}\n"
            f"             leelight release dry-run --home {home}\n"
            f"Then {plan.release.signatures} people sign:\n"
            f"             leelight release sign --name NAME --key FILE --home {home}"))


@app.command("dry-run")
def dry_run(home: Home, draft: DraftName = None, as_json: AsJson = False) -> None:
    """Show what a draft would publish, what it withholds and why, at what price, and what is missing. Changes nothing.

    Exit code 0: shown. 2: there is no such draft, or it is not what the study gives.
    """
    with told():
        from rich.console import Console

        from server.release.drafts import find_draft
        from server.release.preview import preview, show_preview

        coordinator = _open(home)
        found = preview(coordinator, find_draft(coordinator, draft))
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            show_preview(found, Console())


@app.command()
def sign(
    home: Home,
    key: Annotated[Path, typer.Option(help="Your own key file, of mode 0600.")],
    name: Annotated[str, typer.Option(help="Your name, as it stands in the plan.")],
    draft: DraftName = None,
    as_json: AsJson = False,
) -> None:
    """Sign a draft, after it was made again from the study and every byte compared. Look at the dry run first.

    Exit code 0: signed. 2: you may not sign it, or have, or it is not what the study gives.
    """
    with told():
        from federation.identity import SigningKey
        from server.release.publication import sign_draft

        found = sign_draft(_open(home), draft, name=name, key=SigningKey.load(key))
        signed, wanted = [one.name for one in found.approvals], found.signed.plan.release.signatures
        say({"draft": found.path.name, "content_sha256": found.sha256, "signed": signed, "wanted": wanted},
            as_json=as_json, words=(
            f"{name} signed draft {found.path.name}: {len(signed)} of {wanted} signatures."
            + (f"\nOn {found.content['released_on']}:  leelight release publish --home {home}"
              if len(signed) >= wanted else "")))


@app.command()
def publish(
    home: Home,
    draft: DraftName = None,
    released_on: Annotated[str | None, typer.Option(
        help="In a rehearsal only: the day to take for today, YYYY-MM-DD.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put a draft that enough people have signed into `releases/`, for good.

    Exit code 0: published. 1: not yet, since signatures are missing or its day has not come. 2: it cannot be published.
    """
    with told():
        from server.release.publication import publish as put_out

        coordinator = _open(home)
        path = put_out(coordinator, draft, today=_today(), pretended=None if released_on is None else
                       _date("--released-on", released_on))
        say({"path": str(path)}, as_json=as_json, words=(
            f"Published: {path}\nGive away the whole folder. Anybody can check it:\n"
            f"  leelight audit release {path} --coordinator-key {coordinator.signing_key().public}\n"
            "Let people have that key by another way than the folder, such as your own web page: whoever changed the "
            "one could have changed the other."))


def _open(path: Path) -> CoordinatorHome:
    # Imported here so that `--help` does not wait for it.
    from server.coordinator import CoordinatorHome

    return CoordinatorHome.load(path)


def _today() -> date:
    return datetime.now(UTC).date()


def _date(option: str, value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise InputError(option, f"{value!r} is not a date", bound="YYYY-MM-DD",
                         remedy="write it as 2026-07-31") from None
