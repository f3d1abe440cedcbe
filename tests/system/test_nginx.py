"""The shipped nginx configuration, in front of a coordinator's kind of server: what passes, and what does not.

nginx runs as it is installed, unprivileged, on ports of this machine; only addresses, ports and paths are put in.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from flwr.superlink.main import create_app

from federation.deployment.certificates import make_authority, make_server_certificate
from federation.deployment.proxy import FLEET_PATHS
from federation.deployment.serving import bound, free_port, port_of, served, trusting

SHIPPED = Path(__file__).parents[2] / "docs" / "deploy" / "nginx.conf"
HOME = "/var/lib/leelight-coordinator/home/network"
MEGABYTE = 1_000_000


class Recorder:
    """An ASGI application that notes what reaches it, and answers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, int]] = []
        self.headers: dict[str, str] = {}

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        """Note method, raw path, address of the asker and length of the body."""
        if scope["type"] != "http":
            return
        length, more = 0, True
        while more:
            event = await receive()
            length, more = length + len(event.get("body", b"")), event.get("more_body", False)
        self.seen.append((scope["method"], scope["raw_path"].decode(), scope["client"][0], length))
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"from behind"})


class Site:
    """nginx before a recorder. `stranger` has connected from an address of its own, so that limits do not mix."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.recorder = folder, free_port(), Recorder()
        self.tls = trusting(folder / "ca.crt")
        self._strangers = 1

    def stranger(self) -> str:
        """An address of this machine that nobody has connected from."""
        self._strangers += 1
        return f"127.0.0.{self._strangers}"

    def connection(self, source: str) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=30,
                                           source_address=(source, 0))

    def ask(self, method: str, path: str, source: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = self.connection(source)
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def raw(self, text: bytes, source: str) -> bytes:
        """What comes back for these very bytes."""
        with (socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(source, 0)) as plain,
              self.tls.wrap_socket(plain, server_hostname="localhost") as secure):
            secure.sendall(text)
            found = b""
            with suppress(TimeoutError, ConnectionError):
                while part := secure.recv(65_536):
                    found += part
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
    make_authority(folder, "test authority")
    make_server_certificate(folder, ("localhost",))
    site = Site(folder)
    listener = bound("127.0.0.1", 0)
    stop, up = asyncio.Event(), threading.Event()
    loop = asyncio.new_event_loop()

    async def behind() -> None:
        async with served(site.recorder, listener, certificate=folder / "server.crt", key=folder / "server.key"):
            up.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(behind(),))
    thread.start()
    assert up.wait(60)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    configured = _configured(folder, site.port, port_of(listener))
    running = subprocess.Popen([program, "-p", str(folder), "-c", str(configured), "-e", str(folder / "error.log")])
    try:
        _wait_for(site.port, running)
        yield site
    finally:
        running.terminate()
        running.wait(timeout=30)
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _configured(folder: Path, port: int, behind: int) -> Path:
    """The shipped file with this test's ports and paths, inside the least of a main file."""
    text = SHIPPED.read_text(encoding="utf-8")
    for shipped, here in (("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
                          ("server 127.0.0.1:8443", f"server 127.0.0.1:{behind}"), (HOME, str(folder)),
                          ("/var/log/nginx/leelight.log", str(folder / "access.log")),
                          # So slow that no slow machine is under it: what counts here is the burst.
                          ("rate=50r/s", "rate=1r/m")):
        assert shipped in text
        text = text.replace(shipped, here)
    (folder / "leelight.conf").write_text(text, encoding="utf-8")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};"
                          for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = folder / "main.conf"
    main.write_text(f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
                    f"events {{}}\nhttp {{\n{temporary}\ninclude {folder}/leelight.conf;\n}}\n", encoding="utf-8")
    return main


