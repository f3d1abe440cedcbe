"""Real processes that are killed, that race, and whose disk is full. Nothing is overspent and no spend is forgotten."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clients.ledger import OPENING_STEPS, STEPS, Ledger, LedgerRequest
from federation.errors import Refusal, RefusalCode
from federation.privacy.accounting import epsilon_of
from tests.clients.ledgers import (
    DELTA,
    ROUND,
    ROUNDS,
    TABLE,
    WIDE,
    Work,
    ask,
    never,
    open_ledger,
    refusal_of,
    refused,
    study,
)

# Forked, so that a child starts in milliseconds; each is a process of its own with its own files and locks.
fork = multiprocessing.get_context("fork")
WHOLE = epsilon_of([*[ROUND] * ROUNDS, TABLE], delta=DELTA)
AGAIN = epsilon_of([*[ROUND] * (ROUNDS + 1), TABLE], delta=DELTA)
NOTHING_WRITTEN = ("locked", "checked", "reserved:written")
COMMITTED = ("committed:stored", "committed:sealed")


def run(act: Callable[[Path], object], folder: Path) -> int:
    """Do `act` in a process of its own; its exit code."""
    child = fork.Process(target=act, args=(folder,))
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


def kill_at(step: str) -> Callable[[str], None]:
    def on_step(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_step


def traced(folder: Path, step: str = "") -> Callable[[], bytes]:
    """Work that leaves a line each time it is called, and dies in the middle if that is the step."""
    def work() -> bytes:
        with (folder / "touched").open("a") as file:
            file.write("x")
        kill_at("working")(step)
        return f"reply of process {os.getpid()}".encode()

    return work


def touched(folder: Path) -> int:
    path = folder / "touched"
    return len(path.read_text()) if path.exists() else 0


def answer_and_die(folder: Path, step: str, request: LedgerRequest | None = None) -> None:
    def act(home: Path) -> None:
        with open_ledger(home, on_step=kill_at(step)) as ledger:
            reply = ledger.answer(request or study(), ceilings=WIDE, work=traced(home, step))
        (home / "left").write_bytes(reply)

    assert run(act, folder) == -signal.SIGKILL
    assert not (folder / "left").exists()


@pytest.mark.parametrize("step", [*STEPS, "working"])
def test_killed_at_any_step_of_an_answer(tmp_path: Path, step: str) -> None:
    open_ledger(tmp_path).close()
    answer_and_die(tmp_path, step)
    before = touched(tmp_path)
    assert before == (step in ("working", "worked", "committed:written", *COMMITTED))
    with open_ledger(tmp_path) as ledger:
        spent = ledger.balance(WIDE)
        assert spent.total.epsilon == (0 if step in NOTHING_WRITTEN else WHOLE)
        reply = ledger.answer(study(), ceilings=WIDE, work=traced(tmp_path))
        after = ledger.balance(WIDE)
        # A reply that was stored is given for nothing; anything else that had begun is paid for a second time.
        assert touched(tmp_path) == before + (step not in COMMITTED)
        assert (f"{os.getpid()}" in reply.decode()) == (step not in COMMITTED)
        assert after.total.epsilon == (WHOLE if step in (*NOTHING_WRITTEN, *COMMITTED) else AGAIN)
        assert ledger.verify_full().open_reservations == 0
        ledger.answer(ask(study(), 2), ceilings=WIDE, work=Work())


@pytest.mark.parametrize("step", OPENING_STEPS)
def test_killed_while_an_account_is_started(tmp_path: Path, step: str) -> None:
    for _ in range(2):
        run(lambda home: open_ledger(home, on_step=kill_at(step)).close(), tmp_path)
    with open_ledger(tmp_path) as ledger:
        assert ledger.verify_full().entries == 1
        ledger.answer(study(), ceilings=WIDE, work=Work())


def test_every_attempt_that_was_killed_is_paid_for(tmp_path: Path) -> None:
    deaths = ["reserved:stored", "working", "worked", "committed:written", "checked", "reserved:sealed"]
    for step in deaths:
        answer_and_die(tmp_path, step)
    with open_ledger(tmp_path) as ledger:
        assert len(ledger.balance(WIDE).charges) == 5
        ledger.answer(study(), ceilings=WIDE, work=Work())
        # Five attempts were reserved and died; the sixth is charged as the fifth on top of the plan.
        assert ledger.balance(WIDE).total.epsilon == epsilon_of([*[ROUND] * (ROUNDS + 5), TABLE], delta=DELTA)


def test_what_a_dead_process_held_is_free(tmp_path: Path) -> None:
    answer_and_die(tmp_path, "working")
    with open_ledger(tmp_path, wait_seconds=0.0) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())


def test_one_waits_for_another_that_dies(tmp_path: Path) -> None:
    open_ledger(tmp_path).close()

    def hang(home: Path) -> None:
        def forever() -> bytes:
            (home / "inside").touch()
            time.sleep(600)
            return b""

        with open_ledger(home) as ledger:
            ledger.answer(study(), ceilings=WIDE, work=forever)

    child = fork.Process(target=hang, args=(tmp_path,))
    child.start()
    while not (tmp_path / "inside").exists():
        time.sleep(0.005)
    with open_ledger(tmp_path, wait_seconds=0.1) as ledger:
        assert refused(ledger, study()).code is RefusalCode.BUSY
    with open_ledger(tmp_path, wait_seconds=30.0) as ledger:
        killer = fork.Process(target=lambda pid: (time.sleep(0.2), os.kill(pid, signal.SIGKILL)), args=(child.pid,))
        killer.start()
        ledger.answer(study(), ceilings=WIDE, work=Work())
        assert ledger.balance(WIDE).total.epsilon == AGAIN
    child.join()
    killer.join()


def race(folder: Path, act: Callable[[Ledger, Path, Any], None], processes: int = 2) -> None:
    """Let several processes do the same at the same moment, each with its own ledger object; an account may be new."""
    barrier = fork.Barrier(processes)
    folder.joinpath("replies").mkdir()

    def enter(number: int) -> None:
        barrier.wait(30)
        with open_ledger(folder, wait_seconds=60.0) as ledger:
            act(ledger, folder / "replies" / str(number), barrier)

    children = [fork.Process(target=enter, args=(number,)) for number in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * processes


def test_processes_that_race_for_the_same_requests_pay_once_and_agree(tmp_path: Path) -> None:
    rounds = 10
    request = study(rounds=rounds)

    def act(ledger: Ledger, mine: Path, barrier: Any) -> None:
        replies = []
        for number in range(1, rounds + 1):
            barrier.wait(30)
            replies.append(ledger.answer(ask(request, number), ceilings=WIDE, work=traced(tmp_path)))
        mine.write_bytes(b"\n".join(replies))

    race(tmp_path, act, processes=3)
    assert len({path.read_bytes() for path in (tmp_path / "replies").iterdir()}) == 1
    assert touched(tmp_path) == rounds
    with open_ledger(tmp_path) as ledger:
        assert ledger.balance(WIDE).total.epsilon == epsilon_of([*[ROUND] * rounds, TABLE], delta=DELTA)
        assert ledger.verify_full().commits == rounds


def test_processes_that_race_for_the_last_of_a_budget_do_not_overspend(tmp_path: Path) -> None:
    tight = replace(WIDE, total=5.0)

    def act(ledger: Ledger, mine: Path, barrier: Any) -> None:
        codes = []
        for number in range(10):
            barrier.wait(30)
            try:
                ledger.answer(study(f"{mine.name}-{number}"), ceilings=tight, work=traced(tmp_path))
            except Refusal as refusal:
                codes.append(refusal.code)
        mine.write_text(" ".join(codes))

    race(tmp_path, act)
    codes = " ".join(path.read_text() for path in (tmp_path / "replies").iterdir()).split()
    assert set(codes) == {"budget_exhausted"}
    with open_ledger(tmp_path) as ledger:
        balance = ledger.balance(tight)
        assert len(balance.studies) == touched(tmp_path) == 20 - len(codes)
        assert balance.total.epsilon <= tight.total
        assert balance.total.filter_share <= 1
        # And not one less than there was room for.
        assert refused(ledger, study("one-more"), tight).code is RefusalCode.BUDGET_EXHAUSTED


def test_a_full_disk_costs_at_most_the_charge(tmp_path: Path) -> None:
    """The disk fills up at every page of an answer's two transactions, one run for each."""
    outcomes = []
    for pages in range(0, 16):
        home = tmp_path / f"{pages}"
        home.mkdir()

        def act(home: Path, pages: int = pages) -> None:
            with open_ledger(home) as ledger:
                for number in (1, 2):
                    ledger.answer(ask(study(), number), ceilings=WIDE, work=Work())
                room = (home / "ledger.sqlite-wal").stat().st_size + 4096 * pages
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
                request = ask(study(), 3)
                try:
                    ledger.answer(request, ceilings=WIDE, work=lambda: traced(home)() + b"x" * 9_000)
                except Refusal as refusal:
                    os._exit(10 if refusal.code is RefusalCode.LEDGER_UNUSABLE else 11)

        outcome, before = run(act, home), touched(home)
        outcomes.append((outcome, before))
        with open_ledger(home) as ledger:
            assert ledger.balance(WIDE).studies[0].requests_open == (outcome == 10 and before == 1)
            ledger.answer(ask(study(), 3), ceilings=WIDE, work=traced(home) if outcome else never)
            # Paid for a second time exactly if it had touched data.
            assert ledger.balance(WIDE).total.epsilon == (AGAIN if outcome and before else WHOLE)
            ledger.verify_full()
    # Refused before data was touched; then touched, but no reply left; then all is well.
    assert sorted(set(outcomes), key=outcomes.index) == [(10, 0), (10, 1), (0, 1)]


