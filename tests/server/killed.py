"""Studies whose coordinator dies: all disks are copied at each step of a run, and runs go on from there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import Message

from clients.accounts import existing_account
from clients.app import app as client_app
from clients.node import NodeHome
from federation.messages import OK, read_reply, read_request
from federation.plan import StudyPlan
from server.checkpoints import Checkpoint
from server.coordinator import CoordinatorHome
from server.rounds import RoundLoop, StageReport, StudyOutcome
from simulations.grid import InProcessGrid
from tests.server.scripted import Ticking
from tests.worlds import COORDINATOR, approve, make_home, make_records, sign


class Killed(BaseException):
    """The process is gone."""


Given = dict[tuple[str, str, str, int], set[bytes]]
"""What partners have given away: bytes by partner, action, purpose and round."""
GIVEN_ONCE = ("query.masked", "query.survivors", "train", "query.table")


@dataclass
class WatchedGrid(InProcessGrid):
    """Tells each step, and notes what partners give away.

    Attributes:
        on_step: told before and after each push, and after each pull, what it is.
        given: of the actions in `GIVEN_ONCE`.
        twice: whether each message is delivered twice, and each reply given twice.
    """

    root: Path
    plan: StudyPlan
    on_step: Callable[[str], None] = lambda _step: None
    gone: Callable[[int, str], bool] = lambda _node, _action: False
    given: Given = field(default_factory=dict)
    twice: bool = False

    def __post_init__(self) -> None:
        homes = sorted((self.root / "nodes").iterdir())
        super().__init__(client_app, [{"node-home": str(path)} for path in homes],
                         {"plan": sign(self.plan).to_json()}, silent=self.gone)
        self._requests: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        listed = list(messages)
        action = listed[0].metadata.message_type
        self.on_step(f"before {action}")
        if self.twice:
            list(super().push_messages(listed))
        identifiers = list(super().push_messages(listed))
        self._requests.update(zip(identifiers, listed, strict=True))
        for identifier in identifiers:
            self._note(identifier)
        self.on_step(f"asked {action}")
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found = list(super().pull_messages(message_ids))
        self.on_step("pulled")
        return [*found, *found] if self.twice else found

    def _note(self, identifier: str) -> None:
        """Whatever a partner let out counts, whether or not the coordinator lives to see it."""
        asked, made = self._requests[identifier], self._replies.get(identifier)
        if made is None or asked.metadata.message_type not in GIVEN_ONCE:
            return
        reply, request = read_reply(made), read_request(asked)
        if reply.code == OK:
            purpose = request.sum.purpose if request.sum else ""
            key = (reply.partner, asked.metadata.message_type, purpose, request.round_number)
            held = reply.payload or b"".join(value.tobytes() for value in (reply.arrays or {"": reply.table}).values())
            self.given.setdefault(key, set()).add(held)


class Silent:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.reports: list[StageReport] = []

    def stage_done(self, report: StageReport) -> None:
        self.reports.append(report)


def prepare_world(root: Path, plan: StudyPlan, **settings: Any) -> None:
    """Homes of all partners of the plan, who have approved it, and of the coordinator."""
    for number in range(len(plan.roster)):
        home = make_home(root / "nodes", number, records=make_records(12, seed=number, people=8), **settings)
        approve(home, plan)
    CoordinatorHome.create(root / "coordinator", key=COORDINATOR).keep_plan(sign(plan))


def go_on(root: Path, plan: StudyPlan, grid: WatchedGrid, *, step: float = 1.0,
          now: Callable[[], float] | None = None) -> StudyOutcome:
    """Run a study to its end, from wherever it is."""
    home, signed = CoordinatorHome.load(root / "coordinator"), sign(plan)
    with running(home, plan, now) as checkpoint:
        outcome = RoundLoop(grid, plan, Silent(), progress=checkpoint, clock=Ticking(step)).run()
        home.keep(signed, outcome)
    return outcome


@contextmanager
def running(home: CoordinatorHome, plan: StudyPlan, now: Callable[[], float] | None = None) -> Iterator[Checkpoint]:
    """As `CoordinatorHome.running`, at another time if need be."""
    if now is None:
        with home.running(sign(plan)) as checkpoint:
            yield checkpoint
    else:
        with Checkpoint(home.path / "runs" / plan.sha256[:16], plan, now=now) as checkpoint:
            yield checkpoint


@dataclass
class Copies:
    """Copies of all disks, one for each step of a run, with what had been given away by then."""

    root: Path
    folder: Path
    steps: list[str] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)
    grid: WatchedGrid | None = None

    def __call__(self, step: str) -> None:
        shutil.copytree(self.root, self.at(len(self.steps)))
        self.steps.append(step)
        given = self.grid.given if self.grid is not None else {}
        self.given.append({key: set(values) for key, values in given.items()})

    def at(self, number: int) -> Path:
        return self.folder / str(number)


def charges(root: Path, plan: StudyPlan, partners: int | None = None) -> list[tuple[int, int, float]]:
    """Of each partner's account, or the first so many: entries, requests answered, and what was spent."""
    found = []
    for path in sorted((root / "nodes").iterdir())[:partners]:
        home = NodeHome.load(path)
        with existing_account(home) as ledger:
            balance = ledger.balance(home.policy().ceilings)
            found.append((ledger.verify_full().entries, balance.studies[0].requests_answered, balance.total.epsilon))
    return found


def same(first: StudyOutcome, second: StudyOutcome) -> bool:
    """Whether two outcomes hold the same bytes."""
    return (all(first.model[name].tobytes() == second.model[name].tobytes() for name in first.model)
            and first.model.keys() == second.model.keys()
            and first.measurements.values.tobytes() == second.measurements.values.tobytes()
            and first.measurements.partners == second.measurements.partners)
