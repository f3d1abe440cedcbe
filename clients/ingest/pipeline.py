"""Ingest: a file in, records in the store, and a report.

Order for each batch: rows set aside reach the disk, then the batch is committed in one transaction. A kill at any point
loses no accepted record; ingesting the file again completes it, and rows already there count as duplicates, by their
id or, where they have none, by their text, person and day. Rows of somebody who was erased are left out, and are not
set aside either.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from clients.erased import person_mark
from clients.ingest.convert import Converter
from clients.ingest.identity_columns import identity_columns
from clients.ingest.mapping import Mapping
from clients.ingest.quarantine import Quarantine, Reason, RowFault, people_of
from clients.ingest.readers import Row, Source, open_source
from clients.ingest.report import MOST_FAULTS, VERY_MANY, Fault, IngestReport, PersonCounts
from clients.pseudonyms import check_secret
from clients.store import RecordStore
from federation.errors import InputError
from federation.records import Record
from federation.taxonomy import PartnerKind

BATCH_ROWS = 1_000
_SHOWN_COLUMNS = 30


def ingest_file(path: Path, *, mapping: Mapping, store: RecordStore, secret: bytes, partner_kind: PartnerKind,
                today: date, quarantine_dir: Path, retention_until: date | None = None,
                exclude: frozenset[str] = frozenset(), declared: tuple[str, ...] | None = None, synthetic: bool = False,
                progress: Callable[[int], None] | None = None) -> IngestReport:
    """Read `path` into `store` as `mapping` says.

    Args:
        today: the day against which retention and observation dates are checked.
        retention_until: for rows that carry no retention date of their own; wins over the mapping's `days`.
        exclude: columns that are left out, whatever they are called and hold.
        declared: regions that the partner has declared; the report says of how many records one lies elsewhere.
        synthetic: accept user-assigned region codes (XA-01).
        progress: called after each batch with the number of rows read so far.

    Raises:
        InputError: if the file as a whole cannot be used. Nothing was read in, except where a Parquet file turns out
            damaged half way; the message then says how far it came.
    """
    check_secret(secret)
    _check_retention(path, mapping, retention_until, today)
    mapping = mapping.without(exclude)
    source = open_source(path, delimiter=mapping.delimiter, needed=frozenset(mapping.columns()))
    _check_columns(path, source, mapping, exclude, has_retention=retention_until is not None)
    names = set(source.columns)
    converter = Converter(mapping=mapping.narrowed(lambda column: _present(column, names)), secret=secret,
                          partner_kind=partner_kind, today=today, retention_until=retention_until,
                          excluded=exclude, synthetic=synthetic,
                          country_column=mapping.country.column if mapping.country else None)
    with closing(Quarantine(quarantine_dir, path, fingerprint=_fingerprint(secret, path))) as quarantine:
        run = _Run(converter, store, quarantine, declared)
        rows = source.rows()
        while batch := list(islice(rows, BATCH_ROWS)):
            run.take(batch)
            if progress is not None:
                progress(run.rows)
        quarantine.replace_earlier()
    if run.rows == 0:
        raise InputError(str(path), "holds no rows", remedy="export the file again; it has nothing beyond its header")
    return run.report(path, source)


class _Run:
    """The running totals of one ingest."""

    def __init__(self, converter: Converter, store: RecordStore, quarantine: Quarantine,
                 declared: tuple[str, ...] | None) -> None:
        self._converter, self._store, self._quarantine, self._declared = converter, store, quarantine, declared
        self.rows = self._accepted = self._duplicates = self._erased = self._elsewhere = 0
        self._redacted: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._first: date | None = None
        self._last: date | None = None

    def take(self, batch: list[Row]) -> None:
        """Convert and store one batch."""
        good: list[tuple[Row, Record, Counter[str]]] = []
        for row in batch:
            self.rows += 1
            try:
                if row.fault is not None:
                    raise row.fault
                record, redacted = self._converter.record(row.values)
                good.append((row, record, redacted))
            except RowFault as fault:
                self._set_aside(row, fault)
        self._quarantine.flush()
        result = self._store.add([record for _, record, _ in good])
        for position in result.conflicts:
            self._set_aside(good[position][0], RowFault(Reason.ID_CONFLICT, "record_id"))
        self._quarantine.flush()
        self._accepted += result.accepted
        self._erased += result.erased
        self._duplicates += len(result.duplicates) - len(result.conflicts)
        self._note(good, set(result.positions))

    def _set_aside(self, row: Row, fault: RowFault) -> None:
        kept = self._converter.keepable(row.values)
        if self._store.erased_before([person_mark(key) for key in people_of(kept)]):
            self._erased += 1
        else:
            self._quarantine.put(row.number, fault, kept)

    def _note(self, good: list[tuple[Row, Record, Counter[str]]], added: set[int]) -> None:
        for position in added:
            _, record, redacted = good[position]
            self._redacted.update(redacted)
            self._languages[record.language] += 1
            if self._declared is not None and any(one.code not in self._declared for one in record.regions):
                self._elsewhere += 1
            until = record.retention_until
            self._first = until if self._first is None else min(self._first, until)
            self._last = until if self._last is None else max(self._last, until)

    def report(self, path: Path, source: Source) -> IngestReport:
        """The report over everything taken so far."""
        mapping, excluded = self._converter.mapping, self._converter.excluded
        faults = self._quarantine.faults.most_common(MOST_FAULTS)
        used = _used_columns(mapping)
        dropped = tuple(c for c in source.columns if not _covered(c, used) and not _covered(c, excluded))
        people = PersonCounts.of(self._store.records_per_person(), self._store.counts().without_person)
        return IngestReport(
            file=path.name, mapping=mapping.name, rows=self.rows, accepted=self._accepted,
            duplicates=self._duplicates, erased=self._erased, quarantined=dict(self._quarantine.reasons),
            redacted=dict(self._redacted), languages=dict(self._languages), people=people, columns_dropped=dropped,
            columns_excluded=tuple(sorted(excluded)),
            retention=None if self._first is None or self._last is None else (self._first, self._last),
            faults=tuple(Fault(reason=reason, field=field, rows=rows, allowed=allowed, remedy=remedy)
                         for (reason, field, allowed, remedy), rows in faults),
            quarantine_file=self._quarantine.path, notes=tuple(self._notes(people, source)))

    def _notes(self, people: PersonCounts, source: Source) -> Iterator[str]:
        mapping = self._converter.mapping
        if self._accepted + self._duplicates + self._erased == 0:
            yield "no row could be used; the table above says why."
        if self._erased:
            yield ("rows of people or records that were erased here were left out. Delete them at the source; to take "
                   "somebody in again, use `leelight partner erase --allow-again`.")
        if self._elsewhere:
            yield (f"{self._elsewhere:,} of the accepted records name a region that node.yaml does not: nobody is "
                   "counted there, unless another partner declares it. If it belongs to your work, add it to `regions` "
                   "there, run `leelight partner join` again, and send the coordinator the new enrolment.json.")
        if mapping.person is None:
            yield ("this mapping has no person column: each record counts as its own person, so somebody who wrote "
                   "several is protected for each record alone, not for all of them together.")
        ids = mapping.source_id.columns if mapping.source_id else ()
        if not any(_present(column, set(source.columns)) for column in ids):
            yield "the file has no id column: rows with the same text, person and day count as one record."
        if people.most > VERY_MANY:
            yield (f"one person has {people.most:,} records. Check that the person column holds people and not a "
                   "shared account; training reads only a few records of each person.")


def _fingerprint(secret: bytes, path: Path) -> str:
    """A name for the file's content that nobody without the secret can test a guess against."""
    digest = hmac.new(secret, b"quarantine\0", "sha256")
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def _check_retention(path: Path, mapping: Mapping, until: date | None, today: date) -> None:
    source = mapping.retention
    if until is not None and until < today:
        raise InputError("--retention-until", f"{until} is in the past", bound=f"{today} or later",
                         remedy="give a date until when the records may be kept")
    if until is None and source.days is None and source.column is None:
        raise InputError(str(path), "nothing says until when these records may be kept",
                         bound="a retention column, `retention.days` in the mapping, or --retention-until",
                         remedy="pass --retention-until YYYY-MM-DD")


