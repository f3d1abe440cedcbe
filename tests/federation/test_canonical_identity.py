from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.canonical import canonical_json
from federation.errors import InputError
from federation.identity import SigningKey, read_secret, verify, write_secret

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(
        alphabet=st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=5), inner, max_size=4), max_leaves=12)


@given(json_values)
def test_canonical_json_is_a_fixed_point(value: object) -> None:
    once = canonical_json(value)
    assert canonical_json(json.loads(once)) == once


@given(st.dictionaries(st.text(alphabet="abc", max_size=3), st.integers(0, 9)))
def test_key_order_does_not_matter(value: dict[str, int]) -> None:
    assert canonical_json(dict(reversed(list(value.items())))) == canonical_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, {"a": -math.inf}], 2**53 + 1])
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|Out of range"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: 2}, {"a": {3}}, object(), b"x"])
def test_foreign_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_signature_fits_its_message_and_purpose_alone(message: bytes, other: bytes) -> None:
    key = SigningKey.from_bytes(b"k" * 32)
    signature = key.sign("study-plan", message)
    assert verify(key.public, "study-plan", message, signature)
    assert not verify(key.public, "release", message, signature)
    assert verify(key.public, "study-plan", other, signature) == (other == message)


def test_ed25519_agrees_with_rfc_8032() -> None:
    # RFC 8032, section 7.1, test 1: the public key of this seed.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert SigningKey.from_bytes(seed).public == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.mark.parametrize("bad", ["", "zz", "00" * 31, "00" * 64])
def test_malformed_keys_and_signatures_are_false_not_errors(bad: str) -> None:
    key = SigningKey.from_bytes(b"k" * 32)
    assert not verify(bad, "p", b"m", key.sign("p", b"m"))
    assert not verify(key.public, "p", b"m", bad)


def test_secrets_are_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_secret(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_secret(path, b"two")
    assert read_secret(path) == b"one"
    path.chmod(0o640)
    with pytest.raises(InputError, match="0640"):
        read_secret(path)
    with pytest.raises(InputError, match=r"missing.* What to do: bring it back from a backup"):
        read_secret(tmp_path / "none")
    with pytest.raises(InputError, match="What to do: start again"):
        read_secret(tmp_path / "none", lost="start again")


def test_a_file_that_holds_no_key_is_said_to_hold_none(tmp_path: Path) -> None:
    write_secret(tmp_path / "key", b"k" * 31)
    with pytest.raises(InputError, match=r"holds 31 bytes.*exactly 32"):
        SigningKey.load(tmp_path / "key")
