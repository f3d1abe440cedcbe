"""Who is enrolled, who comes back, and whom the SuperLink is told to let in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from flwr.proto.control_pb2 import ListNodesResponse, RegisterNodeResponse, UnregisterNodeResponse

from federation.deployment.certificates import make_authority, make_node_key, node_public_key
from federation.deployment.exchange import Enrolment
from federation.errors import InputError
from federation.identity import SigningKey
from federation.journal import PartnerEnrolled, PartnerRevoked
from federation.plan_parts import RosterEntry
from server.coordinator import CoordinatorHome
from server.deployment.control import Control, has_ended
from server.deployment.enrolled import Enrolled
from server.deployment.running import admit
from tests.worlds import partner_key, roster


def node_key(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    make_node_key(folder / name)
    return node_public_key(folder / name)


@pytest.fixture(scope="module")
def node_keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("nodes")
    return [node_key(folder, str(number)) for number in range(4)]


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    return CoordinatorHome.create(tmp_path / "home")


@pytest.fixture
def enrolled(home: CoordinatorHome) -> Enrolled:
    return Enrolled(home)


def enrolment(number: int, node: str, *, key: SigningKey | None = None, **changes: Any) -> Enrolment:
    key = key or partner_key(number)
    entry = RosterEntry(**{**dict(roster(number + 1)[number]), "public_key": key.public, **changes})
    return Enrolment.sign(key, entry=entry, node_key=node, synthetic=True)


def take(enrolled: Enrolled, one: Enrolment) -> bool:
    return enrolled.enrol(one, key=one.entry.public_key)


def refused(enrolled: Enrolled, one: Enrolment) -> str:
    before = sorted((path.name, path.read_bytes()) for path in enrolled.folder.glob("**/*.json"))
    with pytest.raises(InputError) as caught:
        take(enrolled, one)
    assert sorted((path.name, path.read_bytes()) for path in enrolled.folder.glob("**/*.json")) == before
    return str(caught.value)


def test_a_partner_is_enrolled_once_in_the_same_way(home: CoordinatorHome, enrolled: Enrolled, node_keys: list[str]
                                                   ) -> None:
    first = enrolment(0, node_keys[0])
    assert [take(enrolled, first), take(enrolled, first)] == [True, False]
    assert enrolled.partners() == (first,)
    changed = enrolment(0, node_keys[0], slots=64)
    assert take(enrolled, changed)
    assert enrolled.partners() == (changed,)
    assert [entry.facts for entry in home.entries()][1:] == [
        PartnerEnrolled(partner="partner-0", public_key=first.entry.public_key)] * 2
    assert enrolled.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("said", "fits"), [
    (lambda key: key, True), (lambda key: key[:16], True), (lambda key: key[:40].upper(), True),
    (lambda key: key[:15], False), (lambda key: "", False), (lambda key: "0" * 16, False),
    (lambda key: key[:16] + "x", False), (lambda key: key + "0", False), (lambda key: key[1:], False)])
def test_the_key_has_to_be_as_the_partner_said(enrolled: Enrolled, node_keys: list[str], said: Any, fits: bool) -> None:
    one = enrolment(0, node_keys[0])
    if fits:
        assert enrolled.enrol(one, key=said(one.entry.public_key))
        return
    with pytest.raises(InputError, match="--key") as caught:
        enrolled.enrol(one, key=said(one.entry.public_key))
    assert "telephone" in caught.value.bound
    assert one.entry.public_key[:8] not in str(caught.value), "the answer is not in the question"
    assert enrolled.partners() == ()


def test_neither_a_name_nor_a_key_is_taken_twice(enrolled: Enrolled, node_keys: list[str]) -> None:
    take(enrolled, enrolment(0, node_keys[0]))
    take(enrolled, enrolment(1, node_keys[1]))
    assert "the name is that of partner-0" in refused(enrolled, enrolment(0, node_keys[2], key=SigningKey.generate()))
    assert "the key is that of partner-0" in refused(enrolled, enrolment(2, node_keys[2], key=partner_key(0)))
    assert "the node key is that of partner-1" in refused(enrolled, enrolment(2, node_keys[1]))
    assert "the node key is that of partner-1" in refused(enrolled, enrolment(0, node_keys[1]))


def test_who_was_turned_away_does_not_come_back_in_any_way(home: CoordinatorHome, enrolled: Enrolled,
                                                           node_keys: list[str]) -> None:
    first = enrolment(0, node_keys[0])
    take(enrolled, first)
    assert enrolled.revoke("partner-0") == first
    assert (enrolled.partners(), enrolled.revoked(), enrolled.given_up()) == ((), (first,), ())
    assert isinstance(home.entries()[-1].facts, PartnerRevoked)
    for same in (first, enrolment(0, node_keys[1]), enrolment(0, node_keys[1], slots=64)):
        said = refused(enrolled, same)
        assert "turned away for good" in said
        assert "--new-key" not in said, "no way around a revocation is shown"
    assert "the name is that of" in refused(enrolled, enrolment(0, node_keys[1], key=SigningKey.generate()))
    assert "the key is that of" in refused(enrolled, enrolment(1, node_keys[1], key=partner_key(0)))
    assert "the node key is that of" in refused(enrolled, enrolment(1, node_keys[0]))


def test_whose_node_key_was_lost_comes_back_as_itself_with_another(home: CoordinatorHome, enrolled: Enrolled,
                                                                   node_keys: list[str]) -> None:
    first, second, third = (enrolment(0, key) for key in node_keys[:3])
    take(enrolled, first)
    assert enrolled.revoke("partner-0", node_key_only=True) == first
    assert (enrolled.partners(), enrolled.revoked(), enrolled.given_up()) == ((), (), (first,))
    assert isinstance(home.entries()[-1].facts, PartnerRevoked)
    assert "node key was given up" in refused(enrolled, first)
    assert "the name is that of" in refused(enrolled, enrolment(0, node_keys[1], key=SigningKey.generate()))
    assert take(enrolled, second)
    assert take(enrolled, third), "one that is replaced is given up, too"
    assert (enrolled.partners(), enrolled.given_up()) == ((third,), (first, second))
    for old in (first, second):
        assert "node key was given up" in refused(enrolled, old)
    enrolled.revoke("partner-0")
    assert "turned away for good" in refused(enrolled, enrolment(0, node_keys[3]))


@pytest.mark.parametrize("name", ["nobody", "", "revoked/partner-0.1", "../partners/partner-1", "/etc/passwd", "*"])
def test_only_names_of_enrolled_partners_are_turned_away(enrolled: Enrolled, node_keys: list[str], name: str) -> None:
    take(enrolled, enrolment(0, node_keys[0]))
    enrolled.revoke("partner-0")
    take(enrolled, enrolment(1, node_keys[1]))
    with pytest.raises(InputError, match="is not enrolled") as caught:
        enrolled.revoke(name)
    assert caught.value.bound == "partner-1"
    assert (len(enrolled.partners()), len(enrolled.revoked())) == (1, 1)


def test_a_file_that_was_changed_or_renamed_is_noticed(enrolled: Enrolled, node_keys: list[str]) -> None:
    take(enrolled, enrolment(0, node_keys[0]))
    path = enrolled.folder / "partner-0.json"
    text = path.read_text()
    path.write_text(text.replace('"slots":32', '"slots":64'))
    with pytest.raises(InputError, match="changed after it was signed"):
        enrolled.partners()
    path.write_text(text)
    path.rename(enrolled.folder / "partner-1.json")
    with pytest.raises(InputError, match="is the enrolment of partner-0"):
        enrolled.partners()


# The SuperLink


class SuperLink:
    """Flower's own application, in this process, behind `Control`."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from flwr.superlink.main import create_app

        self._app = create_app()
        make_authority(home, "a")
        self.control = Control(port=1, authority=home / "ca.crt")
        monkeypatch.setattr(self.control, "_client", self)

    def _ask(self, path: str, request: Any, response: Any) -> Any:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://x") as client:
                return await client.post(f"/v1/control/{path}", content=request.SerializeToString(),
                                         headers={"content-type": "application/protobuf"})

        return response.FromString(asyncio.run(ask()).raise_for_status().content)

    def ListNodes(self, request: Any) -> Any:
        return self._ask("list-nodes", request, ListNodesResponse)

    def RegisterNode(self, request: Any) -> Any:
        return self._ask("register-node", request, RegisterNodeResponse)

    def UnregisterNode(self, request: Any) -> Any:
        return self._ask("unregister-node", request, UnregisterNodeResponse)

    def inside(self) -> set[str]:
        return {one.node_key for one in self.control.nodes()}