def _check_columns(path: Path, source: Source, mapping: Mapping, exclude: frozenset[str], *,
                   has_retention: bool) -> None:
    names = set(source.columns)
    unknown = sorted(c for c in exclude if c not in names)
    if unknown:
        raise InputError(f"--exclude {', '.join(unknown)}", f"{path} has no such column",
                         bound=", ".join(source.columns[:60]), remedy="check the spelling")
    allowed = frozenset(mapping.person.columns) if mapping.person and mapping.person.identity_allowed else frozenset()
    identity = identity_columns(source.columns, allowed=allowed, excluded=exclude)
    if identity:
        raise InputError(
            str(path), f"has columns that look like they identify people: {', '.join(identity[:40])}",
            bound="no names, contacts, images, streets, coordinates, birth dates, nationalities or document numbers",
            remedy="remove them at the source, or leave them out with " + " ".join(
                f"--exclude {_quoted(column)}" for column in identity[:40]))
    missing = sorted(c for c, needed in mapping.columns().items() if needed and not _present(c, names))
    if missing:
        raise _lacking(path, source, mapping, missing)
    for alternatives in (mapping.person, mapping.source_id):
        if alternatives and not alternatives.optional and not any(_present(c, names) for c in alternatives.columns):
            raise InputError(str(path), f"has none of the columns {', '.join(alternatives.columns)}",
                             remedy="add one, or use another mapping")
    retention = mapping.retention
    if not has_retention and retention.days is None and retention.column and not _present(retention.column, names):
        raise InputError(str(path), f"has no column {retention.column}, and nothing else says until when its records "
                         "may be kept", remedy="pass --retention-until YYYY-MM-DD")


def _lacking(path: Path, source: Source, mapping: Mapping, missing: list[str]) -> InputError:
    """Which columns a file lacks, which it has, and which of these are likely meant."""
    spare = {column.casefold(): column for column in source.columns if column not in mapping.columns()}
    meant = [f"{spare[near[0]]} to {column}" for column in missing
             if (near := get_close_matches(column.casefold(), spare, n=1, cutoff=0.6))]
    rename = f"rename {', '.join(meant)} if that is what they are, and " if meant else ""
    shown = ", ".join(source.columns[:_SHOWN_COLUMNS]) + (" …" if len(source.columns) > _SHOWN_COLUMNS else "")
    return InputError(
        str(path), f"lacks columns that mapping {mapping.name} needs: {', '.join(missing)}. It has: {shown or 'none'}",
        remedy=f"{rename}add what is missing; or write a mapping for this file, as a YAML file that names your columns")


def _present(column: str, names: set[str]) -> bool:
    return column in names or any(name.startswith(column + ".") for name in names)


def _used_columns(mapping: Mapping) -> frozenset[str]:
    return frozenset(mapping.columns())


def _covered(column: str, by: frozenset[str]) -> bool:
    parts = column.split(".")
    return any(".".join(parts[:n]) in by for n in range(1, len(parts) + 1)) or any(
        used.startswith(column + ".") for used in by)


def _quoted(column: Any) -> str:
    return f"'{column}'" if " " in str(column) else str(column)
