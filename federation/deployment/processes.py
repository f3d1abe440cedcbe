"""Processes that belong together: started, started again when they die, and all gone when their keeper goes.

Each child leads a process group of its own, so that whatever it starts ends with it, and the kernel ends it should its
keeper be killed. A child that dies is started again after a pause that grows, at least as long as its policy says: a
SuperLink takes a node back only when its last heartbeat is a minute old.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STOP_SECONDS: Final = 15.0
"""How long a process may take to end by itself."""
STEADY_SECONDS: Final = 60.0
"""Who has run so long is well: the next pause is short again."""
LONGEST_PAUSE_SECONDS: Final = 75.0
_PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Want of room, which passes: the others need not stop for it."""
_LOG_BYTES: Final = 5_000_000
_PR_SET_PDEATHSIG: Final = 1
log = logging.getLogger("leelight.processes")


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """A process to keep running.

    Attributes:
        name: in logs and status.
        command: program and arguments. No secret: other users of the machine can read them.
        environment: all of it.
        folder: where it runs; neutral, so that no module there hides an installed one.
        log_file: for what it prints; one older file is kept.
        least_pause: seconds before it is started again, at least.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log_file: Path
    least_pause: float = 1.0


@dataclass
class ProcessState:
    """How a kept process is: for `status` and metrics."""

    name: str
    pid: int | None = None
    starts: int = 0
    last_exit: int | None = None
    since: float = field(default_factory=time.time)


class KeptProcess:
    """One process, kept running until `stop`."""

    def __init__(self, spec: ProcessSpec, *, changed: Callable[[], None] = lambda: None) -> None:
        self.spec, self.state, self._changed = spec, ProcessState(spec.name), changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def keep(self) -> None:
        """Run it, and again when it ends, until `stop` is called."""
        pause = self.spec.least_pause
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            pause = self.spec.least_pause if time.monotonic() - began > STEADY_SECONDS else min(
                LONGEST_PAUSE_SECONDS, max(self.spec.least_pause, 2 * pause))
            log.warning("%s ended with code %s and is started again in %.0f s; its log is %s", self.spec.name, code,
                        pause, self.spec.log_file.name)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self) -> int | None:
        """Start it, wait for its end and give its exit code; None, if it cannot be started at the moment.

        Raises:
            OSError: if it cannot be started at all, as when its program is not there.
        """
        try:
            process = await self._start()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            log.error("%s cannot be started (%s)", self.spec.name, error.strerror)
            return None
        code = await process.wait()
        self._end_group(process.pid)
        self._note(pid=None, last_exit=code)
        return code

    async def stop(self) -> None:
        """End it and whatever it started, and do not start it again."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            log.warning("%s did not end within %.0f s and is killed", self.spec.name, STOP_SECONDS)
        self._end_group(process.pid)

    async def _start(self) -> asyncio.subprocess.Process:
        rotate(self.spec.log_file)
        with os.fdopen(os.open(self.spec.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
            process = self._process = await asyncio.create_subprocess_exec(
                *self.spec.command, env=dict(self.spec.environment), cwd=self.spec.folder,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.STDOUT,
                # What it writes is as private as the rest of the home, whatever its program thinks of that.
                start_new_session=True, umask=0o077, preexec_fn=_die_with_parent)
        if self._stopping.is_set():
            await self.stop()
        self._note(pid=process.pid, starts=self.state.starts + 1)
        return process

    def _note(self, **changes: int | None) -> None:
        for name, value in changes.items():
            setattr(self.state, name, value)
        self.state.since = time.time()
        self._changed()

    @staticmethod
    def _end_group(pid: int) -> None:
        # The child led its own group: what it started may have outlived it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def rotate(path: Path) -> None:
    """Set a long log file aside, in place of the one set aside before."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))


def end_leftovers(mark: str) -> None:
    """Kill what a keeper that was killed itself has left: every process of this user with `mark` in its environment.

    Its children were told to end by the kernel; what those had started may still wait for an answer, and hold what the
    next keeper needs (Linux).

    Args:
        mark: `NAME=value`, as only this home's processes have it.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(folder.name) != os.getpid() and mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """In the child, before its program: be ended when the parent dies, even if that is killed."""
    with suppress(AttributeError):
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
