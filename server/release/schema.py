"""The form of `release.json`, strictly: nothing unknown, nothing missing, no room for a number where it is withheld.

`release.schema.json` beside this module is the same as JSON Schema 2020-12, for whoever reads a release without us; a
copy lies in each bundle.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from federation.plan_parts import Hex32, Slug
from federation.taxonomy import AreaLevel, Family, PartnerKind, RegionRole, Task
from server.release.gate import Withheld
from server.release.schema_rows import (
    CalibrationRow,
    Count,
    Form,
    Indicators,
    ShownCell,
    ShownCorridor,
    ShownNode,
    ShownSeries,
    WithheldCell,
    WithheldCorridor,
    WithheldNode,
    WithheldSeries,
)

SCHEMA_PATH: Final = Path(__file__).with_name("release.schema.json")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Names = dict[PartnerKind, Count]


class Period(Form):
    start: date
    end: date


class Area(Form):
    """A place. Nobody is counted in a protected one, so no figure of it exists."""

    code: str
    name: str
    level: AreaLevel
    parent: str | None
    status: Literal["measured", "protected"]


class Coverage(Form):
    """Who covers what, by partners' own public declarations."""

    source: str
    in_sum: tuple[Slug, ...]
    partners: Names
    areas: dict[str, Names]


class Gate(Form):
    """The rules by which numbers were shown or withheld."""

    minimum_count: Count
    false_publication: float
    minimum_partners: Count
    minimum_kinds: Count
    most_of_one_partner: float
    least_youden: float
    band_factor: float
    flag_threshold: float
    embargo_days: Count
    signatures: Count
    thresholds: dict[Family, Count]
    threshold_in_words: str
    noise_sd: dict[Family, float]
    widest_interval: Count


class Suppression(Form):
    cells: Count
    shown: Count
    withheld: dict[Withheld, Count]


class AtPartners(Form):
    partners: Count
    epsilon: float


class TrainingPart(Form):
    part: Literal["training"]
    epsilon: float
    mechanism: str
    noise_multiplier: float
    l2_clip_norm: float
    sampling_probability: float
    steps: Count


class FamilyNoise(Form):
    family: Family
    noise_scale: float
    entries: Count
    l2_sensitivity: float
    noise_sd: float


class StatisticsPart(Form):
    part: Literal["statistics"]
    epsilon: float
    mechanism: str
    max_roles_per_person: Count
    families: tuple[FamilyNoise, ...]


class Appearances(Form):
    """How often in a year a person counts, and what that costs at most."""

    releases_a_year: Count
    releases_per_person: Count
    release_of_year: Count
    year_epsilon: float


class SecureSums(Form):
    parts: tuple[Literal["training", "statistics"], ...]
    colluders: Count
    partners: Count
    least_in_a_sum: Count


class Privacy(Form):
    """What the study costs one person, and on whom that rests."""

    privacy_unit: str
    adjacency: str
    delta: float
    total_epsilon: float
    same_person_at_partners: tuple[AtPartners, ...]
    parts: tuple[TrainingPart, StatisticsPart]
    series_epsilon: float | None
    appearances: Appearances
    trust: str
    secure_sums: SecureSums | None
    rehearsal: bool
    accounting: str


class Versions(Form):
    content: Literal[2]
    plan: Count
    encoder: str


class Content(Form):
    """Everything that a release says."""

    content_version: Literal[2]
    label: str
    synthetic: bool
    regions_drawn: bool
    study: Slug
    purpose: str
    period: Period
    released_on: date
    previous_release_sha256: Hex32 | None
    tasks: tuple[Task, ...]
    roles: tuple[RegionRole, ...]
    areas: tuple[Area, ...]
    rate_per_reviewed_records: Literal[10_000]
    confidence: float
    calibration: tuple[CalibrationRow, ...]
    nodes: tuple[Annotated[ShownNode | WithheldNode, Field(discriminator="status")], ...]
    cells: tuple[Annotated[ShownCell | WithheldCell, Field(discriminator="status")], ...]
    indicators: Indicators | None
    corridors: tuple[Annotated[ShownCorridor | WithheldCorridor, Field(discriminator="status")], ...]
    series: Annotated[ShownSeries | WithheldSeries, Field(discriminator="status")] | None
    coverage: Coverage
    gate: Gate
    suppression: Suppression
    privacy: Privacy
    measurements_commitment: Hex32
    responsible_use: str
    plan_sha256: Hex32
    model_sha256: Hex32
    versions: Versions


class Document(Form):
    """`release.json`: the content, and the SHA-256 of its canonical JSON."""

    release_version: Literal[2]
    content: Content
    content_sha256: Hex32


def json_schema() -> dict[str, Any]:
    """The form as JSON Schema 2020-12."""
    return {"$schema": _DIALECT, **Document.model_json_schema(by_alias=True)}


def schema_text() -> bytes:
    """`release.schema.json` as these models give it."""
    return json.dumps(json_schema(), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
