"""What a run has on disk: that it comes back, and that nothing else is taken for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from federation.errors import InputError
from federation.messages import Arrays
from federation.model import initial_model, model_arrays
from federation.plan import StudyPlan
from federation.secagg import Stage
from federation.secure import Purpose, session_seconds
from federation.statistics import TableLayout
from server.checkpoints import STATE_FILE, Checkpoint
from server.coordinator import CoordinatorHome
from server.progress import Measured, SumAtHand
from server.run_files import is_held, run_lock
from server.run_state import read_state
from server.stages import StageReport
from tests.worlds import COORDINATOR, make_plan, sign

PLAN = make_plan(3, quorum=2, rounds=6, averaged_share=0.5)
SECURE = make_plan(3, secure="both", colluders=0, quorum=2, noise_scale=6.0)
ASKED = "1" * 64


def model(number: int, plan: StudyPlan = PLAN) -> Arrays:
    return {name: np.full_like(value, number) for name, value in model_arrays(initial_model(plan)).items()}


def report(stage: str) -> StageReport:
    return StageReport(stage=stage, answered=("partner-0", "partner-2"), late=(), refused=(("partner-1", "busy"),),
                       seconds=1.5)


def rounds_done(folder: Path, rounds: int) -> None:
    with Checkpoint(folder, PLAN) as kept:
        kept.stage_done(report("hello"))
        for number in range(1, rounds + 1):
            kept.round_done(model(number), report(f"round {number}"))


@pytest.mark.parametrize("rounds", range(7))
def test_what_was_done_comes_back(tmp_path: Path, rounds: int) -> None:
    rounds_done(tmp_path / "run", rounds)
    with Checkpoint(tmp_path / "run", PLAN) as kept:
        assert kept.rounds_done == rounds
        # The published model is the mean of the last three.
        expected = [model(number) for number in range(max(1, rounds - 2), rounds + 1)]
        assert len(kept.recent) == len(expected)
        for found, wanted in zip(kept.recent, expected, strict=True):
            assert found.keys() == wanted.keys()
            assert all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)
        assert kept.reports == [report("hello"), *(report(f"round {n}") for n in range(1, rounds + 1))]
        assert kept.measured is None


def test_older_models_go_and_files_are_private(tmp_path: Path) -> None:
    rounds_done(tmp_path / "run", 5)
    names = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "run").iterdir()}
    assert names == dict.fromkeys(("round-0003.safetensors", "round-0004.safetensors", "round-0005.safetensors",
                                   STATE_FILE), 0o600)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_the_tables_come_back(tmp_path: Path) -> None:
    vector = np.arange(TableLayout(PLAN).length, dtype=np.int64) - 40
    with Checkpoint(tmp_path, PLAN) as kept:
        kept.table_done(Measured(vector=vector, partners=("partner-0", "partner-2")), report("table"))
    with Checkpoint(tmp_path, PLAN) as kept:
        assert kept.measured is not None
        assert kept.measured.partners == ("partner-0", "partner-2")
        np.testing.assert_array_equal(kept.measured.vector, vector)


# --- a sum


def until(folder: Path, *exchanges: Stage, closed: int, now: Callable[[], float] = lambda: 0.0) -> SumAtHand:
    """A sum of which so many exchanges were answered, and so many of them closed."""
    with Checkpoint(folder, SECURE, now=now) as kept:
        held = kept.sum_at_hand(Purpose.TRAIN, 1, ASKED)
        for number, exchange in enumerate(exchanges):
            kept.sum_answered(exchange, {"partner-2": b"c", "partner-0": b"a"}, {})
            kept.sum_answered(exchange, {"partner-1": exchange.encode()}, {})
            if number < closed:
                kept.sum_closed(exchange)
        return held


def again(folder: Path, *, seconds: float = 0.0, purpose: Purpose = Purpose.TRAIN, number: int = 1,
          asked: str = ASKED) -> SumAtHand:
    with Checkpoint(folder, SECURE, now=lambda: seconds) as kept:
        return kept.sum_at_hand(purpose, number, asked)


def test_a_session_comes_back_as_it_was(tmp_path: Path) -> None:
    first = until(tmp_path, Stage.KEYS, Stage.SHARES, Stage.MASKED, closed=2)
    assert again(tmp_path) == first
    assert again(tmp_path).answered(Stage.MASKED) == {"partner-0": b"a", "partner-1": b"masked", "partner-2": b"c"}
    assert list(again(tmp_path).answered(Stage.MASKED)) == ["partner-0", "partner-1", "partner-2"]
    assert again(tmp_path).closed == {Stage.KEYS, Stage.SHARES}
    # Answers go on where they stopped.
    with Checkpoint(tmp_path, SECURE, now=lambda: 0.0) as kept:
        kept.sum_at_hand(Purpose.TRAIN, 1, ASKED)
        kept.sum_closed(Stage.MASKED)
    assert again(tmp_path).closed == {Stage.KEYS, Stage.SHARES, Stage.MASKED}


@pytest.mark.parametrize("closed", [0, 1])
def test_before_vectors_are_asked_for_another_attempt_is_begun(tmp_path: Path, closed: int) -> None:
    first = until(tmp_path, Stage.KEYS, Stage.SHARES, closed=closed)
    second = again(tmp_path)
    assert second.attempt != first.attempt
    assert (second.closed, second.answers) == (set(), {})
    assert again(tmp_path).attempt != second.attempt


def test_a_session_goes_on_for_as_long_as_partners_keep_it(tmp_path: Path) -> None:
    first = until(tmp_path, Stage.KEYS, Stage.SHARES, closed=2)
    lasts = session_seconds(SECURE)
    assert again(tmp_path, seconds=lasts - 1) == first
    assert again(tmp_path, seconds=lasts).attempt != first.attempt


@pytest.mark.parametrize("changes", [{"purpose": Purpose.TABLE}, {"number": 2}, {"asked": "2" * 64}])
def test_answers_of_one_sum_are_not_taken_for_anothers(tmp_path: Path, changes: dict[str, Any]) -> None:
    until(tmp_path, Stage.KEYS, Stage.SHARES, closed=2)
    with pytest.raises(InputError, match="another sum"):
        again(tmp_path, **changes)
    until(tmp_path / "early", Stage.KEYS, Stage.SHARES, closed=1)
    assert again(tmp_path / "early", **changes).answers == {}


def test_nothing_of_a_sum_outlasts_it(tmp_path: Path) -> None:
    marks = [b"mark-of-a-vector-1", b"mark-of-a-vector-2"]
    with Checkpoint(tmp_path, SECURE) as kept:
        for number, mark in enumerate(marks, start=1):
            kept.sum_at_hand(Purpose.TRAIN, number, ASKED)
            kept.sum_answered(Stage.MASKED, {"partner-0": mark}, {})
            assert mark in (tmp_path / STATE_FILE).read_bytes()
            kept.round_done(model(number, SECURE), report(f"round {number}"))
            assert mark not in (tmp_path / STATE_FILE).read_bytes()
        kept.sum_at_hand(Purpose.TABLE, 1, ASKED)
        kept.sum_answered(Stage.MASKED, {"partner-0": marks[0]}, {})
        kept.table_done(Measured(vector=TableLayout(SECURE).empty(), partners=("partner-0",)), report("table"))
    assert marks[0] not in (tmp_path / STATE_FILE).read_bytes()
    assert [path.name for path in tmp_path.iterdir() if "journal" in path.name] == []


def test_a_stage_that_failed_keeps_its_sum(tmp_path: Path) -> None:
    first = until(tmp_path, Stage.KEYS, Stage.SHARES, Stage.MASKED, closed=2)
    with Checkpoint(tmp_path, SECURE, now=lambda: 0.0) as kept:
        kept.stage_done(report("round 1"))
    assert again(tmp_path) == first


# --- damage


def write(statement: str, *values: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with sqlite3.connect(folder / STATE_FILE) as connection:
            connection.execute(statement, values)
        connection.close()

    return damage


def put(name: str, data: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(data((folder / name).read_bytes())) and None


def tensors(arrays: Arrays, **metadata: str) -> bytes:
    return save(arrays, metadata=metadata)


def _replaced(data: bytes) -> Callable[[Path], None]:
    """Another model, with its hash in the database."""
    from federation.canonical import sha256_hex

    def damage(folder: Path) -> None:
        (folder / "round-0004.safetensors").write_bytes(data)
        write("UPDATE round SET sha256 = ? WHERE number = 4", sha256_hex(data))(folder)

    return damage


GOOD = {"plan_sha256": PLAN.sha256, "round": "4"}
NAN = {name: np.full_like(value, np.nan) for name, value in model(4).items()}
SHORT = {name: value[:, :-1] for name, value in model(4).items()}


@pytest.mark.parametrize(("damage", "word"), [
    (lambda folder: (folder / STATE_FILE).unlink(), "is missing"),
    (put(STATE_FILE, lambda data: b""), "is missing"),
    (put(STATE_FILE, lambda data: b"junk" * 2000), "cannot be used"),
    (put(STATE_FILE, lambda data: data[:5000]), r"cannot be used|is damaged"),
    (write("PRAGMA user_version = 2"), "version 2"),
    (write("UPDATE study SET plan_sha256 = 'x'"), "another plan"),
    (write("DELETE FROM study"), "another plan"),
    (write("DROP TABLE closed"), "cannot be used"),
    (write("UPDATE report SET report = '{}'"), "no run of this plan"),
    (write("UPDATE report SET report = x'ff'"), "no run of this plan"),
    (write("DELETE FROM round WHERE number = 4"), "no run of this plan"),
    (write("DELETE FROM round WHERE number = 3"), "no run of this plan"),
    (write("INSERT INTO round VALUES (6, 'x')"), "no run of this plan"),
    (write("INSERT INTO round VALUES (7, 'x')"), "no run of this plan"),
    (write("UPDATE round SET sha256 = 'x' WHERE number = 5"), "round-0005.* is not the model"),
    (lambda folder: (folder / "round-0004.safetensors").unlink(), "round-0004.* is missing"),
    (put("round-0004.safetensors", lambda data: data[:-1] + b"x"), "is not the model"),
    (put("round-0004.safetensors", lambda data: b""), "is not the model"),
    (_replaced(b"junk"), "is no model"), (_replaced(tensors(model(4))), "another plan or round"),
    (_replaced(tensors(model(4), **GOOD | {"plan_sha256": "0" * 64})), "another plan or round"),
    (_replaced(tensors(model(4), **GOOD | {"round": "3"})), "another plan or round"),
    (_replaced(tensors(NAN, **GOOD)), "is no model"), (_replaced(tensors(SHORT, **GOOD)), "is no model"),
    (_replaced(tensors({"other": np.zeros(1, dtype=np.float32)}, **GOOD)), "is no model"),
    (write("INSERT INTO sum VALUES ('train', 1, 1, 'x', 'text')"), "no run of this plan"),
    (write("INSERT INTO measured VALUES (x'00', '[]', 'x')"), "no run of this plan"),
])
def test_damage_is_an_error_that_says_what_to_do(tmp_path: Path, damage: Callable[[Path], None], word: str) -> None:
    rounds_done(tmp_path, 5)
    damage(tmp_path)
    with pytest.raises(InputError, match=word) as error:
        Checkpoint(tmp_path, PLAN)
    assert "What to do: " in str(error.value)
    assert ("bring the run's folder back from a backup" in str(error.value)) != ("release that began" in str(
        error.value))


@pytest.mark.parametrize(("vector", "partners"), [
    (np.zeros(96, dtype=np.int64), '["partner-0"]'), (np.zeros(97, dtype=np.int64), '["stranger"]'),
    (np.zeros(97, dtype=np.int64), "{"), (np.zeros(97, dtype=np.int64), "[1]"),
])
def test_tables_that_are_not_the_plans_are_damage(tmp_path: Path, vector: np.ndarray, partners: str) -> None:
    from federation.canonical import sha256_hex

    rounds_done(tmp_path, 5)
    write("INSERT INTO measured VALUES (?, ?, ?)", vector.tobytes(), partners,
          sha256_hex(partners.encode() + vector.tobytes()))(tmp_path)
    with pytest.raises(InputError, match="no run of this plan"):
        Checkpoint(tmp_path, PLAN)


def test_tables_that_were_changed_are_damage(tmp_path: Path) -> None:
    with Checkpoint(tmp_path, PLAN) as kept:
        kept.table_done(Measured(vector=TableLayout(PLAN).empty(), partners=("partner-0",)), report("table"))
    write("UPDATE measured SET partners = ?", '["partner-1"]')(tmp_path)
    with pytest.raises(InputError, match="no run of this plan"):
        Checkpoint(tmp_path, PLAN)


def test_an_answer_to_no_exchange_is_damage(tmp_path: Path) -> None:
    until(tmp_path, Stage.KEYS, closed=1)
    write("INSERT INTO answer VALUES ('other', 'partner-0', x'00')")(tmp_path)
    with pytest.raises(InputError, match="no run of this plan"):
        Checkpoint(tmp_path, SECURE)


def test_another_plans_run_is_not_gone_on_with(tmp_path: Path) -> None:
    rounds_done(tmp_path, 2)
    with pytest.raises(InputError, match="another plan"):
        Checkpoint(tmp_path, make_plan(3, quorum=2, rounds=7))


def test_a_model_that_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    rounds_done(tmp_path, 1)
    (tmp_path / "round-0002.safetensors").write_bytes(b"whole, but not noted")
    (tmp_path / ".crash.part").write_bytes(b"half")
    with Checkpoint(tmp_path, PLAN) as kept:
        assert kept.rounds_done == 1
        kept.round_done(model(2), report("round 2"))
    with Checkpoint(tmp_path, PLAN) as kept:
        assert len(kept.recent) == 2


# --- one process at a time, and whoever looks on


def test_a_second_process_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    home = CoordinatorHome.create(tmp_path / "coordinator", key=COORDINATOR)
    signed = sign(PLAN)
    home.keep_plan(signed)
    with home.running(signed) as kept:
        with pytest.raises(InputError, match="another process runs this study"), home.running(signed):
            pass
        kept.round_done(model(1), report("round 1"))
        assert home.run_state(PLAN.sha256).running
        # Another plan's study is another run.
        with home.running(sign(SECURE)):
            pass
    assert not home.run_state(PLAN.sha256).running
    with home.running(signed) as kept:
        assert kept.rounds_done == 1


def test_looking_at_the_lock_takes_nothing(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "x.lock")
    assert not (tmp_path / "x.lock").exists()
    with run_lock(tmp_path / "x.lock"):
        assert is_held(tmp_path / "x.lock")
    assert not is_held(tmp_path / "x.lock")


def test_the_state_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with Checkpoint(tmp_path, PLAN, now=lambda: 1_000.0) as kept:
        kept.stage_done(report("hello"))
        kept.stage_begun("round 1")
        kept.heard({"partner-2": 1}, {"partner-0": "busy"})
        state = read_state(tmp_path / STATE_FILE, lock, PLAN.sha256)
        assert (state.stage, state.exchange, state.answered, state.refused) == (
            "round 1", "", ("partner-2",), (("partner-0", "busy"),))
        assert state.since is not None
        assert state.since.timestamp() == 1_000.0
        assert state.stages == (report("hello"),)
        kept.stage_begun("round 1", "keys")
        state = read_state(tmp_path / STATE_FILE, lock, PLAN.sha256)
        assert (state.stage, state.exchange, state.answered, state.refused) == ("round 1", "keys", (), ())
        kept.round_done(model(1), report("round 1"))
        state = read_state(tmp_path / STATE_FILE, lock, PLAN.sha256)
        assert (state.stage, state.since, state.rounds_done, state.running) == ("", None, 1, False)
    with pytest.raises(InputError, match="another plan"):
        read_state(tmp_path / STATE_FILE, lock, SECURE.sha256)


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        read_state(tmp_path / STATE_FILE, tmp_path / "lock", PLAN.sha256)
    assert not [*tmp_path.iterdir()]
