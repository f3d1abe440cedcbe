"""`leelight coordinator plan`: the plan of a study among enrolled partners, composed, priced and signed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from federation.errors import InputError
from federation.telling import say, told
from server.console_home import AsJson, Home, open_home

if TYPE_CHECKING:
    from federation.plan import SignedPlan
    from server.coordinator import CoordinatorHome

Compose = Callable[..., "SignedPlan"]
"""Makes a signed plan from settings and enrolled partners."""


def plan_command(compose: Compose) -> Callable[..., None]:
    """The command; `compose` comes from whoever may import the launcher."""
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
        with told():
            from federation.plan_parts import Signer
            from federation.taxonomy import RegionRole
            from server.deployment.enrolled import Enrolled

            coordinator, _ = open_home(home)
            partners = Enrolled(coordinator).partners()
            signed = compose(
                settings or [], [one.entry for one in partners], key=coordinator.signing_key(),
                signers=_signers(Signer, signer or []),
                roles=tuple(_role(RegionRole, one) for one in role) if role else tuple(RegionRole),
                synthetic=all(one.synthetic for one in partners), regions_drawn=regions_drawn, indicators=indicators,
                rehearsal=rehearsal)
            coordinator.keep_plan(signed)
            say({"plan_sha256": signed.sha256, "study": signed.plan.study, "plan": str(coordinator.plan_path)},
                as_json=as_json, words=_after_plan(coordinator, signed))

    return plan


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


def _after_plan(coordinator: CoordinatorHome, signed: SignedPlan) -> str:
    from federation.deployment.bundle import installed_bundle_sha256

    names = ", ".join(entry.name for entry in signed.plan.roster)
    return f"""The plan of {signed.plan.study} is signed: {coordinator.plan_path}
It costs one person at one partner ε = {signed.plan.privacy.total_epsilon:.2f} at δ = {signed.plan.privacy.delta:g}.

What to do now
  1. Send the file to {names}. Each looks at it with `leelight partner review` and approves or declines it.
     They need the same software: `leelight bundle hash` says {installed_bundle_sha256()[:16]}… here and must there.
  2. When they have approved and started their nodes:  leelight coordinator run --home {coordinator.path}"""
