"""A reverse proxy that knows a handful of paths and nothing else: the edge of a coordinator, the gate of a partner.

Everything that is not listed is refused before it is read. What is listed passes if it is small enough and does not
come too often, and a side may look at an answer before it goes on (a partner's gate looks at bundles). Of answers, only
those pass that were looked at, and plain errors: a node follows a redirection to wherever it leads, and takes any
status from 200 to 299 for an answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext
from typing import Final

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

Look = Callable[[str, bytes, dict[str, str], httpx.Response], Awaitable[httpx.Response | Response]]
"""Given the path, the request's body and headers, and the answer, what goes back instead."""
More = Callable[[int], None]
"""Asks for room for this many bytes more."""

FLEET_PREFIX: Final = "/v1/fleet/"
FLEET_PATHS: Final = frozenset(FLEET_PREFIX + name for name in (
    "activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages", "get-run", "get-fab",
    "push-object", "pull-object", "confirm-message-received"))
"""What a node needs. Registering nodes is the coordinator's business, and not done from outside."""
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "expect",
                         "proxy-authenticate", "proxy-authorization", "content-length"})
"""Headers between two neighbours, that a proxy keeps to itself (RFC 9110, 7.6.1)."""
_SOURCES: Final = 4096
log = logging.getLogger("leelight.proxy")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a proxy lets through.

    Attributes:
        body_bytes: of a request or an answer.
        bodies: of the largest size, that all requests under way may fill together; the same again for all answers.
        bodies_of_one: of these, those of one source.
        requests_a_second: from one source, on average.
        burst: requests that one source may send at once.
        seconds: for an answer of the server behind.
        body_seconds: for a request's body to come in whole, and for an answer to be fetched.
    """

    body_bytes: int = 64_000_000
    bodies: int = 8
    bodies_of_one: int = 4
    requests_a_second: float = 50.0
    burst: int = 200
    seconds: float = 60.0
    body_seconds: float = 600.0


class Buckets:
    """Token buckets by source; the least recently seen sources are forgotten.

    Args:
        limits: rate and burst.
        clock: seconds that only go up; replaced in tests.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, source: str) -> bool:
        """Whether one more request of this source may pass now."""
        now = self._clock()
        left, seen = self._left.pop(source, (float(self._limits.burst), now))
        left = min(float(self._limits.burst), left + (now - seen) * self._limits.requests_a_second)
        allowed = left >= 1.0
        self._left[source] = (left - 1.0 if allowed else left, now)
        while len(self._left) > _SOURCES:
            self._left.popitem(last=False)
        return allowed


class TooLarge(Exception):
    """A body beyond the limit."""


class NoRoom(Exception):
    """A body for which there is no room beside those under way."""


