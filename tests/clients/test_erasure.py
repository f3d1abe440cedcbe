"""Erasing from a whole home: nothing of somebody is left in any file, and the others are as if they had never been."""

from __future__ import annotations

import hmac
import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import databases, erasure, quiet
from clients.erasure import STEPS, Done, Wanted, erase, look
from clients.ingest.mapping import load_mapping
from clients.ledger.files import LedgerFiles
from clients.node import NodeHome
from clients.pseudonyms import record_id
from clients.series import SeriesBook
from clients.store import RecordStore
from federation.encoders.cache import FeatureCache
from federation.encoders.hashing import HashedNgrams
from federation.errors import InputError
from federation.journal import Erased, read_journal, verify_journal
from federation.messages import OK
from federation.plan import StudyPlan
from tests.clients.erasing import PEOPLE, a_plan, answer, bytes_of, home_of, ingest, key_of, rows_of, text_of
from tests.clients.ingest.helpers import write_csv
from tests.worlds import DIMENSION, make_home

fork = multiprocessing.get_context("fork")
ANN, BOB = PEOPLE[3], PEOPLE[4]


@pytest.fixture(autouse=True)
def _identity() -> None:
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


@pytest.fixture(scope="module")
def plan() -> StudyPlan:
    return a_plan()


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    return home_of(tmp_path)


def of(home: NodeHome, *people: str) -> Wanted:
    return Wanted.people(home, people)


def traces(home: NodeHome, person: str) -> dict[str, bytes]:
    """What would give somebody away: pseudonym, texts, ids of records, and the features of the texts."""
    encoder, secret = HashedNgrams(dimension=DIMENSION), home.person_secret()
    found = {"pseudonym": key_of(home, person).encode(), "id": person.encode() + b'"'}
    for number in range(4):
        text = text_of(person, number)
        name = record_id(secret, f"{person}/{number}", namespace="leelight")
        found |= {f"text {number}": text.encode(), f"record {number}": str(name).encode(),
                  f"hex {number}": name.hex.encode(),
                  f"index {number}": hmac.digest(secret, text.encode(), "sha256")[:16],
                  f"vector {number}": np.ascontiguousarray(encoder.encode([text])[0], dtype="<f4").tobytes()}
    return found


def left_of(home: NodeHome, person: str) -> list[tuple[str, str]]:
    """Where in the home something of somebody is found, and what."""
    return [(file, name) for file, data in bytes_of(home).items() for name, trace in traces(home, person).items()
            if trace in data]


def acts(home: NodeHome) -> list[object]:
    report = verify_journal(read_journal(home.path / "journal.jsonl"))
    assert report.sound
    return [entry.facts for entry in report.entries[1:]]


def test_nothing_of_somebody_is_left_in_any_file(home: NodeHome, plan: StudyPlan) -> None:
    assert [reply.code for reply in answer(home, plan)] == [OK, OK]
    assert {"records.sqlite", "series.sqlite"} <= {file for file, _ in left_of(home, ANN)}
    found = look(home, of(home, ANN))
    assert (found.records, found.series, found.set_aside.rows, found.unknown) == (3, 1, 1, ())
    assert erase(home, of(home, ANN)) == Done(records=3, series=1, rows=1, vectors=3)
    assert left_of(home, ANN) == []
    assert all(oct(path.stat().st_mode & 0o077) == "0o0" for path in home.path.rglob("*.sqlite*"))


def test_before_it_is_erased_everything_is_there(home: NodeHome, plan: StudyPlan) -> None:
    """That the search above could find something: each trace is in some file."""
    answer(home, plan)
    found = {name for _, name in left_of(home, ANN)}
    # The last record was set aside, so there are no features of it and it has no id yet.
    assert found == traces(home, ANN).keys() - {f"{what} 3" for what in ("record", "hex", "index", "vector")}


