"""A signature that fits one reply to one question."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from federation.canonical import canonical_json, sha256_hex
from federation.identity import verify
from federation.messages import OK, TRAIN, Reply, Request, reply_bytes
from federation.signed_replies import is_signed, sign_reply
from tests.worlds import partner_key

REQUEST = Request(plan_sha256="a" * 64, round_number=3)
REPLY = Reply(code=OK, partner="partner-0", arrays={"w": np.arange(4, dtype=np.float32)})
SIGNED = sign_reply(REPLY, REQUEST, TRAIN, partner_key(0))


def test_the_statement_is_the_documented_one() -> None:
    statement = canonical_json({
        "plan_sha256": "a" * 64, "action": "train", "round": 3, "nonce": REQUEST.nonce, "code": "ok",
        "partner": "partner-0", "holds_sha256": sha256_hex(reply_bytes(REPLY))})
    assert verify(partner_key(0).public, "reply", statement, SIGNED.signature)
    assert is_signed(SIGNED, REQUEST, TRAIN, partner_key(0).public)


def test_nonces_are_fresh() -> None:
    assert len({Request(plan_sha256="a" * 64, round_number=3).nonce for _ in range(100)}) == 100


@pytest.mark.parametrize("changes", [
    {"code": "busy"}, {"partner": "partner-1"}, {"arrays": None}, {"payload": b""}, {"signature": ""},
    {"arrays": {"w": np.arange(4, dtype=np.float32) + 1}}, {"arrays": {"v": np.arange(4, dtype=np.float32)}},
    {"arrays": {"w": np.arange(4, dtype=np.float32).reshape(2, 2)}}, {"signature": "z" * 128},
    {"table": np.zeros(3, dtype=np.int64)}, {"signature": "0" * 128},
])
def test_another_reply_is_not_signed(changes: dict[str, Any]) -> None:
    assert not is_signed(replace(SIGNED, **changes), REQUEST, TRAIN, partner_key(0).public)


@pytest.mark.parametrize("changes", [{"plan_sha256": "b" * 64}, {"round_number": 4}, {"nonce": "0" * 32}])
def test_another_question_is_not_answered(changes: dict[str, Any]) -> None:
    assert not is_signed(SIGNED, replace(REQUEST, **changes), TRAIN, partner_key(0).public)
    assert not is_signed(SIGNED, REQUEST, "query.table", partner_key(0).public)
    assert not is_signed(SIGNED, REQUEST, TRAIN, partner_key(1).public)
