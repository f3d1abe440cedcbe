"""The files of a release. All but two follow from its content and its plan, so that anybody can make them again.

    release.json          the content and its SHA-256, for machines     release.schema.json   its form
    cells.csv, indicators.csv, corridors.csv                            the same for spreadsheets
    regions.geojson       the same for maps                             index.html            the same for people
    privacy.json          an entry for the registry of deployments      model-card.md         what the model is
    reading-guide.md      how to read the figures                       plan.json             the signed plan
    journal.jsonl         what the coordinator did, up to the last signature
    signatures.json       every other file's hash, signed (`server.release.approval`)

Equal input gives equal bytes.
"""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import ValidationError

from federation.canonical import canonical_json
from federation.plan import SignedPlan
from server.release.content import content_sha256
from server.release.csv_files import cells_csv, corridors_csv, indicators_csv
from server.release.documents import model_card, reading_guide
from server.release.page import render_page
from server.release.region_map import regions_geojson
from server.release.registry_entry import privacy_json
from server.release.schema import SCHEMA_PATH, Document

RELEASE_VERSION: Final = 2
RELEASE, SCHEMA, PLAN = "release.json", "release.schema.json", "plan.json"
JOURNAL, SIGNATURES = "journal.jsonl", "signatures.json"
SIGNED: Final = ("cells.csv", "corridors.csv", "index.html", "indicators.csv", "model-card.md", PLAN, "privacy.json",
                 "reading-guide.md", "regions.geojson", RELEASE, SCHEMA)
"""Files that people sign."""
ALL: Final = (*SIGNED, JOURNAL, SIGNATURES)
MAX_FILE_BYTES: Final = 500_000_000
_OPENED: Final = 3


def bundle_files(content: dict[str, Any], signed: SignedPlan) -> dict[str, bytes]:
    """Every file that people sign, by name (`SIGNED`)."""
    # As it will be read back: files must not depend on the order in which somebody put the content together.
    content = json.loads(canonical_json(content))
    plan, digest = signed.plan, content_sha256(content)
    return {
        RELEASE: release_json(content), SCHEMA: SCHEMA_PATH.read_bytes(), PLAN: plan_json(signed),
        "cells.csv": cells_csv(content), "indicators.csv": indicators_csv(content),
        "corridors.csv": corridors_csv(content), "regions.geojson": regions_geojson(content),
        "index.html": render_page(content, release_sha256=digest), "privacy.json": privacy_json(content, plan),
        "model-card.md": model_card(content, plan), "reading-guide.md": reading_guide(content),
    }


def plan_json(signed: SignedPlan) -> bytes:
    """The signed plan, as it was sent to the partners."""
    return signed.to_json().encode() + b"\n"


def release_json(content: dict[str, Any]) -> bytes:
    """The content with its hash, laid out to be read: a line for each fact and for each row of a table."""
    document = {"release_version": RELEASE_VERSION, "content": content, "content_sha256": content_sha256(content)}
    return _laid_out(document, 0).encode() + b"\n"


def _laid_out(value: Any, depth: int) -> str:
    """JSON with objects opened down to the tables, and tables into rows, one a line."""
    line, rows = "\n" + " " * (depth + 1), isinstance(value, list) and value and isinstance(value[0], dict)
    if isinstance(value, dict) and value and depth < _OPENED:
        parts = [f"{json.dumps(key)}: {_laid_out(value[key], depth + 1)}" for key in sorted(value)]
        return "{" + line + f",{line}".join(parts) + line[:-1] + "}"
    if rows:
        return "[" + line + f",{line}".join(_laid_out(row, _OPENED) for row in value) + line[:-1] + "]"
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def read_content(text: bytes) -> dict[str, Any]:
    """The content of a `release.json`, of the right form, with the hash that it states, in the one form of the file.

    Raises:
        ValueError: saying what is wrong.
    """
    try:
        Document.model_validate_json(text)
        document = json.loads(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"is not of the form of a release: {'.'.join(map(str, first['loc']))}: "
                         f"{first['msg']}") from None
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    content: dict[str, Any] = document["content"]
    if content_sha256(content) != document["content_sha256"]:
        raise ValueError("states another hash than its content has")
    if release_json(content) != text:
        raise ValueError("is not laid out as a release is written")
    return content


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same to the letter: 1 and 1.0 and true are three things."""
    return canonical_json(one) == canonical_json(other)
