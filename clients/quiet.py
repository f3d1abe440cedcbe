"""Who may work on a home's records at a time. Files may be taken in side by side; erasing needs the home to itself.

An ingest holds `records.lock` together with other ingests, and a request that touches records is answered under the
lock of the account (`clients.ledger`). Erasing holds both: otherwise a batch, or a feature, of somebody could come in
from a process that had looked before they were erased.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from clients.ledger.files import LedgerFiles
from clients.node import NodeHome
from federation.errors import InputError, Refusal, RefusalCode
from federation.private_files import locked_within

WAIT_SECONDS = 60.0


@contextmanager
def taking_in(home: NodeHome) -> Iterator[None]:
    """Hold off whoever wants to erase.

    Raises:
        InputError: if somebody has been erasing for `WAIT_SECONDS`.
    """
    with _held(home, to_read=True, by="something is being erased here"):
        yield


@contextmanager
def alone(home: NodeHome) -> Iterator[None]:
    """Hold off ingests and answers that touch records.

    Raises:
        InputError: if one of them has been running for `WAIT_SECONDS`.
    """
    with _held(home, to_read=False, by="a file is being taken in, or something erased, here"), ExitStack() as stack:
        ledger = LedgerFiles(home.path, home.settings.ledger_head)
        stack.callback(ledger.close)
        try:
            stack.enter_context(ledger.locked(WAIT_SECONDS))
        except Refusal as refusal:
            if refusal.code is not RefusalCode.BUSY:
                raise InputError(str(home.path), f"its account cannot be held. {refusal.detail}") from None
            raise InputError(str(home.path), "a study is being answered here at the moment",
                             remedy="do the same again in some minutes, or stop the node") from None
        yield


@contextmanager
def _held(home: NodeHome, *, to_read: bool, by: str) -> Iterator[None]:
    path = home.path / "records.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InputError(str(path), f"cannot be opened ({error.strerror})",
                         remedy="check who may write to the home, and the disk") from None
    try:
        if not locked_within(handle, WAIT_SECONDS, to_read=to_read):
            raise InputError(str(home.path), f"{by} at the moment", remedy="do the same again once that is done")
        yield
    finally:
        os.close(handle)
