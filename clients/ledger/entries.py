"""What can stand in a ledger: four kinds of entry, a closed list.

An entry's body is canonical JSON. It is read back by its `kind` into one of the models below and into nothing else; a
body with a field too many, a number that is not finite or a kind that is not listed is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from federation.canonical import canonical_json, sha256_hex
from federation.plan_parts import Hex32, Slug
from federation.privacy.accounting import LARGEST_ORDER, DiscreteGaussianTable, Event, SubsampledGaussian
from federation.privacy.units import Adjacency, PrivacyUnit

LEDGER_VERSION: Literal[1] = 1
_ZERO = timedelta(0)


def _is_utc(value: datetime) -> datetime:
    if value.utcoffset() != _ZERO:
        raise ValueError("time is not UTC")
    return value


Moment = Annotated[AwareDatetime, AfterValidator(_is_utc)]
# Wide, and far inside what accounting can price.
Noise = Annotated[float, Field(ge=1e-2, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Order = Annotated[int, Field(ge=2, le=LARGEST_ORDER)]
OpenDelta = Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Stage(StrEnum):
    """A part of a study that asks a node for something made from records."""

    TRAIN = "train"
    TABLE = "table"


class GaussianEvent(_Frozen):
    """`SubsampledGaussian` on paper."""

    mechanism: Literal["subsampled_gaussian"] = "subsampled_gaussian"
    noise_multiplier: Noise
    sampling_probability: Annotated[float, Field(ge=1e-6, le=1.0)]
    steps: Count

    def events(self, times: int = 1) -> tuple[Event, ...]:
        """The accounting event of `times` such requests."""
        return (SubsampledGaussian(noise_multiplier=self.noise_multiplier, steps=times * self.steps,
                                   sampling_probability=self.sampling_probability),)


class NoisyTable(_Frozen):
    """`DiscreteGaussianTable` on paper."""

    scale: Noise
    entries: Count
    shift: Count


class TablesEvent(_Frozen):
    """Several tables that leave together, each with noise of its own."""

    mechanism: Literal["discrete_gaussian_tables"] = "discrete_gaussian_tables"
    tables: Annotated[tuple[NoisyTable, ...], Field(min_length=1, max_length=32)]

    def events(self, times: int = 1) -> tuple[Event, ...]:
        """The accounting events of `times` such requests."""
        return tuple(DiscreteGaussianTable(scale=table.scale, entries=times * table.entries, shift=table.shift)
                     for table in self.tables)


EventBody = Annotated[GaussianEvent | TablesEvent, Field(discriminator="mechanism")]


class PlannedStage(_Frozen):
    """What a plan fixes about one stage: how many requests it makes, numbered from 1, and what each of them costs."""

    stage: Stage
    rounds: Annotated[int, Field(ge=1, le=10**6)]
    event: EventBody
    colluders: Annotated[int, Field(ge=0)] | None = None
    """Where the noise is in a sum of several partners: how many of them may work with the coordinator without the price
    being wrong. None: all the noise is this partner's own."""

    @classmethod
    def training(cls, rounds: int, event: SubsampledGaussian, *, colluders: int | None = None) -> PlannedStage:
        """Training, from the accounting event of one round at one partner."""
        body = GaussianEvent(noise_multiplier=event.noise_multiplier, steps=event.steps,
                             sampling_probability=event.sampling_probability)
        return cls(stage=Stage.TRAIN, rounds=rounds, event=body, colluders=colluders)

    @classmethod
    def tables(cls, rounds: int, events: Sequence[DiscreteGaussianTable], *,
               colluders: int | None = None) -> PlannedStage:
        """Counting, from the accounting events of one request for all tables to one partner."""
        body = TablesEvent(tables=tuple(NoisyTable(scale=event.scale, entries=event.entries, shift=event.shift)
                                        for event in events))
        return cls(stage=Stage.TABLE, rounds=rounds, event=body, colluders=colluders)

    def whole(self) -> tuple[Event, ...]:
        """The accounting events of the whole stage."""
        return self.event.events(self.rounds)


def find_stage(stages: tuple[PlannedStage, ...], stage: Stage, round_number: int) -> PlannedStage | None:
    """What a plan says of a stage, if it has the stage and the round."""
    return next((one for one in stages if one.stage == stage and 1 <= round_number <= one.rounds), None)


class Opened(_Frozen):
    """The first entry: whose account this is, what it protects, and what its filter was fixed to."""

    kind: Literal["opened"] = "opened"
    at: Moment
    ledger_version: Literal[1] = LEDGER_VERSION
    partner: Slug
    public_key: Hex32
    privacy_unit: PrivacyUnit
    adjacency: Adjacency
    delta: OpenDelta
    renyi_order: Order
    year_renyi_order: Order


class StudyHeld(_Frozen):
    """A study's whole plan is charged, before its first request touches data."""

    kind: Literal["study_held"] = "study_held"
    at: Moment
    plan_sha256: Hex32
    study: Slug
    stages: Annotated[tuple[PlannedStage, ...], Field(min_length=1, max_length=8)]
    delta: OpenDelta
    """The plan's own; the account composes at the one it was opened with."""
    epsilon: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    """Price of the whole plan at `delta`."""

    @field_validator("stages")
    @classmethod
    def _distinct(cls, value: tuple[PlannedStage, ...]) -> tuple[PlannedStage, ...]:
        if len({planned.stage for planned in value}) != len(value):
            raise ValueError("a stage is listed twice")
        return value


class Reserved(_Frozen):
    """One request is about to touch data. The first attempt is covered by the hold; each further one is a charge."""

    kind: Literal["reserved"] = "reserved"
    at: Moment
    request_id: Hex32
    request_sha256: Hex32
    plan_sha256: Hex32
    stage: Stage
    round_number: Count
    attempt: Count
    event: EventBody


class Committed(_Frozen):
    """A reserved request has its reply, stored beside this entry."""

    kind: Literal["committed"] = "committed"
    at: Moment
    reservation: Count
    """Number of the entry that reserved it."""
    reply_sha256: Hex32


Entry = Opened | StudyHeld | Reserved | Committed
_ENTRIES: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


def encode(entry: Entry) -> bytes:
    """The body of an entry: canonical JSON."""
    return canonical_json(entry.model_dump(mode="json"))


def decode(body: bytes) -> Entry:
    """Read a body back.

    Raises:
        ValueError: if it is not one of the four kinds, to the letter.
    """
    return _ENTRIES.validate_json(body)


def request_id(plan_sha256: str, stage: Stage, round_number: int) -> str:
    """The name of a request: the same whenever and however often it is sent."""
    return sha256_hex(f"{plan_sha256}/{stage}/{round_number}".encode())
