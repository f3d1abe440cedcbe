"""What a stranger, a slow one, a liar and a broken server get from the proxy, and what gets through it."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import ssl
from collections.abc import Coroutine
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.deployment import proxy as module
from federation.deployment.proxy import FLEET_PATHS, FLEET_PREFIX, Buckets, Limits
from tests.federation.deployment.stands import OK, Asked, response, saying, stand, status_of

GET_RUN = "/v1/fleet/get-run"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def within(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


# What passes


@pytest.fixture(scope="module")
def flower_routes() -> frozenset[str]:
    """Every path that Flower's SuperLink answers on its one port."""
    from flwr.superlink.main import create_app

    app = create_app()
    return frozenset(app.openapi()["paths"]) | {str(path) for one in app.routes if (path := getattr(one, "path", None))}


def test_flower_has_the_paths_that_are_listed_and_none_for_nodes_that_was_overlooked(flower_routes: frozenset[str]
                                                                                     ) -> None:
    fleet = {path for path in flower_routes if path.startswith(FLEET_PREFIX)}
    assert fleet - FLEET_PATHS == {f"{FLEET_PREFIX}register-node", f"{FLEET_PREFIX}unregister-node"}
    assert fleet >= FLEET_PATHS
    assert {"/docs", "/openapi.json", "/v1/control/start-run", "/v1/runtime/acquire-task"} <= flower_routes


def test_of_all_that_flower_answers_only_what_nodes_need_passes(keys: Path, flower_routes: frozenset[str]) -> None:
    async def ask() -> tuple[dict[tuple[str, str], int], list[Asked]]:
        async with stand(keys, saying(OK)) as made, made.client() as client:
            found = {}
            for path in sorted(flower_routes):
                # Every method for what nodes need and for what is worst; of the rest, those that Flower answers.
                every = path.startswith(FLEET_PREFIX) or path.endswith(("/start-run", "/acquire-task", "/docs"))
                for method in METHODS if every else ("GET", "POST"):
                    found[method, path] = (await client.request(method, re.sub(r"\{.*?\}", "1", path))).status_code
            return found, made.behind.asked

    found, asked = within(ask())
    passed = {one for one, status in found.items() if status == 200}
    assert passed == {("POST", path) for path in FLEET_PATHS} | {("GET", "/health")}
    assert {status for one, status in found.items() if one not in passed} == {404}
    assert sorted(one.path for one in asked) == sorted(FLEET_PATHS)


TRICKS = (
    "/v1/fleet/../control/start-run", "/v1/fleet/get-run/../../control/start-run", "/v1/fleet/get-run/..",
    "//v1/fleet/get-run", "/v1//fleet/get-run", "/v1/fleet//get-run", "/v1/fleet/get-run/", "/v1/fleet/./get-run",
    "/v1/fleet/get%2Drun", "/v1%2Ffleet%2Fget-run", "/%76%31/fleet/get-run", "/v1/fleet/%2e%2e/control/start-run",
    "/v1/fleet/get-run%2f..%2f..%2fcontrol%2fstart-run", "/v1/fleet/get-run?x=1", "/v1/fleet/get-run%3Fx",
    "/v1/fleet/get-run;x", "/v1/fleet/..;/control/start-run", "/V1/FLEET/GET-RUN", "/v1/fleet/Get-Run",
    "/v1/fleet/get-run#x", "/v1/fleet/get-run%00", "/v1/fleet/get-run%20", "/v1/fleet/get-run%0d%0aX:%20y",
    "/v1/fleet/get-run\\..\\control", "https://localhost/v1/control/start-run", "https://localhost/v1/fleet/get-run",
    "http://other.example/v1/fleet/get-run", "*", "/", "/v1/fleet", "/v1/fleet/", "/v1/fleet/register-node",
    "/v1/fleet/get-ru%6E", "/v1/fleet/get-run\xe9",
)


def test_no_trick_with_a_path_passes(keys: Path) -> None:
    async def ask() -> tuple[dict[str, int], list[Asked]]:
        async with stand(keys, saying(OK)) as made:
            return {target: await made.ask(target) for target in TRICKS}, made.behind.asked

    found, asked = within(ask())
    assert {target: status for target, status in found.items() if status not in {400, 404}} == {}
    assert asked == []


