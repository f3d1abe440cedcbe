"""The path of a row: it ends as accepted, duplicate or set aside, and no message carries its text."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from clients.ingest.mapping import Mapping, load_mapping
from clients.ingest.quarantine import Reason
from clients.pseudonyms import actor_key
from clients.store import RecordStore
from federation.errors import InputError
from federation.records import MAX_TEXT_CHARS
from tests.clients.ingest.helpers import BASE, SECRET, TODAY, Desk, rows, write_csv, write_jsonl

NEEDLE = "xyzzyneedle"


def test_the_plain_way(desk: Desk) -> None:
    file = write_csv(desk.folder / "a.csv", rows(10, text="write to jo@example.com or 0712 345 678", extra="dropped"))
    report = desk.ingest(file)
    assert (report.rows, report.accepted, report.duplicates, report.quarantined) == (10, 10, 0, {})
    assert report.exit_code == 0
    assert report.redacted == {"email": 10, "phone": 10}
    assert report.columns_dropped == ("extra",)
    assert report.retention == (date(2030, 1, 1), date(2030, 1, 1))
    assert report.people.people == 7
    assert (report.people.median, report.people.most) == (1, 2)
    assert not desk.quarantine.exists()
    record = next(desk.store.usable(TODAY))
    assert record.text == "write to <email> or <phone>"
    assert record.actor_key in {actor_key(SECRET, f"p{n}") for n in range(7)}


def test_again_adds_nothing(desk: Desk) -> None:
    file = write_csv(desk.folder / "a.csv", rows(10))
    desk.ingest(file)
    report = desk.ingest(file)
    assert (report.accepted, report.duplicates, report.exit_code) == (0, 10, 0)
    assert len(desk.store) == 10


def test_records_of_places_that_are_not_declared_are_told(desk: Desk) -> None:
    """Each such record once, however many of its regions lie elsewhere; the same again adds none."""
    content = [row | {"region_origin": "RO-IS", "region_destination": there} for row, there in zip(
        rows(4), ("RO-VS", "IT-25", "", "DE-BE"), strict=True)]
    content.append(BASE | {"source_id": "9", "region_origin": "FR-IDF", "region_destination": "IT-25"})
    file = write_csv(desk.folder / "a.csv", content)
    [note] = desk.ingest(file, declared=("RO-IS", "RO-VS")).notes
    assert note.startswith("3 of the accepted records name a region that node.yaml does not: nobody is counted there")
    assert "leelight partner join" in note
    assert desk.ingest(file, declared=("RO-IS", "RO-VS")).notes == ()


def test_again_adds_nothing_without_an_id_column(desk: Desk) -> None:
    """A row is known again by its text, person and day; another person, day or text is another record."""
    base = {k: v for k, v in BASE.items() if k != "source_id"}
    content = [base, base | {"person": "p2"}, base | {"observed_at": "2025-03-02"}, base | {"text": "other words here"}]
    file = write_csv(desk.folder / "a.csv", content)
    assert desk.ingest(file).accepted == 4
    report = desk.ingest(file)
    assert (report.accepted, report.duplicates, len(desk.store)) == (0, 4, 4)
    assert any("rows with the same text, person and day count as one record" in note for note in report.notes)
    changed = write_csv(desk.folder / "b.csv", [base | {"channel": "helpline_call"}, base | {"text": "new words"}])
    report = desk.ingest(changed)
    assert (report.accepted, report.duplicates) == (1, 1)
    assert not desk.ingest(write_csv(desk.folder / "c.csv", rows(2))).notes


def test_duplicate_ids_in_one_file(desk: Desk) -> None:
    content = [*rows(3), {**rows(1)[0], "text": "a different invented text under the same id"}, rows(3)[2]]
    report = desk.ingest(write_csv(desk.folder / "a.csv", content))
    assert (report.accepted, report.duplicates, report.quarantined) == (3, 1, {"id_conflict": 1})
    assert desk.set_aside(report)[0]["values"]["text"] == "a different invented text under the same id"


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"channel": "smoke_signal"}, "unknown_value", "channel"),
    ({"channel": ""}, "missing_value", "channel"),
    ({"text": ""}, "empty_text", "text"),
    ({"text": " \u200b \n"}, "empty_text", "text"),
    ({"text": NEEDLE + " " + "a" * MAX_TEXT_CHARS}, "text_too_long", "text"),
    ({"observed_at": "2026-01-16"}, "date_in_future", "observed_at"),
    ({"observed_at": "yesterday"}, "bad_date", "observed_at"),
    ({"observed_at": "1066-10-14"}, "bad_date", "observed_at"),
    ({"observed_at": ""}, "missing_value", "observed_at"),
    ({"retention_until": "2026-01-14"}, "retention_expired", "retention_until"),
    ({"retention_until": ""}, "retention_missing", "retention_until"),
    ({"region": "Iasi"}, "bad_region", "region"),
    ({"region": "RO-ZZ"}, "bad_region", "region"),
    ({"region": "XA-01"}, "bad_region", "region"),
    ({"country_only": "Romania"}, "bad_country", "country_only"),
    ({"language": "not a language"}, "bad_language", "language"),
    ({"label_distress": "maybe"}, "unknown_value", "label_distress"),
    ({"label_distress": "positive", "label_distress_confidence": "nan"}, "bad_number", "label_distress_confidence"),
    ({"label_distress": "positive", "label_distress_confidence": "inf"}, "bad_number", "label_distress_confidence"),
    ({"label_distress": "positive", "label_distress_confidence": "1.5"}, "bad_number", "label_distress_confidence"),
    ({"label_distress": "positive", "label_distress_provenance": "hearsay"}, "unknown_value", "labels.0.provenance"),
    ({"indicator_wage_overwork": "often"}, "unknown_value", "indicator_wage_overwork"),
    ({"exploitation": "labour|other|fun"}, "unknown_value", "exploitation.2"),
    ({"text_redaction": "magic"}, "unknown_value", "text_redaction"),
    ({"exclude_training": "perhaps"}, "unknown_value", "exclude_training"),
]


@pytest.mark.parametrize(("change", "reason", "field"), BAD)
def test_a_bad_row_is_set_aside(desk: Desk, change: dict[str, Any], reason: str, field: str) -> None:
    content = rows(3, text=f"{NEEDLE} is here")
    keys = {**content[0], **change}
    content = [{**dict.fromkeys(keys, ""), **row} for row in content]
    content[1] |= change
    report = desk.ingest(write_csv(desk.folder / "a.csv", content))
    assert (report.accepted, report.quarantined, report.exit_code) == (2, {reason: 1}, 3)
    [kept] = desk.set_aside(report)
    assert (kept["row"], kept["field"], kept["reason"]) == (3, field, reason)
    assert kept["remedy"]
    assert NEEDLE not in report.model_dump_json()
    assert report.quarantine_file is not None
    assert report.quarantine_file.stat().st_mode & 0o777 == 0o600


def test_quarantine_keeps_no_identity(desk: Desk) -> None:
    content = rows(1, text="mail jo@example.com", person="someone-77", channel="smoke", unmapped="secret")
    report = desk.ingest(write_csv(desk.folder / "a.csv", content))
    assert report.exit_code == 2
    raw = desk.set_aside(report)[0]["values"]
    assert raw["text"] == "mail <email>"
    assert raw["person"] == {"actor_key": actor_key(SECRET, "someone-77")}
    assert "unmapped" not in raw


def test_quarantine_keeps_an_id_that_is_a_uuid_and_redacts_any_other(desk: Desk) -> None:
    """Digits of a UUID look like a telephone number, and redacted it could not be found again; but some ids are one."""
    ids = ["64761808-0fb6-48f7-95b3-32a32b26e4a0", "+40 712 345 678", "anna@example.org"]
    content = [{**BASE, "source_id": one, "channel": "smoke"} for one in ids]
    kept = desk.set_aside(desk.ingest(write_csv(desk.folder / "a.csv", content)))
    assert [row["values"]["source_id"] for row in kept] == [ids[0], "<phone>", "<email>"]
    assert [row["row"] for row in kept] == [2, 3, 4]


def test_nothing_is_kept_of_a_row_whose_retention_has_ended(desk: Desk) -> None:
    content = rows(1, text=f"{NEEDLE} is here", person="someone-77", retention_until="2020-01-01")
    report = desk.ingest(write_csv(desk.folder / "a.csv", content))
    [kept] = desk.set_aside(report)
    assert (kept["row"], kept["field"], kept["reason"]) == (2, "retention_until", "retention_expired")
    assert kept["values"] == {}


def test_the_same_file_again_replaces_what_it_set_aside(desk: Desk) -> None:
    content = rows(3)
    content[0]["channel"] = "smoke"
    path = write_csv(desk.folder / "a.csv", content)
    reports = [desk.ingest(path) for _ in range(3)]
    assert list(desk.quarantine.iterdir()) == [reports[-1].quarantine_file]
    assert len(desk.set_aside(reports[-1])) == 1
    # Another file of the same name is another file: its rows may be nowhere else.
    other = desk.ingest(write_csv(path, [{**content[0], "source_id": "9"}]))
    assert set(desk.quarantine.iterdir()) == {reports[-1].quarantine_file, other.quarantine_file}
    # Once every row can be used, nothing is left of those that could not.
    write_csv(path, content)
    right = load_mapping("leelight")
    right = right.model_copy(update={"channel": right.channel.model_copy(update={
        "values": {"smoke": "public_post", "public_post": "public_post"}})})
    assert desk.ingest(path, right).exit_code == 0
    assert list(desk.quarantine.iterdir()) == [other.quarantine_file]


def test_what_was_set_aside_stays_until_the_file_was_read_again_whole(desk: Desk) -> None:
    content = rows(3_000, language="en")
    content[0]["channel"] = "smoke"
    path = write_csv(desk.folder / "a.csv", content)
    first = desk.ingest(path).quarantine_file

    def broken(_: int) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        desk.ingest(path, progress=broken)
    assert first in desk.quarantine.iterdir()
    assert len(list(desk.quarantine.iterdir())) == 2
    last = desk.ingest(path).quarantine_file
    assert list(desk.quarantine.iterdir()) == [last]


@pytest.mark.parametrize("more", [{}, {"country_only": "RO"}])
def test_a_region_that_is_none_is_told_where_the_country_goes(desk: Desk, more: dict[str, str]) -> None:
    report = desk.ingest(write_csv(desk.folder / "a.csv", rows(1, region="Iasi", **more)))
    told = "or leave it empty and write the country, such as RO, in column country_only"
    assert told in report.faults[0].what_to_do
    assert told in desk.set_aside(report)[0]["remedy"]


def test_a_file_that_lacks_columns_is_told_what_it_has_and_which_may_be_meant(desk: Desk) -> None:
    content = [{"Text": "a", "observed": "2025-03-01", "chanel": "public_post", "consent_basis": "consent", "zz": 1}]
    with pytest.raises(InputError) as error:
        desk.ingest(write_csv(desk.folder / "a.csv", content), retention_until=date(2030, 1, 1))
    told = str(error.value)
    assert "lacks columns that mapping leelight needs: channel, observed_at, text" in told
    assert "It has: Text, observed, chanel, consent_basis, zz" in told
    assert "rename chanel to channel, observed to observed_at, Text to text if" in told
    assert "indicator" not in told


@pytest.mark.parametrize(("change", "field", "allowed"), [
    ({"channel": "smoke"}, "channel", {"public_post", "helpline_call"}),
    ({"label_distress": "maybe"}, "label_distress", {"positive", "negative", "unverified"}),
    ({"label_distress": "positive", "label_distress_provenance": "hearsay"}, "labels.0.provenance", {"human_expert"}),
    ({"text_redaction": "magic"}, "text_redaction", {"none", "rules", "rules+human"}),
    ({"exclude_training": "perhaps"}, "exclude_training", {"yes", "no", "true", "false"}),
])
def test_the_report_names_the_field_and_what_it_allows(
    desk: Desk, change: dict[str, Any], field: str, allowed: set[str]
) -> None:
    report = desk.ingest(write_csv(desk.folder / "a.csv", rows(2, **change)))
    [fault] = report.faults
    assert (fault.reason, fault.field, fault.rows) == (Reason.UNKNOWN_VALUE, field, 2)
    assert allowed <= set(fault.allowed)
    assert desk.set_aside(report)[0]["allowed"] == list(fault.allowed)
    out = StringIO()
    report.show(Console(file=out, width=200))
    assert field in out.getvalue()
    assert all(word in out.getvalue() for word in allowed)


def test_the_mappings_own_words_are_the_allowed_ones(desk: Desk) -> None:
    content = [{"doc_id": "1", "group": "a", "text": "an invented text", "label": "7", "confidence": "1",
                "timestamp_month": "2018-03"}]
    report = desk.ingest(write_csv(desk.folder / "a.csv", content), load_mapping("dreaddit"))
    assert [(fault.field, set(fault.allowed)) for fault in report.faults] == [("label", {"0", "1"})]


def test_the_place_of_the_quarantine_is_printed_whole(tmp_path: Path) -> None:
    deep = tmp_path / ("a-long-folder-name" * 6) / "with[brackets]"
    deep.mkdir(parents=True)
    desk = Desk(deep)
    report = desk.ingest(write_csv(deep / "a.csv", rows(2, channel="smoke")))
    out = StringIO()
    report.show(Console(file=out, width=60))
    assert str(report.quarantine_file) in out.getvalue()
    desk.store.close()


def test_a_megabyte_of_text(desk: Desk) -> None:
    report = desk.ingest(write_csv(desk.folder / "a.csv", [rows(1, text="a " * 500_000)[0], rows(2)[1]]))
    assert (report.accepted, report.quarantined) == (1, {"text_too_long": 1})


def test_retention_order(desk: Desk) -> None:
    content = [BASE, {**BASE, "source_id": "2", "retention_until": ""}]
    desk.ingest(write_csv(desk.folder / "a.csv", content), retention_until=date(2028, 2, 2))
    assert sorted(r.retention_until for r in desk.store.usable(TODAY)) == [date(2028, 2, 2), date(2030, 1, 1)]


def test_no_retention_anywhere_is_refused(desk: Desk) -> None:
    content = [{k: v for k, v in BASE.items() if k != "retention_until"}]
    file = write_csv(desk.folder / "a.csv", content)
    with pytest.raises(InputError, match="--retention-until"):
        desk.ingest(file)
    with pytest.raises(InputError, match="in the past"):
        desk.ingest(file, retention_until=date(2020, 1, 1))
    assert desk.ingest(file, retention_until=date(2028, 1, 1)).accepted == 1


def test_identity_columns_refuse_the_file(desk: Desk) -> None:
    file = write_csv(desk.folder / "a.csv", rows(3, Telefon="0712345678", first_name="Jo"))
    with pytest.raises(InputError, match="--exclude Telefon --exclude first_name") as error:
        desk.ingest(file)
    assert "0712345678" not in str(error.value)
    assert len(desk.store) == 0
    report = desk.ingest(file, exclude=frozenset({"Telefon", "first_name"}))
    assert report.accepted == 3
    assert report.columns_excluded == ("Telefon", "first_name")


def test_nested_identity_keys_refuse_the_file(desk: Desk) -> None:
    content = rows(50)
    content[-1]["author"] = {"contact": [{"e-mail": "jo@example.com"}]}
    file = write_jsonl(desk.folder / "a.jsonl", content)
    with pytest.raises(InputError, match=r"author\.contact\.e-mail"):
        desk.ingest(file)
    assert len(desk.store) == 0
    assert desk.ingest(file, exclude=frozenset({"author"})).accepted == 50


def test_identity_as_person_id_needs_the_mappings_word(desk: Desk) -> None:
    file = write_csv(desk.folder / "a.csv", [{**BASE, "handle": "@jo"}])
    base = load_mapping("leelight").model_dump(mode="json")
    base["person"] = {"columns": ["handle"]}
    with pytest.raises(InputError, match="handle"):
        desk.ingest(file, Mapping.model_validate(base))
    base["person"]["identity_allowed"] = True
    desk.ingest(file, Mapping.model_validate(base))
    assert next(desk.store.usable(TODAY)).actor_key == actor_key(SECRET, "@jo")


def test_excluding(desk: Desk) -> None:
    file = write_csv(desk.folder / "a.csv", rows(2, region="RO-IS"))
    with pytest.raises(InputError, match="no such column"):
        desk.ingest(file, exclude=frozenset({"regoin"}))
    with pytest.raises(InputError, match="needs this column"):
        desk.ingest(file, exclude=frozenset({"text"}))
    desk.ingest(file, exclude=frozenset({"region"}))
    assert all(not r.regions for r in desk.store.usable(TODAY))


def test_missing_column(desk: Desk) -> None:
    content = [{k: v for k, v in BASE.items() if k != "channel"}]
    with pytest.raises(InputError, match="channel"):
        desk.ingest(write_csv(desk.folder / "a.csv", content))


def test_synthetic_regions(desk: Desk) -> None:
    file = write_csv(desk.folder / "a.csv", rows(2, region="XA-01"))
    assert desk.ingest(file).exit_code == 2
    assert desk.ingest(file, synthetic=True).accepted == 2


def test_languages(desk: Desk) -> None:
    texts = ["Estoy buscando trabajo en otra ciudad y necesito ayuda con el viaje",
             "Ich suche dringend eine Arbeit im Ausland", "ok", "<phone> <url> <user>"]
    content = [{**BASE, "source_id": str(n), "text": text, "language": ""} for n, text in enumerate(texts)]
    content.append({**BASE, "source_id": "9", "language": "ro_RO"})
    report = desk.ingest(write_csv(desk.folder / "a.csv", content))
    assert report.languages == {"es": 1, "de": 1, "und": 2, "ro-RO": 1}


def test_declared_redaction_never_says_none(desk: Desk) -> None:
    content = [{**BASE, "text_redaction": "none"}, {**BASE, "source_id": "2", "text_redaction": "rules+human"}]
    desk.ingest(write_csv(desk.folder / "a.csv", content))
    assert sorted(r.text_redaction for r in desk.store.usable(TODAY)) == ["rules", "rules+human"]


def test_a_person_is_never_lost_silently(desk: Desk) -> None:
    mapping = load_mapping("dreaddit")
    content = [{"doc_id": str(n), "group": g, "text": "an invented text", "label": "1", "confidence": "1",
                "timestamp_month": "2018-03"} for n, g in enumerate(["a", ""])]
    report = desk.ingest(write_csv(desk.folder / "a.csv", content), mapping)
    assert (report.accepted, report.quarantined) == (1, {"missing_value": 1})


CELLS = st.one_of(
    st.none(), st.integers(-5, 5), st.floats(), st.booleans(), st.text(max_size=8), st.lists(st.integers(), max_size=2),
    st.sampled_from(["2025-01-01", "2099-01-01", "positive", "RO-IS", "RO", "public_post", "consent", "1", "en"]),
    st.dictionaries(st.sampled_from(["code", "role", "task", "value"]), st.text(max_size=4), max_size=3))
COLUMNS = [c for c in load_mapping("leelight").columns() if not c.startswith("indicator_")] + ["other"]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), CELLS, max_size=8), min_size=1, max_size=6))
def test_every_row_ends_somewhere(tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, Any]]) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    content = [{**BASE, **change} for change in changes]
    file = write_jsonl(desk.folder / "a.jsonl", content)
    report = desk.ingest(file)
    assert report.rows == len(content) == report.accepted + report.duplicates + sum(report.quarantined.values())
    assert report.accepted == len(desk.store)
    assert len(desk.set_aside(report)) == sum(report.quarantined.values())
    desk.store.close()


@pytest.mark.long
def test_one_person_with_very_many_records(desk: Desk) -> None:
    count = 100_000
    with (desk.folder / "a.csv").open("w", encoding="utf-8") as file:
        file.write(",".join(BASE) + ",language\n")
        for n in range(count):
            file.write(f"{n},p1,invented text {n},2025-03-01,public_post,consent,2030-01-01,en\n")
    tracked: list[int] = []
    report = desk.ingest(desk.folder / "a.csv", progress=tracked.append)
    assert report.people.most == count
    assert any("one person has 100,000" in note for note in report.notes)
    assert tracked[-1] == count


def test_memory_does_not_grow_with_the_file(desk: Desk) -> None:
    def peak(count: int) -> int:
        file = write_csv(desk.folder / f"{count}.csv", rows(count, text="an invented text " * 40, language="en"))
        tracemalloc.start()
        desk.ingest(file)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(1_200)
    assert peak(4_800) < 1.3 * peak(2_400)


CHILD = """
import sys, os, signal
from datetime import date
from pathlib import Path
from clients.ingest.mapping import load_mapping
from clients.ingest.pipeline import ingest_file
from clients.store import RecordStore
folder = Path(sys.argv[1])
def tell(rows):
    print(rows, flush=True)
