"""`leelight partner erase`: somebody, or a record, goes from a node's home and does not come back with the next file.

Exit codes: 0 erased (with --dry-run: looked at; with --allow-again: taken off the list). 1 not confirmed, nothing is
written. 2 something given cannot be used, or something is held or full; the same again finishes what was begun. 3 there
is nothing of somebody who was given; the others are erased.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.asking import asked_for, confirmed
from federation.errors import InputError
from federation.telling import told

if TYPE_CHECKING:
    from clients.erasure import Done, Found, Wanted
    from clients.node import NodeHome

_WORD = "erase"


def erase(
    home: Annotated[Path, typer.Option(help="The node's home folder.")],
    person: Annotated[str | None, typer.Option(
        help="The id that the person has in your files. - asks for it, so that it stays out of your shell's history."),
    ] = None,
    persons_from: Annotated[Path | None, typer.Option(help="A file with one such id a line, in UTF-8.")] = None,
    record: Annotated[str | None, typer.Option(
        help="One record: the id that its file gives it, with --mapping, or its own. - asks for it.")] = None,
    mapping: Annotated[str | None, typer.Option(help="With --record: what its file was taken in with.")] = None,
    allow_again: Annotated[bool, typer.Option(
        "--allow-again", help="Do not erase: let somebody who was erased be taken in again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Erase people, or a record: texts, features, running totals, rows set aside. They stay out from then on.

    Exit code 0: done. 1: not confirmed, nothing is written. 2: something given cannot be used, or is held or full;
    the same again finishes what was begun. 3: there is nothing of somebody who was given; the others are erased.
    """
    with told():
        code = _run(home, person, persons_from, record, mapping, allow_again=allow_again, dry_run=dry_run, yes=yes,
                    as_json=as_json)
    raise typer.Exit(code)


def _run(path: Path, person: str | None, persons: Path | None, record: str | None, mapping: str | None, *,
         allow_again: bool, dry_run: bool, yes: bool, as_json: bool) -> int:
    # Imported here so that `--help` does not wait for pandas and SQLAlchemy.
    from clients import erasure
    from clients.node import NodeHome

    if sum(one is not None for one in (person, persons, record)) != 1:
        raise InputError("erase", "needs to know whom or what", bound="one of --person, --persons-from and --record",
                         remedy="give one of the three")
    if mapping is not None and record is None:
        raise InputError("--mapping", "goes with --record alone", remedy="leave it out")
    node = NodeHome.load(path)
    wanted, lines = _wanted(node, person, persons, record, mapping)
    if allow_again:
        return _allow(node, wanted, as_json=as_json)
    found = erasure.look(node, wanted)
    unknown = tuple(line for key, line in zip(wanted.keys, lines, strict=True) if key in found.unknown)
    nobody = len(unknown) == len(wanted.keys)
    if not as_json:
        typer.echo(_found_in_words(found, unknown, nobody=nobody, record=wanted.record, file=persons))
    done = None
    if not (nobody or dry_run):
        if not yes and not confirmed("This cannot be undone.", word=_WORD):
            return 1
        done = erasure.erase(node, wanted.without(found.unknown))
    if as_json:
        typer.echo(json.dumps(_as_dict(node, found, done, unknown), indent=2))
    elif done is not None:
        typer.echo(_done_in_words(node, done))
    return 3 if unknown else 0


def _wanted(node: NodeHome, person: str | None, persons: Path | None, record: str | None,
            mapping: str | None) -> tuple[Wanted, tuple[int, ...]]:
    """Whom to erase, and for each the line of the file that names them, if one does."""
    from clients.erasure import Wanted
    from clients.ingest.mapping import load_mapping

    if record is not None:
        text = asked_for("The record's id", "--record") if record == "-" else record
        return Wanted.one_record(node, text, load_mapping(mapping) if mapping else None), (0,)
    if person is not None:
        return Wanted.people(node, [asked_for("The person's id", "--person") if person == "-" else person]), (0,)
    lines: dict[str, int] = {}
    for number, one in enumerate(_lines(persons), start=1):
        if one.strip():
            [key] = Wanted.people(node, [one]).keys
            lines.setdefault(key, number)
    if not lines:
        raise InputError(str(persons), "names nobody", bound="one id a line", remedy="check the file")
    return Wanted.of_keys(tuple(lines)), tuple(lines.values())


