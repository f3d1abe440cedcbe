"""A journal as it is written and read back: its form, its acts, and what a sound one says."""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from federation.errors import InputError
from federation.journal import (
    Act,
    Anchor,
    Answered,
    DraftWithdrawn,
    Facts,
    Head,
    Opened,
    PlanApproved,
    PlanSigned,
    Refused,
    ReleaseDrafted,
    ReleasePublished,
    ReleaseSigned,
    Side,
    StudyRun,
    head_path,
    read_head,
    read_journal,
    verify_journal,
)
from federation.journal.acts import FACTS
from federation.journal.entries import read_entry
from tests.federation.journals import (
    COORDINATORS,
    KEY,
    PARTNERS,
    START,
    STRANGER,
    A,
    Clock,
    act,
    as_file,
    history,
    open_journal,
)


def naive_line(number: int, at: str, name: str, facts: dict[str, Any], previous: str) -> bytes:
    """A line made without any of our code."""
    def dumped(value: dict[str, Any]) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    body = {"sequence": number, "at": at, "act": name, "facts": facts, "previous": previous}
    signature = Ed25519PrivateKey.from_private_bytes(b"j" * 32).sign(b"leelight/journal/v1\n" + dumped(body))
    return dumped({**body, "signature": signature.hex()})


def test_a_journal_equals_its_naive_twin(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.jsonl", clock=Clock())
    journal.append(PARTNERS[1])
    first = naive_line(0, "2026-03-01T12:01:00Z", "opened", {
        "journal_version": 1, "owner": "ngo-shelter", "side": "partner", "public_key": KEY.public}, "0" * 64)
    second = naive_line(1, "2026-03-01T12:02:00Z", "plan_approved", {
        "plan_sha256": "a" * 64, "bundle_sha256": "b" * 64, "study": "winter", "epsilon": 3.25, "delta": 1e-06,
        "policy_sha256": "c" * 64},
        hashlib.sha256(first).hexdigest())
    assert (tmp_path / "journal.jsonl").read_bytes() == first + b"\n" + second + b"\n"
    head = json.loads((tmp_path / "journal.jsonl.head").read_bytes())
    assert (head["sequence"], head["hash"]) == (1, hashlib.sha256(second).hexdigest())


def test_the_form_of_an_entry_never_changes() -> None:
    """Golden: hashes of the two journals as version 1 writes them. A change here breaks every journal there is."""
    assert [history(acts, owner=owner, side=side)[-1].hash for acts, owner, side in (
        (PARTNERS, "ngo-shelter", Side.PARTNER), (COORDINATORS, "coordinator", Side.COORDINATOR))] == [
        "3a7f0dd1640145eb7ca6b980dafd44f2a76c2905600e38fad9785c8fbbe599d1",
        "bc8683e68ad063806e536167d64c61f48a1efe63238f608743c115825bbf4c14"]


def test_what_is_written_is_private(tmp_path: Path) -> None:
    open_journal(tmp_path / "journal.jsonl").append(act(1))
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "journal.jsonl": 0o600, "journal.jsonl.head": 0o600}


@pytest.mark.parametrize(("acts", "side"), [(PARTNERS, Side.PARTNER), (COORDINATORS, Side.COORDINATOR)])
def test_every_act_is_read_back_as_it_was_written(tmp_path: Path, acts: tuple[Facts, ...], side: Side) -> None:
    path = tmp_path / "journal.jsonl"
    journal = open_journal(path, side=side)
    written = [journal.append(facts) for facts in acts]
    report = verify_journal(read_journal(path), public_key=KEY.public, head=read_head(head_path(path)))
    assert report.problem is None
    assert report.sound
    assert report.entries[1:] == tuple(written)
    assert [entry.facts for entry in written] == list(acts)
    assert [entry.act for entry in written] == [facts.act for facts in acts]
    assert report.opened == Opened(owner="ngo-shelter", side=side, public_key=KEY.public)
    assert (report.pinned, report.anchored) == (True, len(acts))
    assert sum(report.acts.values()) == len(acts) + 1
    assert next(iter(report.acts)) is Act.OPENED


def test_an_act_of_each_kind_is_tried_here() -> None:
    tried = {facts.act for facts in (*PARTNERS, *COORDINATORS)} | {Act.OPENED}
    assert tried == set(FACTS) == set(Act)


def test_facts_are_flat_and_hold_no_free_text() -> None:
    for kind in FACTS.values():
        for name, field in kind.model_json_schema(mode="serialization").get("properties", {}).items():
            for one in field.get("anyOf", [field]):
                if "$ref" in one or "const" in one or one["type"] in ("boolean", "null", "integer", "number"):
                    continue
                assert one["type"] == "string"
                # A name, a hash or a day; in the file, names of partners are names with spaces in between.
                assert one.get("pattern") or one.get("format") == "date" or name == "partners", (kind, name)


