"""Deleting from the store: not a byte is left, the others are as they were, and whoever was erased stays out."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from clients import databases, erased, store_erasure
from clients.erased import person_mark, record_mark
from clients.store import RecordStore
from federation.errors import InputError
from tests.clients.test_store import TODAY, record

ANN, BOB, CAT = (f"{number:032x}" for number in range(3))
"""Whose records `record` makes, by number modulo 3."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with RecordStore(tmp_path / "records.sqlite") as opened:
        yield opened


def raw(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.endswith("-shm"))


def test_people_are_erased_and_the_others_are_as_they_were(store: RecordStore) -> None:
    store.add([record(n) for n in range(1, 31)])
    before = {one.record_id: one for one in store.usable(TODAY)}
    assert store.present([ANN, BOB, "f" * 32]) == {ANN: 10, BOB: 10}
    assert store.erasure.people([ANN, BOB]) == 20
    assert {one.record_id: one for one in store.usable(TODAY)} == {
        key: one for key, one in before.items() if one.actor_key == CAT}
    assert store.present([ANN, BOB]) == {}
    assert store.counts().people == 1


def test_one_record_is_erased_and_no_other_of_that_person(store: RecordStore) -> None:
    store.add([record(3), record(6)])
    assert (UUID(int=3) in store, UUID(int=4) in store) == (True, False)
    assert store.erasure.record(UUID(int=3)) == 1
    assert [one.record_id.int for one in store.usable(TODAY)] == [6]
    assert store.add([record(3), record(9)]).erased == 1
    assert [one.record_id.int for one in store.usable(TODAY)] == [6, 9]


def test_what_has_expired_goes_and_may_come_back(store: RecordStore) -> None:
    store.add([record(1, retention_until="2026-01-14"), record(2, retention_until="2026-01-15", exclude_training=True)])
    assert store.expired(TODAY) == 1
    assert list(store.texts(TODAY)) == ["invented 2"]
    assert store.erasure.expired(TODAY) == 1
    assert (store.expired(TODAY), len(store), store.erased()) == (0, 1, 0)
    assert store.add([record(1)]).accepted == 1


def test_everything_goes_but_the_list(store: RecordStore) -> None:
    store.add([record(n) for n in range(1, 10)])
    store.erasure.people([ANN])
    assert store.erasure.everything() == 6
    assert (len(store), store.erased()) == (0, 1)


def test_whoever_was_erased_stays_out_until_allowed_again(store: RecordStore) -> None:
    batch = [record(n) for n in range(1, 7)]
    store.add(batch)
    store.erasure.people([ANN])
    again = store.add(batch)
    assert (again.accepted, len(again.duplicates), again.erased, again.conflicts) == (0, 4, 2, ())
    assert store.add([record(n) for n in range(7, 10)]).positions == (0, 1)
    marks = [person_mark(ANN), person_mark(BOB)]
    assert store.erased_before(marks) == {marks[0]}
    assert store.erasure.allow_again(marks) == 1
    assert store.erasure.allow_again(marks) == 0
    assert store.add(batch).accepted == 2


def test_somebody_without_a_person_id_is_listed_by_record(store: RecordStore) -> None:
    store.add([record(1, actor_key=None)])
    store.erasure.record(UUID(int=1))
    assert store.add([record(1, actor_key=None), record(2, actor_key=None)]).erased == 1


def test_a_person_and_a_record_under_one_key_are_two() -> None:
    assert person_mark(ANN) != record_mark(UUID(ANN))


def test_the_list_holds_no_pseudonym(store: RecordStore, tmp_path: Path) -> None:
    store.add([record(3)])
    store.erasure.people([ANN])
    assert ANN.encode() not in raw(tmp_path)
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        [(mark,)] = connection.execute("SELECT * FROM erased").fetchall()
    assert len(mark) == 32


def test_a_store_from_before_there_was_a_list_gets_one(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "records.sqlite") as store:
        store.add([record(1)])
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        connection.execute("DROP TABLE erased")
    connection.close()
    with RecordStore(tmp_path / "records.sqlite") as store:
        assert (len(store), store.erased()) == (1, 0)


def test_nobody_to_erase_erases_nobody(store: RecordStore) -> None:
    store.add([record(1)])
    generation = store.generation()
    assert store.erasure.people([]) == 0
    assert store.present([]) == {}
    assert (len(store), store.generation()) == (1, generation)


def fill_and_erase(store: RecordStore, seed: int) -> list[tuple[str, str, str]]:
    """Take in and erase people in turn, one at a time; what was erased, as it would look in the file."""
    rng, live, gone = random.Random(seed), list[tuple[str, str, str]](), list[tuple[str, str, str]]()
    for _ in range(260):
        if rng.random() < 0.6 or not live:
            key, person, text = (f"{rng.getrandbits(128):032x}" for _ in range(3))
            more = "x" * rng.choice([0, 200, 1500, 5000])
            store.add([record(int(key, 16), actor_key=person, text=f"{text} {more}")])
            live.append((key, person, text))
        else:
            gone.append(live.pop(rng.randrange(len(live))))
            store.erasure.people([gone[-1][1]])
    return gone


