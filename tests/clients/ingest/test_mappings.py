"""Shipped mappings on made-up files with the real layouts, and mappings that are wrong."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from clients.ingest.mapping import load_mapping, shipped
from federation.errors import InputError
from federation.records import Record
from federation.taxonomy import Task
from tests.clients.ingest.helpers import TODAY, Desk, write_csv

TEXT = "an invented advert about a job that does not exist"
EMSCAD = ("job_id,title,location,department,salary_range,company_profile,description,requirements,benefits,"
          "telecommuting,has_company_logo,has_questions,employment_type,required_experience,required_education,industry,function,"
          "fraudulent").split(",")
LAYOUTS: dict[str, list[dict[str, Any]]] = {
    "dreaddit": [{"doc_id": f"dr{n}", "group": "g1", "partner": "x", "text": f"{TEXT} {n}", "label": str(n),
                  "confidence": "0.8", "timestamp_month": "2018-03", "region": "US-NY"} for n in range(2)],
    "goemotions": [{"doc_id": f"ge{n}", "group": f"g{n}", "text": TEXT, "label": str(n), "emotions": "joy|fear"}
                   for n in range(2)],
    "sms_spam": [{"doc_id": f"sm{n}", "text": TEXT, "label": str(n)} for n in range(2)],
    "emscad_small": [{"doc_id": f"ej{n}", "partner": "US", "region": region, "title": "A", "text": TEXT,
                      "industry": "", "employment_type": "", "telecommuting": "0", "has_company_logo": "1",
                      "label": str(n)} for n, region in enumerate(["US, NY", "GB,"])],
    "emscad": [{**dict.fromkeys(EMSCAD, ""), "job_id": str(n), "title": "Invented", "location": place,
                "description": TEXT, "benefits": "none", "fraudulent": value}
               for n, (place, value) in enumerate([("US, NY, New York", "t"), ("US, ZZ9, Nowhere", "0")])],
}


def ingested(desk: Desk, name: str) -> list[Record]:
    report = desk.ingest(write_csv(desk.folder / "a.csv", LAYOUTS[name]), name)
    assert (report.accepted, report.quarantined) == (2, {})
    return sorted(desk.store.usable(TODAY), key=lambda r: r.labels[0].value.value)


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_and_units(desk: Desk, name: str) -> None:
    negative, positive = ingested(desk, name)
    task = Task.DISTRESS if name in {"dreaddit", "goemotions"} else Task.RECRUITMENT
    assert [(r.labels[0].task, r.labels[0].value.value) for r in (negative, positive)] == [
        (task, "negative"), (task, "positive")]
    assert {r.labels[0].provenance.value for r in (negative, positive)} == {"human_crowd"}
    assert (positive.actor_key is not None) == (name in {"dreaddit", "goemotions"})
    assert positive.language == "en"


def test_every_shipped_mapping_is_tested() -> None:
    assert set(shipped()) == {*LAYOUTS, "leelight"}


def test_dreaddit_details(desk: Desk) -> None:
    records = ingested(desk, "dreaddit")
    assert {r.observed_at for r in records} == {date(2018, 3, 1)}
    assert {r.labels[0].confidence for r in records} == {0.8}
    assert {r.regions[0].code for r in records} == {"US-NY"}
    assert len({r.actor_key for r in records}) == 1


@pytest.mark.parametrize("name", ["emscad", "emscad_small"])
def test_places_are_cut(desk: Desk, name: str) -> None:
    records = ingested(desk, name)
    assert sorted((r.regions[0].code if r.regions else None, r.country_only) for r in records if r.regions) == [
        ("US-NY", None)]
    assert [r.country_only for r in records if not r.regions] == ["US" if name == "emscad" else "GB"]
    assert all("New York" not in r.model_dump_json() for r in records)


def test_emscad_joins_its_texts(desk: Desk) -> None:
    assert {r.text for r in ingested(desk, "emscad")} == {f"Invented {TEXT} none"}


@pytest.mark.parametrize("name", LAYOUTS)
def test_region_column_may_carry_iso_codes(desk: Desk, name: str) -> None:
    content = [{**row, "region": "XA-01"} for row in LAYOUTS[name]]
    desk.ingest(write_csv(desk.folder / "a.csv", content), name, synthetic=True)
    assert {(m.code, m.role.value) for r in desk.store.usable(TODAY) for m in r.regions} == {("XA-01", "observed")}


GOOD = """
name: mine
text: {columns: [body]}
observed_at: {column: seen, format: "%d.%m.%Y"}
channel: {constant: report_form}
actor_kind: {constant: reporter}
consent_basis: {constant: consent}
retention: {days: 30, after: observation}
"""


def test_a_mapping_of_ones_own(desk: Desk) -> None:
    path = desk.folder / "mine.yaml"
    path.write_text(GOOD)
    file = write_csv(desk.folder / "a.csv", [{"body": TEXT, "seen": "10.01.2026"}, {"body": TEXT, "seen": "1.11.2025"}])
    report = desk.ingest(file, path)
    assert (report.accepted, report.quarantined) == (1, {"retention_expired": 1})
    assert next(desk.store.usable(TODAY)).retention_until == date(2026, 2, 9)
    assert any("no id column" in note for note in report.notes)
    assert any("no person column" in note for note in report.notes)


@pytest.mark.parametrize(("text", "message"), [
    (GOOD + "colour: red\n", "colour"),
    (GOOD.replace("constant: report_form", "konstant: report_form"), "channel"),
    (GOOD.replace("{columns: [body]}", "{columns: []}"), "text.columns"),
    (GOOD.replace("days: 30", "days: -1"), "retention.days"),
    (GOOD + "labels: [{task: weather, column: x, provenance: weak}]\n", "labels.0.task"),
    (GOOD + "labels: [{task: distress, column: x}]\n", "provenance"),
    ("- a\n- b\n", "file"),
    ("name: [unclosed\n", "not valid YAML"),
    ("", "file"),
])
def test_wrong_mappings(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_mapping(path)


def test_unknown_mapping() -> None:
    with pytest.raises(InputError, match="dreaddit"):
        load_mapping("draeddit")