@pytest.mark.parametrize("room", [0, 100, 4096])
def test_a_disk_that_is_full_at_the_start_refuses(tmp_path: Path, room: int) -> None:
    open_ledger(tmp_path).close()

    def act(home: Path) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        try:
            open_ledger(home).answer(study(), ceilings=WIDE, work=traced(home))
        except Refusal as refusal:
            os._exit(10 if refusal.code is RefusalCode.LEDGER_UNUSABLE else 11)

    assert run(act, tmp_path) == 10
    assert not touched(tmp_path)
    with open_ledger(tmp_path) as ledger:
        assert ledger.verify_full().entries == 1


@pytest.mark.parametrize("step", ["reserved:stored", "committed:stored"])
def test_a_head_that_cannot_be_written_stops_the_answer(tmp_path: Path, step: str) -> None:
    obstacle = tmp_path / "ledger.head.new"

    def block(name: str) -> None:
        if name == step:
            obstacle.mkdir()

    with open_ledger(tmp_path, on_step=block) as ledger:
        refusal = refusal_of(lambda: ledger.answer(study(), ceilings=WIDE, work=traced(tmp_path)))
    assert refusal.code is RefusalCode.LEDGER_UNUSABLE
    assert touched(tmp_path) == (step == "committed:stored")
    shutil.rmtree(obstacle)
    with open_ledger(tmp_path) as ledger:
        assert ledger.balance(WIDE).total.epsilon == WHOLE
        work = never if step == "committed:stored" else Work()
        ledger.answer(study(), ceilings=WIDE, work=work)


def test_a_head_half_written_by_a_process_that_died_is_no_hindrance(tmp_path: Path) -> None:
    open_ledger(tmp_path).close()
    (tmp_path / "ledger.head.new").write_bytes(b'{"hash":"0')
    with open_ledger(tmp_path) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
        ledger.verify_full()
