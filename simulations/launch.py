"""`leelight simulate`: Hydra composes, the plan is shown, the federation runs.

Exit codes: 0 done; 2 the configuration or the input cannot be used; 3 too few partners answered.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape

from federation.errors import InputError
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import RosterEntry, Signer
from federation.taxonomy import RegionRole
from simulations.settings import Settings


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def main(config: DictConfig) -> None:
    """Run one federation in Hydra's output folder."""
    console = Console()
    try:
        settings = Settings.from_hydra(config)
        # Before the libraries are loaded and anything is priced, which takes long: a wrong folder or size is told now.
        settings.open_world()
        _run(settings, Path(HydraConfig.get().runtime.output_dir), console)
    except InputError as error:
        _say(console, "Cannot run.", error)
        sys.exit(2)


def compose_study(overrides: list[str]) -> StudyPlan:
    """The plan that `leelight simulate` would run with these overrides. Nothing runs.

    Raises:
        InputError: if the settings do not make a plan.
    """
    from simulations.federation import plan_for

    settings = compose_settings(overrides)
    return plan_for(settings, settings.open_world()).plan


def compose_enrolled(
    overrides: list[str], entries: Sequence[RosterEntry], *, signers: tuple[Signer, ...], key: SigningKey,
    roles: tuple[RegionRole, ...], synthetic: bool, regions_drawn: bool, indicators: bool, rehearsal: bool
) -> SignedPlan:
    """The signed plan of a study among enrolled partners.

    Args:
        overrides: as `leelight simulate` takes them; those of the world have no effect.
        entries: of the roster.
        signers: whose signatures the release needs.
        key: the coordinator's.
        roles: that are tabulated.
        synthetic: whether all records are invented.
        regions_drawn: whether places were drawn at random.
        indicators: whether records say which indicators were seen in them.
        rehearsal: whether nodes may draw noise that can be repeated.

    Raises:
        InputError: if the settings do not make a plan.
    """
    from simulations.compose import compose_plan
    from simulations.world.enrolled import enrolled_world

    noise = "seeded" if rehearsal else "system"
    settings = compose_settings([*overrides, f"simulation.noise={noise}"])
    world = enrolled_world(entries, synthetic=synthetic, regions_drawn=regions_drawn, indicators=indicators)
    return compose_plan(settings, world, settings.open_encoder(), roles=roles, signers=signers, coordinator=key,
                        partner_keys={entry.name: entry.public_key for entry in entries})


def compose_settings(overrides: list[str]) -> Settings:
    """The settings that `leelight simulate` would run with.

    Raises:
        InputError: if they cannot be composed.
    """
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_module("conf", version_base="1.3"):
            return Settings.from_hydra(compose("config", overrides=overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError("settings", str(error).splitlines()[0],
                         remedy="`leelight simulate --cfg job` shows every key") from None


def _say(console: Console, what: str, error: Exception) -> None:
    # Escaped: rich would read the [engine] of a remedy as markup and leave it out.
    console.print(f"[red]{what}[/red] {escape(str(error))}", soft_wrap=True)


def _run(settings: Settings, folder: Path, console: Console) -> None:
    started = time.monotonic()
    # Imported here, so that `--help` and `--cfg job` need no torch.
    with console.status("Starting"):
        from server.rounds import StudyStopped
        from simulations.display import TerminalDisplay, relative
        from simulations.federation import run_federation
    with TerminalDisplay(console) as display:
        try:
            result = run_federation(settings, relative(folder), display)
        except StudyStopped as stopped:
            _say(console, "The study stopped.", stopped)
            sys.exit(3)
        display.finished(result, time.monotonic() - started)
