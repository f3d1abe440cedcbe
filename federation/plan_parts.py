"""The parts of a study plan: its public constants by kind, with their bounds. `federation.plan` puts them together."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from federation.taxonomy import PartnerKind, RegionRole, Task

Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
# Constants stay where float32 models and exact sums are faithful. Far outside, weights overflow, and a product of
# infinity and zero would tell whether anybody is there.
ClipNorm = Annotated[float, Field(ge=1e-4, le=1e3)]
Noise = Annotated[float, Field(ge=0.1, le=1e5)]
Step = Annotated[float, Field(ge=1e-6, le=1e3)]
Scale = Annotated[float, Field(ge=1e-3, le=10.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=1e-5, le=1.0)]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Frozen(BaseModel):
    """Immutable, and nothing unknown or of another type goes in."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Aggregation(StrEnum):
    """Where the noise of a part of the study is, and so what the coordinator sees."""

    LOCAL = "local"
    """Each partner's numbers carry all the noise that its people are promised; nobody need be trusted."""
    SECURE = "secure"
    """The coordinator sees only sums (`federation.secagg`), and only a sum carries that noise. The promise holds while
    at most `SecureAggregationSpec.colluders` partners work with the coordinator."""


class RosterEntry(Frozen):
    """What a partner has declared in public about itself.

    Attributes:
        slots: a public band for the number of people; people occupy slots, empty slots are null people. It sets the
            divisor of a step and the weight in an average, so that true sizes never travel.
        declared_prevalence: the share of positives that this *kind* of work is known to meet, per task it labels. A
            public prior from domain knowledge, not a figure from the partner's records.
    """

    name: Slug
    kind: PartnerKind
    slots: Annotated[int, Field(ge=2, le=2**24)]
    regions: tuple[str, ...]
    declared_prevalence: dict[Task, OpenShare]
    public_key: Hex32


class EncoderSpec(Frozen):
    """Which frozen text encoder turns a record into numbers, pinned down to its weights."""

    name: Slug
    version: str
    fingerprint: Hex32
    dimension: Annotated[int, Field(ge=1, le=2**17)]


class ModelSpec(Frozen):
    """A multi-task head on frozen features: linear, or one hidden layer.

    `intercept_scale` is the constant appended to each feature vector. A small one keeps the intercept from taking the
    share of the clip norm that the features need: with unit features and a constant of 1, half of it would go there.
    """

    hidden_units: Annotated[int, Field(ge=1, le=512)] | None
    intercept_scale: Scale
    initial_seed: Annotated[int, Field(ge=0, le=2**32)]


class TrainingSpec(Frozen):
    """Person-level DP-SGD at each partner; the names are the field's (DESIGN 8)."""

    aggregation: Aggregation
    rounds: Annotated[int, Field(ge=1, le=10_000)]
    local_steps: Annotated[int, Field(ge=1, le=10_000)]
    learning_rate: Step
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)]
    averaged_share: Annotated[float, Field(gt=0.0, le=1.0)]
    """The published model is the mean of the last `ceil(averaged_share * rounds)` aggregates."""
    sampling_probability: Probability
    l2_clip_norm: ClipNorm
    noise_multiplier: Noise
    max_records_per_person: Annotated[int, Field(ge=1, le=8)]

    @property
    def steps(self) -> int:
        """Noised steps in the whole study."""
        return self.rounds * self.local_steps


class StatisticsSpec(Frozen):
    """The regional tables: a fixed list of cells, the noise in each, and what may be shown."""

    regions: Annotated[tuple[str, ...], Field(min_length=1)]
    roles: Annotated[tuple[RegionRole, ...], Field(min_length=1)]
    aggregation: Aggregation
    noise_scale: Noise
    """Scale of the discrete Gaussian noise that protects each entry: of a partner's table under local aggregation, of
    the sum under secure aggregation."""
    flag_threshold: OpenShare
    minimum_count: Annotated[int, Field(ge=1)]
    """k: a cell is meant to be shown only if it truly holds at least k."""
    false_publication: OpenShare
    """Chance that a cell below k passes the threshold on the noisy value all the same."""

    @field_validator("regions", "roles")
    @classmethod
    def _distinct(cls, value: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(value)) != len(value):
            raise ValueError("listed twice")
        return value


class PrivacyClaim(Frozen):
    """What the coordinator says the study costs one person at one partner. Nodes recompute it and do not believe it."""

    delta: Annotated[float, Field(gt=0.0, lt=0.1, allow_inf_nan=False)]
    training_epsilon: Positive
    statistics_epsilon: Positive
    total_epsilon: Positive


class SecureAggregationSpec(Frozen):
    """What sums rest on (`federation.secagg`). The quorum is that of `ConductSpec`: so many are in every sum."""

    colluders: Annotated[int, Field(ge=0)]
    """How many partners may work with the coordinator without the promise failing. Noise is sized for the others."""


class ConductSpec(Frozen):
    """How long to wait and for how many. Changes no privacy figure, except that the quorum is what the noise of a
    secure sum is sized for."""

    quorum: Annotated[int, Field(ge=1)]
    stage_deadline_seconds: Annotated[float, Field(gt=0.0, le=604_800.0)]
    """For each exchange of messages; a week at most."""
