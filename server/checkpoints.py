"""What a running study has on disk, so that another process can go on when this one was killed.

```
runs/PLAN.lock                     held by the process that runs the study; PLAN: first digits of the plan's hash
runs/PLAN/state.sqlite             rounds and stages done, the stage at hand, the secure sum at hand (0600)
runs/PLAN/round-0007.safetensors   the model after a round: the newest, and those still to be averaged (0600)
```

A round's model is in place, whole, before the database says, in one transaction, that the round is done and how it
went, and forgets the answers of its sum. What is read back is checked against the plan and the hashes in the database;
what does not fit is an error, and never a silent start from the beginning.

**Secure sums.** A session (`federation.secagg`) is kept exchange by exchange: the number of its attempt before anybody
is asked, each answer as it arrives, and that an exchange is *closed*, its set of answers final, before a request of the
next one leaves. Closed exchanges are fed to a new `Collector`, which makes the same messages of the same answers; in
the open one, only those are asked who have not answered. A session whose second exchange was not closed is dropped for
another attempt, as nobody was asked for a vector yet; so is one that partners no longer keep (`session_seconds`).

No kills and resumes get two different sums with one person's data in them, and the reason is not in this file: a
coordinator could as well lie about having been killed.

1. A partner's account gives one masked vector for a round of a plan, whatever the attempt, and gives that one again
   for the same request, word for word. It is charged once, before the data is touched.
2. A partner signs one list of survivors in a session, and gives shares only for the list that it signed and that
   `threshold` partners have. Two lists would need two sets of signers with no honest partner in both, and
   `threshold_for` leaves no room for that. So a session opens one sum at most, in all its runs together.
3. A vector is under the masks of one session, and a sum takes a quorum of vectors. Quorums are no smaller than the
   threshold, so any two have an honest partner in common, which by 1 has one vector to give: of all sessions of a
   round, one at most comes to a sum.

What is kept here is what makes an *honest* coordinator end a session at all. Had it forgotten which vectors it closed
the third exchange with, it would send another list of survivors, and partners would rightly refuse it for good.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.messages import Arrays, check_arrays
from federation.plan import StudyPlan
from federation.private_files import replace_private
from federation.secagg import Stage
from federation.secure import Purpose, session_seconds
from federation.statistics import TableLayout
from server.progress import Measured, Progress, SumAtHand, first_model
from server.run_files import RunDatabase, damaged
from server.stages import REPORT, StageReport

STATE_FILE = "state.sqlite"


class Checkpoint(Progress):
    """Where a study stands, on disk: each method that notes something returns when it is there.

    Args:
        folder: of the run; made if it is not there.
        plan: verified.
        now: seconds since 1970; replaced in tests.

    Raises:
        InputError: if what is there is not what a run of this plan left.
    """

    def __init__(self, folder: Path, plan: StudyPlan, *, now: Callable[[], float] = time.time) -> None:
        super().__init__(plan)
        self._folder, self._plan, self._now = folder, plan, now
        self._sum_of: tuple[str, int, str] | None = None
        self._kept_until = 0.0
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder / STATE_FILE
        if not (state.exists() and state.stat().st_size) and any(folder.glob("round-*")):
            damaged(str(state), "is missing, and models of rounds are there")
        self._database = RunDatabase(folder / STATE_FILE, plan.sha256)
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the files."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stage_begun(self, stage: str, exchange: str = "") -> None:
        with self._database.writing() as connection:
            connection.execute("DELETE FROM stage")
            connection.execute("DELETE FROM heard")
            connection.execute("INSERT INTO stage VALUES (?, ?, ?)", (stage, exchange, self._now()))

    def heard(self, answered: Iterable[str], refused: Mapping[str, str]) -> None:
        with self._database.writing() as connection:
            _hear(connection, answered, refused)

    def stage_done(self, report: StageReport) -> None:
        with self._database.writing() as connection:
            _end_stage(connection, report)
        super().stage_done(report)

    def round_done(self, model: Arrays, report: StageReport) -> None:
        number = self.rounds_done + 1
        data = save(model, metadata=self._metadata(number))
        replace_private(self._round_path(number), data)
        oldest = number - self._averaged + 1
        with self._database.writing() as connection:
            connection.execute("INSERT INTO round VALUES (?, ?)", (number, sha256_hex(data)))
            connection.execute("DELETE FROM round WHERE number < ?", (oldest,))
            _forget_sum(connection)
            _end_stage(connection, report)
        super().round_done(model, report)
        for path in self._folder.glob("round-*.safetensors"):
            if path not in map(self._round_path, range(oldest, number + 1)):
                path.unlink()

    def table_done(self, measured: Measured, report: StageReport) -> None:
        vector, partners = measured.vector.astype("<i8").tobytes(), canonical_json(list(measured.partners)).decode()
        with self._database.writing() as connection:
            connection.execute("INSERT INTO measured VALUES (?, ?, ?)",
                               (vector, partners, sha256_hex(partners.encode() + vector)))
            _forget_sum(connection)
            _end_stage(connection, report)
        super().table_done(measured, report)

    def sum_at_hand(self, purpose: Purpose, number: int, model_sha256: str) -> SumAtHand:
        """As `Progress.sum_at_hand`.

        Raises:
            InputError: if partners have been asked for vectors for another sum than this.
        """
        wanted = (purpose.value, number, model_sha256)
        if self._sum is not None and Stage.SHARES in self._sum.closed:
            if self._sum_of != wanted:
                damaged(str(self._folder / STATE_FILE), "holds the answers of another sum than the one that comes next")
            if self._now() < self._kept_until:
                return self._sum
        begun, now = super().sum_at_hand(purpose, number, model_sha256), self._now()
        self._sum_of, self._kept_until = wanted, now + session_seconds(self._plan)
        with self._database.writing() as connection:
            _forget_sum(connection)
            connection.execute("INSERT INTO sum VALUES (?, ?, ?, ?, ?)",
                               (purpose.value, number, begun.attempt, model_sha256, now))
        return begun

    def sum_answered(self, exchange: Stage, answers: Mapping[str, bytes], refused: Mapping[str, str]) -> None:
        with self._database.writing() as connection:
            connection.executemany("INSERT INTO answer VALUES (?, ?, ?)",
                                   [(exchange.value, name, payload) for name, payload in answers.items()])
            _hear(connection, answers, refused)
        super().sum_answered(exchange, answers, refused)

    def sum_closed(self, exchange: Stage) -> None:
        with self._database.writing() as connection:
            connection.execute("INSERT INTO closed VALUES (?)", (exchange.value,))
        super().sum_closed(exchange)

    def _round_path(self, number: int) -> Path:
        return self._folder / f"round-{number:04d}.safetensors"

    def _load(self) -> None:
        with self._database.reading() as connection:
            reports = connection.execute("SELECT report FROM report ORDER BY number").fetchall()
            rounds = connection.execute("SELECT number, sha256 FROM round ORDER BY number").fetchall()
            measured = connection.execute("SELECT vector, partners, sha256 FROM measured").fetchall()
            sums = connection.execute("SELECT purpose, round, attempt, model_sha256, begun FROM sum").fetchall()
            answers = connection.execute("SELECT exchange, partner, payload FROM answer").fetchall()
            closed = connection.execute("SELECT exchange FROM closed").fetchall()
        try:
            self.reports = [REPORT.validate_json(report) for (report,) in reports]
            self._load_rounds(rounds)
            for vector, partners, digest in measured:
                self.measured = self._read_measured(vector, partners, digest)
            for purpose, number, attempt, model_sha256, begun in sums:
                self._sum = SumAtHand(attempt=attempt, closed={Stage(exchange) for (exchange,) in closed})
                self._sum_of = purpose, number, model_sha256
                self._kept_until = begun + session_seconds(self._plan)
                for exchange, name, payload in answers:
                    self._sum.answers.setdefault(Stage(exchange), {})[name] = payload
        except (ValidationError, ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            damaged(str(self._folder / STATE_FILE), "holds what no run of this plan leaves")

    def _load_rounds(self, rounds: Sequence[tuple[int, str]]) -> None:
        if not rounds:
            return
        self.rounds_done = rounds[-1][0]
        first = max(1, self.rounds_done - self._averaged + 1)
        if [number for number, _ in rounds] != list(range(first, self._plan.training.rounds + 1))[:len(rounds)]:
            raise ValueError("rounds are missing")
        self.recent = [self._read_model(number, digest) for number, digest in rounds]

    def _read_model(self, number: int, digest: str) -> Arrays:
        path = self._round_path(number)
        try:
            if sha256_hex(path.read_bytes()) != digest:
                damaged(str(path), "is not the model that was kept after this round")
            with safe_open(path, framework="np") as kept:
                if kept.metadata() != self._metadata(number):
                    damaged(str(path), "belongs to another plan or round")
                return check_arrays({name: kept.get_tensor(name) for name in kept.keys()},  # noqa: SIM118
                                    first_model(self._plan))
        except OSError:
            damaged(str(path), "is missing or cannot be read")
        except (SafetensorError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            damaged(str(path), "is no model of this plan")

    def _metadata(self, number: int) -> dict[str, str]:
        return {"plan_sha256": self._plan.sha256, "round": str(number)}

    def _read_measured(self, vector: bytes, partners: str, digest: str) -> Measured:
        if sha256_hex(partners.encode() + vector) != digest:
            raise ValueError("the measurements were changed")
        names = tuple(json.loads(partners))
        if not set(names) <= {entry.name for entry in self._plan.roster}:
            raise ValueError("measurements by others than the plan's partners")
        return Measured(vector=TableLayout(self._plan).check(np.frombuffer(vector, dtype="<i8").astype(np.int64)),
                        partners=names)


def _hear(connection: sqlite3.Connection, answered: Iterable[str], refused: Mapping[str, str]) -> None:
    connection.executemany("INSERT OR REPLACE INTO heard VALUES (?, ?)",
                           [*((name, "") for name in answered), *refused.items()])


def _end_stage(connection: sqlite3.Connection, report: StageReport) -> None:
    connection.execute("INSERT INTO report (report) VALUES (?)", (REPORT.dump_json(report),))
    connection.execute("DELETE FROM stage")
    connection.execute("DELETE FROM heard")


def _forget_sum(connection: sqlite3.Connection) -> None:
    for table in ("sum", "answer", "closed"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608  fixed names
