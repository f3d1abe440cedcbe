"""Model card, reading guide, registry entry and map: said from plan and content, and nothing that is withheld."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from federation.plan import StudyPlan
from federation.privacy.units import up
from server.release import region_map, words
from server.release.content import RESPONSIBLE_USE
from server.release.csv_files import cells_csv, corridors_csv, indicators_csv, totals_csv
from server.release.documents import model_card, reading_guide
from server.release.region_map import regions_geojson
from server.release.registry_entry import TO_FILL_IN, privacy_json
from tests.server.release.homes import content_in, plan_in
from tests.server.release.worlds import many_content, states_content, twelve_content

SECTIONS = ("Purpose", "Who took part", "Model and languages", "Tasks and indicators", "How often it errs", "Privacy",
            "Attacks tested", "Known failures", "Erasure", "Version")
REGISTRY = {
    "basic": {"name", "data_curators", "description", "intended_use", "data_product_type", "data_product_region",
              "data_product_sector", "publication_date"},
    "dp_variant": {"variant_name", "data_domain", "unprotected_quantities"},
    "privacy_loss": {"privacy_unit", "privacy_unit_details", "number_of_privacy_units", "privacy_parameters",
                     "privacy_parameters_details"},
    "deployment_model": {"model_name", "model_name_details", "trust_assumptions", "actors", "release_type",
                         "release_type_details", "data_source_type", "data_source_type_details", "access_type",
                         "access_type_details"},
    "implementation": {"preprocessing_and_hyperparameter_tuning", "mechanisms", "composition", "post_processing",
                       "justification", "utility", "additional_information"},
    "administrative": {"evidence_sources", "status", "registry_authors", "tier"},
}
"""Fields of the OpenDP deployments registry's schema, by part."""


@pytest.fixture
def content(bundle: Path) -> dict[str, Any]:
    return content_in(bundle)


@pytest.fixture
def plan(bundle: Path) -> StudyPlan:
    return plan_in(bundle).plan


def test_a_model_card_has_its_sections_and_figures(content: dict[str, Any], plan: StudyPlan) -> None:
    text = model_card(content, plan).decode()
    places = [text.index(f"\n## {section}") for section in SECTIONS]
    assert places == sorted(places)
    assert text.index("SYNTHETIC") < text.index(RESPONSIBLE_USE) < places[0]
    assert "A rehearsal: its noise can be repeated" in text
    assert f"ε = {up(content['privacy']['total_epsilon'])} at δ = 1e-05" in text
    for row in content["calibration"]:
        assert f"| {row['task']} | yes | {100 * row['sensitivity']['value']:.1f} %" in text
    assert "| platform | 2 | 4,096, 4,096 |" in text
    assert plan.encoder.fingerprint in text
    assert content["model_sha256"] in text


def test_a_guide_says_what_people_get_wrong(content: dict[str, Any]) -> None:
    text = reading_guide(content).decode()
    assert RESPONSIBLE_USE in text
    for told in ("not a number of victims", "not zero and not safe", "no ranking", "No clear change", "interval",
                 "not a route that has been proven", "Please do not", "Invented region 12"):
        assert told in text
    for reason in content["suppression"]["withheld"]:
        assert f"`{reason}`" in text


def contents() -> Iterator[dict[str, Any]]:
    """With all parts, and with none; of places with and without boundaries; of a series that cannot be added up."""
    yield from (twelve_content(), states_content(), many_content())
    yield {**twelve_content(), "series": {
        "name": "coast", "index": 3, "level": "super_region", "status": "withheld", "reason": "partners_changed",
        "releases": [], "noise_sd_total": None, "threshold": None, "cells": []}}


@pytest.mark.parametrize("content", contents(), ids=["all", "states", "many", "withheld series"])
def test_the_guide_names_the_files_that_are_empty(content: dict[str, Any]) -> None:
    tables = {"cells.csv": cells_csv, "indicators.csv": indicators_csv, "corridors.csv": corridors_csv,
              "totals.csv": totals_csv}
    empty = {name for name, made in tables.items() if made(content).count(b"\n") == 1}
    if not json.loads(regions_geojson(content))["features"]:
        empty.add("regions.geojson")
    text = reading_guide(content).decode()
    assert set(re.findall(r"`([\w.]+)` is empty in this release: \w", text)) == empty
    assert ("No file of this release is empty." in text) == (not empty)
    assert "That is no error." in text


def test_the_guide_says_why_a_series_has_no_totals() -> None:
    *_, withheld = contents()
    assert ("`totals.csv` is empty in this release: the series is withheld, as the partners are not those of an "
            "earlier release of the series.") in reading_guide(withheld).decode()


def test_the_guide_says_what_the_page_says_of_bands_and_of_what_is_shown(content: dict[str, Any]) -> None:
    text = reading_guide(content).decode()
    assert words.LEANS_HIGH in text
    assert "neither clearly higher nor clearly lower than its country" in text
    assert f"clearly within {content['gate']['band_factor']:g} times the country's rate" in text


