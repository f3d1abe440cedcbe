"""Files as streams of rows: CSV, JSON Lines and Parquet, a batch at a time, however large the file is.

A reader first opens (names of columns, encoding), then streams. Text files are read with Python's own csv and json
rather than pyarrow, because a bad row must be named by its line and must not take its neighbours along. `row` is the
line in the file where the row starts (CSV, JSON Lines), or the row counted from 1 (Parquet).
"""

from __future__ import annotations

import codecs
import csv
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from clients.ingest.quarantine import Reason, RowFault
from federation.errors import InputError

MAX_LINE = 8_000_000
"""Longest line read, in characters. A longer one is skipped and reported, never held in memory."""
MAX_FIELD_LINES = 1_000
"""Most lines that one quoted CSV field may span before its opening quote counts as a mistake."""
MAX_COLUMNS = 10_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Row:
    """One row: where it starts, and either its values or what is wrong with it."""

    number: int
    values: dict[str, Any]
    fault: RowFault | None = None


@dataclass(frozen=True)
class Source:
    """An opened file: the names of its columns (nested keys with dots), and its rows."""

    columns: tuple[str, ...]
    rows: Callable[[], Iterator[Row]]


def open_source(path: Path, *, delimiter: str = ",", needed: frozenset[str] = frozenset()) -> Source:
    """Open a file by its extension; `needed` are the only columns that Parquet has to decode.

    Raises:
        InputError: if it is missing, a folder, empty, of an unknown kind, damaged, or not UTF-8.
    """
    if path.is_dir():
        raise InputError(str(path), "is a folder", remedy="name one file in it")
    if not path.is_file():
        raise InputError(str(path), "there is no such file", remedy="check the path")
    kind = path.suffix.lower()
    if kind not in {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}:
        raise InputError(str(path), f"files of kind {kind or '(no extension)'} are not read",
                         bound=".csv, .tsv, .jsonl, .ndjson or .parquet", remedy="export the data as one of these")
    try:
        if path.stat().st_size == 0:
            raise InputError(str(path), "is empty", remedy="export the file again")
        if kind == ".parquet":
            return _parquet(path, needed)
        _check_utf8(path)
        return _csv(path, "\t" if kind == ".tsv" else delimiter) if kind in {".csv", ".tsv"} else _json_lines(path)
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({type(error).__name__})",
                         remedy="check its permissions and the disk") from None