with RecordStore(folder / "records.sqlite") as store:
    ingest_file(folder / "a.csv", mapping=load_mapping("leelight"), store=store, secret=bytes(range(32)),
                partner_kind="ngo", today=date(2026, 1, 15), quarantine_dir=folder / "quarantine", progress=tell)
"""


def test_killed_in_the_middle(desk: Desk) -> None:
    """A real SIGKILL after some batches: what was reported is there, and a second ingest completes the file."""
    content = rows(16_000, language="en")
    for n in range(0, 16_000, 100):
        content[n]["channel"] = "smoke"
    write_csv(desk.folder / "a.csv", content)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(desk.folder)], stdout=subprocess.PIPE, text=True,
                             cwd=Path(__file__).parents[3])
    assert child.stdout is not None
    seen = 0
    while seen < 3_000:
        seen = int(child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with RecordStore(desk.folder / "records.sqlite") as store:
        before = len(store)
    assert seen * 99 // 100 <= before < 15_840
    [left] = desk.quarantine.iterdir()
    assert len([json.loads(line) for line in left.read_text().splitlines()]) >= seen // 100
    report = desk.ingest(desk.folder / "a.csv")
    assert len(desk.store) == 15_840
    assert report.accepted == 15_840 - before
    assert report.duplicates == before