@pytest.mark.parametrize(("kind", "changes"), [
    (Opened, {"owner": "NGO Shelter"}), (Opened, {"side": "auditor"}), (Opened, {"public_key": "ab"}),
    (Opened, {"journal_version": 2}),
    (PlanSigned, {"plan_sha256": "A" * 64}), (PlanSigned, {"plan_sha256": 7}), (PlanSigned, {"study": "two words"}),
    (PlanSigned, {"study": ""}), (PlanSigned, {"records": 117}), (PlanSigned, {"study": None}),
    (StudyRun, {"partners": ()}), (StudyRun, {"partners": ("b", "a")}), (StudyRun, {"partners": ("a", "a")}),
    (StudyRun, {"partners": ("a b",)}), (StudyRun, {"partners": ("",)}), (StudyRun, {"partners": 3}),
    (StudyRun, {"partners": "a  b"}), (StudyRun, {"measurements_sha256": "x"}), (StudyRun, {"model_sha256": None}),
    (ReleaseDrafted, {"previous_release_sha256": ""}), (ReleaseDrafted, {"content_sha256": "0"}),
    (ReleaseSigned, {"signer": "A. Person"}), (ReleaseSigned, {"public_key": "f" * 63}),
    (ReleasePublished, {"released_on": "30.6.2026"}), (ReleasePublished, {"released_on": "2026-06-30T00:00:00Z"}),
    (ReleasePublished, {"epsilon": float("nan")}), (ReleasePublished, {"epsilon": float("inf")}),
    (ReleasePublished, {"epsilon": -1.0}), (ReleasePublished, {"epsilon": "3"}), (ReleasePublished, {"delta": 0.0}),
    (ReleasePublished, {"delta": 1.0}), (ReleasePublished, {"delta": True}),
    (DraftWithdrawn, {"content_sha256": "/home/node/records.sqlite"}),
    (PlanApproved, {"epsilon": None}), (PlanApproved, {"policy_sha256": "policy.yaml"}),
    (Answered, {"stage": "peek"}), (Answered, {"round": 0}), (Answered, {"round": 1.0}), (Answered, {"round": True}),
    (Answered, {"round": 10_001}), (Answered, {"kept": 0}), (Answered, {"reply_sha256": "117 records"}),
    (Refused, {"code": "row 17: no such person"}), (Refused, {"detail": "row 17"}),
], ids=str)
def test_bad_facts_are_refused_one_by_one(kind: type[Facts], changes: dict[str, Any]) -> None:
    good = next(one for one in (*PARTNERS, *COORDINATORS, Opened(
        owner="x", side=Side.PARTNER, public_key=A)) if isinstance(one, kind))
    assert kind.model_validate_json(good.model_dump_json()) == good
    with pytest.raises(ValidationError):
        kind(**{**dict(good), **changes})
    tree = good.model_dump(mode="json") | {name: list(value) if isinstance(value, tuple) else value
                                           for name, value in changes.items()}
    with pytest.raises(ValidationError):
        kind.model_validate_json(json.dumps(tree))


@pytest.mark.parametrize("name", ["plan_sha256", "stage", "round", "request_sha256", "reply_sha256", "kept"])
def test_no_fact_may_be_missing(name: str) -> None:
    facts = {key: value for key, value in dict(PARTNERS[2]).items() if key != name}
    with pytest.raises(ValidationError):
        Answered(**facts)


def test_a_side_writes_its_own_acts_alone(tmp_path: Path) -> None:
    for side, acts in ((Side.PARTNER, COORDINATORS), (Side.COORDINATOR, PARTNERS)):
        journal = open_journal(tmp_path / f"{side}.jsonl", side=side)
        for facts in (*acts, Opened(owner="ngo-shelter", side=side, public_key=KEY.public)):
            with pytest.raises(ValueError, match="no act that"):
                journal.append(facts)
        assert verify_journal(read_journal(journal.path)).acts == {Act.OPENED: 1}


def test_times_are_whole_seconds_of_utc_and_never_go_back(tmp_path: Path) -> None:
    times = iter([START, START + timedelta(seconds=9.7), START - timedelta(days=400),
                  datetime(2026, 3, 1, 14, 0, 20, tzinfo=timezone(timedelta(hours=2)))])
    journal = open_journal(tmp_path / "journal.jsonl", clock=lambda: next(times))
    found = [journal.append(act(number)).at for number in range(3)]
    assert [at - START for at in found] == [timedelta(seconds=9), timedelta(seconds=9), timedelta(seconds=20)]
    assert b'"at":"2026-03-01T12:00:20Z"' in read_journal(journal.path).splitlines()[-1]
    assert verify_journal(read_journal(journal.path)).sound


