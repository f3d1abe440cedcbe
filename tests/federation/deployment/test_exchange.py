"""Invitations and enrolments: believed only as they were signed, by whom they were to be signed."""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from federation.deployment.certificates import make_authority, make_node_key, node_public_key
from federation.deployment.exchange import Enrolment, Invitation, check_address
from federation.errors import InputError
from federation.identity import SigningKey
from tests.worlds import COORDINATOR, partner_key, roster


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder, "a")
    return (folder / "ca.crt").read_text()


@pytest.fixture(scope="module")
def invitation(authority: str) -> Invitation:
    return Invitation.sign(COORDINATOR, coordinator="north-desk", address="leelight.example.org:8443",
                           authority=authority)


@pytest.fixture(scope="module")
def enrolment(tmp_path_factory: pytest.TempPathFactory) -> Enrolment:
    folder = tmp_path_factory.mktemp("node")
    make_node_key(folder)
    return Enrolment.sign(partner_key(0), entry=roster(1)[0], node_key=node_public_key(folder), synthetic=True)


def read(path: Path, kind: str) -> Invitation | Enrolment:
    return Invitation.read(path, coordinator_key=COORDINATOR.public) if kind == "invitation" else Enrolment.read(path)


@pytest.mark.parametrize("kind", ["invitation", "enrolment"])
def test_what_was_signed_reads_back(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    signed, path = request.getfixturevalue(kind), tmp_path / "file.json"
    path.write_bytes(signed.to_text())
    assert read(path, kind) == signed
    path.write_text(json.dumps(json.loads(signed.to_text()), indent=3))
    assert read(path, kind) == signed, "white space is not what was signed"


@pytest.mark.parametrize("kind", ["invitation", "enrolment"])
def test_one_byte_changed_anywhere_is_refused(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    text, path = request.getfixturevalue(kind).to_text().rstrip(), tmp_path / "file.json"
    for place in range(len(text)):
        path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1:])
        with pytest.raises(InputError) as caught:
            read(path, kind)
        assert caught.value.name == str(path)
        assert "ask the" in caught.value.remedy


def leaves(tree: Any, *way: Any) -> list[tuple[Any, ...]]:
    if isinstance(tree, dict):
        return [leaf for name, value in tree.items() for leaf in leaves(value, *way, name)]
    if isinstance(tree, list):
        return [leaf for place, value in enumerate(tree) for leaf in leaves(value, *way, place)]
    return [way]


@pytest.mark.parametrize("kind", ["invitation", "enrolment"])
def test_each_field_left_out_added_or_of_another_type_is_refused(tmp_path: Path, kind: str,
                                                                 request: pytest.FixtureRequest) -> None:
    signed, path = json.loads(request.getfixturevalue(kind).to_text()), tmp_path / "file.json"
    for way in leaves(signed):
        for value in (None, [], {}, 2, 0.5, "", True, "x"):
            tree = json.loads(json.dumps(signed))
            part = tree
            for step in way[:-1]:
                part = part[step]
            if part[way[-1]] == value:
                continue
            part[way[-1]] = value
            path.write_text(json.dumps(tree))
            with pytest.raises(InputError):
                read(path, kind)
    for name in signed:
        path.write_text(json.dumps({other: value for other, value in signed.items() if other != name}))
        if name in {"invitation_version", "enrolment_version"}:
            assert read(path, kind) == request.getfixturevalue(kind), "the version that there is"
            continue
        with pytest.raises(InputError):
            read(path, kind)
    path.write_text(json.dumps(signed | {"more": 1}))
    with pytest.raises(InputError, match="more"):
        read(path, kind)


def test_an_invitation_counts_only_from_the_pinned_coordinator(tmp_path: Path, authority: str, invitation: Invitation
                                                               ) -> None:
    path, other = tmp_path / "file.json", SigningKey.generate()
    path.write_bytes(Invitation.sign(other, coordinator="north-desk", address="leelight.example.org:8443",
                                     authority=authority).to_text())
    with pytest.raises(InputError, match="telephone") as caught:
        read(path, "invitation")
    assert other.public[:16] in caught.value.problem
    assert COORDINATOR.public[:16] in caught.value.bound
    # Under the pinned key's name, but signed by another.
    path.write_bytes(invitation.model_copy(update={"signature": other.sign("invitation", invitation.body())}).to_text())
    with pytest.raises(InputError, match="changed after it was signed"):
        read(path, "invitation")
    for purpose in ("enrolment", "study-plan"):
        path.write_bytes(invitation.model_copy(
            update={"signature": COORDINATOR.sign(purpose, invitation.body())}).to_text())
        with pytest.raises(InputError, match="changed after it was signed"):
            read(path, "invitation")


