"""Whoever runs `start`: keeps a side's processes and servers until it is told to stop, and is alone in doing so.

`run/` in the home holds `keeper.lock`, held while a keeper lives, and `state.json`, what it keeps, for `status`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from federation.deployment.flower import forget_bundles, mark_of
from federation.deployment.processes import KeptProcess, ProcessSpec, end_leftovers
from federation.errors import InputError
from federation.private_files import locked_within, replace_private

_LOCK: Final = "keeper.lock"
_STATE: Final = "state.json"


class Keeper:
    """Keeps processes for one home.

    Args:
        home: its folder.
        what: what it is, in words, for errors.
    """

    def __init__(self, home: Path, what: str) -> None:
        self.folder, self._what = home / "run", what
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._kept: list[KeptProcess] = []
        self._facts: dict[str, Any] = {}
        self._stop = asyncio.Event()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold the home, and hear of signals, while the block runs.

        Raises:
            InputError: if another keeper holds it.
        """
        handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Who looks whether a keeper runs holds the lock for a moment.
            if not locked_within(handle, 1.0):
                raise InputError(str(self.folder.parent), f"{self._what} is running already",
                                 remedy="stop the other one first, or look at it with `status`")
            end_leftovers(mark_of(self.folder))
            forget_bundles(self.folder)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self._stop.set)
            try:
                yield
            finally:
                (self.folder / _STATE).unlink(missing_ok=True)
        finally:
            os.close(handle)

    def tell(self, **facts: Any) -> None:
        """Have facts in `state.json`, such as ports."""
        self._facts |= facts
        self._write()

    async def keep(self, specs: Sequence[ProcessSpec]) -> None:
        """Run processes until somebody says stop; then end them, the last first."""
        self._kept = [KeptProcess(spec, changed=self._write) for spec in specs]
        tasks = [asyncio.create_task(one.keep()) for one in self._kept]
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            for one in reversed(self._kept):
                await one.stop()
            found = await asyncio.gather(*tasks, return_exceptions=True)
        for error in found:
            if isinstance(error, BaseException):
                raise error

    @property
    def stopping(self) -> asyncio.Event:
        """Set once the keeper is to stop."""
        return self._stop

    def _write(self) -> None:
        state = {"pid": os.getpid(), "written": time.time(), **self._facts,
                 "processes": [asdict(one.state) for one in self._kept]}
        # It tells whoever looks, and nothing rests on it: a full disk must not stop what is kept.
        with suppress(OSError):
            replace_private(self.folder / _STATE, json.dumps(state, indent=1).encode())


def running_state(home: Path) -> dict[str, Any] | None:
    """What the keeper of a home keeps; None if none is running."""
    folder = home / "run"
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if locked_within(handle, 0.0, to_read=True):
            return None
        found: dict[str, Any] = json.loads((folder / _STATE).read_bytes())
        return found
    except (OSError, ValueError):
        return None
    finally:
        os.close(handle)