def _check_utf8(path: Path) -> None:
    """Refuse a file that is not UTF-8 throughout, before anything is read in. A byte-order mark is fine."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    with path.open("rb") as file:
        block = file.read(_BLOCK)
        if block[:2] in (b"\xff\xfe", b"\xfe\xff") or block[:4_096].count(0) > len(block[:4_096]) // 4:
            raise InputError(str(path), "looks like UTF-16, not UTF-8", bound="UTF-8",
                             remedy="save it as UTF-8 (iconv -f UTF-16 -t UTF-8), or export it again")
        while block:
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line += error.object[:error.start].count(b"\n")
                raise _not_utf8(path, line) from None
            line += block.count(b"\n")
            block = file.read(_BLOCK)
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise _not_utf8(path, line) from None


def _not_utf8(path: Path, line: int) -> InputError:
    return InputError(str(path), f"is not UTF-8: line {line} holds bytes that UTF-8 does not allow", bound="UTF-8",
                      remedy="export it again as UTF-8, or convert it from the encoding that it was exported in "
                             "(Windows-1250 for much of Central and Eastern Europe, Windows-1251 for Cyrillic, "
                             "Windows-1252 for Western Europe) and look at the accents: a wrong guess changes letters "
                             "without a word")


def _lines(file: TextIO) -> Iterator[tuple[str, bool]]:
    """Lines with their ends, and whether each was cut because it exceeds MAX_LINE."""
    while line := file.readline(MAX_LINE):
        cut = len(line) == MAX_LINE and line[-1] not in "\r\n"
        rest = line
        while cut and rest and rest[-1] not in "\r\n":
            rest = file.readline(MAX_LINE)
        yield line, cut


class _CsvLines:
    """Feeds lines to `csv.reader` one row at a time, and can take back those that a broken row swallowed."""

    def __init__(self, file: TextIO) -> None:
        self._source = _lines(file)
        self._again: deque[tuple[str, bool]] = deque()
        self._taken: list[tuple[str, bool]] = []
        self.next_number = 1

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        if len(self._taken) >= MAX_FIELD_LINES:
            raise StopIteration
        line = self._again.popleft() if self._again else next(self._source)
        self._taken.append(line)
        self.next_number += 1
        return line[0]

    def begin(self) -> None:
        self._taken = []

    @property
    def taken(self) -> list[tuple[str, bool]]:
        return self._taken

    def give_back_all_but_first(self) -> None:
        self._again.extendleft(reversed(self._taken[1:]))
        self.next_number -= len(self._taken) - 1


def _csv(path: Path, delimiter: str) -> Source:
    csv.field_size_limit(MAX_LINE * 2)
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _CsvLines(file)
        try:
            header = [name.strip() for name in next(csv.reader(lines, delimiter=delimiter, strict=True))]
        except (csv.Error, StopIteration):
            raise InputError(str(path), "its header cannot be read", remedy="the first line must name the columns") \
                from None
    if len(header) == 1 and (guess := next((d for d in ";\t|," if d != delimiter and d in header[0]), None)):
        raise InputError(str(path), f"its header is one field that holds {guess!r}",
                         bound=f"fields separated by {delimiter!r}",
                         remedy="set `delimiter` in the mapping, or export the file again")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice or "" in header:
        problem = f"columns named twice: {', '.join(twice)}" if any(twice) else "a column has no name"
        raise InputError(str(path), problem, remedy="give each column a name of its own")
    if any(header.count(c) and "\0" in c for c in header):
        raise InputError(str(path), "its header holds a NUL byte", remedy="export the file again")
    return Source(tuple(header), lambda: _csv_rows(path, header, delimiter))


def _csv_rows(path: Path, header: list[str], delimiter: str) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = _CsvLines(file)
        first = True
        while True:
            lines.begin()
            number = lines.next_number
            reason: Reason | None = None
            fields: list[str] = []
            try:
                fields = next(csv.reader(lines, delimiter=delimiter, strict=True))
            except StopIteration:
                return
            except csv.Error:
                reason = Reason.MALFORMED_ROW
            if first:
                first = False
                continue
            if reason is None and fields and len(fields) != len(header):
                reason = Reason.RAGGED_ROW
            if reason is not None and len(lines.taken) > 1:
                # An unclosed quote swallows what follows. Only its own line is to blame: read the others again.
                reason = Reason.MALFORMED_ROW
                lines.give_back_all_but_first()
            head = lines.taken[:1] if reason is not None else lines.taken
            if any("\0" in line for line, _ in head):
                reason = Reason.NUL_BYTE
            if any(cut for _, cut in head):
                reason = Reason.LINE_TOO_LONG
            if reason is not None:
                yield Row(number, {}, RowFault(reason, "row"))
            elif fields:
                yield Row(number, dict(zip(header, fields, strict=True)))


def _json_lines(path: Path) -> Source:
    columns: dict[str, None] = {}
    for row in _json_rows(path):
        _collect_keys(row.values, "", columns, 0)
        if len(columns) > MAX_COLUMNS:
            raise InputError(str(path), f"holds more than {MAX_COLUMNS} different keys",
                             remedy="use keys as column names, not as values")
    return Source(tuple(columns), lambda: _json_rows(path))


def _collect_keys(value: Any, path: str, found: dict[str, None], depth: int) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            name = f"{path}.{key}" if path else str(key)
            if depth or not isinstance(inner, (dict, list)):
                found[name] = None
            else:
                found.setdefault(name, None)
            _collect_keys(inner, name, found, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, (dict, list)):
                _collect_keys(inner, path, found, depth)


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, (line, cut) in enumerate(_lines(file), start=1):
            if not line.strip():
                continue
            reason = Reason.LINE_TOO_LONG if cut else Reason.NUL_BYTE if "\0" in line else None
            values: Any = {}
            if reason is None:
                try:
                    values = json.loads(line)
                except (ValueError, RecursionError):
                    reason = Reason.MALFORMED_ROW
                if reason is None and not isinstance(values, dict):
                    reason = Reason.MALFORMED_ROW
            if reason is not None:
                yield Row(number, {}, RowFault(reason, "row"))
            else:
                yield Row(number, values)


def _parquet(path: Path, needed: frozenset[str]) -> Source:
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (pa.ArrowException, ValueError):
        raise _damaged(path) from None
    columns: dict[str, None] = {}
    for field in schema:
        _collect_fields(field, "", columns)
    read = [name for name in schema.names if not needed or name in {n.split(".")[0] for n in needed} | needed]
    return Source(tuple(columns), lambda: _parquet_rows(path, read))


def _collect_fields(field: pa.Field, path: str, found: dict[str, None]) -> None:
    name = f"{path}.{field.name}" if path else field.name
    found[name] = None
    _collect_inner(field.type, name, found)


def _collect_inner(kind: pa.DataType, name: str, found: dict[str, None]) -> None:
    if pa.types.is_struct(kind):
        for inner in kind:
            _collect_fields(inner, name, found)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _collect_inner(kind.value_type, name, found)
    elif pa.types.is_map(kind):
        _collect_inner(kind.item_type, name, found)


def _parquet_rows(path: Path, columns: list[str]) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1_000, columns=columns):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
    except (pa.ArrowException, OSError, ValueError):
        raise _damaged(path, number) from None


def _damaged(path: Path, number: int = 0) -> InputError:
    where = f" after row {number}; the rows before it are stored" if number else ""
    return InputError(str(path), f"is not a whole Parquet file: it is cut short or damaged{where}",
                      remedy="export or copy it again; rows already stored count as duplicates then")
