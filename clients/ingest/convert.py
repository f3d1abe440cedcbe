"""One row of a partner's file to one record, as the mapping says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from clients.ingest.languages import UNDETERMINED, detect
from clients.ingest.mapping import CodeSource, LabelSource, Mapping, RegionSource
from clients.ingest.quarantine import Reason, RowFault
from clients.ingest.redaction import redact
from clients.ingest.values import day, flag, lookup, share, structure, word, words
from clients.pseudonyms import actor_key, content_id, record_id
from federation.errors import InputError
from federation.records import MAX_TEXT_CHARS, Record, RegionMention
from federation.regions import check_country, check_region
from federation.taxonomy import LabelValue, PartnerKind, RegionRole, TextRedaction

# Redaction can shorten a text (links), but not by this much; beyond it the text is not even looked at.
_RAW_LIMIT = 4 * MAX_TEXT_CHARS
_KEPT_CHARS = 200
_LABEL_VALUES = frozenset(value.value for value in LabelValue)


@dataclass
class Converter:
    """Rows to records. Holds what is the same for every row of one ingest."""

    mapping: Mapping
    secret: bytes
    partner_kind: PartnerKind
    today: date
    retention_until: date | None = None
    excluded: frozenset[str] = frozenset()
    synthetic: bool = False
    country_column: str | None = None
    """Where the mapping reads a country, whether this file has that column or not; for what is said about regions."""
    _regions: dict[str, bool] = field(default_factory=dict)

    def record(self, values: dict[str, Any]) -> tuple[Record, Counter[str]]:
        """The record of a row, and what was redacted in it by kind.

        Raises:
            RowFault: if the row cannot be used; it names the field and carries no value.
        """
        get = self._getter(values)
        # Cheap checks first: redaction and language detection are most of the work.
        observed = self._observed(get)
        retention = self._retention(get, observed)
        person = self._person(get)
        fields: dict[str, Any] = {
            "actor_key": person, "record_id": self._id(get, person, observed), "partner_kind": self.partner_kind,
            "observed_at": observed, "retention_until": retention,
            "channel": self._code(get, self.mapping.channel, "channel"),
            "actor_kind": self._code(get, self.mapping.actor_kind, "actor_kind"),
            "consent_basis": self._code(get, self.mapping.consent_basis, "consent_basis"),
            **self._places(get), **self._judgements(get), **self._extras(get),
        }
        text, redacted = self._text(get)
        language, confidence = self._language(get, text)
        fields |= {"text": text, "language": language, "language_confidence": confidence,
                   "text_redaction": self._redaction(get)}
        try:
            return Record.model_validate(fields), redacted
        except ValidationError as error:
            # Pydantic's own message quotes the input, so only the place and the kind of the first problem are used.
            raise _fault_of(error) from None

    def keepable(self, values: dict[str, Any]) -> dict[str, Any]:
        """The mapped columns of a row in a form that may lie in quarantine: redacted but for an id that is a UUID, and
        the person as a key."""
        person = set(self.mapping.person.columns) if self.mapping.person else set()
        text = set(self.mapping.text.columns)
        ids = set(self.mapping.source_id.columns) - text if self.mapping.source_id else set()
        kept: dict[str, Any] = {}
        get = self._getter(values)
        for column in self.mapping.columns():
            value = get(column)
            if value is None or value == "":
                continue
            if column in person:
                kept[column] = {"actor_key": _key_or_none(self.secret, value)}
                continue
            if column in ids and _is_uuid(str(value)):
                # As it is: redaction takes its digits for a telephone number. Any other id may be one, or an address.
                kept[column] = str(value)
                continue
            limit = _RAW_LIMIT if column in text else _KEPT_CHARS
            kept[column] = redact(str(value)[:limit])[0]
        return kept

    def _getter(self, values: dict[str, Any]) -> Callable[[str | None], Any]:
        def get(column: str | None) -> Any:
            return None if column is None or column in self.excluded else lookup(values, column)
        return get

    def _raw_text(self, get: Callable[[str | None], Any]) -> str:
        source = self.mapping.text
        return source.joiner.join(
            part for column in source.columns if (part := word(get(column), column)) is not None)

    def _text(self, get: Callable[[str | None], Any]) -> tuple[str, Counter[str]]:
        name = "+".join(self.mapping.text.columns)
        raw = self._raw_text(get)
        if len(raw) > _RAW_LIMIT:
            raise RowFault(Reason.TEXT_TOO_LONG, name)
        text, redacted = redact(raw)
        if not text:
            raise RowFault(Reason.EMPTY_TEXT, name)
        if len(text) > MAX_TEXT_CHARS:
            raise RowFault(Reason.TEXT_TOO_LONG, name)
        return text, redacted

    def _person(self, get: Callable[[str | None], Any]) -> str | None:
        source = self.mapping.person
        if source is None:
            return None
        for column in source.columns:
            person = word(get(column), column)
            if person is not None:
                try:
                    return actor_key(self.secret, person)
                except ValueError:
                    break
        if source.optional:
            return None
        # A row without its person would silently become its own unit, with less protection than its neighbours.
        raise RowFault(Reason.MISSING_VALUE, "+".join(source.columns))

    def _id(self, get: Callable[[str | None], Any], person: str | None, observed: date) -> UUID:
        source = self.mapping.source_id
        for column in source.columns if source else ():
            found = word(get(column), column)
            if found is not None:
                return record_id(self.secret, found, namespace=self.mapping.name)
        if source is None or source.optional:
            # Of the text as it came, so that a later version of redaction gives the same id.
            return content_id(self.secret, text=self._raw_text(get), actor_key=person, observed_at=observed)
        raise RowFault(Reason.MISSING_VALUE, "+".join(source.columns))

    def _observed(self, get: Callable[[str | None], Any]) -> date:
        source = self.mapping.observed_at
        found = day(get(source.column), source.column or "observed_at", source.format) or source.constant
        if found is None:
            raise RowFault(Reason.MISSING_VALUE, source.column or "observed_at")
        if found > self.today:
            raise RowFault(Reason.DATE_IN_FUTURE, source.column or "observed_at")
        return found

    def _retention(self, get: Callable[[str | None], Any], observed: date) -> date:
        source = self.mapping.retention
        until = day(get(source.column), source.column or "retention") or self.retention_until
        if until is None and source.days is not None:
            until = (observed if source.after == "observation" else self.today) + timedelta(days=source.days)
        if until is None:
            raise RowFault(Reason.RETENTION_MISSING, source.column or "retention")
        if until < self.today:
            raise RowFault(Reason.RETENTION_EXPIRED, source.column or "retention")
        return until

    def _code(self, get: Callable[[str | None], Any], source: CodeSource, name: str) -> str:
        found = word(get(source.column), source.column or name)
        if found is None:
            if source.constant is None:
                raise RowFault(Reason.MISSING_VALUE, source.column or name)
            return source.constant
        return _translated(found, source.values, source.column or name)

    def _redaction(self, get: Callable[[str | None], Any]) -> TextRedaction:
        # The rules have just run, so "none" is no longer true; a human's work is kept on record.
        try:
            declared = TextRedaction(self._code(get, self.mapping.text_redaction, "text_redaction"))
        except ValueError:
            raise RowFault(Reason.UNKNOWN_VALUE, self.mapping.text_redaction.column or "text_redaction",
                           allowed=[value.value for value in TextRedaction]) from None
        return TextRedaction.RULES if declared is TextRedaction.NONE else declared

    def _language(self, get: Callable[[str | None], Any], text: str) -> tuple[str, float]:
        source = self.mapping.language
        declared = word(get(source.column), source.column or "language") or source.constant
        if declared is not None:
            given = share(get(source.confidence_column), source.confidence_column or "language_confidence")
            return declared.replace("_", "-"), 1.0 if given is None else given
        language, confidence = detect(text)
        if language == UNDETERMINED and source.default != UNDETERMINED:
            return source.default, 0.0
        return language, confidence

    def _places(self, get: Callable[[str | None], Any]) -> dict[str, Any]:
        country: str | None = None
        found: dict[RegionRole, RegionMention] = {}
        for source in self.mapping.regions:
            if source.role in found:
                continue
            code, fallback = self._region(get, source)
            country = country or fallback
            if code is not None:
                given = share(get(source.confidence_column), source.confidence_column or source.column)
                found[source.role] = RegionMention(code=code, role=source.role,
                                                   confidence=1.0 if given is None else given)
        mentions: list[Any] = [*found.values(), *self._nested_regions(get)]
        if self.mapping.country is not None and country is None:
            country = word(get(self.mapping.country.column), self.mapping.country.column)
            if country is not None and not self._known_country(country):
                raise RowFault(Reason.BAD_COUNTRY, self.mapping.country.column)
        return {"regions": tuple(mentions), "country_only": None if mentions else country}

    def _region(self, get: Callable[[str | None], Any], source: RegionSource) -> tuple[str | None, str | None]:
        """The region code, and the country if only that much is known."""
        cell = word(get(source.column), source.column)
        if cell is None:
            return None, None
        code = cell
        if source.separator == ",":
            code = "-".join(part.strip() for part in cell.split(",")[:2]).strip("-")
        if self._known_region(code):
            return code, None
        if source.unknown == "country" and self._known_country(code[:2]):
            return None, code[:2]
        if source.unknown == "country" and len(code) > 2 and code[2] != "-":
            # A place name in words, without any code: nothing that may be kept.
            return None, None
        raise self._bad_region(source.column)

    def _bad_region(self, column: str) -> RowFault:
        country = f" and write the country, such as RO, in column {self.country_column}" if self.country_column else ""
        return RowFault(Reason.BAD_REGION, column,
                        remedy=f"use an ISO 3166-2 code such as RO-IS, or leave it empty{country}")

    def _nested_regions(self, get: Callable[[str | None], Any]) -> list[Any]:
        column = self.mapping.structured.regions
        mentions = structure(get(column), column or "regions") or []
        if not isinstance(mentions, list):
            raise RowFault(Reason.INVALID, column or "regions")
        for mention in mentions:
            if not isinstance(mention, dict) or not self._known_region(str(mention.get("code"))):
                raise self._bad_region(column or "regions")
        return [_without_nulls(mention) for mention in mentions]

    def _judgements(self, get: Callable[[str | None], Any]) -> dict[str, Any]:
        nested = self.mapping.structured
        labels: list[Any] = [label for source in self.mapping.labels if (label := self._label(get, source))]
        more = structure(get(nested.labels), nested.labels or "labels") or []
        if not isinstance(more, list):
            raise RowFault(Reason.INVALID, nested.labels or "labels")
        labels += [_without_nulls(label) for label in more]
        marks = structure(get(nested.indicators), nested.indicators or "indicators") or {}
        if isinstance(marks, list):
            # A Parquet map arrives as pairs.
            marks = {pair[0]: pair[1] for pair in marks if isinstance(pair, tuple) and len(pair) == 2}
        if not isinstance(marks, dict):
            raise RowFault(Reason.INVALID, nested.indicators or "indicators")
        # A Parquet struct names every tag; one without a source was not assessed.
        marks = {tag: mark for tag, mark in marks.items()
                 if mark is not None and (not isinstance(mark, dict) or any(v is not None for v in mark.values()))}
        for tag, source in self.mapping.indicators.items():
            value = flag(get(source.column), source.column)
            if value is not None:
                who = word(get(source.source_column), source.source_column or source.column) or source.source.value
                marks[tag.value] = {"value": int(value), "source": who}
        votes = structure(get(nested.weak_labels), nested.weak_labels or "weak_labels") or []
        return {"labels": labels, "indicators": marks, "weak_labels": votes}

    def _label(self, get: Callable[[str | None], Any], source: LabelSource) -> dict[str, Any] | None:
        cell = word(get(source.column), source.column)
        if cell is None:
            return None
        value = _translated(cell, source.values, source.column)
        if value not in _LABEL_VALUES:
            raise RowFault(Reason.UNKNOWN_VALUE, source.column, allowed=[value.value for value in LabelValue])
        who = word(get(source.provenance_column), source.provenance_column or "") or source.provenance
        if who is None:
            raise RowFault(Reason.MISSING_VALUE, source.provenance_column or "provenance")
        confidence = share(get(source.confidence_column), source.confidence_column or source.column)
        return {"task": source.task, "value": value, "provenance": who,
                "confidence": 1.0 if confidence is None else confidence,
                "decided_by": word(get(source.decided_by_column), source.decided_by_column or ""),
                "decided_at": day(get(source.decided_at_column), source.decided_at_column or ""),
                "model_version": word(get(source.model_version_column), source.model_version_column or "")}

    def _extras(self, get: Callable[[str | None], Any]) -> dict[str, Any]:
        m = self.mapping
        extras: dict[str, Any] = {}
        if m.exploitation is not None:
            extras["exploitation"] = words(get(m.exploitation.column), m.exploitation.column, m.exploitation.separator)
        if m.exclude_training is not None:
            extras["exclude_training"] = flag(get(m.exclude_training.column), m.exclude_training.column) or False
        if m.campaign_key is not None:
            key = word(get(m.campaign_key.column), m.campaign_key.column)
            extras["campaign_key"] = None if key is None else redact(key[:_KEPT_CHARS])[0]
        return extras

    def _known_region(self, code: str) -> bool:
        return self._remember(code, lambda: check_region(code, synthetic=self.synthetic))

    def _known_country(self, code: str) -> bool:
        return self._remember(" " + code, lambda: check_country(code, synthetic=self.synthetic))

    def _remember(self, key: str, check: Callable[[], str]) -> bool:
        if key not in self._regions:
            try:
                check()
            except InputError:
                if len(self._regions) > 20_000:
                    return False
                self._regions[key] = False
            else:
                self._regions[key] = True
        return self._regions[key]


def _translated(found: str, values: dict[str, str] | None, name: str) -> str:
    if values is None:
        return found
    meaning = values.get(found, values.get(found.lower()))
    if meaning is None:
        raise RowFault(Reason.UNKNOWN_VALUE, name, allowed=values)
    return meaning


def _without_nulls(value: Any) -> Any:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


def _key_or_none(secret: bytes, value: Any) -> str | None:
    try:
        return actor_key(secret, str(value))
    except ValueError:
        return None


def _is_uuid(value: str) -> bool:
    try:
        return str(UUID(value)) == value.lower()
    except ValueError:
        return False


def _fault_of(error: ValidationError) -> RowFault:
    first = error.errors(include_input=False, include_url=False)[0]
    # Only the names of our own fields and positions: a key may come from the file.
    known = {*Record.model_fields, "code", "role", "confidence", "task", "value", "provenance", "source", "fn", "vote"}
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part in known) or "record"
    kind = first["type"]
    if kind in {"enum", "literal_error"}:
        # For these two kinds the context is the list of our own words, such as "'yes', 'no' or 'maybe'".
        return RowFault(Reason.UNKNOWN_VALUE, place, allowed=re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    if "language" in place:
        return RowFault(Reason.BAD_LANGUAGE, place)
    if place.endswith("confidence"):
        return RowFault(Reason.BAD_NUMBER, place)
    if kind == "missing":
        return RowFault(Reason.MISSING_VALUE, place)
    return RowFault(Reason.INVALID, place)
