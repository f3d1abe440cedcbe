"""An export of a ledger, in the hands of somebody who trusts neither side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clients.ledger import Audit, Stage, verify_export
from federation.canonical import canonical_json
from federation.errors import RefusalCode
from federation.identity import SigningKey
from tests.clients.ledgers import KEY, WIDE, Work, ask, open_ledger, refusal_of, study

UNUSABLE = RefusalCode.LEDGER_UNUSABLE


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    with open_ledger(folder) as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
        ledger.answer(ask(study(), stage=Stage.TABLE), ceilings=WIDE, work=Work())
    return folder



@pytest.fixture
def export(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    with open_ledger(home) as ledger:
        ledger.export(path)
    shutil.rmtree(home)
    return path


def test_an_export_can_be_checked_by_anybody(home: Path, tmp_path: Path) -> None:
    with open_ledger(home) as ledger:
        ledger.export(tmp_path / "x.jsonl")
        own = ledger.verify_full()
        with pytest.raises(FileExistsError):
            ledger.export(tmp_path / "x.jsonl")
    shutil.rmtree(home)
    found = verify_export(tmp_path / "x.jsonl", KEY.public)
    assert found == replace(own, replies_checked=0)
    assert b"reply 1" not in (tmp_path / "x.jsonl").read_bytes()


def test_a_fresh_account_can_be_exported_and_checked(tmp_path: Path) -> None:
    with open_ledger(tmp_path) as ledger:
        ledger.export(tmp_path / "x.jsonl")
    found = verify_export(tmp_path / "x.jsonl", KEY.public)
    assert (found.entries, found.epsilon, found.renyi_epsilon) == (1, 0.0, 0.0)


def test_any_changed_byte_of_an_export_is_seen(export: Path) -> None:
    raw = export.read_bytes()
    for position in [*range(0, len(raw), 31), len(raw) - 1]:
        damaged = bytearray(raw)
        damaged[position] ^= 0x01
        export.write_bytes(bytes(damaged))
        assert refusal_of(lambda: verify_export(export, KEY.public)).code is UNUSABLE


@pytest.mark.parametrize("change", [
    lambda lines: [], lambda lines: lines[:-1], lambda lines: lines[:-2] + lines[-1:], lambda lines: lines[1:],
    lambda lines: lines + lines[-1:], lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    lambda lines: [b" " + lines[0], *lines[1:]], lambda lines: [lines[0].replace(b'{"body"', b'{"seq":1,"body"', 1),
                                                                *lines[1:]],
    lambda lines: [b"[" * 100_000 + b"\n", *lines], lambda lines: [b"7\n", *lines[1:]], lambda lines: lines[-1:],
    # The number is not under the hash: it is the place in the chain, and is checked as that.
    lambda lines: [*lines[:-2], canonical_json({**json.loads(lines[-2]), "seq": 77}) + b"\n", lines[-1]],
    lambda lines: [canonical_json({**json.loads(lines[0]), "seq": "1"}) + b"\n", *lines[1:]],
    lambda lines: [canonical_json({**json.loads(lines[0]), "hash": 1}) + b"\n", *lines[1:]],
])
def test_an_export_with_other_lines_is_refused(
    export: Path, change: Callable[[list[bytes]], list[bytes]],
) -> None:
    export.write_bytes(b"".join(change(export.read_bytes().splitlines(keepends=True))))
    assert refusal_of(lambda: verify_export(export, KEY.public)).code is UNUSABLE


def test_an_export_is_checked_against_the_key_that_is_trusted(export: Path) -> None:
    assert isinstance(verify_export(export, KEY.public), Audit)
    stranger = SigningKey.from_bytes(b"q" * 32).public
    assert refusal_of(lambda: verify_export(export, stranger)).code is UNUSABLE
