"""A Python that has its libraries loaded already, from which the process of each message is forked.

Flower's executor starts `flwr-clientapp` for each message, by name, and that program loads PyTorch, Opacus and pandas
anew: five to eight seconds of processor time before a record is looked at. So a small program of that name comes first
on the executor's path; it hands its arguments to the process here, which forks, and waits for the child to end. The
child does what `flwr-clientapp` does, in a process of its own that lives for one message.

Nothing of ours is loaded before the fork, only libraries: the child takes our part from the bundle that the partner
approved, as it would without this. If nobody answers here, the small program becomes the real one.

Run as `python -m clients.deployment.warm SOCKET`.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Final, NoReturn

PROGRAM: Final = "flwr-clientapp"
LIBRARIES: Final = ("numpy", "pandas", "torch", "opacus", "safetensors.numpy", "cryptography", "pydantic", "yaml",
                    "sqlalchemy", "opendp.prelude", "flwr.clientapp", "flwr.supernode.runtime.run_clientapp",
                    "flwr.supernode.cli.flwr_clientapp")
OURS: Final = ("clients", "federation", "server")
_MOST_BYTES: Final = 65_536
_BACKLOG: Final = 16

SMALL_PROGRAM: Final = '''\
import json, os, signal, socket, sys
back = os.open(".", os.O_RDONLY)
try:
    here = socket.socket(socket.AF_UNIX)
    # By its name alone: a whole path may be longer than a socket's address can be.
    os.chdir({folder!r})
    here.connect({name!r})
except OSError:
    os.fchdir(back)
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
here.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
code = here.recv(1)
os._exit(code[0] if code else 1)
'''


def write_small_program(folder: Path, *, socket_path: Path, real: str) -> None:
    """Put the small program into a folder that comes first on a path (0700).

    By way of a shell, as the first line of a script can name no interpreter with a long path or a space in it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    script, path = folder / "ask_warm.py", folder / PROGRAM
    script.write_text(SMALL_PROGRAM.format(folder=str(socket_path.parent), name=socket_path.name, real=real),
                      encoding="utf-8")
    path.write_text(f'#!/bin/sh\nexec {quote(sys.executable)} -IS {quote(str(script))} "$@"\n', encoding="utf-8")
    path.chmod(0o700)


def serve(path: Path) -> NoReturn:
    """Load the libraries, then fork for each request until ended."""
    for name in LIBRARIES:
        importlib.import_module(name)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    back = Path.cwd()
    # By its name alone, as an address is short; and never open to others on the machine, even for a moment.
    os.chdir(path.parent)
    before = os.umask(0o177)
    listener.bind(path.name)
    os.umask(before)
    os.chdir(back)
    listener.listen(_BACKLOG)
    _Forks(listener).run()


class _Forks:
    """Children that are at work, and who waits for each."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self._choose = listener, selectors.DefaultSelector()
        self._choose.register(listener, selectors.EVENT_READ)
        self._children: dict[int, tuple[int, socket.socket]] = {}

    def run(self) -> NoReturn:
        while True:
            for key, _ in self._choose.select():
                if key.fileobj is self._listener:
                    self._begin()
                elif key.fd in self._children:
                    self._end(key.fd)
                elif key.data in self._children:
                    self._given_up(key.data)

    def _begin(self) -> None:
        waiting, _ = self._listener.accept()
        arguments = _read_arguments(waiting)
        if arguments is None:
            waiting.close()
            return
        child = os.fork()
        if child == 0:
            _become(arguments, [self._listener, *(one for _, one in self._children.values()), waiting])
        handle = os.pidfd_open(child)
        self._children[handle] = child, waiting
        self._choose.register(handle, selectors.EVENT_READ)
        self._choose.register(waiting, selectors.EVENT_READ, handle)

    def _end(self, handle: int) -> None:
        child, waiting = self._children.pop(handle)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        self._choose.unregister(handle)
        os.close(handle)
        with suppress(KeyError):
            self._choose.unregister(waiting)
        with suppress(OSError):
            waiting.sendall(bytes([code if 0 <= code < 256 else 1]))
        waiting.close()

    def _given_up(self, handle: int) -> None:
        """Whoever waited is gone: the executor wants the work ended."""
        child, waiting = self._children[handle]
        self._choose.unregister(waiting)
        os.kill(child, signal.SIGTERM)


def _read_arguments(waiting: socket.socket) -> list[str] | None:
    waiting.settimeout(5.0)
    held = b""
    with suppress(OSError):
        while not held.endswith(b"\n") and len(held) < _MOST_BYTES:
            part = waiting.recv(4096)
            if not part:
                return None
            held += part
    waiting.settimeout(None)
    with suppress(ValueError):
        found = json.loads(held)
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return found
    return None


def _become(arguments: list[str], open_sockets: list[socket.socket]) -> NoReturn:
    """In the child: be the real program."""
    for one in open_sockets:
        one.close()
    for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
        del sys.modules[name]
    sys.argv = [PROGRAM, *arguments]
    code = 1
    try:
        from flwr.supernode.cli.flwr_clientapp import flwr_clientapp

        flwr_clientapp()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
