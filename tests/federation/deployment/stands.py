"""A proxy between a client and a server that say exactly the bytes that a test has them say, over real TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from federation.deployment.certificates import make_authority, make_server_certificate
from federation.deployment.proxy import FLEET_PATHS, Limits, Proxy
from federation.deployment.serving import bound, port_of, served, trusting

OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nfine"
Answer = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """One request, as the server behind saw it."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    def header(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one == name]


def saying(data: bytes) -> Answer:
    """Answers every request with these bytes."""
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def response(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, b"connection: close", b"content-length: %d" % len(body), *headers,
                         b"", body])


@dataclass
class Upstream:
    """A server that notes what it is asked."""

    port: int
    asked: list[Asked] = field(default_factory=list)


def make_keys(folder: Path, name: str = "one", **of_server: Any) -> Path:
    """An authority and a certificate of its for this machine, in a folder of their own."""
    keys = folder / name
    keys.mkdir()
    make_authority(keys, f"{name} authority")
    make_server_certificate(keys, (), **of_server)
    return keys


@asynccontextmanager
async def upstream(keys: Path, answer: Answer, *, host: str = "127.0.0.1") -> AsyncIterator[Upstream]:
    """A server with TLS that answers as it is told."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.crt", keys / "server.key")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
            headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:])]
            length = int(dict(headers).get("content-length", "0"))
            asked = Asked(head[0], headers, await reader.readexactly(length))
            made.asked.append(asked)
            await answer(asked, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, host, 0, ssl=context)
    made = Upstream(server.sockets[0].getsockname()[1])
    async with server:
        yield made
        server.close()


@dataclass
class Stand:
    """A proxy that stands before a server.

    Attributes:
        keys: of both.
        port: of the proxy.
        behind: the server.
        proxy: between.
    """

    keys: Path
    port: int
    behind: Upstream
    proxy: Proxy

    async def say(self, *parts: bytes | float, then_close: bool = False) -> bytes:
        """Send bytes (a number: seconds to wait), and give all that comes back until the proxy closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=trusting(self.keys / "ca.crt"))
        try:
            for part in parts:
                if isinstance(part, bytes):
                    writer.write(part)
                    await writer.drain()
                else:
                    await asyncio.sleep(part)
            if then_close:
                return b""
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def ask(self, target: str, *, method: str = "POST", headers: str = "", body: bytes = b"x",
                  http: str = "1.1", host: str = "localhost") -> int:
        """Send one request with this very target and give the status."""
        told = f"{method} {target} HTTP/{http}\r\nHost: {host}\r\nConnection: close\r\n{headers}"
        if body:
            told += f"Content-Length: {len(body)}\r\n"
        return status_of(await self.say(told.encode("latin-1") + b"\r\n" + body))

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"https://127.0.0.1:{self.port}", trust_env=False, timeout=20,
                                 verify=trusting(self.keys / "ca.crt"))


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@asynccontextmanager
async def stand(keys: Path, answer: Answer, *, limits: Limits | None = None, behind: Path | None = None,
                trusted: Path | None = None, host: str = "127.0.0.1", look: Any = None,
                dead: bool = False) -> AsyncIterator[Stand]:
    """A proxy with `keys`, before a server with the keys `behind`; it trusts the authority of `trusted`."""
    async with upstream(behind or keys, answer, host=host) as server:
        listener = bound("127.0.0.1", 0)
        proxy = Proxy(f"https://{host}:{1 if dead else server.port}", tls=trusting((trusted or keys) / "ca.crt"),
                      paths=FLEET_PATHS, limits=limits or Limits(burst=100_000), look=look, health="/health")
        async with served(proxy, listener, certificate=keys / "server.crt", key=keys / "server.key"):
            yield Stand(keys, port_of(listener), server, proxy)
        await proxy.close()