@pytest.mark.parametrize("host", ["x/v1/fleet/get-run#", "x/v1/fleet/get-run?", "x#/v1/fleet/get-run", "", "[", "a@b"])
def test_a_host_does_not_change_what_path_was_asked_for(keys: Path, host: str) -> None:
    async def ask() -> tuple[int, list[Asked]]:
        async with stand(keys, saying(OK)) as made:
            return await made.ask("/v1/control/start-run", host=host), made.behind.asked

    status, asked = within(ask())
    assert status in {400, 404}
    assert asked == []


def test_http_1_0_is_held_to_the_same(keys: Path) -> None:
    async def ask() -> tuple[int, int]:
        async with stand(keys, saying(OK)) as made:
            return await made.ask(GET_RUN, http="1.0"), await made.ask("/v1/control/start-run", http="1.0")

    assert within(ask()) == (200, 404)


def test_no_other_protocol_is_spoken(keys: Path) -> None:
    upgrade = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")

    async def ask() -> tuple[int, int, list[Asked]]:
        async with stand(keys, saying(OK)) as made:
            return (await made.ask(GET_RUN, method="GET", headers=upgrade, body=b""),
                    await made.ask("/health", method="CONNECT", body=b""), made.behind.asked)

    assert within(ask()) == (404, 404, [])


def test_a_websocket_is_not_answered_by_the_application() -> None:
    async def open_one() -> list[Any]:
        sent: list[Any] = []
        made = module.Proxy("https://127.0.0.1:1", tls=ssl.create_default_context(), paths=FLEET_PATHS,
                            limits=Limits())
        await made({"type": "websocket", "path": GET_RUN}, None, sent.append)
        await made.close()
        return sent

    assert within(open_one()) == []


def test_health_is_the_proxys_own(keys: Path) -> None:
    async def ask() -> tuple[list[int], list[Asked]]:
        async with stand(keys, saying(OK)) as made:
            return [await made.ask("/health", method=method, body=b"") for method in ("GET", "POST", "HEAD")] + [
                await made.ask("/health?x", method="GET", body=b"")], made.behind.asked

    assert within(ask()) == ([200, 404, 404, 404], [])


# Bodies