@pytest.fixture
def superlink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SuperLink:
    return SuperLink(tmp_path, monkeypatch)


def test_exactly_who_is_enrolled_is_inside(superlink: SuperLink, enrolled: Enrolled, node_keys: list[str]) -> None:
    take(enrolled, enrolment(0, node_keys[0]))
    take(enrolled, enrolment(1, node_keys[1]))
    admit(superlink.control, enrolled)
    assert superlink.inside() == {node_keys[0], node_keys[1]}
    before = superlink.control.nodes()
    admit(superlink.control, enrolled)
    assert superlink.control.nodes() == before, "a coordinator that starts again lets nobody in twice"
    enrolled.revoke("partner-0", node_key_only=True)
    admit(superlink.control, enrolled)
    assert superlink.inside() == {node_keys[1]}
    take(enrolled, enrolment(0, node_keys[2]))
    admit(superlink.control, enrolled)
    assert superlink.inside() == {node_keys[2], node_keys[1]}


def test_a_partner_that_joined_with_a_new_key_is_inside_with_that_one_alone(
        superlink: SuperLink, enrolled: Enrolled, node_keys: list[str]) -> None:
    take(enrolled, enrolment(0, node_keys[0]))
    admit(superlink.control, enrolled)
    take(enrolled, enrolment(0, node_keys[1]))
    admit(superlink.control, enrolled)
    assert superlink.inside() == {node_keys[1]}


def test_a_superlink_that_does_not_answer_is_said(tmp_path: Path, enrolled: Enrolled) -> None:
    make_authority(tmp_path, "a")
    with pytest.raises(InputError, match=r"SuperLink: did not answer about the list of nodes \(ConnectError\)"):
        admit(Control(port=1, authority=tmp_path / "ca.crt"), enrolled)


@pytest.mark.parametrize(("status", "over"), [
    ("finished:completed", True), ("finished:failed", True), ("running", False), ("starting", False),
    ("pending", False), ("unknown", False)])
def test_which_status_is_an_end(status: str, over: bool) -> None:
    assert has_ended(status) is over
