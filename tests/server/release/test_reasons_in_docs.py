"""`docs/releases.md` says of everything that can be withheld or absent why it is, and names only what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.release.bundle import ALL
from server.release.derive import Band, Lift, Trend
from server.release.gate import Withheld
from server.release.rows import TOO_FEW_LABELLED
from server.release.schema import json_schema
from server.release.series import SeriesWithheld

ROOT = Path(__file__).parents[3]
NUMBERS, ERRORS, SERIES = "A number", "How often the model errs", "A series as a whole"


def chapter() -> str:
    """The chapter on what is withheld."""
    text = (ROOT / "docs" / "releases.md").read_text(encoding="utf-8")
    return text.partition("\n## What is withheld\n")[2].partition("\n## ")[0]


def section(heading: str) -> str:
    found = chapter().partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    assert found, heading
    return found


def rows(text: str) -> list[list[str]]:
    """The tables' rows whose first cell is a code."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()
            if line.startswith("| `")]


def codes(text: str) -> list[str]:
    """What stands in the first column, in its order."""
    return [row[0].strip("`") for row in rows(text)]


def closed_lists() -> Iterator[tuple[str, frozenset[str]]]:
    """Every field of `release.json` that takes a closed list of texts, and that list."""
    definitions = json_schema()["$defs"]

    def values(part: dict[str, Any]) -> frozenset[str]:
        part = definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        inner = frozenset[str]().union(*(values(one) for one in part.get("anyOf", ())))
        return inner | frozenset(part.get("enum", ())) | frozenset([part["const"]] if "const" in part else ())

    for definition in definitions.values():
        for field, part in definition.get("properties", {}).items():
            if found := values(part):
                yield field, found


def defaults() -> dict[str, Any]:
    """Every option and its default, by its key on the command line."""
    groups = {"release": "standard", "statistics": "base", "study": "default", "privacy": "standard"}
    return {f"{group}.{key}": value for group, name in groups.items() for key, value in yaml.safe_load(
        (ROOT / "conf" / group / f"{name}.yaml").read_text(encoding="utf-8")).items()}


def test_every_reason_has_its_row_and_those_of_a_number_are_in_the_order_in_which_they_are_checked() -> None:
    assert codes(section(NUMBERS)) == [reason.value for reason in Withheld]
    assert set(codes(section(ERRORS))) == {TOO_FEW_LABELLED, Withheld.MODEL_NOT_GOOD_ENOUGH}
    assert set(codes(section(SERIES))) == {reason.value for reason in SeriesWithheld}


@pytest.mark.parametrize("codes_of", [Band, Trend, Lift])
def test_every_class_is_told(codes_of: type[Band | Trend | Lift]) -> None:
    assert [code for code in codes_of if f"`{code}`" not in section("A band, a trend, a class")] == []


def test_no_reason_or_status_of_the_published_form_is_missing() -> None:
    """Also of a list that nobody has thought of here."""
    fields, told = {"reason", "status", "class", "band"}, set(re.findall(r"`(\w+)`", chapter()))
    found = [(field, values) for field, values in closed_lists() if field in fields]
    assert {field for field, _ in found} == fields
    assert {value for _, values in found for value in values} <= told | {"shown"}


def test_every_reason_says_what_it_means_its_rule_and_its_option() -> None:
    for heading, columns in ((NUMBERS, 4), (ERRORS, 4), (SERIES, 3)):
        for row in rows(section(heading)):
            assert len(row) == columns
            assert all(row), row


def test_options_are_there_with_the_defaults_that_are_told() -> None:
    known = defaults()
    told = re.findall(r"`((?:release|statistics|study|privacy)\.(?!json|schema)\w+)(?:=([^`]*))?`", chapter())
    assert {option for option, _ in told} <= set(known)
    for option, value in told:
        if value:
            assert yaml.safe_load(value) == known[option], option
    rules = {f"release.{name}" for name in ("minimum_count", "false_publication", "minimum_partners", "minimum_kinds",
                                            "most_of_one_partner", "least_youden", "band_factor")}
    assert rules <= {option for option, value in told if value}


def test_files_that_can_be_empty_are_files_of_a_release() -> None:
    named = set(re.findall(r"`([\w-]+\.(?:csv|geojson|md))`", section("Files without figures")))
    assert named <= set(ALL)
    assert {"indicators.csv", "corridors.csv", "totals.csv", "regions.geojson"} <= named
