"""`leelight partner review`, `approve` and `decline`: what a partner does with a plan that was sent to it.

Exit codes: 0 done (for `review`: the plan can be approved). 1 `approve` was not confirmed, nothing is written. 2 the
plan or the home cannot be used. 3 the plan was read, and this partner's rules or what the plan says of it forbid it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from clients.asking import answer
from federation.errors import InputError, Refusal
from federation.telling import complain

if TYPE_CHECKING:
    from clients.approvals import Approval
    from clients.node import NodeHome
    from clients.review import Review
    from federation.plan import SignedPlan

PlanFile = Annotated[Path, typer.Argument(help="The plan, as the coordinator sent it.")]
Home = Annotated[Path, typer.Option(help="The node's home folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def review(plan: PlanFile, home: Home, as_json: AsJson = False) -> None:
    """Read a plan in plain language: who asks, what for, on whom, at what price, and what your rules say.

    Exit code 0: it can be approved. 3: it cannot, and the review says why. 2: the plan or the home cannot be used.
    """
    _, _, found = _open(plan, home)
    _show(found, plan, home, as_json=as_json)
    raise typer.Exit(0 if found.can_be_approved else 3)


def approve(
    plan: PlanFile, home: Home,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the study's name.")] = False,
    as_json: AsJson = False,
) -> None:
    """Approve a plan after looking at it. From then on this node takes part when the coordinator asks.

    Exit code 0: approved, now or before. 1: not confirmed, or nobody was there to ask. 2: the plan or the home cannot
    be used. 3: your rules or the plan's entry for you stand against it.
    """
    from clients.approvals import Decision
    from clients.turns import check_turn

    node, signed, found = _open(plan, home)
    if not as_json:
        _show(found, plan, home, as_json=False)
    if not found.can_be_approved:
        complain("not approved: the plan cannot run here. `leelight partner review` says why.")
        raise typer.Exit(3)
    if found.earlier is not None and found.earlier.decision is Decision.APPROVED and not found.price_changed:
        _already(node, found.earlier, as_json=as_json)
        return
    try:
        check_turn(node, signed.plan)
    except InputError as error:
        _refuse(error)
    if not yes:
        typed = answer(f"\nTo approve, type the study's name ({signed.plan.study})")
        if typed is None:
            raise typer.Exit(1)
        if typed != signed.plan.study:
            complain("not approved: that is not the study's name. Nothing was written.")
            raise typer.Exit(1)
    _decide(node, signed, Decision.APPROVED, as_json=as_json)


def decline(plan: PlanFile, home: Home, as_json: AsJson = False) -> None:
    """Decline a plan. It may be approved later. What it has spent already stays spent.

    Exit code 0: declined, now or before. 2: the plan or the home cannot be used; if that is the journal alone, the plan
    is declined all the same, and the message says so.
    """
    from clients.approvals import Decision, find_approval

    try:
        node, signed = _read(plan, home)
        earlier = find_approval(node, signed.sha256)
    except InputError as error:
        _refuse(error)
    except Refusal:
        # A decision that was tampered with is replaced.
        earlier = None
    if earlier is not None and earlier.decision is Decision.DECLINED:
        _already(node, earlier, as_json=as_json)
        return
    _decide(node, signed, Decision.DECLINED, as_json=as_json)
    if not as_json:
        typer.echo(_what_stays_spent(node, signed))


def _read(plan: Path, home: Path) -> tuple[NodeHome, SignedPlan]:
    from clients.node import NodeHome
    from federation.plan import SignedPlan, read_plan_file
    from federation.secure import check_plan

    node = NodeHome.load(home)

    node.remember_prices()
    text = read_plan_file(plan)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(str(plan), "is not a valid study plan: it ends too soon, or is another kind of file",
                         remedy="copy the whole file as the coordinator sent it, or ask for it again") from None
    signed = SignedPlan.open(text, trusted_key=node.settings.coordinator_key)
    check_plan(signed.plan)
    return node, signed


def _open(plan: Path, home: Path) -> tuple[NodeHome, SignedPlan, Review]:
    # Imported here so that `--help` does not wait for pandas.
    from clients.accounts import outlook
    from clients.review import review as look

    try:
        node, signed = _read(plan, home)
        return node, signed, look(node, signed, outlook_of=outlook)
    except InputError as error:
        _refuse(error)
    except Refusal as refusal:
        complain(refusal.detail)
        raise typer.Exit(2) from None


def _show(found: Review, plan: Path, home: Path, *, as_json: bool) -> None:
    from clients.review_text import as_text

    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        typer.echo(as_text(found, plan_path=str(plan), home_path=str(home)))


def _decide(node: NodeHome, signed: SignedPlan, decision: str, *, as_json: bool) -> None:
    from clients.approvals import Decision, approval_path, decide
    from federation.deployment.keeper import running_state

    try:
        approval = decide(node, signed, Decision(decision))
    except InputError as error:
        _refuse(error)
    if as_json:
        typer.echo(approval.model_dump_json(indent=2))
    else:
        typer.echo(f"\n{signed.plan.study} is {approval.decision.value}. The decision lies in "
                   f"{approval_path(node, signed.sha256)}, with the plan beside it.")
        if approval.decision is Decision.APPROVED and (running_state(node.path) or {}).get("refused"):
            typer.echo("The node has refused a study since it was started. If that was this one, and it still waits "
                       "for you: stop the node and start it again, so that it is asked anew.")


def _already(node: NodeHome, earlier: Approval, *, as_json: bool) -> None:
    from clients.approvals import approval_path

    if as_json:
        typer.echo(earlier.model_dump_json(indent=2))
    else:
        typer.echo(f"\nThis plan was already {earlier.decision.value} on {earlier.decided_at:%Y-%m-%d %H:%M} UTC. "
                   f"Nothing was written; the decision lies in {approval_path(node, earlier.plan_sha256)}.")


def _what_stays_spent(node: NodeHome, signed: SignedPlan) -> str:
    """What the account says of a plan that was just declined. Declining must work whatever state the account is in."""
    from clients.accounts import outlook
    from federation.privacy.units import up

    try:
        found = outlook(node, node.policy().ceilings, signed.plan)
    except (InputError, Refusal):
        return "What it may have spent before could not be read; `leelight ledger show` says why."
    if found is None or not found.begun:
        return "It has asked nothing here, so nothing was spent on it."
    return (f"{found.answered} of its requests were answered before: ε = {up(found.study_spent)} is spent on each "
            "person here and stays spent, and what left cannot be called back.")



def _refuse(error: InputError) -> NoReturn:
    complain(error)
    raise typer.Exit(2) from None
