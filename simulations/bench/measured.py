"""What a piece of work takes in time and memory, in a process of its own.

A process that is started from another inherits its `ru_maxrss`, so the peak is `VmHWM`, which begins anew with each
program. It counts pages of mapped files, which the system takes back when somebody else needs the memory. What it
cannot take back is anonymous memory; the kernel keeps no peak of that, so a thread looks every few milliseconds.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

Given = ParamSpec("Given")
Found = TypeVar("Found")

_LOOK_SECONDS = 0.005
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Measured(Generic[Found]):
    """What came out, and what it took.

    Attributes:
        found: what the work returned.
        seconds: wall time, without starting the process.
        processor: seconds of processor time, which other programs on the machine hardly move.
        resident: peak of all memory, bytes, files that are mapped included.
        anonymous: peak of memory that is no file's, bytes.
    """

    found: Found
    seconds: float
    processor: float
    resident: int
    anonymous: int


def measured(work: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs) -> Measured[Found]:
    """Do `work` in a fresh process. It must be a function of a module, and what goes in and out must pickle.

    Raises:
        Exception: whatever the work raised.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, work, args, kwargs).result()


def _measure(work: Callable[..., Found], args: tuple[object, ...], kwargs: dict[str, object]) -> Measured[Found]:
    with _Watch() as watch:
        started, spent = time.perf_counter(), time.process_time()
        found = work(*args, **kwargs)
        seconds, processor = time.perf_counter() - started, time.process_time() - spent
    return Measured(found=found, seconds=seconds, processor=processor, resident=memory("VmHWM"),
                    anonymous=watch.peak)


class _Watch:
    """Looks at the anonymous memory of this process until told to stop."""

    def __init__(self) -> None:
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.peak = max(self.peak, memory("RssAnon"))

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.peak = max(self.peak, memory("RssAnon"))


def memory(field: str) -> int:
    """A field of this process's status, bytes.

    Raises:
        ValueError: if the system does not tell it; only Linux does.
    """
    for line in _STATUS.read_text(encoding="ascii").splitlines() if _STATUS.is_file() else ():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise ValueError(f"{_STATUS} does not tell {field}: memory can only be measured on Linux")
