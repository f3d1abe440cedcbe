"""What a run says when it cannot run: at once, whole, and by the name of the key."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

import leelight
from federation.errors import InputError
from simulations.display import TerminalDisplay
from simulations.federation import plan_for, run_federation
from simulations.homes import SourceOutcome
from simulations.launch import _say
from simulations.world.interface import World
from tests.simulations.test_federation_faults import Quiet, settings

ROOT = Path(__file__).parents[2]
REMEDY = "pip install -e '.[engine]'"


def test_brackets_in_a_message_are_no_markup() -> None:
    out = StringIO()
    console = Console(file=out, width=200)
    _say(console, "Cannot run.", InputError("simulation.engine", "is not installed", remedy=REMEDY))
    TerminalDisplay(console).ingested([SourceOutcome(partner="ngo", report=None, problem=f"file[red].csv: {REMEDY}")])
    assert out.getvalue().count(REMEDY) == 2
    assert "ngo: file[red].csv" in out.getvalue()


@pytest.mark.parametrize(("arguments", "key"), [
    (["world=real"], "data.root: is not set"),
    (["world=real", 'data.root="no[engine]here"'], "data.root: no[engine]here"),
    (["world.size=vast"], "world.size: vast"), (["world=real", "data.root=.", "world.parts=[poems]"], "world.parts: "),
])
def test_a_wrong_world_is_told_before_anything_is_loaded_or_priced(
    tmp_path: Path, arguments: list[str], key: str
) -> None:
    """As a command. Without the libraries, so it fails otherwise if it gets any further."""
    code = ("import sys; sys.modules['torch'] = sys.modules['dp_accounting'] = None; import leelight; leelight.main()")
    done = subprocess.run([sys.executable, "-c", code, "simulate", *arguments, f"hydra.run.dir={tmp_path}/out"],
                          capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"Cannot run. {key}" in done.stdout
    assert "Traceback" not in done.stderr


class Drawn:
    """A world whose regions were drawn."""

    regions_drawn = True

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> object:
        return getattr(self._world, name)


def test_the_plan_says_what_the_world_says_about_its_regions(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    world = chosen.open_world()
    assert plan_for(chosen, world).plan.regions_drawn is False
    assert plan_for(chosen, cast(World, Drawn(world))).plan.regions_drawn is True


def test_the_version_is_the_installed_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["leelight", "--version"])
    with pytest.raises(SystemExit) as stopped:
        leelight.main()
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"leelight {version('leelight')}\n"


def test_flowers_engine_is_looked_for_before_anything_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(InputError, match="not installed") as caught:
        run_federation(settings(tmp_path / "cache", "simulation=flower"), tmp_path / "run", Quiet())
    assert REMEDY in str(caught.value)
    assert not (tmp_path / "run").exists()
