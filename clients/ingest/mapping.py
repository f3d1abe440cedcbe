"""A mapping: which column of a partner's file means what. Declared in YAML, checked strictly, never guessed.

    name: helpline
    text: {columns: [summary]}
    person: {columns: [caller_id]}
    observed_at: {column: call_date}
    regions: [{role: observed, column: caller_region, optional: true}]
    labels: [{task: distress, column: outcome, provenance: human_expert, values: {"1": positive, "0": negative}}]
    channel: {constant: helpline_call}
    actor_kind: {constant: subject}
    consent_basis: {constant: vital_interest}
    retention: {days: 365, after: observation}

A column is required unless it is `optional`. What the mapping does not name is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from federation.errors import InputError
from federation.taxonomy import Indicator, Provenance, RegionRole, Task

Name = Annotated[str, Field(min_length=1)]
Columns = Annotated[tuple[Name, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextSource(_Strict):
    """The text: one column, or several joined with `joiner`. Empty columns are skipped."""

    columns: Columns
    joiner: str = " "


class PersonSource(_Strict):
    """The partner's person id: the first of `columns` that is filled. It is always turned into a keyed pseudonym.

    `identity_allowed` permits a column whose name looks like identity (a handle, an e-mail address): its values never
    reach the store.
    """

    columns: Columns
    optional: bool = False
    identity_allowed: bool = False


class IdSource(_Strict):
    """The id of the row in its own system: the first of `columns` that is filled."""

    columns: Columns
    optional: bool = False


class DateSource(_Strict):
    """A date. `format` is `iso` (2024-05-01, also 2024-05 and timestamps) or a strptime pattern.

    A month stands for its first day. `constant` fills in where the column is absent or empty.
    """

    column: Name | None = None
    format: Name = "iso"
    constant: date | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _some_source(self) -> Self:
        if self.column is None and self.constant is None:
            raise ValueError("needs a column or a constant")
        return self


class CodeSource(_Strict):
    """A word of a closed vocabulary: from a column, through `values` where its words differ, else `constant`."""

    column: Name | None = None
    constant: Name | None = None
    values: dict[str, str] | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _some_source(self) -> Self:
        if self.column is None and self.constant is None:
            raise ValueError("needs a column or a constant")
        return self


class LanguageSource(_Strict):
    """The language: column first, then `constant`, then detection, then `default`."""

    column: Name | None = None
    confidence_column: Name | None = None
    constant: Name | None = None
    default: Name = "und"
    optional: bool = True


class RegionSource(_Strict):
    """A region in one role. Several sources of the same role: the first filled one counts.

    `separator` reads codes written as "US, NY, New York" (everything finer than the second part is dropped).
    `unknown: country` keeps only the country where the subdivision is not in ISO 3166-2.
    """

    role: RegionRole
    column: Name
    confidence_column: Name | None = None
    separator: Literal["-", ","] = "-"
    unknown: Literal["reject", "country"] = "reject"
    optional: bool = False


class CountrySource(_Strict):
    """An ISO 3166-1 country, used where no region is known."""

    column: Name
    optional: bool = False


class LabelSource(_Strict):
    """One task's label. An empty cell is no label, which is not the same as a negative one."""

    task: Task
    column: Name
    values: dict[str, str] | None = None
    provenance: Provenance | None = None
    provenance_column: Name | None = None
    confidence_column: Name | None = None
    decided_by_column: Name | None = None
    decided_at_column: Name | None = None
    model_version_column: Name | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if self.provenance is None and self.provenance_column is None:
            raise ValueError("needs a provenance or a provenance_column")
        return self


class IndicatorSource(_Strict):
    """A tag: 0, 1, or empty for `nobody looked`."""

    column: Name
    source: Provenance = Provenance.HUMAN_EXPERT
    source_column: Name | None = None
    optional: bool = False


class ListSource(_Strict):
    """Several words in one cell, or a list."""

    column: Name
    separator: Annotated[str, Field(min_length=1, max_length=3)] = "|"
    optional: bool = False


class PlainSource(_Strict):
    """One column, read as it is: a yes or no (true/false, 1/0, yes/no), or a key."""

    column: Name
    optional: bool = False


class RetentionSource(_Strict):
    """Until when a record may be kept. The column wins over --retention-until, which wins over `days`."""

    column: Name | None = None
    days: Annotated[int, Field(gt=0, le=36_525)] | None = None
    after: Literal["observation", "ingestion"] = "ingestion"
    optional: bool = False