def _wait_for(port: int, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and running.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError("nginx did not start; its words are above")


def test_the_list_is_that_of_the_software() -> None:
    listed = re.findall(r'"~\^(\w+) (/\S+?)\$"\s+1;', SHIPPED.read_text(encoding="utf-8"))
    assert len(listed) == len(set(listed))
    assert set(listed) == {("POST", path) for path in FLEET_PATHS} | {("GET", "/health")}


@pytest.mark.long
def test_what_nodes_need_passes_and_keeps_its_headers(site: Site) -> None:
    source = site.stranger()
    for path in sorted(FLEET_PATHS):
        assert site.ask("POST", path, source, b"x" * 1000, **{"flwr-signature": "s", "flwr-public-key": "k"}) == (
            200, b"from behind")
        assert site.recorder.seen[-1] == ("POST", path, source, 1000)
        assert (site.recorder.headers["flwr-signature"], site.recorder.headers["flwr-public-key"]) == ("s", "k")
    assert site.ask("GET", "/health", source) == (200, b"from behind")


@pytest.mark.long
def test_nobody_can_say_to_be_at_another_address(site: Site) -> None:
    source = site.stranger()
    path = min(FLEET_PATHS)
    assert site.ask("POST", path, source, **{"X-Forwarded-For": "10.1.2.3"})[0] == 200
    assert site.recorder.seen[-1][2] == source


@pytest.mark.long
def test_every_other_route_of_flower_is_refused(site: Site) -> None:
    routes = sorted({*create_app().openapi()["paths"], "/openapi.json", "/docs", "/redoc", "/metrics", "/"})
    assert {path for path in routes if path.startswith("/v1/fleet/")} > FLEET_PATHS
    before = len(site.recorder.seen)
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
        source = site.stranger()
        for path in routes:
            if (method, path) != ("GET", "/health") and (method != "POST" or path not in FLEET_PATHS):
                assert site.ask(method, path, source)[0] == 404, (method, path)
    assert len(site.recorder.seen) == before


@pytest.mark.long
@pytest.mark.parametrize("path", [
    "/v1/fleet/../control/start-run", "/v1/fleet/%2e%2e/control/start-run", "/v1/fleet/pull-messages/../get-run",
    "/v1/fleet//get-run", "//v1/fleet/get-run", "/v1/fleet/get-run/", "/v1/fleet/get-run?x=1", "/v1/fleet/get-run?",
    "/v1/fleet/get%2drun", "/v1/fleet/get-run%00", "/v1/fleet/get-run;x", "/v1/fleet/..;/control/start-run",
    "/V1/FLEET/GET-RUN", "/v1/fleet/get-run%2f..%2f..%2fcontrol%2fstart-run", "/v1/fleet/./get-run",
    "/v1/fleet/register-node", "/v1/fleet/unregister-node", "/v1/fleet/get-run%0a", "/v1/fleet/get-run#x"])
def test_no_spelling_of_a_path_gets_around_the_list(site: Site, path: str) -> None:
    before = len(site.recorder.seen)
    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    answer = site.raw(request.encode(), site.stranger())
    assert answer.split(b" ", 2)[1] in {b"400", b"404"}, answer[:100]
    assert len(site.recorder.seen) == before


@pytest.mark.long
@pytest.mark.parametrize("request_", [
    b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST /v1/fleet/get-run HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"CONNECT 127.0.0.1:8000 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /v1/control/start-run\r\n\r\n"])
def test_no_request_in_bad_form_gets_through(site: Site, request_: bytes) -> None:
    before = len(site.recorder.seen)
    answer = site.raw(request_, site.stranger())
    assert b" 200 " not in answer[:20]
    assert len(site.recorder.seen) == before


@pytest.mark.long
def test_no_second_request_hides_in_a_body_and_no_connection_changes_its_protocol(site: Site) -> None:
    before = len(site.recorder.seen)
    hidden = b"POST /v1/control/start-run HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    answer = site.raw(b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                      b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden, site.stranger())
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [(path, length) for _, path, _, length in site.recorder.seen[before:]] == [
        ("/v1/fleet/get-run", len(hidden))]
    assert "upgrade" not in site.recorder.headers


@pytest.mark.long
def test_plain_http_and_old_tls_are_refused(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as plain:
        plain.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert b"200" not in plain.recv(64)
    old = trusting(site.folder / "ca.crt")
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.long
def test_a_gigabyte_is_refused_declared_or_not(site: Site) -> None:
    before = len(site.recorder.seen)
    answer = site.raw(b"POST /v1/fleet/push-object HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n",
                      site.stranger())
    assert answer.startswith(b"HTTP/1.1 413 ")
    connection = site.connection(site.stranger())
    part = b"x" * MEGABYTE
    with suppress(OSError, http.client.HTTPException):
        connection.request("POST", "/v1/fleet/push-object", body=(part for _ in range(1000)), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})
        assert connection.getresponse().status == 413
    connection.close()
    assert len(site.recorder.seen) == before


@pytest.mark.long
def test_what_the_coordinator_allows_passes(site: Site) -> None:
    assert site.ask("POST", "/v1/fleet/push-object", site.stranger(), b"x" * 64 * MEGABYTE)[0] == 200
    assert site.recorder.seen[-1][3] == 64 * MEGABYTE


@pytest.mark.long
def test_who_asks_too_often_is_told_to_come_again_and_nobody_else_is(site: Site) -> None:
    source = site.stranger()
    connection = site.connection(source)
    statuses = set()
    for _ in range(300):
        connection.request("POST", "/v1/fleet/get-run", body=b"")
        answer = connection.getresponse()
        answer.read()
        statuses.add(answer.status)
        if answer.status == 503:
            break
    connection.close()
    assert statuses == {200, 503}
    assert site.ask("POST", "/v1/fleet/get-run", site.stranger())[0] == 200


@pytest.mark.long
def test_one_address_has_so_many_connections_and_no_more(site: Site) -> None:
    source = site.stranger()
    # A connection counts while its request is under way: these wait for a body that does not come.
    held = []
    for _ in range(64):
        plain = site.tls.wrap_socket(socket.create_connection(("127.0.0.1", site.port), source_address=(source, 0)),
                                     server_hostname="localhost")
        plain.sendall(b"POST /v1/fleet/get-run HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        held.append(plain)
    # Far fewer requests than may come at once, so that no other limit answers.
    for _ in range(100):
        if (status := site.ask("POST", "/v1/fleet/get-run", source)[0]) != 200:
            break
        time.sleep(0.1)
    assert status == 503
    for plain in held:
        plain.close()
