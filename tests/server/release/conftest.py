"""A coordinator who has published a first release and drafted a second; each test works on a copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from server.coordinator import CoordinatorHome
from server.release.drafts import make_draft
from server.release.publication import earliest_day, sign_draft
from tests.server.release.homes import first_plan, new_home, run_study, second_plan, two


@pytest.fixture(scope="session")
def kept_series(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two homes: one with a release that is out and the next one drafted, and the same when that is out, too."""
    root = tmp_path_factory.mktemp("series")
    home = new_home(root / "drafted")
    run_study(home, first_plan())
    home.release(two())
    plan = run_study(home, second_plan()).plan
    make_draft(home, released_on=earliest_day(plan))
    shutil.copytree(home.path, root / "released")
    CoordinatorHome(root / "released").release(two())
    return home.path, root / "released"


@pytest.fixture
def drafted(kept_series: tuple[Path, Path], tmp_path: Path) -> CoordinatorHome:
    """A home with a draft that nobody has signed."""
    return CoordinatorHome(Path(shutil.copytree(kept_series[0], tmp_path / "coordinator")))


@pytest.fixture
def released(kept_series: tuple[Path, Path], tmp_path: Path) -> CoordinatorHome:
    """A home with two releases of a series."""
    return CoordinatorHome(Path(shutil.copytree(kept_series[1], tmp_path / "released")))


@pytest.fixture
def bundle(kept_series: tuple[Path, Path], tmp_path: Path) -> Path:
    """The folder of the second release."""
    return Path(shutil.copytree(sorted((kept_series[1] / "releases").iterdir())[1], tmp_path / "bundle"))


@pytest.fixture
def first_bundle(kept_series: tuple[Path, Path], tmp_path: Path) -> Path:
    """The folder of the first release."""
    return Path(shutil.copytree(sorted((kept_series[1] / "releases").iterdir())[0], tmp_path / "first"))


@pytest.fixture
def signed(drafted: CoordinatorHome) -> CoordinatorHome:
    """A home with a draft that two people have signed."""
    for name, key in two().items():
        sign_draft(drafted, name=name, key=key)
    return drafted