SMALL = Limits(body_bytes=1000, burst=100_000, seconds=10.0)


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def told(*headers: str) -> bytes:
    return "\r\n".join([f"POST {GET_RUN} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]).encode()


@pytest.mark.parametrize(("sent", "status", "seen"), [
    (told("Content-Length: 1000") + b"x" * 1000, 200, [b"x" * 1000]),
    (told("Content-Length: 1001") + b"x" * 1001, 413, []),
    (told("Content-Length: 999999999999999999") + b"x", 413, []),
    (told("Transfer-Encoding: chunked") + chunked(b"x" * 400, b"y" * 600), 200, [b"x" * 400 + b"y" * 600]),
    (told("Transfer-Encoding: chunked") + chunked(b"x" * 400, b"y" * 601), 413, []),
    (told("Content-Length: 3") + b"abcdefPOST /v1/control/start-run HTTP/1.1\r\n\r\n", 200, [b"abc"]),
    (told("Content-Length: 3", "Content-Length: 3") + b"abc", 200, [b"abc"]),
    (told("Content-Length: 3", "Content-Length: 4") + b"abcd", 400, []),
    (told("Content-Length: 3, 4") + b"abcd", 400, []),
    (told("Content-Length: -1") + b"abc", 400, []),
    (told("Content-Length: +3") + b"abc", 400, []),
    (told("Content-Length: 0x3") + b"abc", 400, []),
    (told("Content-Length: " + "9" * 5000) + b"abc", 400, []),
    (told("Transfer-Encoding: gzip") + b"abc", 501, []),
    (told("Transfer-Encoding: chunked, chunked") + chunked(b"abc"), 501, []),
    (told("Transfer-Encoding : chunked") + chunked(b"abc"), 400, []),
    (told("Transfer-Encoding: chunked") + b"zz\r\nabc\r\n0\r\n\r\n", 0, []),
    (told("X: a\r\n b: c"), 200, [b""]),
    (told("X" * 700_000 + ": y"), 400, []),
])
def test_a_body_is_taken_for_what_it_is_and_not_for_what_it_says(keys: Path, sent: bytes, status: int,
                                                                 seen: list[bytes]) -> None:
    async def ask() -> tuple[int, list[bytes]]:
        async with stand(keys, saying(OK), limits=SMALL) as made:
            return status_of(await made.say(sent)), [one.body for one in made.behind.asked]

    found, asked = within(ask())
    assert asked == seen
    assert found == status or (found == 400 and status in {0, 501})


def test_a_length_and_chunks_together_make_one_request_behind(keys: Path) -> None:
    smuggled = b"POST /v1/control/start-run HTTP/1.1\r\nHost: x\r\n\r\n"

    async def ask() -> list[Asked]:
        async with stand(keys, saying(OK), limits=SMALL) as made:
            for length in ("3", "5", "400"):
                head = told(f"Content-Length: {length}", "Transfer-Encoding: chunked")
                await made.say(head + b"0\r\n\r\n" + smuggled)
            return made.behind.asked

    for one in within(ask()):
        assert one.path == GET_RUN
        assert smuggled not in one.body
        assert one.header("transfer-encoding") == []
        assert one.header("content-length") == [str(len(one.body))]


def test_a_client_that_goes_away_is_not_passed_on(keys: Path) -> None:
    async def ask() -> list[Asked]:
        async with stand(keys, saying(OK), limits=SMALL) as made:
            await made.say(told("Content-Length: 500") + b"half", then_close=True)
            assert await made.ask(GET_RUN, body=b"whole") == 200
            return made.behind.asked

    assert [one.body for one in within(ask())] == [b"whole"]


def test_a_client_that_does_not_finish_is_let_go(keys: Path) -> None:
    limits = Limits(body_seconds=0.2, burst=100_000)

    async def ask() -> tuple[bytes, list[Asked]]:
        async with stand(keys, saying(OK), limits=limits) as made:
            return await made.say(told("Content-Length: 500") + b"half"), made.behind.asked

    answer, asked = within(ask())
    assert status_of(answer) == 503
    assert b"connection: close" in answer.lower()
    assert asked == []


@pytest.mark.parametrize("declared", [1001, 10**12 + 1])
@pytest.mark.parametrize("text", ["²", "٣", "", "1" * 13, "-1"])
def test_what_is_no_length_is_too_large(declared: int, text: str) -> None:
    from starlette.requests import Request

    async def read(said: str) -> None:
        made = module.Proxy("https://127.0.0.1:1", tls=ssl.create_default_context(), paths=FLEET_PATHS,
                            limits=SMALL)
        scope = {"type": "http", "headers": [(b"content-length", said.encode("latin-1", "ignore"))]}
        await made._read(Request(scope, None), lambda size: None)  # type: ignore[arg-type]

    for said in (str(declared), text):
        with pytest.raises(module.TooLarge):
            within(read(said))


def test_who_sends_much_at_once_has_no_more_room_and_gets_it_back(keys: Path) -> None:
    limits = Limits(body_bytes=1000, bodies=3, bodies_of_one=2, burst=100_000)
    head = told("Content-Length: 1000")

    async def ask() -> tuple[list[int], list[int], list[int]]:
        async with stand(keys, saying(OK), limits=limits) as made:
            asked = made.behind.asked
            # Two that dawdle over the last of what they send leave no room for a third, a small one comes through.
            slow = [asyncio.create_task(made.say(head + b"x" * 990, 0.8, b"x" * 10)) for _ in range(2)]
            await asyncio.sleep(0.4)
            crowded = [status_of(await made.say(head + b"y" * 1000)), await made.ask(GET_RUN, body=b"z" * 5)]
            before = [status_of(await one) for one in slow]
            after = [status_of(await made.say(head + b"w" * 1000)) for _ in range(4)]
            assert [one.body[:1] for one in asked] == [b"z", b"x", b"x", *[b"w"] * 4]
            assert made.proxy._asked._held == made.proxy._answered._held == {}
            return crowded, before, after

    assert within(ask()) == ([503, 200], [200, 200], [200] * 4)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 1500), max_size=4), st.booleans()),
                max_size=12))
