"""A keeper with real children: what dies is started again, and nothing outlives the keeper."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.deployment import processes
from federation.deployment.flower import scratch_in
from federation.deployment.keeper import Keeper, running_state
from federation.deployment.processes import KeptProcess, ProcessSpec, rotate
from federation.errors import InputError
from tests.waiting import until

ROOT = Path(__file__).parents[3]
SLEEP = "import time; time.sleep(60)"
NOTES = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); "
PARENT = NOTES + """
import subprocess
subprocess.Popen([sys.executable, '-S', '-c', sys.argv[2], sys.argv[1]])
time.sleep(60)
"""
KEEPER = """
import asyncio, sys
from pathlib import Path
from federation.deployment.keeper import Keeper
from tests.federation.deployment.test_keeper import spec, NOTES
home = Path(sys.argv[1])
async def main():
    keeper = Keeper(home, "this one")
    async with keeper.alone():
        keeper.tell(port=7)
        await keeper.keep([spec(home, name, NOTES + "time.sleep(60)", home / "pids") for name in ("one", "two")])
asyncio.run(main())
"""


def spec(folder: Path, name: str, code: str, *arguments: object, pause: float = 0.05) -> ProcessSpec:
    return ProcessSpec(name=name, command=[sys.executable, "-S", "-c", code, *map(str, arguments)],
                       environment=dict(os.environ), folder=folder, log_file=folder / f"{name}.log", least_pause=pause)


async def soon(true: Callable[[], Any]) -> None:
    await asyncio.wait_for(_soon(true), 60)


async def _soon(true: Callable[[], Any]) -> None:
    while not true():
        await asyncio.sleep(0.02)


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_child_writes_is_private(tmp_path: Path) -> None:
    async def main() -> None:
        kept = KeptProcess(spec(tmp_path, "writer", NOTES + "time.sleep(60)", tmp_path / "pids"))
        task = asyncio.create_task(kept.keep())
        await soon(lambda: pids(tmp_path / "pids"))
        await kept.stop()
        await task

    asyncio.run(main())
    assert (tmp_path / "pids").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_what_ends_is_started_again(tmp_path: Path, end: signal.Signals | None) -> None:
    code = NOTES + ("time.sleep(60)" if end else "sys.exit(3)")

    async def play() -> KeptProcess:
        kept = KeptProcess(spec(tmp_path, "a", code, tmp_path / "pids"))
        task = asyncio.create_task(kept.keep())
        for number in (1, 2):
            await soon(lambda number=number: len(pids(tmp_path / "pids")) >= number)
            if end:
                os.kill(pids(tmp_path / "pids")[-1], end)
        await soon(lambda: kept.state.starts >= 3)
        await kept.stop()
        await task
        return kept

    state = asyncio.run(play()).state
    assert (state.name, state.pid, state.last_exit is not None) == ("a", None, True)
    assert not any(alive(pid) for pid in pids(tmp_path / "pids"))


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    """Killed or stopped: neither leaves a grandchild behind."""
    async def play() -> None:
        kept = KeptProcess(spec(tmp_path, "a", PARENT, tmp_path / "pids", NOTES + "time.sleep(60)"))
        task = asyncio.create_task(kept.keep())
        await soon(lambda: len(pids(tmp_path / "pids")) >= 2)
        first = pids(tmp_path / "pids")
        os.kill(first[0], signal.SIGKILL)
        await soon(lambda: not any(alive(pid) for pid in first))
        await soon(lambda: len(pids(tmp_path / "pids")) >= 4)
        await kept.stop()
        await task

    asyncio.run(play())
    until(lambda: not any(alive(pid) for pid in pids(tmp_path / "pids")))


def test_what_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + NOTES + "time.sleep(60)"

    async def play() -> None:
        kept = KeptProcess(spec(tmp_path, "a", deaf, tmp_path / "pids"))
        task = asyncio.create_task(kept.keep())
        await soon(lambda: pids(tmp_path / "pids"))
        await kept.stop()
        await task

    asyncio.run(play())
    until(lambda: not alive(pids(tmp_path / "pids")[0]))


def test_the_pause_grows_and_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def wait_for(coroutine: Any, seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 9:
            kept._stopping.set()
        coroutine.close()
        raise TimeoutError

    monkeypatch.setattr(processes.asyncio, "wait_for", wait_for)
    kept = KeptProcess(spec(tmp_path, "a", "raise SystemExit(1)", pause=1.0))
    asyncio.run(kept.keep())
    assert waited == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 75.0, 75.0, 75.0]


def test_what_is_printed_goes_to_a_private_file(tmp_path: Path) -> None:
    async def play() -> None:
        kept = KeptProcess(spec(tmp_path, "a", "import sys; print('out'); print('err', file=sys.stderr)", pause=60.0))
        task = asyncio.create_task(kept.keep())
        await soon(lambda: kept.state.last_exit is not None)
        await kept.stop()
        await task

    asyncio.run(play())
    assert sorted((tmp_path / "a.log").read_text().split()) == ["err", "out"]
    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o600


def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LOG_BYTES", 10)
    path = tmp_path / "a.log"
    rotate(path)
    path.write_text("short")
    rotate(path)
    assert path.read_text() == "short"
    for text in ("long enough once", "long enough twice"):
        path.write_text(text)
        rotate(path)
        assert not path.exists()
        assert (tmp_path / "a.log.1").read_text() == text


@pytest.fixture
def keeper(tmp_path: Path) -> Any:
    """A keeper in a process of its own, with two children."""
    made = subprocess.Popen([sys.executable, "-c", KEEPER, str(tmp_path)], cwd=ROOT,
                            env={**os.environ, "PYTHONPATH": str(ROOT)})
    until(lambda: len(pids(tmp_path / "pids")) == 2)
    yield made
    made.kill()
    made.wait()


def test_a_keeper_is_alone_says_what_it_keeps_and_takes_all_with_it(tmp_path: Path, keeper: Any) -> None:
    until(lambda: all(one["pid"] for one in (running_state(tmp_path) or {"processes": [{"pid": 0}]})["processes"]))
    state = running_state(tmp_path)
    assert state is not None
    assert (state["pid"], state["port"]) == (keeper.pid, 7)
    assert [one["name"] for one in state["processes"]] == ["one", "two"]
    assert {one["pid"] for one in state["processes"]} == set(pids(tmp_path / "pids"))
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / "state.json").stat().st_mode & 0o777 == 0o600

    async def second() -> None:
        async with Keeper(tmp_path, "this node").alone():
            raise RuntimeError("two keepers")

    with pytest.raises(InputError, match="this node is running already"):
        asyncio.run(second())
    assert running_state(tmp_path) == state, "who was refused leaves the other's state alone"
    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(60) == 0
    assert not any(alive(pid) for pid in pids(tmp_path / "pids"))
    assert running_state(tmp_path) is None
    assert not (tmp_path / "run" / "state.json").exists()


def test_a_keeper_that_is_killed_leaves_no_child_and_no_claim(tmp_path: Path, keeper: Any) -> None:
    keeper.kill()
    keeper.wait()
    until(lambda: not any(alive(pid) for pid in pids(tmp_path / "pids")))
    assert (tmp_path / "run" / "state.json").exists()
    assert running_state(tmp_path) is None, "nobody holds the home"

    async def again() -> None:
        async with Keeper(tmp_path, "this one").alone():
            pass

    asyncio.run(again())


def test_bundles_are_unpacked_anew_by_whoever_holds_the_home(tmp_path: Path) -> None:
    """One that was cut short, by a kill or a full disk, would be taken for whole."""
    def half() -> Path:
        path = scratch_in(tmp_path / "run") / "apps" / "leelight.0123" / "half.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        return path

    async def begin() -> None:
        path = half()
        async with Keeper(tmp_path, "this one").alone():
            assert not path.exists()
            assert path.parents[2].is_dir()
            half()
            with pytest.raises(InputError, match="running already"):
                async with Keeper(tmp_path, "this one").alone():
                    pytest.fail("two at once")
            assert path.exists(), "who was refused deletes nothing"

    asyncio.run(begin())


def test_who_only_looks_does_not_take_another_who_looks_for_a_keeper(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.json").write_text("{}")
    with (tmp_path / "run" / "keeper.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert running_state(tmp_path) is None


@pytest.mark.parametrize("content", [None, "", "{", "\x00"])
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, content: str | None) -> None:
    async def play() -> None:
        async with Keeper(tmp_path, "this one").alone():
            if content is not None:
                (tmp_path / "run" / "state.json").write_text(content)
            assert running_state(tmp_path) is None

    assert running_state(tmp_path / "nowhere") is None
    asyncio.run(play())


def test_a_program_that_is_not_there_ends_the_keeper_and_its_others(tmp_path: Path) -> None:
    good = spec(tmp_path, "good", SLEEP)
    bad = ProcessSpec(name="bad", command=["/nowhere/program"], environment={}, folder=tmp_path,
                      log_file=tmp_path / "bad.log")

    async def play() -> None:
        keeper = Keeper(tmp_path, "this one")
        async with keeper.alone():
            with pytest.raises(FileNotFoundError):
                await keeper.keep([good, bad])
            state = json.loads((tmp_path / "run" / "state.json").read_text())
            assert [one["pid"] for one in state["processes"] if one["name"] == "good"] == [None]

    asyncio.run(play())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EAGAIN])
def test_want_of_room_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
                             number: int) -> None:
    """The first start fails for it, the second does not, and nobody else had to stop."""
    true, tried = processes.rotate, list[Path]()

    def full(path: Path) -> None:
        tried.append(path)
        if len(tried) == 1:
            raise OSError(number, "no room", str(path))
        true(path)

    async def keep() -> None:
        one = KeptProcess(spec(tmp_path, "one", NOTES + SLEEP, tmp_path / "pids"))
        task = asyncio.create_task(one.keep())
        await soon(lambda: pids(tmp_path / "pids"))
        await one.stop()
        await task
        assert one.state.starts == 1

    monkeypatch.setattr(processes, "rotate", full)
    asyncio.run(keep())
    assert len(tried) == 2
    assert "one cannot be started (no room)" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_a_state_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no room")

    async def keep() -> None:
        keeper = Keeper(tmp_path, "this one")
        async with keeper.alone():
            keeper.tell(port=7)
            task = asyncio.create_task(keeper.keep([spec(tmp_path, "one", NOTES + SLEEP, tmp_path / "pids")]))
            await soon(lambda: pids(tmp_path / "pids"))
            keeper.stopping.set()
            await task

    monkeypatch.setattr("federation.deployment.keeper.replace_private", full)
    asyncio.run(keep())
    assert len(pids(tmp_path / "pids")) == 1


def test_what_a_killed_keeper_left_is_ended_by_the_next(tmp_path: Path) -> None:
    """A grandchild in a session of its own, that no signal has reached; another home's stays."""
    left = [subprocess.Popen([sys.executable, "-S", "-c", SLEEP], start_new_session=True,
                             env={**os.environ, "FLWR_HOME": str(scratch_in(tmp_path / name / "run"))})
            for name in ("one", "other")]

    async def alone() -> None:
        async with Keeper(tmp_path / "one", "this one").alone():
            pass

    (tmp_path / "one").mkdir()
    try:
        until(lambda: all(Path(f"/proc/{one.pid}/environ").read_bytes() for one in left))
        asyncio.run(alone())
        assert left[0].wait(timeout=60) == -signal.SIGKILL
        assert left[1].poll() is None
    finally:
        for one in left:
            one.kill()
            one.wait()
