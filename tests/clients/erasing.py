"""A home from which people are erased in tests: files taken in, rows set aside, features, a running total, a study."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clients.ingest.mapping import load_mapping
from clients.ingest.pipeline import ingest_file
from clients.ingest.report import IngestReport
from clients.node import NodeHome
from clients.pseudonyms import actor_key
from clients.store import RecordStore
from federation.messages import TABLE, TRAIN, Reply
from federation.model import initial_model, model_arrays
from federation.plan import StudyPlan
from federation.plan_statistics import SeriesSpec
from federation.taxonomy import AreaLevel
from tests.clients.ingest.helpers import write_csv
from tests.clients.test_app import ask
from tests.worlds import REGIONS, make_home, make_plan

WORDS = "bread rain bus job offer passport help tired travel visa debt market phone room pay night".split()
PEOPLE = tuple(f"client-{number}" for number in range(12))


def a_plan() -> StudyPlan:
    """A study with a running total, so that there is a book of who has counted."""
    return make_plan(statistics={"series": SeriesSpec(name="borders", index=1, level=AreaLevel.REGION)})


def text_of(person: str, number: int) -> str:
    """A text that nobody else has, and that stays as it is when it is redacted."""
    at = PEOPLE.index(person)
    return " ".join(WORDS[(at * step + number + step) % len(WORDS)] for step in range(1, 9)) + f" {person}"


def rows_of(people: Sequence[str], *, records: int = 3) -> list[dict[str, Any]]:
    """Rows for the mapping `leelight`; the last record of each person has a channel that is none, and is set aside."""
    return [{"source_id": f"{person}/{number}", "person": person, "text": text_of(person, number),
             "observed_at": "2026-05-01", "channel": "nowhere" if number == records else "case_narrative",
             "consent_basis": "consent", "retention_until": "2099-01-01",
             "region_origin": REGIONS[PEOPLE.index(person) % 3],
             "region_observed": REGIONS[(PEOPLE.index(person) + number) % 3],
             "label_recruitment": ("positive", "negative")[(PEOPLE.index(person) + number) % 2],
             "label_distress": ("positive", "negative")[PEOPLE.index(person) % 2]}
            for person in people for number in range(records + 1)]


def ingest(home: NodeHome, file: Path) -> IngestReport:
    with RecordStore(home.store_path) as store:
        return ingest_file(file, mapping=load_mapping("leelight"), store=store, secret=home.person_secret(),
                           partner_kind=home.settings.kind, today=datetime.now(UTC).date(),
                           quarantine_dir=home.quarantine_dir, synthetic=True)


def home_of(root: Path, people: Sequence[str] = PEOPLE, **settings: Any) -> NodeHome:
    """The home of `partner-0`, with these people's file taken in."""
    home = make_home(root, 0, **settings)
    ingest(home, write_csv(root / "cases.csv", rows_of(people)))
    return home


def answer(home: NodeHome, plan: StudyPlan) -> tuple[Reply, ...]:
    """What a node says to a round of training, and of its tables."""
    model = model_arrays(initial_model(plan))
    return (ask(home, plan, TRAIN, number=1, arrays=model), ask(home, plan, TABLE, arrays=model))


def key_of(home: NodeHome, person: str) -> str:
    return actor_key(home.person_secret(), person)


def bytes_of(home: NodeHome) -> dict[str, bytes]:
    """Every file of a home."""
    return {str(path.relative_to(home.path)): path.read_bytes() for path in sorted(home.path.rglob("*"))
            if path.is_file()}
