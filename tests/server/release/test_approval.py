"""Signatures under a release: what they cover, and their one text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.identity import verify
from federation.journal import Anchor
from server.release.approval import Approval, Signatures, Statement
from tests.server.release.homes import COORDINATOR, PEOPLE, SIGNERS, STRANGER

STATEMENT = Statement(plan_sha256="1" * 64, content_sha256="2" * 64, files={"a.csv": "3" * 64, "b.csv": "4" * 64},
                      drafted=Anchor(sequence=3, hash="5" * 64))
ANNA, BEN = (Approval.sign(STATEMENT, name, PEOPLE[name]) for name in ("anna", "ben"))
SIGNED = Signatures.seal_with(COORDINATOR, STATEMENT, (BEN, ANNA), "6" * 64)


def test_a_signature_is_under_one_statement_and_for_one_purpose() -> None:
    assert ANNA.fits(STATEMENT)
    for other in ({"plan_sha256": "0" * 64}, {"content_sha256": "0" * 64}, {"files": {"a.csv": "3" * 64}},
                  {"drafted": Anchor(sequence=4, hash="5" * 64)}, {"drafted": Anchor(sequence=3, hash="0" * 64)}):
        assert not ANNA.fits(STATEMENT.model_copy(update=other))
    assert verify(ANNA.public_key, "release-approval", STATEMENT.to_json(), ANNA.signature)
    assert not verify(ANNA.public_key, "release-seal", STATEMENT.to_json(), ANNA.signature)


def test_a_signer_is_a_name_with_its_key() -> None:
    assert ANNA.of(SIGNERS)
    assert not ANNA.model_copy(update={"name": "ben"}).of(SIGNERS)
    assert not Approval.sign(STATEMENT, "anna", STRANGER).of(SIGNERS)


def test_a_seal_covers_everything_beside_it() -> None:
    assert SIGNED.sealed
    assert [one.name for one in SIGNED.approvals] == ["anna", "ben"]
    for other in ({"approvals": (ANNA,)}, {"approvals": (BEN, ANNA)}, {"journal_sha256": "0" * 64},
                  {"public_key": STRANGER.public}, {"statement": STATEMENT.model_copy(update={"files": {}})},
                  {"seal": ANNA.signature}):
        assert not SIGNED.model_copy(update=other).sealed


def test_a_manifest_names_every_other_file() -> None:
    assert SIGNED.manifest("journal.jsonl") == {**STATEMENT.files, "journal.jsonl": "6" * 64}


def test_there_is_one_text() -> None:
    text = SIGNED.to_text()
    assert Signatures.read(text) == SIGNED
    for other in (text + b"\n", text.replace(b"\n", b""), text.replace(b'"seal"', b' "seal"'), text[:-1],
                  json.dumps(json.loads(text)).encode(), text.replace(b"anna", b"ANNA"), b"", b"{}", b"[" * 100_000,
                  json.dumps({**json.loads(text), "note": "x"}, indent=1, sort_keys=True).encode() + b"\n"):
        with pytest.raises(ValueError, match="ignatures"):
            Signatures.read(other)


@given(st.data())
def test_no_byte_can_be_changed_unseen(data: st.DataObject) -> None:
    text = SIGNED.to_text()
    spot, bit = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 7))
    try:
        found = Signatures.read(text[:spot] + bytes([text[spot] ^ 1 << bit]) + text[spot + 1:])
    except ValueError:
        return
    assert not found.sealed