class Structured(_Strict):
    """Columns that hold whole parts of a record as in `federation.records`: nested, or as JSON text in a cell."""

    regions: Name | None = None
    labels: Name | None = None
    indicators: Name | None = None
    weak_labels: Name | None = None


class Mapping(_Strict):
    """Everything ingest needs to know about a file's layout."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,40}$")]
    description: str = ""
    delimiter: Literal[",", ";", "\t", "|"] = ","
    text: TextSource
    source_id: IdSource | None = None
    person: PersonSource | None = None
    observed_at: DateSource
    language: LanguageSource = LanguageSource()
    regions: tuple[RegionSource, ...] = ()
    country: CountrySource | None = None
    exploitation: ListSource | None = None
    labels: tuple[LabelSource, ...] = ()
    indicators: dict[Indicator, IndicatorSource] = Field(default_factory=dict)
    structured: Structured = Structured()
    channel: CodeSource
    actor_kind: CodeSource
    consent_basis: CodeSource
    text_redaction: CodeSource = CodeSource(constant="rules")
    retention: RetentionSource = RetentionSource()
    exclude_training: PlainSource | None = None
    campaign_key: PlainSource | None = None

    def columns(self) -> dict[str, bool]:
        """Every column named, and whether the file must have it."""
        found: dict[str, bool] = {}
        for column, needed in self._uses():
            found[column] = found.get(column, False) or needed
        return found

    def without(self, excluded: frozenset[str]) -> Mapping:
        """Raise InputError if a required column is excluded; else the mapping itself."""
        for column, needed in self.columns().items():
            if needed and column in excluded:
                raise InputError(f"--exclude {column}", f"mapping {self.name} needs this column",
                                 remedy="do not exclude it, or use another mapping")
        return self

    def narrowed(self, present: Callable[[str], bool]) -> Mapping:
        """The same mapping without the optional parts whose column a file does not have, so that rows go faster."""
        def kept(source: Any) -> Any:
            return source if source is not None and present(source.column) else None

        return self.model_copy(update={
            "regions": tuple(s for s in self.regions if kept(s)), "labels": tuple(s for s in self.labels if kept(s)),
            "indicators": {tag: s for tag, s in self.indicators.items() if kept(s)},
            "country": kept(self.country), "exploitation": kept(self.exploitation),
            "exclude_training": kept(self.exclude_training), "campaign_key": kept(self.campaign_key),
            "structured": self.structured.model_copy(update={
                field: None for field, column in self.structured if column is not None and not present(column)})})

    def _uses(self) -> Iterator[tuple[str, bool]]:
        yield from ((c, True) for c in self.text.columns)
        for several in (self.source_id, self.person):
            if several is not None:
                # Of several alternatives none is needed by itself; the row says which one it filled.
                yield from ((c, not several.optional and len(several.columns) == 1) for c in several.columns)
        single: tuple[Any, ...] = (
            self.observed_at, self.language, *self.regions, self.country, self.exploitation, *self.labels,
            *self.indicators.values(), self.channel, self.actor_kind, self.consent_basis, self.text_redaction,
            self.retention, self.exclude_training, self.campaign_key)
        for source in single:
            if source is None:
                continue
            for field, value in source:
                if value is not None and (field == "column" or field.endswith("_column")):
                    yield value, field == "column" and not source.optional
        yield from ((value, False) for _, value in self.structured if value is not None)


def shipped() -> tuple[str, ...]:
    """Names of the mappings that come with the program."""
    return tuple(sorted(p.name.removesuffix(".yaml") for p in files("clients.mappings").iterdir()
                        if p.name.endswith(".yaml")))


def load_mapping(name_or_path: str | Path) -> Mapping:
    """A shipped mapping by name, or one from a YAML file.

    Raises:
        InputError: if there is none, or it is not valid; the message names each wrong key.
    """
    name = str(name_or_path)
    if name in shipped():
        text = files("clients.mappings").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = _read(Path(name))
    else:
        raise InputError(f"mapping {name}", "there is none of that name, and no file there",
                         bound=", ".join(shipped()) + ", or the path of a YAML file", remedy="check the spelling")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" near line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"mapping {name}", f"is not valid YAML{place}", remedy="repair the file") from None
    try:
        return Mapping.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise InputError(f"mapping {name}", problems, remedy="compare it with a shipped mapping") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"mapping {path}", "cannot be read as UTF-8 text", remedy="check the file") from None
