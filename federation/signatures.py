"""Thousands of signatures of one key, checked by several processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from federation.identity import verify

_WORTH_A_PROCESS, _MOST_WORKERS = 4_000, 8
Signed = Sequence[tuple[bytes, str]]
"""Messages with their signatures."""


def first_unsigned(public: str, purpose: str, signed: Signed) -> int | None:
    """Index of the first (message, signature) that `public` did not sign for `purpose`; None if it signed all."""
    return next((index for index, (message, signature) in enumerate(signed)
                 if not verify(public, purpose, message, signature)), None)


@contextmanager
def seeking_unsigned(public: str, purpose: str, signed: Signed) -> Iterator[Callable[[], int | None]]:
    """What `first_unsigned` finds, sought beside whatever the body of the `with` does.

    Checking a signature takes several times as long as all else that is checked of an entry of a book, and holds the
    interpreter's lock; so where there are thousands, other processes share the work.

    Yields:
        A function that waits for the answer. Call it once, inside the `with`.
    """
    workers = min(_MOST_WORKERS, os.cpu_count() or 1)
    if workers == 1 or len(signed) < _WORTH_A_PROCESS:
        yield lambda: first_unsigned(public, purpose, signed)
        return
    size = -(-len(signed) // workers)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [_elsewhere(pool, public, purpose, signed[start:start + size])
                 for start in range(0, len(signed), size)]
        yield lambda: next((number * size + bad for number, part in enumerate(parts) if (bad := part()) is not None),
                           None)


def _elsewhere(pool: ProcessPoolExecutor, public: str, purpose: str, signed: Signed) -> Callable[[], int | None]:
    """Start `first_unsigned` in another process, and give back what waits for it.

    Where there is no other process (a script without a main guard, or no memory) it is done here: slower, as thorough.
    """
    def here() -> int | None:
        return first_unsigned(public, purpose, signed)

    def wait() -> int | None:
        try:
            return part.result()
        except (BrokenProcessPool, OSError):
            return here()

    try:
        part = pool.submit(first_unsigned, public, purpose, signed)
    except (BrokenProcessPool, OSError, ValueError):
        # ValueError: a pool whose first process died at once closes its pipes while the second is being started, which
        # finds one number among its descriptors twice.
        return here
    return wait
