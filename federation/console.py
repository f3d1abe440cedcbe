"""`leelight plan ...`: what a study plan costs, from the plan alone. Needs no home and looks at no record.

Exit codes: 0 done. 2 the plan cannot be used, or claims to cost less than it does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from federation.errors import InputError
from federation.plan import SignedPlan, StudyPlan, read_plan_file
from federation.telling import told

Compose = Callable[[list[str]], StudyPlan]
"""Makes the plan that settings such as `privacy=strict` would give."""


def plan_app(compose: Compose) -> typer.Typer:
    """The commands; `compose` comes from whoever may import the launcher."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, suggest_commands=False,
                      pretty_exceptions_enable=False)

    @app.callback()
    def plan() -> None:
        """Study plans."""

    @app.command()
    def price(
        plan: Annotated[list[str], typer.Argument(
            metavar="PLAN | [KEY=VALUE ...]", help="A plan file, or settings as `leelight simulate` takes them.")],
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    ) -> None:
        """Say what a study costs one person: learning, counting, together, a round, and at several partners.

        Exit code 0: priced. 2: the plan cannot be used, or claims to cost less than it does.
        """
        with told():
            found = compose(plan) if "=" in plan[0] else _from_file(plan)
            typer.echo(json.dumps(as_dict(found), indent=2) if as_json else as_text(found))

    return app


def _from_file(arguments: list[str]) -> StudyPlan:
    if len(arguments) != 1:
        raise InputError("PLAN", f"{len(arguments)} were given", bound="one plan file, or only KEY=VALUE settings",
                         remedy="price them one by one")
    text = read_plan_file(Path(arguments[0]))
    # No key is pinned here, so the plan is held against the key that it names: it says who would have to vouch for it.
    return SignedPlan.open(text, trusted_key=_named_key(text)).plan


def _named_key(text: str) -> str:
    try:
        return str(json.loads(text)["public_key"])
    except (ValueError, TypeError, KeyError):
        raise InputError("plan", "not a signed study plan", remedy="give the file that the coordinator sent") from None


def as_dict(plan: StudyPlan) -> dict[str, Any]:
    """The price of a plan for machines.

    Raises:
        InputError: if the plan claims to cost less.
    """
    from dataclasses import asdict

    from federation.privacy.guarantee import ADJACENCY, UNIT, price
    from federation.secure import check_plan, noise_in_words

    check_plan(plan)
    return {"plan_sha256": plan.sha256, "study": plan.study, "label": plan.label, "rehearsal": plan.rehearsal,
            "privacy_unit": UNIT.value, "adjacency": ADJACENCY.value, "rounds": plan.training.rounds,
            "noise": noise_in_words(plan), "price": asdict(price(plan))}


def as_text(plan: StudyPlan) -> str:
    """The price of a plan for people; figures are rounded up.

    Raises:
        InputError: if the plan claims to cost less.
    """
    from textwrap import fill

    from federation.privacy.guarantee import UNIT, price
    from federation.privacy.units import up
    from federation.secure import check_plan, noise_in_words

    check_plan(plan)
    cost = price(plan)
    several = "".join(f"\n  at {k} partners  ε = {up(epsilon)}" for k, epsilon in cost.at_partners)
    noise = fill(f"Its noise: {noise_in_words(plan)}.", width=100)
    warning = "\nA rehearsal: its noise can be repeated and protects nobody.\n" if plan.rehearsal else ""
    return f"""Study {plan.study} ({plan.label}), plan {plan.sha256}
{warning}
What it costs {UNIT.in_words},
as ε at δ = {cost.delta:g}, each an upper bound:

  one round      ε = {up(cost.round)}   of {plan.training.rounds}
  learning       ε = {up(cost.training)}
  counting       ε = {up(cost.statistics)}
  together       ε = {up(cost.total)}   composed, not added

{noise}

The same person with records at several partners, together:
{several}"""