SEED_WITH_TRACES = 47


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of transactions that need not survive a power cut."""
    configure = databases._configure

    def hastily(connection: sqlite3.Connection, other: object) -> None:
        configure(connection, other)
        connection.execute("PRAGMA synchronous=OFF").close()

    monkeypatch.setattr(databases, "_configure", hastily)


@pytest.mark.usefixtures("hasty")
def test_no_byte_is_left_in_the_unused_part_of_a_page(tmp_path: Path) -> None:
    with RecordStore(tmp_path / "records.sqlite") as store:
        gone = fill_and_erase(store, SEED_WITH_TRACES)
    found = raw(tmp_path)
    assert len(gone) > 80
    assert [trace for one in gone for trace in one if trace.encode() in found] == []


@pytest.mark.usefixtures("hasty")
def test_deleting_alone_would_leave_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the test above could fail."""
    monkeypatch.setattr(store_erasure, "rewrite", lambda *_: None)
    with RecordStore(tmp_path / "records.sqlite") as store:
        gone = fill_and_erase(store, SEED_WITH_TRACES)
    assert any(trace.encode() in raw(tmp_path) for one in gone for trace in one)


def test_the_log_is_emptied_while_the_store_is_open(store: RecordStore, tmp_path: Path) -> None:
    store.add([record(3, text="needle")])
    store.erasure.people([ANN])
    assert (tmp_path / "records.sqlite-wal").stat().st_size == 0


def test_a_table_that_was_rewritten_has_its_indexes(store: RecordStore, tmp_path: Path) -> None:
    def schema() -> list[tuple[str, ...]]:
        with sqlite3.connect(tmp_path / "records.sqlite") as connection:
            return sorted(connection.execute("SELECT type, name, tbl_name FROM sqlite_master"))

    store.add([record(n) for n in range(1, 4)])
    before = schema()
    store.erasure.people([ANN])
    assert schema() == before
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_reader_that_holds_the_log_is_waited_for_and_told(store: RecordStore, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    store.add([record(3, text="needle")])
    monkeypatch.setattr(databases, "WAIT_SECONDS", 0.05)
    reader = sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM records").fetchone()
    with RecordStore(tmp_path / "records.sqlite") as impatient:
        with pytest.raises(InputError, match="still lies in the log"):
            impatient.erasure.people([ANN])
        assert len(impatient) == 0
        reader.close()
        assert impatient.erasure.people([ANN]) == 0
    assert b"needle" not in raw(tmp_path)


def test_a_writer_that_hangs_is_named_and_nothing_is_deleted(store: RecordStore, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    store.add([record(3)])
    monkeypatch.setattr(databases, "WAIT_SECONDS", 0.05)
    with RecordStore(tmp_path / "records.sqlite") as impatient:
        writer = sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="another process has been writing"):
            impatient.erasure.people([ANN])
        with pytest.raises(InputError, match="another process has been writing"):
            RecordStore(tmp_path / "records.sqlite")
        writer.close()
        assert len(impatient) == 1


@given(st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), unique=True, max_size=8),
       st.data())
def test_the_list_is_a_set(keys: list[str], data: st.DataObject) -> None:
    engine = create_engine("sqlite://", isolation_level="AUTOCOMMIT")
    noted = set[str]()
    with engine.connect() as connection:
        erased.tables.create_all(connection)
        for key in data.draw(st.lists(st.sampled_from(keys), max_size=12)) if keys else []:
            if data.draw(st.booleans()):
                erased.note(connection, [key])
                noted.add(key)
            else:
                assert erased.take_off(connection, [key]) == (key in noted)
                noted.discard(key)
            assert erased.listed(connection, keys) == noted
            assert erased.length(connection) == len(noted)


def test_texts_are_of_all_that_may_be_kept(store: RecordStore) -> None:
    store.add([record(1), record(2, exclude_training=True), record(3, retention_until="2026-01-01")])
    assert sorted(store.texts(TODAY)) == ["invented 1", "invented 2"]
    assert len(list(store.texts(date.min))) == 3


def test_figures_for_the_partner(store: RecordStore) -> None:
    label = {"task": "distress", "value": "negative", "provenance": "human_expert"}
    store.add([record(1, labels=[label, {**label, "provenance": "weak"}, {**label, "task": "recruitment"}]),
               record(2, labels=[label], consent_basis="vital_interest"), record(3)])
    assert store.by_task() == {"distress": 2, "recruitment": 1}
    assert store.by_consent_basis() == {"consent": 2, "vital_interest": 1}
