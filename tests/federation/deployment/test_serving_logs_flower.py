"""Small servers, logs without anybody's text, and the surroundings that Flower's programs get."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from federation.deployment import flower, logs
from federation.deployment.flower import QUIET, program, surroundings
from federation.deployment.logs import log_to
from federation.deployment.serving import bound, free_port, port_of, served, trusting
from federation.errors import InputError
from tests.federation.deployment.stands import OK, saying, stand


async def _hello(scope: dict[str, object], receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"hello"})  # type: ignore[operator]


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with bound("127.0.0.1", 0) as listener:
        listener.listen()
        with pytest.raises(InputError, match=f"127.0.0.1:{port_of(listener)}: cannot be listened on") as caught:
            bound("127.0.0.1", port_of(listener))
        assert "another address" in caught.value.remedy
    with pytest.raises(InputError, match="cannot be listened on"):
        bound("192.0.2.1", 8443)
    with bound("127.0.0.1", free_port()):
        pass


def test_a_server_is_there_while_the_block_runs_and_says_little_of_itself() -> None:
    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async def play() -> bytes:
        listener = bound("127.0.0.1", 0)
        port = port_of(listener)
        async with served(_hello, listener):
            answer = await ask(port)
        with pytest.raises(OSError, match=r"refused|Connect"):
            await ask(port)
        return answer

    answer = asyncio.run(play()).lower()
    assert b"\r\nhello\r\n" in answer
    assert b"server:" not in answer
    assert b"date:" not in answer


def test_a_server_without_a_key_that_fits_does_not_start(keys: Path, others: Path) -> None:
    async def play() -> None:
        async with served(_hello, bound("127.0.0.1", 0), certificate=keys / "server.crt", key=others / "server.key"):
            raise RuntimeError("it started")

    with pytest.raises(ssl.SSLError):
        asyncio.run(play())


def test_trust_is_in_one_authority_a_name_and_today(keys: Path) -> None:
    context = trusting(keys / "ca.crt")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1


def test_plain_http_is_not_answered(keys: Path) -> None:
    async def play() -> bytes:
        async with stand(keys, saying(OK)) as made:
            reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
            assert made.behind.asked == []
            return answer

    assert b"HTTP/1.1 200" not in asyncio.run(play())


# Logs


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    logger = logging.getLogger("leelight")
    before = (logger.level, logger.handlers, logger.propagate)
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.level, logger.handlers, logger.propagate = before


def test_an_event_is_a_line_and_no_exceptions_text_is_in_it(tmp_path: Path, ours: logging.Logger,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    log_to(tmp_path / "logs" / "node.jsonl")
    try:
        raise ValueError("row 17: what somebody wrote")
    except ValueError:
        logging.getLogger("leelight.gate").exception("failed: %s", "ValueError\x1b[2J\nforged")
    logging.getLogger("leelight.gate").info("quiet")
    logging.getLogger("leelight.gate").debug("not at all")
    lines = [json.loads(line) for line in (tmp_path / "logs" / "node.jsonl").read_text().splitlines()]
    assert [(line["level"], line["from"], line["event"]) for line in lines] == [
        ("error", "leelight.gate", "failed: ValueError\x1b[2J\nforged"), ("info", "leelight.gate", "quiet")]
    assert set(lines[0]) == {"at", "level", "from", "event"}
    said = capsys.readouterr().err
    assert said == "failed: ValueError [2J forged\n"
    everything = said + (tmp_path / "logs" / "node.jsonl").read_text()
    assert "row 17" not in everything
    assert "Traceback" not in everything


def test_every_log_file_is_private(tmp_path: Path, ours: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_BYTES", 300)
    log_to(tmp_path / "logs" / "node.jsonl")
    for number in range(20):
        logging.getLogger("leelight.x").info("event %d", number)
    files = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert files == ["node.jsonl", "node.jsonl.1", "node.jsonl.2", "node.jsonl.3"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "logs").iterdir()} == {0o600}
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700


# Surroundings


def test_flowers_programs_call_nobody_and_know_nothing_of_the_users_flower(tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_HOME", "/elsewhere")
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    monkeypatch.setenv("FLWR_ENABLE_EVENT_LOG", "1")
    monkeypatch.setenv("MINE", "kept")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    found = surroundings(tmp_path, {"EXTRA": "1"})
    assert {name for name in found if name.startswith("FLWR_")} == {
        *(name for name in QUIET if name.startswith("FLWR_")), "FLWR_HOME", "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"}
    assert QUIET.items() <= found.items()
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    with httpx.Client() as client:
        # As Flower's client finds its way: through nobody.
        assert not any(client._mounts.values())
    assert (found["FLWR_HOME"], found["MINE"], found["EXTRA"]) == (str(tmp_path), "kept", "1")


def test_programs_are_those_beside_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    assert Path(program("flwr")).parent == Path(sys.executable).parent
    monkeypatch.setattr(flower.shutil, "which", lambda *_, **__: None)
    with pytest.raises(InputError, match="flwr: is not installed"):
        program("flwr")