def test_an_enrolment_counts_only_under_the_key_in_it(tmp_path: Path, enrolment: Enrolment) -> None:
    path = tmp_path / "file.json"
    for key, purpose in ((partner_key(1), "enrolment"), (partner_key(0), "invitation")):
        path.write_bytes(enrolment.model_copy(update={"signature": key.sign(purpose, enrolment.body())}).to_text())
        with pytest.raises(InputError, match="changed after it was signed"):
            read(path, "enrolment")


@pytest.mark.parametrize("kind", ["invitation", "enrolment"])
@pytest.mark.parametrize(("content", "words"), [
    (b"", "is not an"), (b"{}", "is not an"), (b"[]", "is not an"), (b"\xff\xfe", "is not an"), (b"null", "is not an"),
    (b"[" * 50_000, "is not an"), (b" " * 64_001, "larger"), (None, "cannot be read")])
def test_a_file_that_is_none_is_named(tmp_path: Path, kind: str, content: bytes | None, words: str) -> None:
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read(path, kind)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path, kind)


@pytest.mark.parametrize("days", [2, -4000])
def test_an_authority_out_of_its_time_is_refused(tmp_path: Path, days: int) -> None:
    make_authority(tmp_path, "a", now=datetime.now(UTC) + timedelta(days=days))
    with pytest.raises(ValidationError, match="time"):
        Invitation.sign(COORDINATOR, coordinator="north-desk", address="a:1",
                        authority=(tmp_path / "ca.crt").read_text())


# Addresses

SIGN = st.sampled_from("abcxyzABCXYZ0189")
LABEL = st.builds(lambda first, inner, last: first + inner + last, SIGN, st.text("ab-Z09", max_size=61), SIGN)
PORT = st.integers(1, 65_535)


@given(st.lists(LABEL, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "org"])), PORT)
def test_names_with_a_port_are_addresses(host: str, port: int) -> None:
    assert check_address(f"{host}:{port}") == f"{host}:{port}"


@given(st.ip_addresses(v=4), PORT)
def test_so_are_ipv4_addresses(host: ipaddress.IPv4Address, port: int) -> None:
    assert check_address(f"{host}:{port}")


@given(st.ip_addresses(v=6), PORT)
def test_ipv6_addresses_have_to_have_a_name(host: ipaddress.IPv6Address, port: int) -> None:
    for text in (f"{host}:{port}", f"[{host}]:{port}"):
        with pytest.raises(ValueError, match="host:port"):
            check_address(text)


@pytest.mark.parametrize("text", [
    "", ":", "a", "a:", ":1", "a:0", "a:65536", "a:99999999999", "a:-1", "a:+1", "a: 1", "a:1 ", " a:1", "a:1\n",
    "a:01", "a:1.0", "a:١", "a:²", "a:x", "-a:1", "a-:1", "a..b:1", ".a:1", "a.:1", "a_b:1", "a/b:1", "a@b:1", "a:b:1",
    "http://a:1", "é:1", "a\x00:1", "a" * 64 + ":1", ".".join(["a" * 60] * 5) + ":1", "1.2.3:1", "256.1.1.1:1",
    "1.2.3.4.5:1", "01.2.3.4:1", "[::1]:1", "a?b:1", "a#:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the words for numbers are ipaddress's
        check_address(text)


@given(st.text(max_size=20), st.text(max_size=8))
def test_nothing_that_is_taken_could_be_more_than_a_host_and_a_port_in_a_url(host: str, port: str) -> None:
    from urllib.parse import urlsplit

    text = f"{host}:{port}"
    try:
        check_address(text)
    except ValueError:
        return
    parts = urlsplit(f"https://{text}")
    assert (parts.hostname, parts.port, parts.path, parts.query, parts.fragment) == (
        host.lower(), int(port), "", "", "")