def test_no_source_and_not_all_together_hold_more_than_there_is_room_for(
        asked: list[tuple[str, list[int], bool]]) -> None:
    limits = Limits(body_bytes=1000, bodies=3, bodies_of_one=2)
    room = module.Room(limits)
    held: dict[int, tuple[str, int, ExitStack]] = {}
    for number, (source, sizes, stays) in enumerate(asked):
        stack = ExitStack()
        more = stack.enter_context(room.hold(source))
        mine = 0
        for size in sizes:
            of_all = sum(one[1] for one in held.values()) + mine
            of_one = sum(one[1] for one in held.values() if one[0] == source) + mine
            if of_all + size <= 3000 and of_one + size <= 2000:
                more(size)
                mine += size
            else:
                with pytest.raises(module.NoRoom):
                    more(size)
        held[number] = (source, mine, stack)
        if not stays:
            held.pop(number)[2].close()
    for _, _, stack in held.values():
        stack.close()
    assert room._held == {}


def test_answers_for_which_there_is_no_room_are_not_held(keys: Path) -> None:
    limits = Limits(body_bytes=1000, bodies=2, bodies_of_one=1, burst=100_000)

    async def in_two_parts(asked: Asked, writer: asyncio.StreamWriter) -> None:
        whole = response(200, b"x" * 600)
        writer.write(whole[:-100])
        await writer.drain()
        await asyncio.sleep(0.6)
        writer.write(whole[-100:])

    async def ask() -> list[int]:
        async with stand(keys, in_two_parts, limits=limits) as made:
            first = asyncio.create_task(made.ask(GET_RUN))
            await asyncio.sleep(0.3)
            second = asyncio.create_task(made.ask(GET_RUN))
            return [await first, await second, await made.ask(GET_RUN, body=b"x" * 1000)]

    # The first one's rest finds the room filled by the second, and leaves.
    assert within(ask()) == [503, 200, 200]


def test_an_answer_that_nobody_fetches_is_let_go(keys: Path, caplog: pytest.LogCaptureFixture) -> None:
    from starlette.types import Message

    async def never(message: Message) -> None:
        await asyncio.sleep(60)

    async def ask() -> None:
        proxy = module.Proxy("https://127.0.0.1:1", tls=ssl.create_default_context(), paths=FLEET_PATHS,
                             limits=Limits(body_seconds=0.2), health="/health")
        await proxy({"type": "http", "method": "GET", "path": "/health", "query_string": b"", "headers": []},
                    never, never)
        assert proxy._asked._held == proxy._answered._held == {}

    within(ask())
    assert "not fetched" in caplog.text


# Answers


@pytest.mark.parametrize("answer", [
    response(200, b"x" * 1001),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(b"x" * 600, b"x" * 600),
    b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b"x" * 1001,
])
def test_an_answer_that_is_too_large_is_not_passed_on(keys: Path, answer: bytes) -> None:
    async def ask() -> int:
        async with stand(keys, saying(answer), limits=SMALL) as made:
            return await made.ask(GET_RUN)

    assert within(ask()) == 413


@pytest.mark.parametrize("packing", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
def test_nothing_packed_is_asked_for_nor_unpacked(keys: Path, packing: str) -> None:
    bomb = gzip.compress(bytes(100_000_000), 1)[:900]

    async def ask() -> tuple[int, list[Asked]]:
        async with stand(keys, saying(response(200, bomb, b"content-encoding: " + packing.encode())),
                         limits=SMALL) as made:
            return await made.ask(GET_RUN, headers="Accept-Encoding: gzip, br\r\n"), made.behind.asked

    status, asked = within(ask())
    assert status == 502
    assert [one.header("accept-encoding") for one in asked] == [["identity"]]


@pytest.mark.parametrize("status", [201, 202, 203, 204, 206, 226, 300, 301, 302, 303, 304, 305, 307, 308])
def test_an_answer_that_nobody_looked_at_does_not_pass(keys: Path, status: int) -> None:
    """Flower's nodes follow redirections, out of the proxy's sight, and take any 2xx for an answer."""
    async def never(*_: Any) -> Any:
        raise RuntimeError("only answers with 200 are looked at")

    async def ask() -> tuple[bytes, int]:
        answer = response(status, b"" if status in {204, 304} else b"evil", b"location: https://other.example/")
        async with stand(keys, saying(answer), look=never) as made:
            return await made.say(told("Content-Length: 1") + b"x"), len(made.behind.asked)

    answer, asked = within(ask())
    assert (status_of(answer), asked) == (502, 1)
    assert b"evil" not in answer
    assert b"location" not in answer.lower()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 412, 429, 500, 503])
