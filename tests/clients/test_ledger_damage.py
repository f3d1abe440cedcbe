"""Everything that can be done to a ledger's files behind its back, and a clock that goes wrong."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from clients.ledger import Ledger, Stage, restore_head
from clients.ledger.chain import BEGINNING, Head, Link, next_link
from clients.ledger.entries import Entry, Opened, Reserved, StudyHeld, decode, encode
from clients.ledger.files import LedgerFiles
from federation import signatures
from federation.errors import Refusal, RefusalCode
from federation.identity import SigningKey
from tests.clients.ledgers import KEY, WIDE, Clock, Work, ask, never, open_ledger, refusal_of, refused, study

UNUSABLE = RefusalCode.LEDGER_UNUSABLE


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A ledger with a hold, three answered requests, a lost attempt and its repetition."""
    folder = tmp_path / "home"
    folder.mkdir()
    with open_ledger(folder) as ledger:
        for number in (1, 2):
            ledger.answer(ask(study(), number), ceilings=WIDE, work=Work())
        with suppress(AssertionError):
            ledger.answer(ask(study(), stage=Stage.TABLE), ceilings=WIDE, work=never)
        ledger.answer(ask(study(), stage=Stage.TABLE), ceilings=WIDE, work=Work())
    return folder


def edit(home: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        connection.execute(statement, values)
        connection.commit()


def links_of(home: Path) -> list[Link]:
    files = LedgerFiles(home)
    try:
        return list(files.links())
    finally:
        files.close()


def copy_of(home: Path, name: str) -> Path:
    return shutil.copytree(home, home.with_name(name))


def opened_and_used(home: Path) -> None:
    """Open, and use everything that a ledger is for."""
    with open_ledger(home) as ledger:
        ledger.verify_full()


def is_refused(home: Path) -> Refusal:
    refusal = refusal_of(lambda: opened_and_used(home))
    assert refusal.code is UNUSABLE
    assert "What to do" in refusal.detail
    return refusal


def test_a_sound_ledger_is_sound(home: Path) -> None:
    with open_ledger(home) as ledger:
        found = ledger.verify_full()
    assert (found.entries, found.commits, found.open_reservations, found.replies_checked) == (9, 3, 0, 3)
    assert found.epsilon < found.renyi_epsilon


@pytest.mark.parametrize("column", ["body", "prev_hash", "hash", "signature"])
@pytest.mark.parametrize("seq", [1, 4, 8, 9])
def test_any_changed_byte_of_an_entry_is_seen_when_the_ledger_is_opened(home: Path, column: str, seq: int) -> None:
    value = getattr(links_of(home)[seq - 1], column)
    raw = value if isinstance(value, bytes) else value.encode()
    for position in sorted({0, 1, len(raw) // 3, len(raw) // 2, len(raw) - 1}):
        for flip in (0x01, 0x80):
            damaged = bytearray(raw)
            damaged[position] ^= flip
            # As the same type, even where the bytes are no longer UTF-8.
            kind = "BLOB" if column == "body" else "TEXT"
            edit(home, f"UPDATE entries SET {column} = CAST(? AS {kind}) WHERE seq = ?", bytes(damaged), seq)  # noqa: S608
            assert refusal_of(lambda: open_ledger(home)).code is UNUSABLE
    edit(home, f"UPDATE entries SET {column} = CAST(? AS {kind}) WHERE seq = ?", raw, seq)  # noqa: S608
    opened_and_used(home)


@pytest.mark.parametrize("value", [None, 7, 10**12, 0.5, b"", "x"])
@pytest.mark.parametrize("column", ["body", "prev_hash", "hash", "signature"])
def test_a_column_of_another_type_is_seen(home: Path, column: str, value: object) -> None:
    with suppress(sqlite3.IntegrityError):
        edit(home, f"UPDATE entries SET {column} = ? WHERE seq = 4", value)  # noqa: S608
        assert refusal_of(lambda: open_ledger(home)).code is UNUSABLE


def test_a_changed_byte_of_a_reply_never_leaves(home: Path) -> None:
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        seq, body = connection.execute("SELECT seq, body FROM replies ORDER BY seq LIMIT 1").fetchone()
    for position in range(len(body)):
        damaged = bytearray(body)
        damaged[position] ^= 0x10
        edit(home, "UPDATE replies SET body = ? WHERE seq = ?", bytes(damaged), seq)
        with open_ledger(home) as ledger:
            assert refused(ledger, study()).code is UNUSABLE
            assert f"entry {seq}" in refusal_of(ledger.verify_full).detail
    edit(home, "DELETE FROM replies WHERE seq = ?", seq)
    with open_ledger(home) as ledger:
        assert refused(ledger, study()).code is UNUSABLE
        assert "lost its reply" in refusal_of(ledger.verify_full).detail
    edit(home, "INSERT INTO replies VALUES (?, ?), (99, 'x')", seq, body)
    with open_ledger(home) as ledger:
        assert ledger.answer(study(), ceilings=WIDE, work=never) == body
        assert "entry 99" in refusal_of(ledger.verify_full).detail


def test_flipped_bytes_of_the_file_are_seen_or_touch_nothing_that_counts(home: Path) -> None:
    path = home / "ledger.sqlite"
    raw = path.read_bytes()
    with open_ledger(home) as ledger:
        sound = ledger.verify_full()

    def looked_at() -> None:
        with open_ledger(home) as ledger:
            assert ledger.verify_full() == sound
        raise Refusal(RefusalCode.FAILED, "nothing that counts")

    seen = 0
    for position in range(17, len(raw), 157):
        damaged = bytearray(raw)
        damaged[position] ^= 0x40
        path.write_bytes(bytes(damaged))
        refusal = refusal_of(looked_at)
        assert refusal.code in (UNUSABLE, RefusalCode.FAILED)
        seen += refusal.code is UNUSABLE
        for leftover in home.glob("ledger.sqlite-*"):
            leftover.unlink()
    assert seen > 20


@pytest.mark.parametrize("statement", [
    "DELETE FROM entries WHERE seq = 9", "DELETE FROM entries WHERE seq = 4", "DELETE FROM entries WHERE seq = 1",
    "DELETE FROM entries", "UPDATE entries SET seq = 10 WHERE seq = 9", "UPDATE entries SET seq = 0 WHERE seq = 1",
    "DROP TABLE entries", "DROP TABLE replies",
    "INSERT INTO entries SELECT 10, body, prev_hash, hash, signature FROM entries WHERE seq = 9",
])
def test_entries_taken_out_moved_or_put_in_are_seen(home: Path, statement: str) -> None:
    edit(home, statement)
    is_refused(home)


def test_an_older_ledger_copied_back_is_seen(home: Path) -> None:
    older = copy_of(home, "older")
    with open_ledger(home) as ledger:
        ledger.answer(ask(study(), 3), ceilings=WIDE, work=Work())
    newest = copy_of(home, "newest")
    for path in home.glob("ledger.sqlite*"):
        path.unlink()
    shutil.copy(older / "ledger.sqlite", home)
    assert "older ledger was copied back" in is_refused(home).detail
    # What the refusal asks for helps.
    shutil.copy(newest / "ledger.sqlite", home)
    opened_and_used(home)


def test_an_older_ledger_copied_back_with_its_head_is_seen_by_a_head_elsewhere(tmp_path: Path) -> None:
    home, safe = tmp_path / "home", tmp_path / "safe"
    home.mkdir()
    safe.mkdir()
    with open_ledger(home, head_path=safe / "head") as ledger:
        ledger.answer(study(), ceilings=WIDE, work=Work())
    assert not (home / "ledger.head").exists()
    older = copy_of(home, "older")
    with open_ledger(home, head_path=safe / "head") as ledger:
        ledger.answer(ask(study(), 2), ceilings=WIDE, work=Work())
    shutil.rmtree(home)
    older.rename(home)
    refusal = refusal_of(lambda: open_ledger(home, head_path=safe / "head"))
    assert (refusal.code, "older" in refusal.detail) == (UNUSABLE, True)


def test_a_ledger_rolled_back_while_it_is_open_is_seen(home: Path) -> None:
    with open_ledger(home) as ledger:
        ledger.answer(ask(study(), 3), ceilings=WIDE, work=Work())
        edit(home, "DELETE FROM entries WHERE seq > 9")
        assert refused(ledger, ask(study(), 3)).code is UNUSABLE
        assert refusal_of(lambda: ledger.balance(WIDE)).code is UNUSABLE


def test_another_history_put_under_an_open_ledger_is_seen(home: Path) -> None:
    other = copy_of(home, "other")
    with open_ledger(other, Clock(Clock().time + timedelta(hours=1))) as ledger:
        ledger.answer(ask(study(), 3), ceilings=WIDE, work=Work())
    with open_ledger(home) as ledger:
        ledger.answer(ask(study(), 3), ceilings=WIDE, work=Work())
        edit(home, "DELETE FROM entries WHERE seq > 9")
        for link in links_of(other)[9:]:
            edit(home, "INSERT INTO entries VALUES (?, ?, ?, ?, ?)", *link)
        shutil.copy(other / "ledger.head", home)
        assert refused(ledger, study("summer")).code is UNUSABLE


@pytest.mark.parametrize("lose", [["ledger.sqlite"], ["ledger.head"]])
def test_a_lost_file_is_seen(home: Path, lose: list[str]) -> None:
    for name in lose:
        (home / name).unlink()
    refusal = is_refused(home)
    assert lose[0] in refusal.detail
    assert ("leelight ledger restore-head --home" in refusal.detail) == (lose == ["ledger.head"])


def test_a_head_that_is_to_lie_elsewhere_from_now_on_has_to_be_moved_there(home: Path, tmp_path: Path) -> None:
    there = tmp_path / "other disk.head"
    refusal = refusal_of(lambda: open_ledger(home, head_path=there))
    assert f"mv {home}/ledger.head '{there}'" in refusal.detail
    assert "restore-head" not in refusal.detail
    # The head that is there can still tell; a new one would only say what the ledger says.
    assert "mv " in refusal_of(lambda: restore_head(home, key=KEY, head_path=there)).detail
    assert not there.exists()
    shutil.move(home / "ledger.head", there)
    with open_ledger(home, head_path=there) as ledger:
        assert ledger.answer(ask(study(), 3), ceilings=WIDE, work=Work())


def test_a_head_lost_while_the_ledger_is_open_is_seen(home: Path) -> None:
    with open_ledger(home) as ledger:
        (home / "ledger.head").unlink()
        assert refused(ledger, ask(study(), 3)).code is UNUSABLE


def test_an_emptied_database_is_seen(home: Path) -> None:
    (home / "ledger.sqlite").write_bytes(b"")
    is_refused(home)


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"\0" * 5_000])
def test_a_file_that_is_no_database_is_refused(home: Path, content: bytes) -> None:
    (home / "ledger.sqlite").write_bytes(content)
    detail = is_refused(home).detail
    assert "the file is damaged: bring back its newest backup" in detail
    assert "room on the disk" not in detail


def test_a_database_cut_short_is_said_to_be_damaged(home: Path) -> None:
    with closing(sqlite3.connect(home / "ledger.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = (home / "ledger.sqlite").read_bytes()
    (home / "ledger.sqlite").write_bytes(raw[:len(raw) - 4_096])
    assert "the file is damaged" in is_refused(home).detail


def test_a_lost_head_can_be_written_anew_by_hand(home: Path) -> None:
    assert refusal_of(lambda: restore_head(home, key=KEY)).code is UNUSABLE
    (home / "ledger.head").unlink()
    assert restore_head(home, key=KEY).entries == 9
    opened_and_used(home)


def test_a_head_is_not_written_anew_for_a_ledger_that_is_not_sound(home: Path) -> None:
    (home / "ledger.head").unlink()
    edit(home, "UPDATE replies SET body = 'x'")
    assert refusal_of(lambda: restore_head(home, key=KEY)).code is UNUSABLE
    assert not (home / "ledger.head").exists()
    for path in home.glob("ledger.sqlite*"):
        path.unlink()
    assert refusal_of(lambda: restore_head(home, key=KEY)).code is UNUSABLE


def test_a_changed_head_is_seen(home: Path) -> None:
    path = home / "ledger.head"
    raw = path.read_bytes()
    for position in range(len(raw)):
        damaged = bytearray(raw)
        damaged[position] ^= 0x01
        path.write_bytes(bytes(damaged))
        assert refusal_of(lambda: open_ledger(home)).code is UNUSABLE
    for other in (b"", b"{}", raw + b" ", raw + raw, Head.of(links_of(home)[-1], SigningKey.from_bytes(b"q" * 32)
                                                             ).to_json()):
        path.write_bytes(other)
        assert refusal_of(lambda: open_ledger(home)).code is UNUSABLE
    path.write_bytes(raw)
    opened_and_used(home)


def test_a_head_left_behind_by_a_crash_is_brought_up_to_date(home: Path) -> None:
    newest = (home / "ledger.head").read_bytes()
    for link in [BEGINNING, *links_of(home)]:
        (home / "ledger.head").write_bytes(Head.of(link, KEY).to_json())
        open_ledger(home).close()
        assert (home / "ledger.head").read_bytes() == newest


def test_two_histories_are_seen(home: Path) -> None:
    other = copy_of(home, "other")
    for folder, number in ((home, 3), (other, 3)):
        with open_ledger(folder, Clock(Clock().time + timedelta(hours=folder is other))) as ledger:
            ledger.answer(ask(study(), number), ceilings=WIDE, work=Work())
    shutil.copy(other / "ledger.head", home)
    assert "two histories" in is_refused(home).detail
    # Also where the strange head is not at the end.
    with open_ledger(other, Clock(Clock().time + timedelta(hours=1))) as ledger:
        ledger.answer(study("summer"), ceilings=WIDE, work=Work())
    shutil.copy(home / "ledger.head", other)
    (home / "ledger.head").write_bytes(Head.of(links_of(home)[-1], KEY).to_json())
    shutil.copy(home / "ledger.head", other)
    assert "two histories" in is_refused(other).detail


def rewritten(home: Path, change: Callable[[int, Entry], Entry | None], key: SigningKey = KEY) -> None:
    """Write the ledger of `home` anew with changed entries, every hash and signature right."""
    tip, made = BEGINNING, []
    for link in links_of(home):
        entry = change(link.seq, decode(link.body))
        if entry is not None:
            tip = next_link(tip, encode(entry), key)
            made.append(tip)
    edit(home, "DELETE FROM entries")
    for link in made:
        edit(home, "INSERT INTO entries VALUES (?, ?, ?, ?, ?)", *link)
    (home / "ledger.head").write_bytes(Head.of(tip, key).to_json())


# The entries: 1 opened, 2 hold, 3 reserve, 4 commit, 5 reserve, 6 commit, 7 reserve (lost), 8 reserve again, 9 commit.
@pytest.mark.parametrize(("seq", "fields", "told"), [
    (1, None, "before the account was opened"), (2, None, "no held plan"), (3, None, "not reserved"),
    (7, None, "not the next one"), (4, {"reservation": 2}, "not reserved"), (6, {"reservation": 3}, "not reserved"),
    (9, {"reservation": 7}, "not reserved"), (8, {"attempt": 1}, "not the next one"),
    (8, {"attempt": 3}, "not the next one"), (3, {"round_number": 2}, "name"), (3, {"request_id": "0" * 64}, "name"),
    (3, {"round_number": 4}, "no held plan"), (3, {"plan_sha256": "0" * 64}, "no held plan"),
    (7, {"stage": Stage.TRAIN}, "no held plan"),
    # A second attempt at what is committed.
    (5, {"round_number": 1, "request_id": study().id, "attempt": 2}, "not the next one"),
])
def test_a_history_that_breaks_the_rules_is_refused_even_if_rightly_signed(
    home: Path, seq: int, fields: dict[str, object] | None, told: str,
) -> None:
    rewritten(home, lambda number, entry: entry if number != seq else (
        None if fields is None else entry.model_copy(update=fields)))
    assert told in is_refused(home).detail


def test_a_reservation_at_another_price_than_the_plans_is_refused(home: Path) -> None:
    def cheaper(seq: int, entry: Entry) -> Entry:
        if isinstance(entry, Reserved) and seq == 3:
            return entry.model_copy(update={"event": entry.event.model_copy(update={"noise_multiplier": 99.0})})
        return entry

    rewritten(home, cheaper)
    assert "no held plan" in is_refused(home).detail


def test_a_hold_below_its_price_is_found_by_the_full_check(home: Path) -> None:
    def cheaper(seq: int, entry: Entry) -> Entry:
        return entry.model_copy(update={"epsilon": entry.epsilon * 0.99}) if isinstance(entry, StudyHeld) else entry

    rewritten(home, cheaper)
    assert "study winter: was held at" in is_refused(home).detail


def test_times_that_go_back_are_refused(home: Path) -> None:
    rewritten(home, lambda seq, entry: entry if seq != 5 else entry.model_copy(
        update={"at": entry.at - timedelta(seconds=1)}))
    assert "time before" in is_refused(home).detail


@pytest.mark.parametrize(("once", "told"), [(1, "second time"), (2, "held already")])
def test_an_account_is_opened_once_and_a_study_held_once(home: Path, once: int, told: str) -> None:
    first = decode(links_of(home)[once - 1].body)
    rewritten(home, lambda seq, entry: first if seq == once + 1 else entry)
    assert told in is_refused(home).detail


def test_an_entry_of_a_later_version_is_not_guessed_at(home: Path) -> None:
    rewritten(home, lambda seq, entry: entry.model_copy(update={"ledger_version": 2}) if isinstance(entry, Opened)
              else entry)
    assert "no kind that this version knows" in is_refused(home).detail


def test_a_history_signed_by_another_key_is_refused(home: Path) -> None:
    stranger = SigningKey.from_bytes(b"q" * 32)
    rewritten(home, lambda seq, entry: entry, key=stranger)
    is_refused(home)


def test_an_account_that_names_another_key_than_the_one_that_signs_is_refused(home: Path) -> None:
    stranger = SigningKey.from_bytes(b"q" * 32)
    rewritten(home, lambda seq, entry: entry.model_copy(update={"public_key": stranger.public})
              if isinstance(entry, Opened) else entry)
    assert "another key" in refusal_of(lambda: open_ledger(home)).detail
    (home / "ledger.head").unlink()
    assert "another key" in refusal_of(lambda: restore_head(home, key=KEY)).detail


@pytest.mark.parametrize("workers", ["none", "two", "two that die"])
def test_the_full_check_looks_at_every_signature(
    home: Path, workers: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest,
) -> None:
    # A forged signature in the middle, with the chain after it made to fit.
    if workers != "none":
        monkeypatch.setattr(signatures, "_WORTH_A_PROCESS", 2)
        monkeypatch.setattr(signatures.os, "cpu_count", lambda: 2)
    if workers == "two that die":
        request.addfinalizer(lambda: multiprocessing.set_executable(sys.executable))
        multiprocessing.set_executable("/bin/false")
    opened_and_used(home)
    tip, made = BEGINNING, []
    for link in links_of(home):
        tip = next_link(tip, link.body, KEY)
        if link.seq == 5:
            tip = tip._replace(signature="00" * 64)
        made.append(tip)
    for link in made:
        edit(home, "UPDATE entries SET prev_hash = ?, hash = ?, signature = ? WHERE seq = ?",
             link.prev_hash, link.hash, link.signature, link.seq)
    (home / "ledger.head").write_bytes(Head.of(tip, KEY).to_json())
    assert "entry 5: is signed by another key" in is_refused(home).detail


def test_a_clock_set_back_is_refused_and_a_small_correction_is_not(home: Path) -> None:
    clock = Clock()
    clock.move(seconds=-121)
    with open_ledger(home, clock) as ledger:
        refusal = refused(ledger, ask(study(), 3))
        assert (refusal.code, "clock" in refusal.detail) == (UNUSABLE, True)
        assert ledger.verify_full().entries == 9
        clock.move(seconds=1)
        ledger.answer(ask(study(), 3), ceilings=WIDE, work=Work())
        # The last time is used, so that times never go back.
        assert ledger.verify_full().last == Clock().time
        # What was answered stays answered, whatever the clock says.
        clock.move(days=-400)
        ledger.answer(study(), ceilings=WIDE, work=never)


def test_a_clock_that_jumps_back_during_work_does_not_cost_the_reply(home: Path) -> None:
    clock = Clock()

    def jump() -> bytes:
        clock.move(days=-1)
        return b"done"

    with open_ledger(home, clock) as ledger:
        assert ledger.answer(ask(study(), 3), ceilings=WIDE, work=jump) == b"done"
        assert ledger.verify_full().last == Clock().time


def test_no_database_error_escapes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_ledger(home) as ledger:
        ledger.close()
        (home / "ledger.lock").unlink()
        (home / "ledger.lock").mkdir()
        try:
            refusal = refused(ledger, ask(study(), 3))
        except DBAPIError as error:
            pytest.fail(str(error))
        assert refusal.code is UNUSABLE
    assert isinstance(ledger, Ledger)
