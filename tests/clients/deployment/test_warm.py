"""The warm process, really forked from: what a message's process is given, and what becomes of its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clients.deployment.warm import PROGRAM, write_small_program
from tests.waiting import until

ROOT = Path(__file__).parents[3]
SERVER = """
import json, os, sys, time, types
from pathlib import Path
import clients.node
import clients.deployment.warm as warm
warm.LIBRARIES = ("json",)
stand = types.ModuleType("flwr.supernode.cli.flwr_clientapp")
def flwr_clientapp():
    said = {"argv": sys.argv, "pid": os.getpid(), "cwd": os.getcwd(), "here": os.environ.get("HERE"),
            "ours": [name for name in sys.modules if name.split(".")[0] in warm.OURS]}
    Path(sys.argv[1]).write_text(json.dumps(said))
    what = sys.argv[2]
    if what == "sleep":
        time.sleep(60)
    if what == "raise":
        raise ValueError("row 17")
    if what == "die":
        os.kill(os.getpid(), 9)
    sys.exit(int(what))
stand.flwr_clientapp = flwr_clientapp
sys.modules[stand.__name__] = stand
warm.serve(Path(sys.argv[1]))
"""
REAL = "#!/bin/sh\necho real > \"$1\"\nexit 9\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a space in its name, and longer than the address of a socket can be."""
    found = tmp_path / "a home" / ("x" * 120)
    found.mkdir(parents=True)
    return found


@pytest.fixture
def program(folder: Path) -> Path:
    real = folder / "real"
    real.write_text(REAL)
    real.chmod(0o700)
    write_small_program(folder / "bin", socket_path=folder / "warm.socket", real=str(real))
    return folder / "bin" / PROGRAM


@pytest.fixture
def warm(folder: Path, program: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(folder / "warm.socket")], cwd=folder,
                               env={**os.environ, "PYTHONPATH": str(ROOT), "HERE": "warm"})
    until((folder / "warm.socket").exists)
    yield process
    process.kill()
    process.wait()


def ask(program: Path, *arguments: object) -> int:
    return subprocess.run([str(program), *map(str, arguments)], timeout=60).returncode


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_child_gets_the_arguments_and_its_end_is_told(warm: Any, program: Path, folder: Path, code: int) -> None:
    assert ask(program, folder / "said", code, "a word", "--token", "é'\"") == code
    said = json.loads((folder / "said").read_text())
    assert said["argv"] == [PROGRAM, str(folder / "said"), str(code), "a word", "--token", "é'\""]
    assert (said["here"], said["cwd"]) == ("warm", str(folder))
    assert said["pid"] != warm.pid


def test_nothing_of_ours_comes_along(warm: Any, program: Path, folder: Path) -> None:
    """The node's part is that of the bundle, which the child loads itself, and not what is installed."""
    ask(program, folder / "said", 0)
    assert json.loads((folder / "said").read_text())["ours"] == []


@pytest.mark.parametrize("what", ["raise", "die"])
def test_a_child_that_breaks_is_a_failure_and_the_next_goes_well(warm: Any, program: Path, folder: Path,
                                                                 what: str) -> None:
    assert ask(program, folder / "said", what) == 1
    assert ask(program, folder / "said", 0) == 0


def test_several_at_once(warm: Any, program: Path, folder: Path) -> None:
    asked = [subprocess.Popen([str(program), str(folder / f"said-{i}"), str(i)]) for i in range(6)]
    assert [one.wait(timeout=60) for one in asked] == list(range(6))
    assert len({json.loads((folder / f"said-{i}").read_text())["pid"] for i in range(6)}) == 6


def test_who_gives_up_ends_the_child(warm: Any, program: Path, folder: Path) -> None:
    process = subprocess.Popen([str(program), str(folder / "said"), "sleep"])
    until(lambda: (folder / "said").exists() and (folder / "said").read_text())
    child = json.loads((folder / "said").read_text())["pid"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    until(lambda: not Path(f"/proc/{child}").exists())
    assert ask(program, folder / "said", 0) == 0


def test_without_a_warm_process_it_is_the_real_program(program: Path, folder: Path) -> None:
    assert ask(program, folder / "said") == 9
    assert (folder / "said").read_text() == "real\n"


def test_others_on_the_machine_cannot_ask(warm: Any, folder: Path, program: Path) -> None:
    assert (folder / "warm.socket").stat().st_mode & 0o777 == 0o600
    assert program.stat().st_mode & 0o777 == 0o700
    assert program.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("words", [b"", b"{}\n", b"[1]\n", b"junk\n", b"\xff\n"])
def test_what_is_no_list_of_words_starts_nothing(warm: Any, program: Path, folder: Path, words: bytes) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as line:
        before = Path.cwd()
        os.chdir(folder)
        try:
            line.connect("warm.socket")
        finally:
            os.chdir(before)
        line.sendall(words)
        line.shutdown(socket.SHUT_WR)
        assert line.recv(1) == b""
    assert ask(program, folder / "said", 0) == 0
