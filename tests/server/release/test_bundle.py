"""The files of a release: one text for one content, whoever put it together in whatever order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.release.bundle import ALL, RELEASE, SIGNED, bundle_files, read_content, release_json, same
from tests.server.release.homes import content_in, plan_in


def shuffled(value: Any) -> Any:
    """The same value with every object's keys the other way round."""
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def test_equal_content_gives_equal_bytes_in_any_order_of_keys(bundle: Path) -> None:
    content, signed = content_in(bundle), plan_in(bundle)
    made = bundle_files(content, signed)
    assert set(made) == set(SIGNED)
    assert made == {name: (bundle / name).read_bytes() for name in SIGNED}
    assert made == bundle_files(shuffled(content), signed)


def test_a_bundle_has_these_files(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == set(ALL)
    for path in bundle.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "SYNTHETIC" in text or path.name in ("release.schema.json", "journal.jsonl", "signatures.json")
        assert text.endswith(("\n", ">"))


def test_a_content_comes_back_as_it_was(bundle: Path) -> None:
    content = content_in(bundle)
    assert same(read_content(release_json(content)), content)
    assert release_json(content) == (bundle / RELEASE).read_bytes()


@pytest.mark.parametrize(("change", "words"), [
    (lambda text: text + b"\n", "not laid out"), (lambda text: text.replace(b'\n "', b'\n  "', 1), "not laid out"),
    (lambda text: json.dumps(json.loads(text)).encode(), "not laid out"),
    (lambda text: text.replace(b'"label": "SYNTHETIC"', b'"label": "REAL"'), "another hash"),
    (lambda text: text.replace(b'"confidence": 0.95', b'"confidence": 0.950'), "not laid out"),
    (lambda text: text[:-2], "is not of the form"), (lambda text: b"", "is not of the form"),
    (lambda text: b"[" * 100_000, "is not"), (lambda text: b"\xff" + text, "is not of the form"),
    (lambda text: text.replace(b'"flagged": ', b'"flagged": 9007199254740993', 1), "."),
])
def test_what_is_no_release_is_told(bundle: Path, change: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_content(change((bundle / RELEASE).read_bytes()))


def test_values_are_the_same_to_the_letter() -> None:
    assert same({"a": 1, "b": [0.5]}, {"b": [0.5], "a": 1})
    for one, other in ((1, 1.0), (True, 1), (0.0, -0.0), ("1", 1), (None, False), ([1], [1, 1])):
        assert not same(one, other)
