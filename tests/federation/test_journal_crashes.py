"""Real processes that are killed, that write at the same time, and whose disk is full. No entry that was promised is
lost, and the journal can be used afterwards."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation import private_files
from federation.errors import InputError
from federation.journal import Entry, Facts, Journal, files, head_path, read_head, read_journal, verify_journal
from tests.federation.journals import KEY, PARTNERS, act, open_journal

# Forked, so that a child starts in milliseconds; each is a process of its own with its own files and locks.
fork = multiprocessing.get_context("fork")


def run(work: Callable[[], object]) -> int:
    """Do `work` in a process of its own; its exit code."""
    child = fork.Process(target=work)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


def die(*_: object) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def checked(path: Path) -> tuple[Entry, ...]:
    """All entries of a journal that is whole, with its head at its end."""
    report = verify_journal(read_journal(path), public_key=KEY.public, head=read_head(head_path(path)))
    assert report.problem is None
    assert report.anchored == len(report.entries) - 1
    return report.entries


def facts_in(path: Path) -> list[Facts]:
    return [entry.facts for entry in checked(path)[1:]]


def after_half_a_line(patch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite

    def half(handle: int, data: bytes, start: int) -> int:
        whole(handle, data[:len(data) // 2], start)
        return die()

    patch.setattr(files.os, "pwrite", half)


def before_the_line(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files.os, "pwrite", die)


def before_it_is_on_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files.os, "fsync", die)


def before_the_head(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files, "replace_private", die)


def before_the_head_is_in_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(private_files.Path, "replace", die)


def after_the_head(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(private_files, "sync_folder", die)


STEPS = [before_the_line, after_half_a_line, before_it_is_on_disk, before_the_head, before_the_head_is_in_place,
         after_the_head]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("begun", [True, False])
def test_killed_at_any_step_of_an_entry(
    tmp_path: Path, step: Callable[[pytest.MonkeyPatch], None], begun: bool,
) -> None:
    path = tmp_path / "journal.jsonl"
    if begun:
        open_journal(path).append(act(1))

    def work() -> None:
        step(pytest.MonkeyPatch())
        open_journal(path).append(act(2))

    assert run(work) == -signal.SIGKILL
    written = step not in (before_the_line, after_half_a_line)
    expected = [act(1), *[act(2)] * written] if begun else []
    journal = open_journal(path)
    assert facts_in(path) == expected
    journal.append(act(3))
    assert facts_in(path) == [*expected, act(3)]


def test_killed_while_it_is_tried_whether_an_entry_has_room(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = open_journal(path)

    def work() -> None:
        pytest.MonkeyPatch().setattr(files.os, "ftruncate", die)
        journal.check_writable()

    assert run(work) == -signal.SIGKILL
    assert path.read_bytes().endswith(b"\0")
    journal.append(act(1))
    assert facts_in(path) == [act(1)]


@pytest.mark.parametrize("after", [1, 7, 30])
def test_killed_in_the_middle_of_many(tmp_path: Path, after: int) -> None:
    """Whatever was promised is there; at most one entry more is."""
    path = tmp_path / "journal.jsonl"
    for life in range(3):
        receiver, sender = fork.Pipe(duplex=False)

        def work(sender: Any = sender, first: int = 1000 * life) -> None:
            journal = open_journal(path)
            for number in range(first, first + 1000):
                journal.append(act(number))
                sender.send(number)

        before = facts_in(path) if life else []
        child = fork.Process(target=work)
        child.start()
        promised = [act(receiver.recv()) for _ in range(after)]
        child.kill()
        child.join()
        while receiver.poll():
            promised.append(act(receiver.recv()))
        open_journal(path)
        there = facts_in(path)
        assert there[:len(before) + len(promised)] == before + promised
        assert len(there) <= len(before) + len(promised) + 1


def test_processes_and_their_journals_do_not_get_into_each_others_way(tmp_path: Path) -> None:
    path, processes, each = tmp_path / "journal.jsonl", 3, 40
    barrier = fork.Barrier(processes)

    def enter(number: int) -> None:
        barrier.wait(30)
        journals = [open_journal(path) for _ in range(2)]
        for turn in range(each):
            journals[turn % 2].append(act(1000 * number + turn))
            if turn % 10 == 0:
                journals[0].check_writable()
                # A reader never sees half an entry, nor what was written to try whether there is room.
                assert verify_journal(read_journal(path), public_key=KEY.public).sound

    children = [fork.Process(target=enter, args=(number,)) for number in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * processes
    found = facts_in(path)
    assert len(found) == processes * each
    for number in range(processes):
        mine = [act(1000 * number + turn) for turn in range(each)]
        assert [facts for facts in found if facts in mine] == mine


def with_room(journal: Journal, room: int, act_on: Callable[[Journal], object]) -> int:
    """Let a process of its own do something while the file may grow by `room` bytes. 10: it was refused."""
    def work() -> None:
        size = journal.path.stat().st_size + room
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            act_on(journal)
        except InputError as error:
            os._exit(10 if "cannot be read or written" in error.problem and "make room" in error.remedy else 11)

    return run(work)


def test_a_full_disk_leaves_no_entry_and_a_journal_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = open_journal(path)
    for facts in PARTNERS:
        journal.append(facts)
    before = path.read_bytes()
    journal.append(act(1))
    length = len(journal.append(act(1)).line) + 1
    outcomes = []
    for room in (0, 1, length // 2, length - 1, length, 4095, 4096):
        size = path.stat().st_size
        outcomes.append(with_room(journal, room, lambda journal: journal.append(act(2))))
        assert (path.stat().st_size == size) == (outcomes[-1] == 10)
        assert with_room(journal, room, Journal.check_writable) == (10 if room < 4096 else 0)
        checked(path)
    assert outcomes == [10, 10, 10, 10, 0, 0, 0]
    assert path.read_bytes().startswith(before)
    journal.append(act(3))
    assert facts_in(path) == [*PARTNERS, act(1), act(1), act(2), act(2), act(2), act(3)]


def test_a_full_disk_at_the_start_leaves_a_journal_that_can_begin(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
        try:
            open_journal(path)
        except InputError:
            os._exit(10)

    assert run(work) == 10
    open_journal(path).append(act(1))
    assert facts_in(path) == [act(1)]


def test_a_head_that_cannot_be_written_is_told_and_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = open_journal(tmp_path / "journal.jsonl")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace_private", full)
        for _ in range(3):
            with pytest.raises(InputError, match="No space left"):
                journal.append(act(1))
    # The entry is there, once: what comes after it waits until the head names it.
    journal.append(act(2))
    assert facts_in(journal.path) == [act(1), act(2)]


def test_waiting_for_another_process_ends(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    open_journal(path)
    ready, done = fork.Event(), fork.Event()

    def hold() -> None:
        with open_journal(path)._held():
            ready.set()
            done.wait(60)

    child = fork.Process(target=hold)
    child.start()
    assert ready.wait(30)
    with pytest.raises(InputError, match=r"held it for 0\.1 seconds"):
        open_journal(path, wait_seconds=0.1)
    # A reader waits, too: half an entry may be there.
    with pytest.raises(InputError, match=r"held it for 0\.1 seconds"):
        read_journal(path, wait_seconds=0.1)
    done.set()
    child.join(60)
    open_journal(path).append(act(1))


def test_a_journal_on_a_disk_without_locks_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> bool:
        raise OSError(38, "Function not implemented")

    open_journal(tmp_path / "journal.jsonl")
    monkeypatch.setattr(files, "locked_within", unknown)
    assert verify_journal(read_journal(tmp_path / "journal.jsonl")).sound


def test_an_entry_is_on_disk_before_the_head_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a power cut would show: the order of what is written and what is made to stay."""
    path, steps = tmp_path / "journal.jsonl", list[str]()
    write, sync, replace = os.pwrite, os.fsync, private_files.Path.replace
    monkeypatch.setattr(os, "pwrite", lambda *given: steps.append("written") or write(*given))
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append(
        f"{Path(f'/proc/self/fd/{handle}').readlink().suffix or 'folder'} on disk") or sync(handle))
    monkeypatch.setattr(private_files.Path, "replace", lambda *given: steps.append("head in place") or replace(*given))
    sealed = [".jsonl on disk", ".part on disk", "head in place", "folder on disk"]
    journal = open_journal(path)
    older = head_path(path).read_bytes()
    journal.append(act(1))
    assert steps == ["written", *sealed] * 2
    # One that died before it was on disk leaves it to the next.
    head_path(path).write_bytes(older)
    steps.clear()
    open_journal(path)
    assert steps == sealed


@pytest.mark.parametrize("obstacle", ["no folder", "a folder in its place"])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "none" / "journal.jsonl" if obstacle == "no folder" else tmp_path
    with pytest.raises(InputError, match="cannot be read or written"):
        open_journal(path)
