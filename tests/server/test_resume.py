"""A coordinator that is killed at any step, and what the next one makes of it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from federation.errors import InputError
from federation.plan import SignedPlan, StudyPlan
from federation.secure import session_seconds
from server import checkpoints
from server.app import make_app
from server.coordinator import CoordinatorHome
from server.rounds import StudyOutcome, StudyStopped
from server.run_state import RunState
from tests.server.killed import Copies, Given, Killed, Silent, WatchedGrid, charges, go_on, prepare_world, same
from tests.server.scripted import no_sleep
from tests.worlds import make_plan, sign

__all__ = ["no_sleep"]

SECURE = make_plan(3, secure="both", colluders=0, quorum=2, noise_scale=6.0, deadline=50)
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
    replace, keep, note, remove = (checkpoints.replace_private, CoordinatorHome.keep, CoordinatorHome.note_run,
                                   shutil.rmtree)

    def replaced(path: Path, data: bytes) -> None:
        copies("model made")
        replace(path, data)
        copies("model in place")

    def keeping(home: CoordinatorHome, signed: SignedPlan, made: StudyOutcome) -> None:
        copies("measured")
        keep(home, signed, made)

    def removing(path: Path, **options: Any) -> None:
        copies("study kept")
        remove(path, **options)

    def noting(home: CoordinatorHome, signed: SignedPlan) -> None:
        copies("run removed")
        note(home, signed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "replace_private", replaced)
        patch.setattr("server.coordinator.shutil.rmtree", removing)
        patch.setattr(CoordinatorHome, "keep", keeping)
        patch.setattr(CoordinatorHome, "note_run", noting)
        outcome = go_on(root, plan, copies.grid)
    return Undisturbed(plan, copies, outcome, charges(root, plan), folder / "fresh")


@contextmanager
def memory() -> Iterator[Path]:
    """A folder in memory where there is such a thing: hundreds of studies wait for disks otherwise."""
    shared = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def disks() -> Iterator[Path]:
    with memory() as folder:
        yield folder


@pytest.fixture(scope="module")
def secure() -> Iterator[Undisturbed]:
    with memory() as folder:
        yield undisturbed(folder, SECURE)


@pytest.fixture(scope="module")
def local() -> Iterator[Undisturbed]:
    with memory() as folder:
        yield undisturbed(folder, LOCAL)


def check_given_once(*given: Given) -> None:
    together: Given = {}
    for one in given:
        for key, values in one.items():
            together.setdefault(key, set()).update(values)
    assert together
    assert {key: len(values) for key, values in together.items()} == dict.fromkeys(together, 1)


@pytest.mark.parametrize("which", [pytest.param("secure", marks=pytest.mark.long), "local"])
def test_a_kill_at_any_step_changes_nothing(which: str, request: pytest.FixtureRequest, disks: Path) -> None:
    study: Undisturbed = request.getfixturevalue(which)
    steps = study.copies.steps
    assert len(steps) > (50 if which == "secure" else 14)
    for number in range(len(steps)):
        root, before = study.world(number, disks / str(number))
        asked: list[str] = []
        grid = WatchedGrid(root, study.plan, on_step=asked.append)
        if steps[number] in ("study kept", "run removed"):
            with pytest.raises(InputError, match="its study has run"):
                go_on(root, study.plan, grid)
            assert not grid.given
        else:
            assert same(go_on(root, study.plan, grid), study.outcome), (number, steps[number])
            check_given_once(before, grid.given)
        assert bool(asked) == (steps[number] not in ("measured", "study kept", "run removed"))
        home = CoordinatorHome.load(root / "coordinator")
        assert (home.measurements().values == study.outcome.measurements.values).all()
        assert charges(root, study.plan) == study.charges, (number, steps[number])
        assert [path.suffix for path in (home.path / "runs").iterdir()] == [".lock"]
        assert home.run_state(study.plan.sha256).finished
        shutil.rmtree(root)


@pytest.mark.parametrize(("which", "every"), [("secure", 10), ("secure", 14), ("local", 6)])
def test_one_killed_run_after_another_comes_to_the_same_end(which: str, every: int, request: pytest.FixtureRequest,
                                                            disks: Path) -> None:
    study: Undisturbed = request.getfixturevalue(which)
    root, given, killed = disks / "root", Given(), 0
    shutil.copytree(study.fresh, root)
    while killed < 60:
        left = iter(range(every))

        def die(_step: str, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Killed

        grid = WatchedGrid(root, study.plan, on_step=die, given=given)
        try:
            outcome = go_on(root, study.plan, grid)
            break
        except Killed:
            killed += 1
    assert 1 < killed < 60
    assert same(outcome, study.outcome)
    assert charges(root, study.plan) == study.charges
    check_given_once(given)
    # Each run greets anew, and the reports of all of them are kept, the unfinished stages' not among them.
    names = [report.stage for report in outcome.stages]
    assert [name for name in names if name != "hello"] == ["round 1", "round 2", "table"]
    assert names.count("hello") > 1
    assert CoordinatorHome.load(root / "coordinator").study(study.plan.sha256).stages() == outcome.stages


def test_a_partner_that_does_not_come_back_is_missed_and_no_more(secure: Undisturbed, disks: Path,
                                                                 no_sleep: list[float]) -> None:
    for number in range(1, len(secure.copies.steps) - 4, 4):
        root, before = secure.world(number, disks / str(number))
        grid = WatchedGrid(root, secure.plan, gone=lambda node, action: node == 3 and action != "query.hello")
        outcome = go_on(root, secure.plan, grid, step=20)
        assert set(outcome.measurements.partners) >= {"partner-0", "partner-1"}
        check_given_once(before, grid.given)
        # Of those who were there, each stage is charged once, and of the other no more than once.
        assert charges(root, secure.plan, 2) == secure.charges[:2]
        shutil.rmtree(root)


def test_who_comes_back_after_an_exchange_was_closed_is_out_of_its_sum(secure: Undisturbed, disks: Path,
                                                                       no_sleep: list[float]) -> None:
    root = disks / "root"
    shutil.copytree(secure.fresh, root)

    def die(step: str) -> None:
        if step == "asked query.survivors":
            raise Killed

    first = WatchedGrid(root, secure.plan, on_step=die, gone=lambda node, action: (node, action) == (3, "query.masked"))
    with pytest.raises(Killed):
        go_on(root, secure.plan, first, step=20)
    # Had the others been asked to sign a list with this one in it, they would have refused for good.
    grid = WatchedGrid(root, secure.plan)
    outcome = go_on(root, secure.plan, grid)
    assert [report.answered for report in outcome.stages if report.stage != "hello"] == [
        ("partner-0", "partner-1"), *2 * [("partner-0", "partner-1", "partner-2")]]
    check_given_once(first.given, grid.given)
    assert charges(root, secure.plan, 2) == secure.charges[:2]


@pytest.mark.parametrize("which", ["secure", "local"])
def test_messages_and_answers_that_arrive_twice_change_nothing(which: str, request: pytest.FixtureRequest,
                                                               disks: Path) -> None:
    study: Undisturbed = request.getfixturevalue(which)
    root = disks / "root"
    shutil.copytree(study.fresh, root)
    grid = WatchedGrid(root, study.plan, twice=True)
    assert same(go_on(root, study.plan, grid), study.outcome)
    assert charges(root, study.plan) == study.charges
    check_given_once(grid.given)


@pytest.mark.parametrize("exchange", ["keys", "shares", "masked", "survivors", "unmask"])
def test_a_study_below_the_quorum_goes_on_with_who_was_missing(secure: Undisturbed, disks: Path, exchange: str,
                                                               no_sleep: list[float]) -> None:
    root = disks / "root"
    shutil.copytree(secure.fresh, root)
    silent = WatchedGrid(root, secure.plan, gone=lambda node, action: node > 1 and action == f"query.{exchange}")
    with pytest.raises(StudyStopped, match=r"round 1: .*leelight coordinator resume"):
        go_on(root, secure.plan, silent, step=20)
    home = CoordinatorHome.load(root / "coordinator")
    state = home.run_state(secure.plan.sha256)
    assert (state.stages[-1].stage, state.stages[-1].answered, state.stage) == ("round 1", ("partner-0",), "")
    grid = WatchedGrid(root, secure.plan)
    asked: list[str] = []
    grid.on_step = asked.append
    outcome = go_on(root, secure.plan, grid)
    assert same(outcome, secure.outcome)
    check_given_once(silent.given, grid.given)
    assert charges(root, secure.plan) == secure.charges
    assert [report.stage for report in outcome.stages] == ["hello", "round 1", "hello", "round 1", "round 2", "table"]
    # Before vectors were asked for, another attempt is begun; afterwards the session goes on where it stopped.
    first = next(step for step in asked if step.startswith("before query.") and step != "before query.hello")
    assert first == f"before query.{'keys' if exchange in ('keys', 'shares') else exchange}"


def test_a_session_that_partners_no_longer_keep_is_begun_again(secure: Undisturbed, disks: Path) -> None:
    (number, *_) = secure.steps("before query.masked")
    root, before = secure.world(number, disks / "root")
    for path in root.glob("nodes/*/sessions/*.session"):
        path.unlink()
    later = time.time() + session_seconds(secure.plan) + 1
    grid = WatchedGrid(root, secure.plan)
    assert same(go_on(root, secure.plan, grid, now=lambda: later), secure.outcome)
    check_given_once(before, grid.given)
    assert charges(root, secure.plan) == secure.charges


def test_no_other_session_gets_a_second_vector(secure: Undisturbed, disks: Path) -> None:
    # Vectors are out and the sessions are gone: nobody gives another, so the study is over.
    number = secure.steps("asked query.masked")[0]
    root, before = secure.world(number, disks / "root")
    later = time.time() + session_seconds(secure.plan) + 1
    grid = WatchedGrid(root, secure.plan)
    with pytest.raises(StudyStopped, match=r"partner-0 \(already_answered\)"):
        go_on(root, secure.plan, grid, now=lambda: later)
    check_given_once(before)
    assert not grid.given


def test_the_app_resumes_by_itself(secure: Undisturbed, disks: Path) -> None:
    root, _ = secure.world(secure.steps("before query.survivors")[1], disks / "root")
    watch = Silent()
    context = Context(run_id=2, node_id=0, node_config={"coordinator-home": str(root / "coordinator")},
                      state=RecordDict(), run_config={"plan": sign(secure.plan).to_json()})
    make_app(watch)(WatchedGrid(root, secure.plan), context)
    # Told of what is done now; what was done before is in what it keeps.
    assert [report.stage for report in watch.reports] == ["hello", "round 2", "table"]
    home = CoordinatorHome.load(root / "coordinator")
    assert (home.measurements().values == secure.outcome.measurements.values).all()
    assert [report.stage for report in home.run_state(secure.plan.sha256).stages] == [
        "hello", "round 1", "hello", "round 2", "table"]


def test_what_somebody_sees_who_looks_on(secure: Undisturbed, disks: Path) -> None:
    root, _ = secure.world(0, disks / "root")
    home, seen = CoordinatorHome.load(root / "coordinator"), []
    grid = WatchedGrid(root, secure.plan, on_step=lambda step: seen.append(
        (step, home.run_state(secure.plan.sha256))))
    assert home.run_state("0" * 64) == RunState()
    go_on(root, secure.plan, grid)
    states = dict(reversed(seen))
    assert all(state.running and not state.finished and state.since is not None for _, state in seen)
    first = states["before query.hello"]
    assert (first.stage, first.exchange, first.answered, first.rounds_done) == ("hello", "", (), 0)
    masked = states["asked query.masked"]
    assert (masked.stage, masked.exchange, masked.answered) == ("round 1", "masked", ())
    last = seen[-1][1]
    assert (last.stage, last.exchange, last.rounds_done) == ("table", "unmask", 2)
    assert [report.stage for report in last.stages] == ["hello", "round 1", "round 2"]
    done = home.run_state(secure.plan.sha256)
    assert (done.finished, done.running, done.stage, done.rounds_done) == (True, False, "", 2)
    assert done.stages == home.study(secure.plan.sha256).stages()