def test_an_error_passes_with_its_words_and_is_not_looked_at(keys: Path, status: int) -> None:
    async def never(*_: Any) -> Any:
        raise RuntimeError("only answers with 200 are looked at")

    async def ask() -> bytes:
        async with stand(keys, saying(response(status, b'{"code":23}')), look=never) as made:
            return await made.say(told("Content-Length: 1") + b"x")

    answer = within(ask())
    assert status_of(answer) == status
    assert answer.endswith(b'{"code":23}')


def test_who_looks_sees_the_question_and_can_put_another_answer_in_place(keys: Path) -> None:
    from starlette.responses import Response

    seen = []

    async def look(path: str, body: bytes, headers: dict[str, str], found: Any) -> Any:
        seen.append((path, body, headers["x-mine"], found.content))
        return Response(b"no", status_code=403)

    async def ask() -> bytes:
        async with stand(keys, saying(OK), look=look) as made:
            return await made.say(told("Content-Length: 3", "X-Mine: yes") + b"abc")

    answer = within(ask())
    assert status_of(answer) == 403
    assert b"fine" not in answer
    assert seen == [(GET_RUN, b"abc", "yes", b"fine")]


async def _cut(_: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()


async def _mute(_: Asked, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3)


@pytest.mark.parametrize("answer", [_cut, _mute, saying(b""), saying(b"\x00\x01"), saying(b"HTTP/1.1 XYZ\r\n\r\n"),
                                    saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n")])
def test_a_server_that_fails_is_a_502_and_no_text_goes_out(keys: Path, answer: Any, caplog: pytest.LogCaptureFixture
                                                          ) -> None:
    limits = Limits(seconds=0.3, burst=100_000)

    async def ask() -> bytes:
        async with stand(keys, answer, limits=limits) as made:
            return await made.say(told("Content-Length: 1") + b"x")

    with caplog.at_level(logging.INFO, "leelight"):
        found = within(ask())
    assert status_of(found) == 502
    assert found.endswith(b"\r\n\r\nnobody answers\n")
    said = [record.getMessage() for record in caplog.records if record.name == "leelight.proxy"]
    assert len(said) == 1
    assert re.fullmatch(rf"no answer from behind for {GET_RUN}: \w+", said[0])


def test_a_server_that_is_not_there_is_a_502(keys: Path) -> None:
    async def ask() -> int:
        async with stand(keys, saying(OK), dead=True) as made:
            return await made.ask(GET_RUN)

    assert within(ask()) == 502


def test_only_the_right_server_is_spoken_to(keys: Path, others: Path, expired: Path) -> None:
    async def ask(**how: Any) -> tuple[int, int]:
        async with stand(keys, saying(OK), **how) as made:
            return await made.ask(GET_RUN), len(made.behind.asked)

    assert within(ask()) == (200, 1)
    assert within(ask(behind=others)) == (502, 0)
    assert within(ask(trusted=others)) == (502, 0)
    assert within(ask(behind=expired, trusted=expired)) == (502, 0)
    # The certificate names 127.0.0.1 and no other address.
    assert within(ask(host="127.0.0.2")) == (502, 0)


# Headers


def test_headers_between_neighbours_stay_there(keys: Path) -> None:
    mine = ["Keep-Alive: 5", "TE: trailers", "Trailer: X", "Upgrade: h2c", "Proxy-Authorization: Basic eA==",
            "Proxy-Authenticate: x", "Expect: 100-continue", "X-Between: secret", "X-Kept: caf\xe9"]
    sent = "\r\n".join([f"POST {GET_RUN} HTTP/1.1", "Host: evil.example", "Connection: close, X-Between", *mine,
                        "Content-Length: 3", "", "abc"]).encode("latin-1")

    async def ask() -> list[Asked]:
        async with stand(keys, saying(OK)) as made:
            answer = await made.say(sent)
            assert b" 200 " in answer
            return made.behind.asked

    asked, = within(ask())
    names = {name for name, _ in asked.headers}
    assert names.isdisjoint({"keep-alive", "te", "trailer", "upgrade", "proxy-authorization", "proxy-authenticate",
                             "expect", "x-between", "transfer-encoding"})
    assert asked.header("x-kept") == ["caf\xe9"]
    assert all("evil" not in value for _, value in asked.headers)
    assert asked.header("content-length") == ["3"]


def test_headers_of_an_answer_come_whole_whatever_is_in_them(keys: Path) -> None:
    answer = response(200, b"fine", b"x-plain: one", b"x-plain: two", "x-euro: \u20ac".encode(), b"x-byte: \xff",
                      b"keep-alive: 5", b"upgrade: h2c", b"x-between: y", b"connection: x-between")

    async def ask() -> bytes:
        async with stand(keys, saying(answer)) as made:
            return await made.say(told("Content-Length: 1") + b"x")

    found = within(ask())
    assert status_of(found) == 200
    for line in (b"x-plain: one\r\n", b"x-plain: two\r\n", "x-euro: \u20ac\r\n".encode(), b"x-byte: \xff\r\n"):
        assert line in found
    for name in (b"keep-alive:", b"upgrade:", b"x-between:"):
        assert name not in found


def test_no_cookie_of_one_node_reaches_another(keys: Path) -> None:
    async def ask() -> list[Asked]:
        async with stand(keys, saying(response(200, b"fine", b"set-cookie: a=1; Path=/"))) as made:
            for _ in range(2):
                await made.ask(GET_RUN)
            return made.behind.asked

    assert [one.header("cookie") for one in within(ask())] == [[], []]


def test_the_ways_of_this_machine_to_the_world_are_not_taken(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def ask() -> int:
        async with stand(keys, saying(OK)) as made:
            return await made.ask(GET_RUN)

    assert within(ask()) == 200


# How often


def test_too_many_requests_of_one_source_are_turned_away_unread(keys: Path) -> None:
    limits = Limits(requests_a_second=1e-9, burst=3)

    async def ask() -> tuple[list[int], bytes, int, list[int]]:
        async with stand(keys, saying(OK), limits=limits) as made:
            found = [await made.ask(GET_RUN) for _ in range(4)]
            answer = await made.say(told("Content-Length: 100000"))
            rest = [await made.ask("/health", method="GET", body=b""), await made.ask("/docs", method="GET", body=b"")]
            return found, answer, len(made.behind.asked), rest

    found, answer, asked, rest = within(ask())
    assert found == [200, 200, 200, 503]
    assert status_of(answer) == 503
    assert b"retry-after: 1\r\n" in answer
    assert asked == 3
    assert rest == [200, 404]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40)), max_size=60), st.integers(1, 5),
       st.sampled_from([0.125, 0.5, 1.0, 4.0]))
