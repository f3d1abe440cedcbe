"""A coordinator that is killed at any step, and what the next one makes of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from federation.plan import StudyPlan
from federation.secure import session_seconds
from server.coordinator import CoordinatorHome
from server.rounds import StudyOutcome, StudyStopped
from tests.server.killed import Copies, Given, Killed, WatchedGrid, charges, go_on, prepare_world, same
from tests.worlds import make_plan, sign

SECURE = make_plan(4, secure="both", colluders=1, quorum=3, noise_scale=6.0, deadline=50)
LOCAL = make_plan(3, quorum=2, deadline=50)


@dataclass
class Undisturbed:
    """A study that ran to its end, with a copy of all disks at each step."""

    plan: StudyPlan
    copies: Copies
    outcome: StudyOutcome
    charges: list[tuple[int, int, float]]
    fresh: Path

    def world(self, number: int, to: Path) -> tuple[Path, Given]:
        """All disks as they were at a step, for a test of its own."""
        shutil.copytree(self.copies.at(number), to)
        return to, {key: set(values) for key, values in self.copies.given[number].items()}

    def steps(self, name: str) -> list[int]:
        return [number for number, step in enumerate(self.copies.steps) if step == name]


def undisturbed(folder: Path, plan: StudyPlan) -> Undisturbed:
    root = folder / "root"
    prepare_world(root, plan)
    shutil.copytree(root, folder / "fresh")
    copies = Copies(root, folder / "copies")
    copies.grid = WatchedGrid(root, plan, on_step=copies)
    with pytest.MonkeyPatch.context() as patch:
        # After a model is in place and before the database knows, and after the study is kept and before the journal
        # knows.
        from server import checkpoints

        replace = checkpoints.replace_private
        patch.setattr(checkpoints, "replace_private", lambda path, data: (replace(path, data), copies("model")))
        note = CoordinatorHome.note_run
        patch.setattr(CoordinatorHome, "note_run", lambda home, signed: (copies("kept"), note(home, signed)))
        patch.setattr("server.coordinator.shutil.rmtree", lambda path, **options: (copies("renamed"), shutil_rmtree(
            path, **options)))
        outcome = go_on(root, plan, copies.grid)
    return Undisturbed(plan, copies, outcome, charges(root, plan), folder / "fresh")


shutil_rmtree = shutil.rmtree


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed(tmp_path_factory.mktemp("secure"), SECURE)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed(tmp_path_factory.mktemp("local"), LOCAL)


def check_given_once(*given: Given) -> None:
    together: Given = {}
    for one in given:
        for key, values in one.items():
            together.setdefault(key, set()).update(values)
    assert together
    assert {key: len(values) for key, values in together.items()} == dict.fromkeys(together, 1)


@pytest.mark.parametrize("which", ["secure", "local"])
def test_a_kill_at_any_step_changes_nothing(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    study: Undisturbed = request.getfixturevalue(which)
    assert len(study.copies.steps) > (50 if which == "secure" else 14)
    for number, step in enumerate(study.copies.steps):
        root, before = study.world(number, tmp_path / str(number))
        grid = WatchedGrid(root, study.plan)
        if step in ("renamed", "kept"):
            with pytest.raises(Exception, match="its study has run"):
                go_on(root, study.plan, grid)
            assert not grid.given
        else:
            assert same(go_on(root, study.plan, grid), study.outcome), (number, step)
            check_given_once(before, grid.given)
        home = CoordinatorHome.load(root / "coordinator")
        assert (home.measurements().values == study.outcome.measurements.values).all()
        assert charges(root, study.plan) == study.charges, (number, step)
        assert [path.suffix for path in (home.path / "runs").iterdir()] == [".lock"]
        assert home.run_state(study.plan.sha256).finished
        shutil.rmtree(root)
