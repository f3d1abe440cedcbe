"""Files that are broken as a whole or in places: a clear message, and never an accepted row lost."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.ingest.mapping import load_mapping
from clients.ingest.readers import open_source
from federation.errors import InputError
from tests.clients.ingest.helpers import BASE, TODAY, Desk, rows, write_csv, write_jsonl

HEADER = ",".join(BASE) + "\n"


def line(number: int, text: str = "an invented text") -> str:
    return f"{number},p{number},{text},2025-03-01,public_post,consent,2030-01-01\n"


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.csv", b"", "is empty"),
    ("a.jsonl", b"", "is empty"),
    ("a.parquet", b"", "is empty"),
    ("a.csv", HEADER.encode(), "holds no rows"),
    ("a.jsonl", b"\n\n", "lacks columns"),
    ("a.csv", (HEADER + line(1)).encode("utf-16"), "UTF-16"),
    ("a.csv", (HEADER + line(1)).encode("utf-16-le"), "UTF-16"),
    ("a.csv", (HEADER + line(1) + line(2, "caf\u00e9")).encode("latin-1"), "line 3"),
    ("a.jsonl", b'{"text": "caf\xe9"}\n', "line 1"),
    ("a.csv", HEADER.encode() + b"1,\xc3", "line 2"),
    ("a.csv", (HEADER + line(1)).replace(",", ";").encode(), "delimiter"),
    ("a.csv", b"text,text\n1,2\n", "named twice"),
    ("a.csv", b"text,,x\n1,2,3\n", "no name"),
    ("a.xlsx", b"PK", "not read"),
    ("noextension", b"text\n1\n", "not read"),
    ("a.parquet", b"PAR1 nothing more", "not a whole Parquet"),
])
def test_refused_as_a_whole(desk: Desk, name: str, content: bytes, message: str) -> None:
    path = desk.folder / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        desk.ingest(path)
    assert name in str(error.value)
    assert "What to do" in str(error.value)
    assert "caf" not in str(error.value)
    assert len(desk.store) == 0


def test_a_wrong_encoding_is_not_guessed(desk: Desk) -> None:
    """A command that fits another encoding would change letters, and nobody would be told."""
    path = desk.folder / "a.csv"
    path.write_bytes((HEADER + line(1, "fat\u0103")).encode("windows-1250"))
    with pytest.raises(InputError) as error:
        desk.ingest(path)
    for said in ("Windows-1250", "Windows-1251", "Windows-1252", "the encoding that it was exported in"):
        assert said in str(error.value)
    assert "iconv" not in str(error.value)


def test_folder_and_nothing(desk: Desk) -> None:
    with pytest.raises(InputError, match="folder"):
        desk.ingest(desk.folder)
    with pytest.raises(InputError, match="no such file"):
        desk.ingest(desk.folder / "none.csv")


def test_byte_order_mark_is_fine(desk: Desk) -> None:
    path = desk.folder / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + line(1)).encode())
    report = desk.ingest(path)
    # The mark must not become part of the first column's name.
    assert (report.accepted, report.columns_dropped) == (1, ())
    path = desk.folder / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + write_jsonl(desk.folder / "b.jsonl", rows(2)[1:]).read_bytes())
    assert desk.ingest(path).rows == 1
    assert "malformed_row" not in desk.ingest(path).quarantined


def test_truncated_parquet(desk: Desk) -> None:
    path = desk.folder / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows(5_000)), path, row_group_size=1_000)
    whole = path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError, match="cut short"):
        desk.ingest(path)
    # A page overwritten in the middle, with the footer whole.
    path.write_bytes(whole[:len(whole) // 2] + b"\xff" * 400 + whole[len(whole) // 2 + 400:])
    with pytest.raises(InputError, match="damaged"):
        desk.ingest(path)
    stored = len(desk.store)
    path.write_bytes(whole)
    assert desk.ingest(path).accepted == 5_000 - stored


def test_malformed_json_lines(desk: Desk) -> None:
    good = write_jsonl(desk.folder / "g.jsonl", rows(4)).read_text().splitlines()
    deep = "[" * 100_000
    huge = '{"a": ' + "9" * 5_000 + "}"
    lines = [good[0], '{"text": "cut', good[1], "[1, 2]", good[2], "nul\0", deep, huge, good[3][:-1]]
    path = desk.folder / "a.jsonl"
    path.write_text("\n".join(lines))
    report = desk.ingest(path)
    assert report.accepted == 3
    assert report.quarantined == {"malformed_row": 5, "nul_byte": 1}
    assert [kept["row"] for kept in desk.set_aside(report)] == [2, 4, 6, 7, 8, 9]


def test_ragged_and_nul_rows(desk: Desk) -> None:
    path = desk.folder / "a.csv"
    path.write_text(HEADER + line(1) + "2,p2,too,few\n" + line(3, "one,too many") + line(4, "a\0b") + "\n" + line(5))
    report = desk.ingest(path)
    assert report.accepted == 2
    assert report.quarantined == {"ragged_row": 2, "nul_byte": 1}
    assert [kept["row"] for kept in desk.set_aside(report)] == [3, 4, 5]


def test_an_unclosed_quote_costs_one_row(desk: Desk) -> None:
    path = desk.folder / "a.csv"
    body = [line(n) for n in range(5_000)]
    body[10] = line(10, '"never closed')
    body[3_000] = line(3_000, '"a quoted, text\nof two lines"')
    body[4_999] = line(4_999, '"open at the end')
    path.write_text(HEADER + "".join(body))
    report = desk.ingest(path)
    assert (report.accepted, report.quarantined) == (4_998, {"malformed_row": 2})
    assert [kept["row"] for kept in desk.set_aside(report)] == [12, 5_002]
    assert "a quoted, text of two lines" in desk.texts()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text('ab,"\n\r;\0é ', max_size=12), max_size=8))
def test_any_csv_is_read_to_its_end(tmp_path_factory: pytest.TempPathFactory, pieces: list[str]) -> None:
    """Whatever stands in the middle, the rows before and after it arrive, in order and with rising numbers."""
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(("x,y\nfirst,1\n" + "".join(pieces) + "\nlast,2\n").encode())
    try:
        found = list(open_source(path).rows())
    except InputError:
        # Every other byte zero is UTF-16, which is refused as a whole.
        assert "\0" in "".join(pieces)
        return
    good = [row.values["x"] for row in found if row.fault is None]
    assert good[0] == "first"
    # An open quote may rightly take the last line along only if it forms a row of the right width.
    assert good[-1] == "last" or any('"' in piece for piece in pieces)
    numbers = [row.number for row in found]
    assert numbers == sorted(set(numbers))


def test_a_line_without_end_is_skipped(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clients.ingest.readers.MAX_LINE", 500)
    path = desk.folder / "a.csv"
    path.write_text(HEADER + line(1) + line(2, "x" * 5_000) + line(3))
    report = desk.ingest(path)
    assert (report.accepted, report.quarantined) == (2, {"line_too_long": 1})


def test_all_kinds_give_the_same_records(desk: Desk) -> None:
    content = rows(20, region="RO-IS", label_distress="positive")
    write_csv(desk.folder / "a.csv", content)
    write_jsonl(desk.folder / "a.jsonl", content)
    pq.write_table(pa.Table.from_pylist(content), desk.folder / "a.parquet")
    assert desk.ingest(desk.folder / "a.csv").accepted == 20
    assert desk.ingest(desk.folder / "a.jsonl").duplicates == 20
    assert desk.ingest(desk.folder / "a.parquet").duplicates == 20


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_nested_records(desk: Desk, kind: str) -> None:
    row = {**BASE, "regions": [{"code": "RO-IS", "role": "origin", "confidence": 0.5},
                                {"code": "DE-BE", "role": "destination", "confidence": 1.0}],
           "labels": [{"task": "recruitment", "value": "positive", "provenance": "human_expert", "confidence": 0.9}],
           "indicators": {"wage_overwork": {"value": 1, "source": "human_expert"}}, "exploitation": ["labour"]}
    other = {**BASE, "source_id": "2", "labels": [],
             "regions": [{"code": "RO-QQ", "role": "origin", "confidence": 1.0}],
             "indicators": {"vague_role": {"value": 0, "source": "weak"}}, "exploitation": []}
    path = desk.folder / f"a.{kind}"
    if kind == "jsonl":
        write_jsonl(path, [row, other])
    else:
        pq.write_table(pa.Table.from_pylist([row, other]), path)
    report = desk.ingest(path)
    assert (report.accepted, report.quarantined) == (1, {"bad_region": 1})
    [record] = desk.store.usable(TODAY)
    assert {m.role.value: m.code for m in record.regions} == {"origin": "RO-IS", "destination": "DE-BE"}
    assert record.labels[0].confidence == 0.9
    assert set(record.indicators) == {"wage_overwork"}
    assert record.exploitation == {"labour"}


def test_a_store_export_can_be_read_back(desk: Desk, tmp_path: Path) -> None:
    desk.ingest(write_csv(desk.folder / "a.csv", rows(5, region="RO-IS", label_distress="positive")))
    export = desk.folder / "export.jsonl"
    export.write_text("".join(r.model_dump_json() + "\n" for r in desk.store.usable(TODAY)))
    (tmp_path / "second").mkdir()
    second = Desk(tmp_path / "second")
    report = second.ingest(export, load_mapping("leelight"))
    assert (report.accepted, report.quarantined) == (5, {})
    # schema_version and partner_kind are the node's own to say.
    assert set(report.columns_dropped) == {"schema_version", "partner_kind"}
    second.store.close()
