"""The parts of a study plan: its public constants by kind, with their bounds. `federation.plan` puts them together."""

from __future__ import annotations

import base64
import unicodedata
from enum import StrEnum
from typing import Annotated, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from federation.grid import MAX_WEIGHT
from federation.taxonomy import PartnerKind, Task

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
Item = TypeVar("Item")


def _distinct(value: tuple[Item, ...]) -> tuple[Item, ...]:
    if len(set(value)) != len(value):
        raise ValueError("listed twice")
    return value


def _visible(value: str) -> str:
    # Marks of direction and characters without a width make a text look like another, and pass for its beginning.
    if any(unicodedata.category(character) == "Cf" for character in value):
        raise ValueError("holds an invisible character, expected only what can be seen")
    return value


Visible = AfterValidator(_visible)
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$")]
Distinct = Annotated[tuple[Item, ...], AfterValidator(_distinct)]
"""A list in which nothing comes twice."""


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
    version: Version
    fingerprint: Hex32
    dimension: Annotated[int, Field(ge=1, le=2**17)]


class ModelSpec(Frozen):
    """A multi-task head on frozen features: linear, or one hidden layer.

    `intercept_scale` is the constant appended to each feature vector. A small one keeps the intercept from taking the
    share of the clip norm that the features need: with unit features and a constant of 1, half of it would go there.

    `start` are the public weights that a linear head starts from (`federation.start`): base64 of float16, little
    endian, a task's `dimension + 1` after the other's. None: it starts from 0, a hidden layer from `initial_seed`.
    """

    hidden_units: Annotated[int, Field(ge=1, le=512)] | None
    intercept_scale: Scale
    initial_seed: Annotated[int, Field(ge=0, le=2**32)]
    start: Annotated[str, Field(max_length=8 * 2**17)] | None

    @model_validator(mode="after")
    def _start_of_a_linear_head(self) -> Self:
        if self.start is not None and self.hidden_units is not None:
            raise ValueError("start: given, expected none with hidden_units; only a linear head starts from weights")
        return self

    def size(self, *, dimension: int, tasks: int) -> int:
        """How many weights it has, on features of `dimension` numbers."""
        inputs = dimension + 1
        return inputs * tasks if self.hidden_units is None else (inputs + tasks) * self.hidden_units

    @classmethod
    def encoded(cls, weights: npt.NDArray[np.float16]) -> str:
        """`weights` `(tasks, dimension + 1)` as a plan holds them."""
        return base64.b64encode(weights.astype("<f2").tobytes()).decode()

    def start_weights(self, *, dimension: int, tasks: int) -> npt.NDArray[np.float32] | None:
        """What the head starts from, `(tasks, dimension + 1)`; None for a start from 0.

        Raises:
            ValueError: if it is not base64, of another size, or holds a number that is not finite.
        """
        if self.start is None:
            return None
        try:
            found = np.frombuffer(base64.b64decode(self.start, validate=True), dtype="<f2").astype(np.float32)
        except ValueError:
            raise ValueError("model.start: not base64 of 16-bit numbers, expected what the launcher writes") from None
        if found.size != tasks * (dimension + 1):
            raise ValueError(f"model.start: holds {found.size} weights, expected {tasks * (dimension + 1)}")
        if not np.isfinite(found).all() or (np.abs(found) > MAX_WEIGHT).any():
            raise ValueError(f"model.start: holds a weight that is not finite or above {MAX_WEIGHT:g} in magnitude")
        return found.reshape(tasks, dimension + 1)


class RobustRule(StrEnum):
    """How the coordinator makes one update of the partners' (`server.robust`)."""

    MEAN = "mean"
    """Weighted by slots."""
    TRIMMED_MEAN = "trimmed_mean"
    """Of each weight, without the partners that are highest and lowest in it; the others count alike."""
    CENTRED_CLIPPING = "centred_clipping"
    """Weighted by slots, each update cut to a radius around the centre."""