def test_a_journal_goes_on_where_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(3):
        open_journal(path).append(act(number))
    report = verify_journal(read_journal(path), head=read_head(head_path(path)))
    assert [entry.facts for entry in report.entries[1:]] == [act(number) for number in range(3)]
    assert report.sound


@pytest.mark.parametrize("other", [{"owner": "another"}, {"side": Side.COORDINATOR}, {"key": STRANGER}])
def test_anothers_journal_is_not_opened(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "journal.jsonl"
    open_journal(path).append(act(1))
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"journal\.jsonl"):
        open_journal(path, **other)
    assert path.read_bytes() == before


def test_what_was_just_said_need_not_be_said_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.jsonl")
    first = journal.append(PARTNERS[5], again=False)
    assert journal.append(PARTNERS[5], again=False) == first
    assert journal.append(act(1), again=False).sequence == 2
    assert journal.append(PARTNERS[5], again=False).sequence == 3
    assert journal.append(PARTNERS[5]).sequence == 4


def test_entries_longer_than_a_block_are_found_again(tmp_path: Path) -> None:
    names = tuple(sorted(f"partner-{number:04d}-{'x' * 50}" for number in range(3000)))
    journal = open_journal(tmp_path / "journal.jsonl", side=Side.COORDINATOR)
    facts = StudyRun(plan_sha256=A, partners=names, measurements_sha256=A, model_sha256=A)
    for _ in range(2):
        assert len(journal.append(facts).line) > 150_000
    assert [entry.facts for entry in verify_journal(read_journal(journal.path)).entries[1:]] == [facts, facts]


def test_whether_it_can_be_written_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = open_journal(path)
    before = path.read_bytes()
    journal.check_writable()
    assert path.read_bytes() == before


def test_an_anchor_from_elsewhere_holds_a_journal_to_its_word(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.jsonl")
    anchor = journal.append(act(1)).anchor
    journal.append(act(2))
    report = verify_journal(read_journal(journal.path), head=anchor)
    assert (report.problem, report.anchored) == (None, 1)
    assert report.entries[1].anchor == anchor == Anchor(sequence=1, hash=report.entries[1].hash)


def test_without_a_key_or_a_head_it_is_said_what_was_not_checked() -> None:
    report = verify_journal(as_file(history()))
    assert (report.sound, report.pinned, report.anchored) == (True, False, None)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"sequence":1}'])
def test_what_is_no_head_is_not_read_as_one(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "head").write_bytes(text)
    with pytest.raises(InputError, match="head"):
        read_head(tmp_path / "head")
    good = Head.of(history()[-1].anchor, KEY).to_json()
    for changed in (good + b"\n", b" " + good, good.replace(b",", b", ", 1), good.replace(b'"hash"', b'"other"')):
        with pytest.raises(ValueError):  # noqa: PT011  any of them
            Head.read(changed)
    assert Head.read(good).to_json() == good


@pytest.mark.parametrize("change", [
    lambda line: line.replace(b'"act":"answered"', b'"act":"peeked"'), lambda line: line + b" ",
    lambda line: line.replace(b":", b": ", 1), lambda line: line.replace(b'"kept":false', b'"kept":0'),
    lambda line: line.replace(b'"round":1', b'"round":1.0'), lambda line: line.replace(b"Z", b"+00:00", 1),
    lambda line: line.replace(b"Z", b".000Z", 1), lambda line: line.replace(b"12:04:00Z", b"14:04:00+02:00"),
    lambda line: line.replace(b'"act":"answered"', b'"act":"answered","act":"answered"'),
    lambda line: line[:-1] + b',"zone":1}', lambda line: b"{" + line + b"}", lambda line: b"[" * 100_000,
    lambda line: b"\xff" + line, lambda _: b"null", lambda _: b"", lambda line: line.replace(b"3", b"NaN", 1),
    lambda line: line.replace(b'"sequence":3', b'"sequence":-3'),
    lambda line: line.replace(b'"sequence":3', b'"sequence":99999999999999999999'),
])
def test_there_is_one_form_of_an_entry(change: Any) -> None:
    line = history()[3].line
    assert read_entry(line) == history()[3]
    assert change(line) != line
    with pytest.raises(ValueError):  # noqa: PT011  a ValueError, whatever is wrong
        read_entry(change(line))


def test_a_day_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        ReleasePublished.model_validate_json(
            COORDINATORS[-1].model_dump_json().replace("2026-06-30", "2026-02-30"))
    assert date(2026, 6, 30) == COORDINATORS[-1].released_on  # type: ignore[attr-defined]
