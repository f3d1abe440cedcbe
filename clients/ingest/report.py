"""What an ingest did, for the person who ran it: figures only, never a text or an id."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clients.ingest.quarantine import Reason

MOST_FAULTS = 20
VERY_MANY = 1_000
"""Records of one person beyond which the report asks whether the person column is right."""


class PersonCounts(BaseModel):
    """Records per person over the whole store, after this ingest."""

    model_config = ConfigDict(frozen=True)

    people: int
    median: int
    p95: int
    most: int
    without_person: int

    @classmethod
    def of(cls, sizes: dict[int, int], without_person: int) -> PersonCounts:
        """From how many people have n records, by n. Quantiles are the smallest n that covers the share."""
        people = sum(sizes.values())
        return cls(people=people, median=_quantile(sizes, people, 0.5), p95=_quantile(sizes, people, 0.95),
                   most=max(sizes, default=0), without_person=without_person)


def _quantile(sizes: dict[int, int], people: int, share: float) -> int:
    covered = 0
    for size in sorted(sizes):
        covered += sizes[size]
        if covered >= share * people:
            return size
    return 0


class Fault(BaseModel):
    """What was wrong with `rows` rows: the same thing in the same field."""

    model_config = ConfigDict(frozen=True)

    reason: Reason
    field: str
    rows: int
    allowed: tuple[str, ...] = ()
    remedy: str

    @property
    def what_to_do(self) -> str:
        """The remedy, with the words that the field allows."""
        return self.remedy + (f": {', '.join(self.allowed)}" if self.allowed else "")


class IngestReport(BaseModel):
    """Every row read is accepted, a duplicate, left out as somebody was erased, or quarantined: `rows` is their sum.

    `faults` are the commonest by field; `quarantined` counts all rows set aside by reason.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    mapping: str
    rows: int
    accepted: int
    duplicates: int
    erased: int
    quarantined: dict[str, int]
    faults: tuple[Fault, ...]
    redacted: dict[str, int]
    languages: dict[str, int]
    people: PersonCounts
    columns_dropped: tuple[str, ...]
    columns_excluded: tuple[str, ...]
    retention: tuple[date, date] | None
    quarantine_file: Path | None
    notes: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0: every row is in the store; 3: some were set aside; 2: nothing could be used."""
        if self.accepted + self.duplicates + self.erased == 0:
            return 2
        return 3 if self.quarantined else 0

    def show(self, console: Console) -> None:
        """Print the report as tables."""
        table = Table(title=escape(f"Ingest of {self.file} with mapping {self.mapping}"), show_header=False,
                      title_justify="left")
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in self._lines():
            table.add_row(name, escape(value))
        console.print(table)
        if self.quarantined:
            aside = Table(title="Set aside", title_justify="left")
            for heading in ("rows", "field", "reason", "what to do"):
                aside.add_column(heading, overflow="fold")
            for fault in self.faults:
                aside.add_row(f"{fault.rows:,}", escape(fault.field), fault.reason.value, escape(fault.what_to_do))
            console.print(aside)
        if self.quarantine_file:
            # On a line of its own and never cut, so that it can be copied.
            console.print(f"Rows set aside are in {escape(str(self.quarantine_file))}", soft_wrap=True)
        for note in self.notes:
            console.print(f"[yellow]Note:[/yellow] {escape(note)}")

    def _lines(self) -> list[tuple[str, str]]:
        people = self.people
        lines = [
            ("rows read", f"{self.rows:,}"), ("accepted", f"{self.accepted:,}"),
            ("duplicates (left as they were)", f"{self.duplicates:,}"),
            ("left out, as they were erased", f"{self.erased:,}"),
            ("set aside", f"{sum(self.quarantined.values()):,}"),
            ("redacted", _listed(self.redacted)), ("languages", _listed(self.languages)),
            ("people in the store", f"{people.people:,}; records each: median {people.median:,}, "
                                    f"95th percentile {people.p95:,}, most {people.most:,}"),
            ("records without a person id", f"{people.without_person:,} (take part only if your rules say so)"),
            ("columns dropped", f"{len(self.columns_dropped)}: {', '.join(self.columns_dropped)}"
                                if self.columns_dropped else "none"),
        ]
        if self.columns_excluded:
            lines.append(("columns excluded by you", ", ".join(self.columns_excluded)))
        if self.retention:
            lines.append(("kept until", f"{self.retention[0]} to {self.retention[1]}"))
        return lines


def _listed(counts: dict[str, int]) -> str:
    shown = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count:,}" for name, count in shown[:8]) + (" …" if len(shown) > 8 else "") or "none"
