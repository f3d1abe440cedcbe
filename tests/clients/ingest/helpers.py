"""Made-up files and one call to take them in."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

from clients.ingest.mapping import Mapping, load_mapping
from clients.ingest.pipeline import ingest_file
from clients.ingest.report import IngestReport
from clients.store import RecordStore
from federation.taxonomy import PartnerKind

SECRET = bytes(range(32))
TODAY = date(2026, 1, 15)

BASE: dict[str, Any] = {
    "source_id": "1", "person": "p1", "text": "an invented sentence about finding work abroad",
    "observed_at": "2025-03-01",
    "channel": "public_post", "consent_basis": "consent", "retention_until": "2030-01-01"}


def rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{**BASE, "source_id": str(n), "person": f"p{n % 7}", **changes} for n in range(count)]


def write_csv(path: Path, content: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(content[0]))
        writer.writeheader()
        writer.writerows(content)
    return path


def write_jsonl(path: Path, content: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


class Desk:
    """A store, a quarantine folder, and the shortest way to ingest into them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = RecordStore(folder / "records.sqlite")
        self.quarantine = folder / "quarantine"

    def ingest(self, path: Path, mapping: str | Path | Mapping = "leelight", **options: Any) -> IngestReport:
        found = mapping if isinstance(mapping, Mapping) else load_mapping(mapping)
        return ingest_file(path, mapping=found, store=self.store, secret=SECRET, partner_kind=PartnerKind.NGO,
                           today=options.pop("today", TODAY), quarantine_dir=self.quarantine, **options)

    def set_aside(self, report: IngestReport) -> list[dict[str, Any]]:
        if report.quarantine_file is None:
            return []
        return [json.loads(line) for line in report.quarantine_file.read_text(encoding="utf-8").splitlines()]

    def texts(self) -> list[str]:
        return sorted(record.text for record in self.store.usable(TODAY))