def test_the_others_are_as_they_were(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    with RecordStore(home.store_path) as store:
        before = {one.record_id: one for one in store.usable(plan.period_end)}
    erase(home, of(home, ANN))
    with RecordStore(home.store_path) as store:
        assert {one.record_id: one for one in store.usable(plan.period_end)} == {
            key: one for key, one in before.items() if one.actor_key != key_of(home, ANN)}
    for other in PEOPLE:
        if other != ANN:
            there = {name for _, name in left_of(home, other)}
            assert {"pseudonym", "text 0", "text 3", "index 0", "vector 2"} <= there


def equal(home: NodeHome, other: NodeHome, plan: StudyPlan) -> None:
    for mine, theirs in zip(answer(home, plan), answer(other, plan), strict=True):
        assert mine.code == theirs.code == OK
        np.testing.assert_equal(mine.arrays, theirs.arrays)
        np.testing.assert_equal(mine.table, theirs.table)


def test_training_and_counting_are_those_of_a_home_that_never_had_them(tmp_path: Path, plan: StudyPlan) -> None:
    home = home_of(tmp_path / "with")
    never = home_of(tmp_path / "without", [person for person in PEOPLE if person not in (ANN, BOB)])
    erase(home, of(home, ANN, BOB))
    equal(home, never, plan)


def test_and_so_they_are_when_a_release_was_counted_before(tmp_path: Path, plan: StudyPlan) -> None:
    second = plan.model_copy(update={"statistics": plan.statistics.model_copy(update={
        "series": plan.statistics.series.model_copy(update={"index": 2})})}) if plan.statistics.series else plan
    home = home_of(tmp_path / "with")
    never = home_of(tmp_path / "without", [person for person in PEOPLE if person != ANN])
    for one in (home, never):
        answer(one, plan)
    erase(home, of(home, ANN))
    with SeriesBook(home.series_path) as mine, SeriesBook(never.series_path) as theirs:
        spec = second.statistics.series
        assert spec is not None
        assert mine.count(spec, {}) == theirs.count(spec, {})


def test_the_journal_says_that_somebody_was_erased_and_nothing_else(home: NodeHome, plan: StudyPlan) -> None:
    erase(home, of(home, ANN))
    erase(home, of(home, BOB, PEOPLE[5]))
    assert acts(home) == [Erased(), Erased()]
    assert Erased().model_dump() == {}


def test_they_do_not_come_back_with_the_next_file(home: NodeHome, tmp_path: Path) -> None:
    erase(home, of(home, ANN))
    again = ingest(home, write_csv(tmp_path / "more.csv", [
        *rows_of(PEOPLE), {**rows_of([ANN])[0], "source_id": "new", "text": f"another text of {ANN}"}]))
    # Three that could be taken in, one that would be set aside, and a new one.
    assert (again.accepted, again.erased, again.duplicates, again.quarantined) == (0, 5, 33, {"unknown_value": 11})
    assert again.rows == again.accepted + again.duplicates + again.erased + sum(again.quarantined.values())
    assert left_of(home, ANN) == []
    assert any("erased here were left out" in note for note in again.notes)


def test_a_file_with_nobody_else_is_no_failure(home: NodeHome, tmp_path: Path) -> None:
    erase(home, of(home, ANN))
    again = ingest(home, write_csv(tmp_path / "more.csv", rows_of([ANN])))
    assert (again.exit_code, again.accepted, again.erased, again.quarantined) == (0, 0, 4, {})


def test_whoever_is_allowed_again_comes_back(home: NodeHome, tmp_path: Path) -> None:
    erase(home, of(home, ANN))
    assert erasure.allow_again(home, of(home, ANN)) == 1
    assert erasure.allow_again(home, of(home, ANN)) == 0
    assert ingest(home, write_csv(tmp_path / "more.csv", rows_of([ANN]))).accepted == 3


@pytest.mark.parametrize("spelling", [ANN.upper(), f"  {ANN}\n", "client-\u200b3"])
def test_an_id_may_be_spelt_as_in_any_file(home: NodeHome, spelling: str) -> None:
    assert erase(home, of(home, spelling)).records == 3


def test_of_somebody_who_is_not_here_there_is_nothing(home: NodeHome) -> None:
    found = look(home, of(home, ANN, "client-99"))
    assert (found.records, found.unknown) == (3, (key_of(home, "client-99"),))
    assert look(home, of(home, ANN, "client-99")).unknown == of(home, "client-99").keys
    assert of(home, ANN, "client-99").without(found.unknown).keys == of(home, ANN).keys


@pytest.mark.parametrize("where", ["series", "quarantine", "list"])
def test_whoever_is_in_one_place_alone_is_known(home: NodeHome, plan: StudyPlan, where: str) -> None:
    answer(home, plan)
    with RecordStore(home.store_path) as store:
        store.erasure.people([key_of(home, ANN)])
        if where != "list":
            store.erasure.allow_again(of(home, ANN).marks.values())
    if where != "quarantine":
        for path in home.quarantine_dir.iterdir():
            path.unlink()
    if where != "series":
        home.series_path.unlink()
    assert look(home, of(home, ANN)).unknown == ()
    erase(home, of(home, ANN))
    assert left_of(home, ANN) == []


def test_a_text_that_somebody_else_has_too_keeps_its_features(tmp_path: Path, plan: StudyPlan) -> None:
    home = make_home(tmp_path, 0)
    shared = [{**row, "text": "the same words of two people"} for row in rows_of([ANN, BOB], records=1)]
    ingest(home, write_csv(tmp_path / "cases.csv", shared))
    answer(home, plan)
    assert erase(home, of(home, ANN)).vectors == 0
    cache = FeatureCache(home.cache_dir, HashedNgrams(dimension=DIMENSION), key=home.person_secret())
    assert cache.features(["the same words of two people"])[:].shape == (1, DIMENSION)


# One record


def test_a_record_goes_by_the_id_that_its_file_gives_it(home: NodeHome, plan: StudyPlan, tmp_path: Path) -> None:
    answer(home, plan)
    wanted = Wanted.one_record(home, f"{ANN}/1", load_mapping("leelight"))
    assert look(home, wanted).records == 1
    assert erase(home, wanted) == Done(records=1, series=0, rows=0, vectors=1)
    assert [name for _, name in left_of(home, ANN) if name.endswith("1")] == []
    again = ingest(home, write_csv(tmp_path / "more.csv", rows_of([ANN])))
    assert (again.accepted, again.erased, again.duplicates) == (0, 1, 2)
    assert look(home, wanted).unknown == ()


def test_a_record_that_was_set_aside_goes_by_its_files_id_where_that_was_kept(tmp_path: Path) -> None:
    home, name = make_home(tmp_path, 0), str(UUID(int=5))
    ingest(home, write_csv(tmp_path / "cases.csv", [{**rows_of([ANN])[3], "source_id": name}, rows_of([BOB])[3]]))
    wanted = Wanted.one_record(home, name, load_mapping("leelight"))
    assert look(home, wanted).set_aside.rows == 1
    assert erase(home, wanted) == Done(records=0, series=0, rows=1, vectors=0)
    assert look(home, of(home, ANN)).unknown
    assert look(home, of(home, BOB)).set_aside.rows == 1


def test_a_record_goes_by_its_own_id(home: NodeHome) -> None:
    name = record_id(home.person_secret(), f"{ANN}/0", namespace="leelight")
    assert erase(home, Wanted.one_record(home, str(name), None)).records == 1
    assert look(home, of(home, ANN)).records == 2


def test_somebody_without_an_id_leaves_the_running_total_with_the_record(tmp_path: Path, plan: StudyPlan) -> None:
    home = make_home(tmp_path, 0)
    ingest(home, write_csv(tmp_path / "cases.csv", [{**row, "person": ""} for row in rows_of([ANN], records=1)]))
    answer(home, plan)
    assert erase(home, Wanted.one_record(home, f"{ANN}/0", load_mapping("leelight"))).series == 1
    # Another row of theirs was set aside, and nobody can tell that it is.
    assert {file.split("/")[0] for file, _ in left_of(home, ANN)} == {"quarantine"}


@pytest.mark.parametrize(("text", "mapping"), [("17", None), ("", None), ("", "leelight"), ("  ", "leelight")])
def test_what_is_no_id_of_a_record_is_refused(home: NodeHome, text: str, mapping: str | None) -> None:
    with pytest.raises(InputError, match="--record"):
        Wanted.one_record(home, text, load_mapping(mapping) if mapping else None)


def test_a_mapping_without_ids_is_refused(home: NodeHome) -> None:
    mapping = load_mapping("leelight").model_copy(update={"source_id": None})
    with pytest.raises(InputError, match="this mapping reads none"):
        Wanted.one_record(home, "17", mapping)


# Rows set aside


def test_what_is_left_of_a_file_of_rows_is_whole_and_private(home: NodeHome) -> None:
    [path] = home.quarantine_dir.iterdir()
    before = [json.loads(line) for line in path.read_text().splitlines()]
    erase(home, of(home, ANN))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        row for row in before if row["values"]["person"] != {"actor_key": key_of(home, ANN)}]
    assert path.stat().st_mode & 0o777 == 0o600
    erase(home, of(home, *(person for person in PEOPLE if person != ANN)))
    assert list(home.quarantine_dir.iterdir()) == []