def _lines(path: Path | None) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines() if path else []
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", remedy="check the path") from None
    except UnicodeDecodeError:
        raise InputError(str(path), "is not text in UTF-8", bound="one id a line", remedy="save it as UTF-8") from None


def _allow(node: NodeHome, wanted: Wanted, *, as_json: bool) -> int:
    from clients.erasure import allow_again

    taken = allow_again(node, wanted)
    if as_json:
        typer.echo(json.dumps({"taken_off_the_list": taken}))
    elif taken:
        typer.echo(f"{taken:,} taken off the erasure list: with the next file that holds them they are taken in again.")
    else:
        typer.echo("Not on the erasure list. Nothing was written.", err=True)
    return 0 if taken == len(wanted.keys) else 3


def _found_in_words(found: Found, unknown: tuple[int, ...], *, nobody: bool, record: bool, file: Path | None) -> str:
    from clients.wording import counted

    if nobody:
        return ("There is nothing here under " + (
            "this id, and it was not erased before. Ids of records are compared exactly." if record else
            "this id, and nobody was erased under it before. Capitals and spaces around it do not matter; is it the id "
            "that stands in your files?" if file is None else f"any of the ids in {file}.") + " Nothing was written.")
    lines = ["Here: " + ", ".join((
        counted(found.records, "record", "records"),
        counted(found.series, "entry in running totals", "entries in running totals"),
        counted(found.set_aside.rows, "row", "rows") + " in quarantine")) + ", and the features of their texts."]
    if unknown:
        lines.append(f"Of {counted(len(unknown), 'person', 'people')} there is nothing; {file}, line "
                     f"{', '.join(map(str, unknown[:20]))}{' …' if len(unknown) > 20 else ''}.")
    if found.set_aside.untold:
        lines.append(f"{counted(found.set_aside.untold, 'other row', 'other rows')} in quarantine cannot be told to be "
                     "anybody's, as no person could be read in them: look through the files, and delete what you know.")
    return "\n".join(lines)


def _done_in_words(node: NodeHome, done: Done) -> str:
    from clients.wording import counted

    gone = ", ".join((
        counted(done.records, "record", "records"),
        counted(done.series, "entry in running totals", "entries in running totals"),
        counted(done.rows, "row", "rows") + " in quarantine", counted(done.vectors, "feature", "features")))
    return "\n".join([f"Erased: {gone}. Whoever was erased stays out when a file with them is taken in again.",
                      "What stays, and why:", *(f"  - {reason}" for reason in _what_stays(node))])


def _what_stays(node: NodeHome) -> list[str]:
    return [
        "The erasure list: a hash of each pseudonym, without which the next file would bring them back "
        "(--allow-again takes somebody off).",
        f"What left under noise, the models trained and the figures published with it. {_price(node)}",
        "The account (ledger.sqlite) and the journal: no person is in them. A reply that the account keeps for 90 days "
        "is what the coordinator got, noise and all; of a study under way, what was answered stays in it, and what is "
        "answered from now on is without them.",
        "Your own files: the source system, exports, copies in inbox/, backups of this home. Erase them there; a "
        "backup that is brought back brings them back.",
        "Traces on the disk itself: keep the home on an encrypted one."]


def _price(node: NodeHome) -> str:
    """What may be known about somebody from what left."""
    from clients.accounts import existing_account, has_account
    from federation.errors import Refusal
    from federation.privacy.units import up

    if not has_account(node):
        return "Nothing has left here yet."
    try:
        with existing_account(node) as account:
            total = account.balance(node.policy().ceilings)
    except (InputError, Refusal):
        return "It cannot be called back; what it may tell of anybody is bounded by what `leelight ledger show` says."
    return (f"It cannot be called back; what all of it may tell of anybody here is bounded by ε = "
            f"{up(total.total.epsilon)} at δ = {total.delta:g}.")


def _as_dict(node: NodeHome, found: Found, done: Done | None, unknown: tuple[int, ...]) -> dict[str, Any]:
    from dataclasses import asdict

    return {"found": {"records": found.records, "series": found.series, "rows": found.set_aside.rows,
                      "rows_of_nobody_known": found.set_aside.untold},
            "unknown": len(unknown), "unknown_lines": [line for line in unknown if line],
            "erased": done and asdict(done), "stays": _what_stays(node) if done else []}
