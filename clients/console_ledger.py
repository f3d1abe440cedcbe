"""`leelight ledger ...`: what was spent on this partner's people, and whether the books are in order.

Exit codes: 0 done. 2 the home, the rules or a file given cannot be used, or no account was opened yet. 3 the ledger
does not check out.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.asking import confirmed
from federation.errors import InputError
from federation.telling import told

if TYPE_CHECKING:
    from clients.ledger import Audit, Balance, Ledger
    from clients.node import NodeHome

app = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False,
                  pretty_exceptions_enable=False)

Home = Annotated[Path, typer.Option(help="The node's home folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback()
def ledger() -> None:
    """What was spent on this partner's people."""


@app.command()
def show(home: Home, as_json: AsJson = False) -> None:
    """Show the account: what was spent on one person, this year and ever, by study, and what remains.

    Changes nothing. Exit code 0: shown. 2: no account, or no usable home. 3: the ledger does not check out.
    """
    with told():
        node = _node(home)
        ceilings = node.policy().ceilings
        with _account(node) as account:
            balance = account.balance(ceilings, datetime.now(UTC))
        typer.echo(_as_json(balance) if as_json else balance_text(balance))


@app.command()
def verify(
    home: Annotated[Path | None, typer.Option(help="The node's home folder.")] = None,
    export: Annotated[Path | None, typer.Option(help="An exported ledger, to check without a home.")] = None,
    public_key: Annotated[str | None, typer.Option(help="With --export: the partner's public key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check every entry, signature, rule and figure again, in a home or in an export, believing nothing.

    Exit code 0: everything fits. 3: something does not, and it is named. 2: there is nothing to check.
    """
    with told():
        if export is not None and public_key is not None and home is None:
            from clients.ledger import verify_export

            found = verify_export(export, public_key)
        elif home is not None and export is None and public_key is None:
            with _account(_node(home)) as account:
                found = account.verify_full()
        else:
            raise InputError("verify", "needs one thing to check", bound="--home, or --export with --public-key",
                             remedy="give one of the two")
        typer.echo(_as_json(found) if as_json else audit_text(found))


@app.command()
def export(file: Annotated[Path, typer.Argument(help="The file to write; it must not be there.")], home: Home) -> None:
    """Write the ledger to a file that an auditor can check with your public key alone. It holds no record and no reply.

    Exit code 0: written. 2: the file is there already or its folder is not, or there is no account. 3: the ledger does
    not check out.
    """
    with told():
        if not file.parent.is_dir():
            raise InputError(str(file), f"the folder {file.parent} is not there",
                             remedy=f"make it with mkdir -p {quote(str(file.parent))}, or name a file elsewhere")
        node = _node(home)
        try:
            with _account(node) as account:
                account.export(file)
        except OSError as error:
            raise InputError(str(file), f"cannot be written ({error.strerror})", remedy="name another file") from None
        typer.echo(f"The ledger is in {file}. To check it:\n  leelight ledger verify --export {file} --public-key "
                   f"{node.signing_key().public}")


@app.command("restore-head")
def restore(
    home: Home,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: the ledger in this home is the newest.")] = False,
) -> None:
    """Write a lost `ledger.head` anew, after checking the ledger in full.

    Only the head shows that an older ledger was copied back, so with this you vouch that the ledger in this home is the
    newest there ever was. Exit code 0: written. 1: not confirmed, nothing is written. 2: no account, or no usable home.
    3: the head is there, or the ledger does not check out.
    """
    with told():
        from clients.accounts import restore_account_head

        node = _node(home)
        if not yes and not confirmed(
                f"Without its head, nothing can tell whether the ledger in {home} is the newest. If an older one was "
                "copied here, what was spent since would be forgotten and could be spent again.\nIs it the newest?"):
            raise typer.Exit(1)
        found = restore_account_head(node)
        typer.echo(f"The head is written anew, for the {found.entries} entries up to {found.last:%Y-%m-%d %H:%M} UTC.\n"
                   + audit_text(found))


def balance_text(balance: Balance) -> str:
    """An account in words. What was spent is rounded up, what remains is rounded down."""
    from federation.privacy.units import down, up

    lines = [f"Account of {balance.partner} on {balance.at:%Y-%m-%d}",
             f"Spent on one person, ε at δ = {balance.delta:g}:"]
    for period in (*balance.years, balance.total):
        lines.append(f"  {period.period:<6} {up(period.epsilon)} of {period.allowed:g}; at most "
                     f"{down(period.remaining)} remain")
    lines += ["", "Studies" if balance.studies else "No study has begun."]
    for study in balance.studies:
        lines.append(f"  {study.study} ({study.plan_sha256[:16]}…), begun {study.held_at:%Y-%m-%d}: "
                     f"{up(study.epsilon)} of {study.allowed:g}; {study.requests_answered} requests answered, "
                     f"{study.requests_open} without a reply, {study.further_attempts} paid for again")
        if study.colluders is not None:
            lines.append(f"    with noise in sums: true while at most {study.colluders} of its partners "
                         f"{'works' if study.colluders == 1 else 'work'} with the coordinator")
    return "\n".join(lines)


def audit_text(found: Audit) -> str:
    """What a full check found, in words."""
    from federation.privacy.units import up

    return "\n".join([
        f"Everything fits: {found.entries} entries of {found.partner}, {found.first:%Y-%m-%d} to "
        f"{found.last:%Y-%m-%d}.",
        f"Signed by {found.public_key}.",
        f"Spent on one person in all: ε = {up(found.epsilon)} at δ = {found.delta:g}.",
        f"{found.commits} requests were answered; {found.open_reservations} have no reply and count as spent."])


def _as_json(figures: Any) -> str:
    return json.dumps(asdict(figures), indent=2, default=lambda moment: moment.isoformat())


def _node(home: Path) -> NodeHome:
    # Imported here so that `--help` does not wait for it.
    from clients.node import NodeHome

    return NodeHome.load(home)


def _account(node: NodeHome) -> Ledger:
    from clients.accounts import existing_account

    return existing_account(node)
