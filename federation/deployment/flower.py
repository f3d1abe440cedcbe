"""Flower's programs, and the surroundings that they run in: nothing calls out, nothing is installed at run time."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from federation.errors import InputError

QUIET: Final[Mapping[str, str]] = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Everything of Flower's and Ray's that would reach out to others, switched off."""
TASK_POLL_SECONDS: Final = 0.2
"""How often Flower's executor asks for work, on the same machine."""


def program(name: str) -> str:
    """The path of a program that is installed with Flower, beside the Python that runs this.

    Raises:
        InputError: if it is not there.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise InputError(name, "is not installed",
                         remedy="install leelight into the environment that you start it from")
    return found


def scratch_in(run: Path) -> Path:
    """Flower's own folder, in the `run/` of a home."""
    return run.resolve() / "flower"


def forget_bundles(run: Path) -> None:
    """Delete unpacked app bundles, so that they are unpacked anew.

    Flower takes whatever lies there for whole, and what was cut short, by a kill or a full disk, would fail for ever.
    """
    shutil.rmtree(scratch_in(run) / "apps", ignore_errors=True)


def mark_of(run: Path) -> str:
    """What every Flower process of a home has in its environment, and no other process."""
    return f"FLWR_HOME={scratch_in(run)}"


def surroundings(scratch: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables of a Flower process.

    Args:
        scratch: Flower's own folder; it keeps configuration and unpacked app bundles there.
        extra: what this process needs besides.
    """
    here = str(Path(sys.executable).parent)
    return {
        # What the user has set up for Flower elsewhere (another home, other switches) must not reach these processes.
        **{name: value for name, value in os.environ.items() if not name.startswith("FLWR_")},
        # Nor must a proxy of the machine's: these processes speak to this machine alone.
        "NO_PROXY": "*", "no_proxy": "*",
        **QUIET, "FLWR_HOME": str(scratch), "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(TASK_POLL_SECONDS),
        "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}", "PYTHONUNBUFFERED": "1",
        # A process lives for one message: without what was compiled before it, it would compile all of us each time.
        "PYTHONDONTWRITEBYTECODE": "", **(extra or {})}
