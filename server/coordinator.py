"""The coordinator's home: its key, its journal, the studies that have run, and what is drafted and published of them.

The ServerApp only keeps the outcome of a study. Making a release of it is a matter of its own (`server.release`), taken
in steps by several people afterwards: nothing is published because a run happened to end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from federation.calibration import Calibration
from federation.errors import InputError
from federation.identity import SigningKey
from federation.journal import Entry, Journal, PlanSigned, Side, StudyRun, read_journal, verify_journal
from federation.messages import Arrays
from federation.plan import SignedPlan, StudyPlan, read_plan_file
from federation.private_files import locked_within, replace_private, sync_folder
from federation.statistics import Measurements
from federation.taxonomy import Task
from server.calibrating import calibrations_of
from server.checkpoints import STATE_FILE, Checkpoint
from server.release.decide import kept_back_of
from server.rounds import StudyOutcome
from server.run_files import run_lock
from server.run_state import RunState, finished_state, read_state
from server.series import SeriesArchive, SeriesMeasurement
from server.studies import Study

_LOCK_SECONDS = 60.0


def plan_signed(signed: SignedPlan) -> PlanSigned:
    """What the coordinator's journal says of a plan that was signed."""
    plan = signed.plan
    return PlanSigned(plan_sha256=signed.sha256, study=plan.study, period_start=plan.statistics.period_start,
                      period_end=plan.period_end)


