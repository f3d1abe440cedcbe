"""The form of `release.json`: the models, the shipped schema and real releases agree, and nothing else passes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from server.release.schema import SCHEMA_PATH, Document, json_schema, schema_text
from tests.server.release.homes import content_in

VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def document_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "release.json").read_bytes())
    return found


def accepted(document: Any) -> tuple[bool, bool]:
    """By the schema, and by the models."""
    try:
        Document.model_validate_json(json.dumps(document))
    except ValidationError:
        return VALIDATOR.is_valid(document), False
    return VALIDATOR.is_valid(document), True


def test_what_is_shipped_is_what_the_models_give() -> None:
    assert SCHEMA_PATH.read_bytes() == schema_text(), "write it again: SCHEMA_PATH.write_bytes(schema_text())"
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA_PATH.read_bytes()))


def test_every_object_is_closed() -> None:
    """Fields are named and no other is let in, wherever there are fields."""
    for name, form in json_schema()["$defs"].items():
        if form.get("type") == "object":
            assert form["additionalProperties"] is False, name
            assert form["required"] == sorted(form["required"], key=list(form["properties"]).index), name
            assert set(form["required"]) == set(form["properties"]), name


def test_real_releases_are_of_this_form(bundle: Path, first_bundle: Path) -> None:
    for folder in (bundle, first_bundle):
        assert accepted(document_in(folder)) == (True, True)
        assert json.loads((folder / "release.schema.json").read_bytes()) == json_schema()


def objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there are objects with fixed fields; of equal rows the first of each shape."""
    seen = set()
    if isinstance(value, dict):
        yield path
        for key, item in value.items():
            yield from objects(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            shape = json.dumps(sorted(item)) if isinstance(item, dict) else ""
            if shape not in seen:
                seen.add(shape)
                yield from objects(item, (*path, i))


def shrunk(value: Any) -> Any:
    """The same with the first row of each shape alone: the form does not ask how many there are."""
    if isinstance(value, dict):
        return {key: shrunk(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    rows: dict[Any, Any] = {}
    for number, item in enumerate(value):
        rows.setdefault(json.dumps(sorted(item)) if isinstance(item, dict) else number, item)
    return [shrunk(item) for item in rows.values()]


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def test_nothing_can_be_added_taken_away_or_turned_into_text_anywhere(bundle: Path) -> None:
    document = shrunk(document_in(bundle))
    assert accepted(document) == (True, True)
    free = {("content", "coverage", "partners"), ("content", "gate", "thresholds"), ("content", "gate", "noise_sd"),
            ("content", "suppression", "withheld"), ("content", "coverage", "areas")}
    places = list(objects(document))
    assert len(places) > 50
    for path in places:
        if path in free or path[:3] == ("content", "coverage", "areas"):
            continue
        for change in (lambda it: it.update(extra=1), lambda it: it.pop(next(iter(it)))):
            changed = copy.deepcopy(document)
            change(at(changed, path))
            assert accepted(changed) == (False, False), path
        for key, value in at(document, path).items():
            if isinstance(value, int | float):
                changed = copy.deepcopy(document)
                at(changed, path)[key] = str(value)
                assert accepted(changed) == (False, False), (path, key)


def withheld_cell(content: dict[str, Any]) -> dict[str, Any]:
    return next(cell for cell in content["cells"] if cell["status"] == "withheld")


@pytest.mark.parametrize("change", [
    lambda content: withheld_cell(content).update(measured={"flagged": 3}),
    lambda content: withheld_cell(content).update(band="low"),
    lambda content: withheld_cell(content).update(reason=None),
    lambda content: withheld_cell(content).update(reason="few"),
    lambda content: withheld_cell(content).update(status="shown"),
    lambda content: content["cells"][0].update(status="withheld"),
    lambda content: content["cells"][0]["display"].update(rate=10_001),
    lambda content: content["cells"][0]["display"].update(lower=-1),
    lambda content: content["cells"][0]["measured"].update(flagged=1.5),
    lambda content: content.update(plan_sha256="ABC"),
    lambda content: content.update(synthetic=1),
    lambda content: content.update(tasks=["weather"]),
    lambda content: content["gate"]["thresholds"].update(weather=3),
    lambda content: content["suppression"]["withheld"].update(few=3),
])
def test_values_that_a_release_cannot_have(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = document_in(bundle)
    change(document["content"])
    assert accepted(document) == (False, False)


def test_dates_are_dates_and_numbers_are_finite(bundle: Path) -> None:
    """What JSON Schema says of formats is advice; the models hold to it."""
    content = content_in(bundle)
    for text in ("2026-13-01", "yesterday"):
        document = document_in(bundle)
        document["content"]["released_on"] = text
        assert not accepted(document)[1]
    for number in ("NaN", "Infinity", "1e999"):
        whole = json.dumps({"release_version": 2, "content_sha256": "0" * 64, "content": content})
        with pytest.raises(ValidationError):
            Document.model_validate_json(whole.replace('"confidence": 0.95', f'"confidence": {number}'))