def test_rows_of_nobody_known_are_counted_and_stay(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0)
    rows = [rows_of([ANN])[3], {**rows_of([ANN])[3], "person": ""}, rows_of([BOB])[3]]
    ingest(home, write_csv(tmp_path / "cases.csv", rows))
    [path] = home.quarantine_dir.iterdir()
    with path.open("ab") as file:
        file.write(b'{"row": 9, "values": {"te')
    found = look(home, of(home, ANN)).set_aside
    assert (found.rows, found.untold) == (1, 2)
    erase(home, of(home, ANN))
    assert path.read_bytes().endswith(b'{"row": 9, "values": {"te')
    assert look(home, of(home, ANN)).set_aside.untold == 2


def test_the_partners_own_files_in_quarantine_are_not_touched(home: NodeHome) -> None:
    own = home.quarantine_dir / "notes.jsonl"
    own.write_text(json.dumps({"values": {"person": {"actor_key": key_of(home, ANN)}}}) + "\n")
    before = own.read_bytes()
    erase(home, of(home, ANN))
    assert own.read_bytes() == before


def test_what_a_crash_left_among_the_rows_goes(home: NodeHome) -> None:
    (home.quarantine_dir / ".abc.part").write_text(text_of(ANN, 3))
    erase(home, of(home, ANN))
    assert left_of(home, ANN) == []


