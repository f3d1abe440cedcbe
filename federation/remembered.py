"""Figures that take seconds to work out and never change, kept on disk from one process to the next.

A node's process lives for one message, and the price of a plan takes longer than the message. A figure is kept under
the hash of everything that it follows from, the code included, so that it is never another's; what cannot be read is
worked out anew. The folder is the owner's own, and private: whoever could write there could change the software, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from federation.canonical import canonical_json, sha256_hex
from federation.private_files import replace_private


class Remembered:
    """Figures of one kind.

    Args:
        code: what works them out, such as the source of a module and the version of a library.
    """

    def __init__(self, code: bytes) -> None:
        self._code = sha256_hex(code)
        self._folder: Path | None = None

    def keep_in(self, folder: Path) -> None:
        """Keep figures in this folder from now on, if it is there or can be made."""
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def figure(self, facts: Any, work_out: Callable[[], float]) -> float:
        """The figure of these facts.

        Args:
            facts: everything that it depends on, as canonical JSON can hold it.
            work_out: called if it is not known.
        """
        if self._folder is None:
            return work_out()
        path = self._folder / sha256_hex(canonical_json([self._code, facts]))
        with suppress(OSError, ValueError, OverflowError):
            text = path.read_text(encoding="ascii")
            known = float.fromhex(text.partition(" ")[0])
            if math.isfinite(known) and text == _line(path.name, known):
                return known
        found = work_out()
        # A full disk is no reason to give no figure.
        if math.isfinite(found):
            with suppress(OSError):
                replace_private(path, _line(path.name, found).encode("ascii"))
        return found


def _line(name: str, figure: float) -> str:
    """The figure, and what tells it from one that was damaged or is another's."""
    return f"{figure.hex()} {sha256_hex(f'{name} {figure.hex()}'.encode())[:16]}"
