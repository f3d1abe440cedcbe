import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from clients.store import RecordStore
from federation.errors import InputError
from federation.records import Record
from tests.worlds import make_records

TODAY = date(2026, 1, 15)


def record(number: int, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "record_id": UUID(int=number), "actor_key": f"{number % 3:032x}", "actor_kind": "author", "partner_kind": "ngo",
        "channel": "public_post", "text": f"invented {number}", "text_redaction": "rules", "language": "en",
        "language_confidence": 1.0, "observed_at": "2025-01-01", "consent_basis": "consent",
        "retention_until": "2026-01-15"}
    return Record.model_validate({**values, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    with RecordStore(tmp_path / "records.sqlite") as opened:
        yield opened


def test_private_and_durable(store: RecordStore, tmp_path: Path) -> None:
    store.add([record(1)])
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o600}
    with store._read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_add_is_idempotent(store: RecordStore) -> None:
    first = store.add([record(1), record(2), record(1)])
    assert (first.accepted, first.duplicates, first.conflicts, first.positions) == (2, (UUID(int=1),), (), (0, 1))
    again = store.add([record(1, text="another"), record(3)])
    assert (again.accepted, again.duplicates, again.conflicts) == (1, (UUID(int=1),), (0,))
    assert [r.text for r in store.usable(TODAY)] == ["invented 1", "invented 2", "invented 3"]


def test_records_come_back_whole(store: RecordStore) -> None:
    whole = record(5, regions=[{"code": "RO-IS", "role": "origin", "confidence": 0.5}],
                   labels=[{"task": "distress", "value": "positive", "provenance": "human_expert"}],
                   indicators={"wage_overwork": {"value": None, "source": "weak"}}, exploitation=["labour"])
    store.add([whole])
    assert list(store.usable(TODAY)) == [whole]


def test_usable_leaves_out_expired_and_excluded(store: RecordStore) -> None:
    store.add([record(1), record(2, retention_until="2026-01-14"), record(3, exclude_training=True)])
    assert [r.record_id.int for r in store.usable(TODAY)] == [1]
    assert len(store) == 3
    assert store.counts().excluded == 1


def test_generation_moves_only_with_a_change(store: RecordStore) -> None:
    start = store.generation()
    store.add([record(1)])
    after = store.generation()
    assert after > start
    store.add([record(1)])
    store.erasure.people(["f" * 32])
    assert store.generation() == after
    store.erasure.people([f"{1:032x}"])
    assert store.generation() > after


def test_erasure_leaves_no_byte(store: RecordStore, tmp_path: Path) -> None:
    store.add([record(n, text=f"needle {n}") for n in range(1, 200)])
    assert store.erasure.people([f"{1:032x}"]) == 67
    raw = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b'"needle 4"' not in raw
    assert b'"needle 5"' in raw
    assert store.counts().people == 2


def test_frame(store: RecordStore) -> None:
    assert list(store.frame(TODAY).columns) == [
        "record_id", "unit_key", "has_person", "text", "language", "observed_at", "regions", "labels", "indicators"]
    labels = [{"task": "distress", "value": "negative", "provenance": "human_expert"},
              {"task": "distress", "value": "positive", "provenance": "weak"}]
    store.add([record(9, actor_key=None, labels=labels, regions=[{"code": "RO-IS", "role": "origin"}]), record(2)])
    frame = store.frame(TODAY)
    assert list(frame["record_id"]) == [UUID(int=2).hex, UUID(int=9).hex]
    assert list(frame["unit_key"]) == [f"{2:032x}", UUID(int=9).hex]
    assert list(frame["has_person"]) == [True, False]
    assert frame["regions"][1] == [("RO-IS", "origin")]
    assert frame["labels"][1] == {"distress": "negative"}
    assert frame["observed_at"][1] == record(9).observed_at
    assert frame["indicators"][1] == {tag: mark.value for tag, mark in record(9).indicators.items()}


def test_pages(store: RecordStore) -> None:
    store.add([record(n) for n in range(1, 2_502)])
    assert [r.record_id.int for r in store.usable(TODAY)] == list(range(1, 2_502))
    assert store.records_per_person() == {834: 2, 833: 1}


def test_two_handles_on_one_file(store: RecordStore, tmp_path: Path) -> None:
    with RecordStore(tmp_path / "records.sqlite") as other:
        other.add([record(1)])
        assert store.add([record(1), record(2)]).accepted == 1
        assert len(other) == 2


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"\0" * 5_000])
def test_not_a_store(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match="not a record store"):
        RecordStore(path)


def test_open_to_others_is_refused(tmp_path: Path) -> None:
    RecordStore(tmp_path / "x.sqlite").close()
    (tmp_path / "x.sqlite").chmod(0o644)
    with pytest.raises(InputError, match="0644"):
        RecordStore(tmp_path / "x.sqlite")


def test_another_version_is_refused(tmp_path: Path) -> None:
    RecordStore(tmp_path / "x.sqlite").close()
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.execute("UPDATE meta SET value = 99 WHERE key = 'store_version'")
    connection.close()
    with pytest.raises(InputError, match="version 99"):
        RecordStore(tmp_path / "x.sqlite")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        RecordStore(tmp_path / "none" / "x.sqlite")


def test_two_people_under_one_id_are_a_clash_even_with_the_same_text(tmp_path: Path) -> None:
    first, second = (make_records(2, people=2)[i] for i in (0, 1))
    second = second.model_copy(update={"record_id": first.record_id, "text": first.text})
    assert first.actor_key != second.actor_key
    with RecordStore(tmp_path / "s.sqlite") as store:
        assert store.add([first]).conflicts == ()
        assert store.add([first]).conflicts == ()
        assert store.add([second]).conflicts == (0,)
    with RecordStore(tmp_path / "t.sqlite") as store:
        assert store.add([first, second]).conflicts == (1,)