class RobustSpec(Frozen):
    """How far a partner that lies can move the model. Needs updates that the coordinator sees: no secure sums."""

    rule: RobustRule
    norm_bound: Positive
    """Most that a partner's update may move the model in a round: Euclidean norm over all weights. A longer one is
    scaled down to it. `federation.update_norm` says what an honest one stays below."""
    trimmed_each_side: Annotated[int, Field(ge=1)] | None
    """Of `trimmed_mean`: partners left out at each end, for each weight."""
    radius: Positive | None
    """Of `centred_clipping`: farthest that the update of a partner with the mean number of slots may be from the centre
    and count whole; for another with k times as many slots, a k-th of it."""
    iterations: Annotated[int, Field(ge=1, le=100)] | None
    """Of `centred_clipping`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        own = {RobustRule.MEAN: set(), RobustRule.TRIMMED_MEAN: {"trimmed_each_side"},
               RobustRule.CENTRED_CLIPPING: {"radius", "iterations"}}[self.rule]
        for name in ("trimmed_each_side", "radius", "iterations"):
            if (getattr(self, name) is not None) != (name in own):
                raise ValueError(f"{name}: {'missing, expected one' if name in own else 'given, expected none'} for "
                                 f"the rule {self.rule}")
        return self


class TrainingSpec(Frozen):
    """Person-level DP-SGD at each partner; the names are the field's (DESIGN 8)."""

    aggregation: Aggregation
    robust: RobustSpec | None
    """None: the mean of updates weighted by slots, or a secure sum."""
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

    @model_validator(mode="after")
    def _robust_where_updates_are_seen(self) -> Self:
        if self.robust is None:
            return self
        if self.aggregation is Aggregation.SECURE:
            raise ValueError(f"robust: asks for {self.robust.rule}, expected none with secure aggregation, which hides "
                             "the updates that it would bound; leave it out, or train with aggregation local")
        if self.learning_rate * self.weight_decay > 2:
            # A round then multiplies the model by more than 1, and no constant bounds an honest update.
            raise ValueError(f"learning_rate times weight_decay is {self.learning_rate * self.weight_decay:g}, "
                             "expected at most 2 with a robust rule: above, a model grows by itself")
        return self

    @property
    def steps(self) -> int:
        """Noised steps in the whole study."""
        return self.rounds * self.local_steps

    @property
    def kept_of_model(self) -> float:
        """The factor that weight decay alone puts on a model in a round."""
        return (1 - self.learning_rate * self.weight_decay) ** self.local_steps


class Signer(Frozen):
    """Somebody whose signature a release needs."""

    name: Slug
    public_key: Hex32


class ReleaseSpec(Frozen):
    """What may be shown, and who must agree. Fixed before anything is counted."""

    minimum_count: Annotated[int, Field(ge=1)]
    """k: a number is meant to be shown only if it truly stands for at least k people."""
    false_publication: OpenShare
    """Chance that a number below k passes the threshold on the noisy value all the same."""
    minimum_partners: Annotated[int, Field(ge=1)]
    """So many partners have declared to cover a region that is shown."""
    minimum_kinds: Annotated[int, Field(ge=1, le=3)]
    most_of_one_partner: Annotated[float, Field(gt=0.0, le=1.0)]
    """No partner has more than this share of the people counted in a region that is shown, by noisy totals."""
    least_youden: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Sensitivity + specificity - 1 of a task that is shown is at least this."""
    band_factor: Annotated[float, Field(gt=1.0, le=100.0)]
    """A region is of the medium band if its rate surely lies within this factor of its country's."""
    embargo_days: Annotated[int, Field(ge=0, le=3660)]
    """Days from the end of the period to the earliest publication."""
    signers: Annotated[tuple[Signer, ...], Field(min_length=2)]
    signatures: Annotated[int, Field(ge=2)]
    """So many different people of `signers` must have signed before a release is published."""

    @model_validator(mode="after")
    def _different_people(self) -> Self:
        if len({one.name for one in self.signers}) != len(self.signers) or (
                len({one.public_key for one in self.signers}) != len(self.signers)):
            raise ValueError("signers: two have the same name or the same key")
        if self.signatures > len(self.signers):
            raise ValueError(f"signatures is {self.signatures}, expected at most the {len(self.signers)} signers")
        return self


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