def test_the_guide_is_in_plain_sentences(content: dict[str, Any]) -> None:
    """Sentences of thirty words at most, but for the statement that stands in every artefact word for word."""
    text = reading_guide(content).decode().replace(RESPONSIBLE_USE, "")
    for sentence in re.split(r"(?<=[.:?!;])\s+|\n\n|\n- ", text):
        assert len(sentence.split()) <= 32, sentence


def test_names_of_partners_and_withheld_numbers_are_in_neither(content: dict[str, Any], plan: StudyPlan) -> None:
    for text in (model_card(content, plan).decode(), reading_guide(content).decode()):
        assert "partner-" not in text


def test_free_text_cannot_become_markup(content: dict[str, Any], plan: StudyPlan) -> None:
    hostile = "<script>alert(1)</script>\n## Approved by all | [x](javascript:y) `code`"
    encoder = plan.encoder.model_copy(update={"version": hostile})
    text = model_card({**content, "label": hostile},
                      plan.model_copy(update={"purpose": hostile, "encoder": encoder})).decode()
    text += reading_guide({**content, "label": hostile}).decode()
    assert "\n## Approved" not in text
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?<!\\)\[x", text)


def test_a_model_that_is_not_good_enough_is_said_to_be(content: dict[str, Any], plan: StudyPlan) -> None:
    nothing = dict.fromkeys(("value", "lower", "upper"))
    content["calibration"][0] |= {"usable": False, "reason": "too_few_labelled", "measured": None,
                                  "sensitivity": nothing, "false_alarm_rate": nothing}
    assert "| recruitment | no: too_few_labelled | not known | not known |" in model_card(content, plan).decode()


def test_a_registry_entry_has_the_registrys_fields_alone(content: dict[str, Any], plan: StudyPlan) -> None:
    document = json.loads(privacy_json(content, plan))
    entry = document["entry"]
    assert set(entry) == {"url_slug", "deployment"}
    assert set(entry["deployment"]) == set(REGISTRY)
    for part, fields in REGISTRY.items():
        assert set(entry["deployment"][part]) <= fields
    basic = entry["deployment"]["basic"]
    assert set(basic["data_curators"][0]) == {"data_curator_name", "data_curator_type"}
    assert basic["publication_date"] == content["released_on"]
    assert document["to_fill_in"] == list(TO_FILL_IN)
    for path in TO_FILL_IN:
        value: Any = entry
        for step in path.split("."):
            value = value[int(step) if step.isdigit() else step]
        assert not value, path
    assert document["label"] == "SYNTHETIC"


def test_a_registry_entry_states_the_release(content: dict[str, Any], plan: StudyPlan) -> None:
    document = json.loads(privacy_json(content, plan))
    deployment = document["entry"]["deployment"]
    assert deployment["privacy_loss"]["privacy_parameters"] == {
        "epsilon": content["privacy"]["total_epsilon"], "delta": content["privacy"]["delta"]}
    assert deployment["dp_variant"]["variant_name"] == "Approximate DP"
    assert (deployment["deployment_model"]["model_name"], deployment["deployment_model"]["release_type"]) == (
        "Federated", "Many releases")
    assert deployment["deployment_model"]["trust_assumptions"].startswith("none: a rehearsal")
    for family, limit in content["gate"]["thresholds"].items():
        assert f"{limit} ({family})" in deployment["implementation"]["post_processing"]
    assert document["gate"] == content["gate"]


def boundaries(regions: tuple[str, ...]) -> dict[str, Any]:
    """Every region but one, as squares."""
    return {"type": "FeatureCollection", "features": [
        {"type": "Feature", "properties": {"code": code, "name": code},
         "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}}
        for code in regions if code != "US-AK"]}


def test_a_map_has_what_is_shown_and_null_for_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_map, "geojson", boundaries)
    content = states_content()
    found = json.loads(regions_geojson(content))
    assert (found["type"], found["label"], found["regions_drawn"]) == ("FeatureCollection", content["label"], True)
    by_code = {feature["properties"]["code"]: feature["properties"] for feature in found["features"]}
    assert len(by_code) == 50
    for cell in content["cells"]:
        if cell["area"] not in by_code:
            continue
        properties, stem = by_code[cell["area"]], f"{cell['role']}_{cell['task']}"
        shown = cell.get("display", dict.fromkeys(("rate", "lower", "upper")))
        assert {key: properties[f"{stem}_{key}"] for key in ("rate", "lower", "upper")} == shown
        assert properties[f"{stem}_withheld"] == cell.get("reason")
        assert properties["label"] == content["label"]


def test_a_protected_region_has_a_boundary_and_no_figure(monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]
                                                         ) -> None:
    monkeypatch.setattr(region_map, "geojson", boundaries)
    found = json.loads(regions_geojson(content))
    hidden = next(feature["properties"] for feature in found["features"] if feature["properties"]["code"] == "XA-12")
    assert hidden["status"] == "protected"
    assert all(hidden[f"{role}_{task}_{name}"] is None for role in content["roles"] for task in content["tasks"]
               for name in ("rate", "lower", "upper", "band", "withheld"))
    assert {frozenset(feature["properties"]) for feature in found["features"]} == {frozenset(hidden)}