class Room:
    """What is held in memory for all that is under way, in bytes, by source.

    Args:
        limits: size of a body, and how many of them there is room for.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, source: str) -> Iterator[More]:
        """Room for something of `source`: call what this gives with each number of bytes more.

        Raises:
            NoRoom: by the call, if all together, or what is held for this source, would be too much.
        """
        mine = 0

        def more(size: int) -> None:
            nonlocal mine
            limits = self._limits
            if (self._held.total() + size > limits.bodies * limits.body_bytes
                    or self._held[source] + size > limits.bodies_of_one * limits.body_bytes):
                raise NoRoom
            mine += size
            self._held[source] += size

        try:
            yield more
        finally:
            self._held[source] -= mine
            if not self._held[source]:
                del self._held[source]


class Unusable(Exception):
    """An answer that is neither 200 nor an error, or is packed."""


class Proxy:
    """An ASGI application in front of one server.

    Args:
        upstream: base address of the server behind, `https://host:port`.
        tls: how its certificate is checked.
        paths: that pass, by POST; everything else is answered 404.
        limits: see there.
        look: sees each answer with status 200 of the listed paths.
        health: a path of the proxy's own, answered with 200.
    """

    def __init__(self, upstream: str, *, tls: SSLContext, paths: Collection[str], limits: Limits,
                 look: Look | None = None, health: str | None = None) -> None:
        self._client = httpx.AsyncClient(base_url=upstream, verify=tls, timeout=limits.seconds, trust_env=False,
                                         # One jar for all who ask: nothing may go in.
                                         cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                                         limits=httpx.Limits(max_connections=256, max_keepalive_connections=64))
        self._paths, self._limits, self._look, self._health = frozenset(paths), limits, look, health
        self._buckets = Buckets(limits)
        # Apart, as what was asked in full must not be lost for want of room for "yes".
        self._asked, self._answered = Room(limits), Room(limits)

    async def close(self) -> None:
        await self._client.aclose()

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        """ASGI."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        source = _source(request)
        with self._asked.hold(source) as more_asked, self._answered.hold(source) as more_answered:
            answer = await self.answer(request, more_asked, more_answered)
            try:
                async with asyncio.timeout(self._limits.body_seconds):
                    await answer(scope, receive, send)
            except TimeoutError:
                log.warning("an answer was not fetched in %g seconds", self._limits.body_seconds)

    async def answer(self, request: Request, more_asked: More, more_answered: More) -> Response:
        """What one request gets; there is asked for room for what comes, and what comes back."""
        # As it was sent: no decoding, no host and no query can make a listed path of another.
        path, query = request.scope["path"], request.scope["query_string"]
        if request.scope.get("raw_path", path.encode()) != path.encode() or query:
            path = ""
        if path == self._health and request.method == "GET":
            return Response(b"ok\n", media_type="text/plain")
        if path not in self._paths or request.method != "POST":
            return Response(b"not here\n", status_code=404, media_type="text/plain")
        if not self._buckets.allows(_source(request)):
            return _again_later("too many requests")
        try:
            return await self._answer_of(path, request, more_asked, more_answered)
        except NoRoom:
            return _again_later("too much at once")
        except TooLarge:
            return Response(b"too large\n", status_code=413)
        except TimeoutError:
            return Response(b"too slow\n", status_code=503, headers={"connection": "close"})
        except ClientDisconnect:
            return Response(status_code=499)
        except (httpx.HTTPError, Unusable) as error:
            log.warning("no answer from behind for %s: %s", path, type(error).__name__)
            return Response(b"nobody answers\n", status_code=502)

    async def _answer_of(self, path: str, request: Request, more_asked: More, more_answered: More) -> Response:
        async with asyncio.timeout(self._limits.body_seconds):
            body = await self._read(request, more_asked)
        headers = dict(request.headers)
        found = await self.forward(path, body, headers, more_answered)
        seen: httpx.Response | Response = found
        if self._look is not None and found.status_code == 200:
            seen = await self._look(path, body, headers, found)
        return seen if isinstance(seen, Response) else _passed_on(seen)

    async def forward(self, path: str, body: bytes, headers: dict[str, str],
                      more: More | None = None) -> httpx.Response:
        """Ask the server behind; `more` is told how many bytes came.

        Raises:
            TooLarge: if its answer is beyond the limit.
            NoRoom: if `more` has none for it.
            Unusable: if its answer cannot be passed on.
            httpx.HTTPError: if it does not answer.
        """
        async with self._client.stream("POST", path, content=body, headers=_asked_with(headers)) as found:
            # What was packed small can be of any size unpacked, so nothing packed is asked for.
            if (found.status_code != 200 and found.status_code < 400) or "content-encoding" in found.headers:
                raise Unusable
            held = bytearray()
            async for part in found.aiter_raw():
                if more is not None:
                    more(len(part))
                held += part
                if len(held) > self._limits.body_bytes:
                    raise TooLarge
        return httpx.Response(found.status_code, headers=found.headers, content=bytes(held))

    async def _read(self, request: Request, more: More) -> bytes:
        held = bytearray()
        declared = request.headers.get("content-length", "0")
        # Python reads digits of other scripts as numbers, too, and refuses to read very long ones.
        if not declared.isdecimal() or len(declared) > 12 or int(declared) > self._limits.body_bytes:
            raise TooLarge
        async for part in request.stream():
            more(len(part))
            held += part
            if len(held) > self._limits.body_bytes:
                raise TooLarge
        return bytes(held)


def _source(request: Request) -> str:
    return request.client.host if request.client else ""


def _again_later(why: str) -> Response:
    # 503, as a node tries that again and takes anything else for a refusal.
    return Response(f"{why}\n".encode(), status_code=503, headers={"retry-after": "1"})


def _asked_with(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    own = _HOP | {"accept-encoding"} | {name.strip().lower() for name in headers.get("connection", "").split(",")}
    kept = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
            if name.lower() not in own]
    return [*kept, (b"accept-encoding", b"identity")]


def _passed_on(found: httpx.Response) -> Response:
    own = _HOP | {name.strip().lower() for name in found.headers.get("connection", "").split(",")}
    answer = Response(found.content, status_code=found.status_code)
    answer.raw_headers += [(name, value) for name, value in found.headers.raw
                           if name.decode("latin-1").lower() not in own]
    return answer