def test_buckets_agree_with_a_naive_twin(events: list[tuple[str, int]], burst: int, rate: float) -> None:
    """Of all that came from a source, each allowed request used up one of `burst` plus what flowed in since."""
    now = 0.0
    buckets = Buckets(Limits(burst=burst, requests_a_second=rate), lambda: now)
    left: dict[str, tuple[Fraction, float]] = {}
    for source, pause in events:
        now += pause / 8
        tokens, seen = left.get(source, (Fraction(burst), now))
        tokens = min(Fraction(burst), tokens + (Fraction(now) - Fraction(seen)) * Fraction(rate))
        assert buckets.allows(source) == (tokens >= 1)
        left[source] = (tokens - 1 if tokens >= 1 else tokens, now)


@given(st.lists(st.integers(0, 16), min_size=1, max_size=100), st.integers(1, 4))
def test_no_more_than_burst_and_rate_pass_in_any_span(pauses: list[int], burst: int) -> None:
    now = 0.0
    buckets = Buckets(Limits(burst=burst, requests_a_second=2.0), lambda: now)
    allowed = []
    for pause in pauses:
        now += pause / 8
        if buckets.allows("a"):
            allowed.append(now)
    for first, start in enumerate(allowed):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= burst + 2.0 * (allowed[last] - start)


def test_the_source_that_was_seen_least_recently_is_forgotten_first() -> None:
    buckets = Buckets(Limits(burst=1, requests_a_second=1e-9), lambda: 0.0)
    assert buckets.allows("first")
    assert buckets.allows("second")
    for number in range(module._SOURCES - 2):
        buckets.allows(str(number))
    assert not buckets.allows("first")
    assert buckets.allows("one more")
    assert len(buckets._left) == module._SOURCES
    assert not buckets.allows("first")
    assert buckets.allows("second"), "it was forgotten"