# What can be in the way


def test_without_a_store_there_is_nothing_to_erase(tmp_path: Path) -> None:
    home = make_home(tmp_path, 0)
    for act in (look, erase):
        with pytest.raises(InputError, match=r"records\.sqlite: is not there"):
            act(home, of(home, ANN))
    assert not home.store_path.exists()


def test_an_empty_id_is_refused(home: NodeHome) -> None:
    with pytest.raises(InputError, match="is empty"):
        of(home, " \u200b ")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(databases, "WAIT_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_an_answer_under_way_is_waited_for(home: NodeHome) -> None:
    ledger = LedgerFiles(home.path)
    with ledger.locked(0.0), pytest.raises(InputError, match="a study is being answered here at the moment"):
        erase(home, of(home, ANN))
    ledger.close()
    assert look(home, of(home, ANN)).records == 3


@pytest.mark.usefixtures("impatient")
def test_files_are_taken_in_side_by_side_and_not_beside_an_erasure(home: NodeHome) -> None:
    with quiet.taking_in(home), quiet.taking_in(home), pytest.raises(InputError, match="a file is being taken in"):
        erase(home, of(home, ANN))
    with quiet.alone(home), pytest.raises(InputError, match="something is being erased here"), quiet.taking_in(home):
        pass
    assert look(home, of(home, ANN)).records == 3
    assert erase(home, of(home, ANN)).records == 3


def test_an_account_whose_lock_cannot_be_had_is_named(home: NodeHome) -> None:
    (home.path / "ledger.lock").mkdir()
    with pytest.raises(InputError, match="its account cannot be held"):
        erase(home, of(home, ANN))


def test_a_journal_that_cannot_be_written_keeps_nobody(home: NodeHome) -> None:
    home.journal()
    (home.path / "journal.jsonl.head").unlink()
    (home.path / "journal.jsonl").write_bytes(b"no journal\n")
    with pytest.raises(InputError, match="Everything is erased all the same"):
        erase(home, of(home, ANN))
    assert left_of(home, ANN) == []


def run(act: Callable[[], object]) -> int:
    """Do `act` in a process of its own; its exit code."""
    child = fork.Process(target=act)
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(step: str) -> Callable[[str], None]:
    return lambda name: die() if name == step else None


@pytest.mark.parametrize("step", STEPS)
def test_the_same_again_finishes_what_was_killed_between_steps(home: NodeHome, plan: StudyPlan, step: str) -> None:
    answer(home, plan)
    assert run(lambda: erase(home, of(home, ANN), on_step=dies_at(step))) == -signal.SIGKILL
    assert look(home, of(home, ANN)).records == 0
    assert look(home, of(home, ANN)).unknown == ()
    erase(home, of(home, ANN))
    assert left_of(home, ANN) == []
    assert Erased() in acts(home)


@pytest.mark.parametrize("place", [
    "clients.store_erasure.rewrite", "clients.store_erasure.advance", "clients.series.rewrite",
    "clients.set_aside.sync_folder", "federation.private_files.sync_folder", "federation.encoders.cache._write",
    "federation.encoders.cache.sync_folder"])
def test_the_same_again_finishes_what_was_killed_inside_a_step(home: NodeHome, plan: StudyPlan, place: str,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    answer(home, plan)
    people = PEOPLE if place == "clients.set_aside.sync_folder" else (ANN, BOB)
    with monkeypatch.context() as patch:
        patch.setattr(place, die)
        assert run(lambda: erase(home, of(home, *people))) == -signal.SIGKILL
    assert look(home, of(home, *people)).unknown == ()
    erase(home, of(home, *people))
    assert [left_of(home, person) for person in people] == [[]] * len(people)
    with RecordStore(home.store_path) as store:
        assert len(store) == 3 * (len(PEOPLE) - len(people))


def test_a_full_disk_is_named_and_the_same_again_finishes(home: NodeHome, plan: StudyPlan) -> None:
    answer(home, plan)
    sizes = []
    for room in (0, 4096, 20_000, 60_000, 200_000):
        def act(room: int = room) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            try:
                erase(home, of(home, ANN))
            except InputError as error:
                os._exit(10 if "disk" in str(error) else 11)

        sizes.append(run(act))
        assert look(home, of(home, ANN)).unknown == ()
    assert sizes[0] == 10
    assert sizes[-1] == 0
    assert set(sizes) == {0, 10}
    assert left_of(home, ANN) == []


@settings(max_examples=8)
@given(parts=st.lists(st.lists(st.sampled_from(PEOPLE), unique=True, max_size=4), max_size=3))
def test_whoever_is_erased_and_when_the_rest_is_the_rest(tmp_path_factory: pytest.TempPathFactory,
                                                         parts: list[list[str]]) -> None:
    home = home_of(tmp_path_factory.mktemp("home"))
    home.journal()
    gone = {person for part in parts for person in part}
    for part in parts:
        if part:
            erase(home, of(home, *part))
    found = look(home, of(home, *PEOPLE))
    assert (found.records, found.set_aside.rows) == (3 * (12 - len(gone)), 12 - len(gone))
    assert [left_of(home, person) for person in sorted(gone)] == [[]] * len(gone)
    assert acts(home) == [Erased()] * sum(bool(part) for part in parts)
