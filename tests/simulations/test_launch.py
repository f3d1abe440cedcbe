"""What a run says when it cannot run: at once, whole, and by the name of the key."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from federation.errors import InputError
from simulations.display import TerminalDisplay
from simulations.federation import run_federation
from simulations.homes import SourceOutcome
from simulations.launch import _say
from tests.simulations.test_federation_faults import Quiet, settings

REMEDY = "pip install -e '.[engine]'"


def test_brackets_in_a_message_are_no_markup() -> None:
    out = StringIO()
    console = Console(file=out, width=200)
    _say(console, "Cannot run.", InputError("simulation.engine", "is not installed", remedy=REMEDY))
    TerminalDisplay(console).ingested([SourceOutcome(partner="ngo", report=None, problem=f"file[red].csv: {REMEDY}")])
    assert out.getvalue().count(REMEDY) == 2
    assert "ngo: file[red].csv" in out.getvalue()


def test_flowers_engine_is_looked_for_before_anything_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(InputError, match="not installed") as caught:
        run_federation(settings(tmp_path / "cache", "simulation=flower"), tmp_path / "run", Quiet())
    assert REMEDY in str(caught.value)
    assert not (tmp_path / "run").exists()