class CoordinatorHome:
    """A folder on the coordinator's disk.

    ```
    coordinator.key   signing key (0600)
    coordinator.yaml, network/, partners/   where it is reached, and who takes part (`server.deployment`)
    plan.json         the plan of the study at hand, signed, as it is sent to the partners
    runs/PLAN/        what a study has done that is not finished (`Checkpoint`), by the first digits of the plan's hash
    studies/PLAN/     what a study left (`Study`), likewise
    drafts/CONTENT/   releases that are not published, by the first digits of the content's hash
    releases/         what is published, by the end of the period and the content's hash
    series/NAME/      the noisy sums of a series, one file a release (`SeriesArchive`)
    journal.jsonl     what was signed, run, drafted and published, with journal.jsonl.head
    home.lock         held by the process that drafts, signs or publishes
    ```
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, *, key: SigningKey | None = None) -> CoordinatorHome:
        """Make a home with a fresh key (or the given one, which only a simulation has a use for)."""
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (key or SigningKey.generate()).save(path / "coordinator.key")
        return cls(path)

    @classmethod
    def load(cls, path: Path) -> CoordinatorHome:
        """Open a home that is there.

        Raises:
            InputError: if there is none.
        """
        if not (path / "coordinator.key").is_file():
            raise InputError(str(path), "is not a coordinator's home: it holds no coordinator.key",
                             remedy="give the folder that the coordinator's server was started with")
        return cls(path)

    def signing_key(self) -> SigningKey:
        return SigningKey.load(self.path / "coordinator.key")

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    @property
    def drafts(self) -> Path:
        return self.path / "drafts"

    @property
    def releases(self) -> Path:
        return self.path / "releases"

    @property
    def series(self) -> SeriesArchive:
        return SeriesArchive(self.path / "series")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home for one process: nobody drafts, signs or publishes beside it.

        Raises:
            InputError: if another process holds it for a minute.
        """
        handle = os.open(self.path / "home.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not locked_within(handle, _LOCK_SECONDS):
                raise InputError(str(self.path), f"another process has held it for {_LOCK_SECONDS:g} seconds",
                                 remedy="wait until it is done; end the process that hangs, if one does")
            yield
        finally:
            os.close(handle)

    def journal(self, plan: StudyPlan | None = None) -> Journal:
        """The coordinator's journal, to note what is done under `plan`, if it is done under any.

        Raises:
            InputError: as `Journal.open_or_create`.
        """
        return Journal.open_or_create(self.path / "journal.jsonl", key=self.signing_key(), owner="coordinator",
                                      side=Side.COORDINATOR, clock=_clock(plan))

    def journal_text(self) -> bytes:
        """The journal as it is now.

        Raises:
            InputError: if it cannot be read.
        """
        return read_journal(self.path / "journal.jsonl")

    def entries(self) -> tuple[Entry, ...]:
        """What is in the journal.

        Raises:
            InputError: if it does not check out.
        """
        report = verify_journal(self.journal_text(), public_key=self.signing_key().public)
        if report.problem is not None:
            raise InputError(str(self.path / "journal.jsonl"),
                             f"line {report.problem.line} {report.problem.words}", remedy="bring it back from a backup")
        return report.entries

    def keep_plan(self, signed: SignedPlan) -> None:
        """Write the signed plan, as it is sent to the partners, and that it was signed. A plan that is here stays."""
        text = signed.to_json() + "\n"
        if self.plan_path.is_file() and self.plan_path.read_text(encoding="utf-8") == text:
            return
        self.journal(signed.plan).append(plan_signed(signed))
        replace_private(self.plan_path, text.encode())

    def signed_plan(self) -> SignedPlan:
        """The plan of the study at hand, verified again.

        Raises:
            InputError: if there is none, or it does not check out.
        """
        if not self.plan_path.is_file():
            raise InputError(str(self.plan_path), "is not there: no plan was signed in this home",
                             remedy="sign a plan and run its study first")
        return SignedPlan.open(read_plan_file(self.plan_path), trusted_key=self.signing_key().public)

    def study(self, plan_sha256: str) -> Study:
        """Where the study of a plan is kept, or will be."""
        return Study(self.path / "studies" / plan_sha256[:16])

    def run_state(self, plan_sha256: str) -> RunState:
        """Where the study of a plan stands. Any process may look, whether or not one runs it.

        Raises:
            InputError: if what is kept of it cannot be read.
        """
        study, database = self.study(plan_sha256), self._run(plan_sha256) / STATE_FILE
        try:
            if not study.path.is_dir():
                return read_state(database, self._run_lock(plan_sha256), plan_sha256) if database.is_file() else (
                    RunState())
        except InputError:
            # It may have been kept, and the run's folder gone, between two looks.
            if not study.path.is_dir():
                raise
        return finished_state(study.stages())

    @contextmanager
    def running(self, signed: SignedPlan) -> Iterator[Checkpoint]:
        """Run the study of a plan, from where an earlier process left off; no other process can meanwhile.

        Raises:
            InputError: if the study has run, another process runs it, or what was left is damaged.
        """
        folder = self._run(signed.sha256)
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        with run_lock(self._run_lock(signed.sha256)):
            if self.study(signed.sha256).path.exists():
                # A process may have died after the study was kept.
                shutil.rmtree(folder, ignore_errors=True)
            self.check_not_run(signed)
            with Checkpoint(folder, signed.plan) as checkpoint:
                yield checkpoint

    def _run(self, plan_sha256: str) -> Path:
        return self.path / "runs" / plan_sha256[:16]

    def _run_lock(self, plan_sha256: str) -> Path:
        return self._run(plan_sha256).with_suffix(".lock")

    def check_not_run(self, signed: SignedPlan) -> None:
        """Nothing, if the study of this plan has not been measured.

        Raises:
            InputError: if it has. Another draw of the noise for the same cells would tell more about people than the
                plan says.
        """
        if self.study(signed.sha256).path.exists():
            raise InputError(f"plan {signed.sha256[:16]}…", "its study has run, and what was measured is kept",
                             bound="one run a plan", remedy="make a release of it, or sign a plan for another study")

    def keep(self, signed: SignedPlan, outcome: StudyOutcome) -> None:
        """Write what a study left, whole or not at all, and that it ran. What its run had on disk goes.

        Raises:
            InputError: if the study has run before.
        """
        self.keep_plan(signed)
        self.check_not_run(signed)
        study = self.study(signed.sha256)
        study.path.parent.mkdir(mode=0o700, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=study.path.parent, prefix=".", suffix=".part"))
        try:
            Study(part).write(signed, outcome)
            sync_folder(part)
            # Before the study is there: a process that dies here must not leave the series without it.
            if (spec := signed.plan.statistics.series) is not None:
                self.series.keep(spec, SeriesMeasurement.of(outcome.measurements, kept_back_of(outcome.measurements)))
            part.rename(study.path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync_folder(study.path.parent)
        shutil.rmtree(self._run(signed.sha256), ignore_errors=True)
        self.note_run(signed)

    def note_run(self, signed: SignedPlan) -> None:
        """Have it in the journal that the study ran; a process may have died before it was."""
        study = self.study(signed.sha256)
        ran = StudyRun(plan_sha256=signed.sha256, model_sha256=study.model_sha256,
                       partners=tuple(sorted(study.measurements(signed.plan).partners)),
                       measurements_sha256=study.commitment)
        if ran not in [entry.facts for entry in self.entries()]:
            self.journal(signed.plan).append(ran)

    def model(self) -> Arrays:
        """The published model of the study at hand."""
        return self.study(self.signed_plan().sha256).model()

    def calibrations(self) -> dict[Task, Calibration]:
        """By task, what the scores of the published model mean; empty if the plan does not calibrate."""
        return calibrations_of(self.measurements(), self.model())

    def measurements(self) -> Measurements:
        """The noisy sums of the study at hand.

        Raises:
            InputError: if they are not there, or are not those of the plan.
        """
        signed = self.signed_plan()
        return self.study(signed.sha256).measurements(signed.plan)

    def release(self, signers: Mapping[str, SigningKey]) -> Path:
        """Draft, sign and publish the release of the study at hand, on the first day on which it may be out.

        For simulations, where one process holds everybody's keys. Elsewhere each step is somebody else's.

        Args:
            signers: keys of as many people as the plan asks for, by name.

        Raises:
            InputError: if it cannot be published.
        """
        # Imported here: the ServerApp keeps outcomes and has no use for templates.
        from server.release.drafts import make_draft
        from server.release.publication import earliest_day, publish, sign_draft

        plan = self.signed_plan().plan
        day = earliest_day(plan)
        if not plan.rehearsal:
            day = max(day, _clock(plan)().date())
        draft = make_draft(self, released_on=day)
        for name, key in signers.items():
            sign_draft(self, draft.path.name, name=name, key=key)
        return publish(self, draft.path.name, today=day)


def _clock(plan: StudyPlan | None) -> Callable[[], datetime]:
    """The time; in a rehearsal the first moment at which its release may be out, so that a run can be repeated."""
    if plan is None or not plan.rehearsal:
        return lambda: datetime.now(UTC)
    day = plan.period_end + timedelta(days=plan.release.embargo_days)
    return lambda: datetime.combine(day, time(), UTC)
