"""Small HTTP servers inside a keeper's process: the edge, the gate, metrics."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import uvicorn

from federation.errors import InputError

_CLOSE_SECONDS = 5


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        InputError: if it cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(f"{host}:{port}", f"cannot be listened on ({error.strerror})",
                         remedy="stop what uses the port, or choose another address") from None
    return listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with bound("127.0.0.1", 0) as listener:
        return port_of(listener)


@asynccontextmanager
async def served(app: Any, listener: socket.socket, *, certificate: Path | None = None,
                 key: Path | None = None) -> AsyncIterator[None]:
    """Serve an ASGI application while the block runs."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False, date_header=False,
        ssl_certfile=certificate, ssl_keyfile=key, timeout_graceful_shutdown=_CLOSE_SECONDS, timeout_keep_alive=75,
        # The parser that bounds headers, and no protocol besides HTTP.
        http="h11", h11_max_incomplete_event_size=65_536, ws="none")
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if task.done():
            await task
        yield
    finally:
        server.should_exit = True
        await asyncio.wait({task}, timeout=_CLOSE_SECONDS + 5)
        listener.close()


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        """Signals are the keeper's business."""
        return nullcontext()


def trusting(authority: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, to servers of one authority only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=authority)
    return context
