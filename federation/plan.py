"""The study plan: every public constant of a study, in one signed document.

What shapes a mechanism stands here and nowhere else, and none of it is derived from private data (DESIGN 3). The
coordinator composes and signs it; each partner's node and the server rebuild it from the same JSON and check the hash
and the signature before they act on anything.
"""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.identity import SigningKey, verify
from federation.regions import check_region
from federation.taxonomy import PartnerKind, RegionRole, Task

PLAN_VERSION: Literal[1] = 1
MAX_PLAN_BYTES = 10_000_000
_PURPOSE = "study-plan"

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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RosterEntry(_Frozen):
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


class EncoderSpec(_Frozen):
    """Which frozen text encoder turns a record into numbers, pinned down to its weights."""

    name: Slug
    version: str
    fingerprint: Hex32
    dimension: Annotated[int, Field(ge=1, le=2**17)]


class ModelSpec(_Frozen):
    """A multi-task head on frozen features: linear, or one hidden layer.

    `intercept_scale` is the constant appended to each feature vector. A small one keeps the intercept from taking the
    share of the clip norm that the features need: with unit features and a constant of 1, half of it would go there.
    """

    hidden_units: Annotated[int, Field(ge=1, le=512)] | None
    intercept_scale: Scale
    initial_seed: Annotated[int, Field(ge=0, le=2**32)]


class TrainingSpec(_Frozen):
    """Person-level DP-SGD at each partner; the names are the field's (DESIGN 8)."""

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


class StatisticsSpec(_Frozen):
    """The regional tables: a fixed list of cells, the noise in each, and what may be shown."""

    regions: Annotated[tuple[str, ...], Field(min_length=1)]
    roles: Annotated[tuple[RegionRole, ...], Field(min_length=1)]
    noise_scale: Noise
    """Scale of the discrete Gaussian that each partner adds to each entry of its table."""
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


class PrivacyClaim(_Frozen):
    """What the coordinator says the study costs one person at one partner. Nodes recompute it and do not believe it."""

    delta: Annotated[float, Field(gt=0.0, lt=0.1, allow_inf_nan=False)]
    training_epsilon: Positive
    statistics_epsilon: Positive
    total_epsilon: Positive


class ConductSpec(_Frozen):
    """How long to wait and for how many. Changes no privacy figure."""

    quorum: Annotated[int, Field(ge=1)]
    stage_deadline_seconds: Positive


class StudyPlan(_Frozen):
    """Everything public about one study. Build it with the launcher; read it back with `SignedPlan.open`."""

    plan_version: Literal[1] = PLAN_VERSION
    study: Slug
    purpose: Annotated[str, Field(min_length=10, max_length=500)]
    label: Annotated[str, Field(min_length=1, max_length=80)]
    """Printed on every output: `SYNTHETIC`, or where the texts and regions come from."""
    synthetic: bool
    regions_drawn: bool
    """Records lie in regions that were drawn at random, whatever their texts are: no figure describes the place it
    names, and no partner stands for an organisation. Every release of such a study says so."""
    rehearsal: bool
    """Nodes may draw repeatable noise, which protects nobody. Only for invented or public records; every release of
    such a study says so."""
    period_end: date
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    roster: Annotated[tuple[RosterEntry, ...], Field(min_length=1)]
    encoder: EncoderSpec
    model: ModelSpec
    training: TrainingSpec
    statistics: StatisticsSpec
    privacy: PrivacyClaim
    conduct: ConductSpec
    holdout_share: Annotated[float, Field(ge=0.0, le=0.5)]
    """People whom each node keeps out of training to measure the model at home. Chosen by keyed hash."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [entry.name for entry in self.roster]
        if len(set(names)) != len(names):
            raise ValueError("roster: a partner is listed twice")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError("tasks: listed twice")
        if self.conduct.quorum > len(names):
            raise ValueError(f"conduct.quorum {self.conduct.quorum} is above the {len(names)} partners of the roster")
        for region in (*self.statistics.regions, *(r for entry in self.roster for r in entry.regions)):
            check_region(region, synthetic=self.synthetic)
        largest = max(entry.slots for entry in self.roster)
        bound = largest**-1.1
        if self.privacy.delta > bound:
            raise ValueError(f"privacy.delta {self.privacy.delta:g} is above slots^-1.1 = {bound:.2g} for the largest "
                             f"partner ({largest} slots)")
        return self

    def partner(self, name: str) -> RosterEntry | None:
        """The roster entry called `name`, if any."""
        return next((entry for entry in self.roster if entry.name == name), None)

    @property
    def model_size(self) -> int:
        """How many numbers a model of this plan has, and so a model update."""
        inputs, hidden = self.encoder.dimension + 1, self.model.hidden_units
        return inputs * len(self.tasks) if hidden is None else (inputs + len(self.tasks)) * hidden

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def sha256(self) -> str:
        return sha256_hex(self.to_json())


class SignedPlan(_Frozen):
    """A plan with its hash and the coordinator's signature: the one run-config value that travels."""

    plan: StudyPlan
    sha256: Hex32
    public_key: Hex32
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

    @classmethod
    def sign(cls, plan: StudyPlan, key: SigningKey) -> SignedPlan:
        """Sign `plan` as the coordinator."""
        return cls(plan=plan, sha256=plan.sha256, public_key=key.public, signature=key.sign(_PURPOSE, plan.to_json()))

    def to_json(self) -> str:
        return canonical_json(self.model_dump(mode="json")).decode()

    @classmethod
    def open(cls, text: str, *, trusted_key: str) -> SignedPlan:
        """Rebuild a plan from its JSON and believe none of it that does not check out.

        Args:
            text: what `to_json` gave.
            trusted_key: the coordinator's public key as this side knows it, from its own disk.

        Raises:
            InputError: if it is not a plan, its hash or signature does not fit, or another key signed it.
        """
        try:
            # Strict JSON mode: enumerations and dates arrive as strings, and nothing else is coerced.
            signed = cls.model_validate_json(text)
        except ValidationError as error:
            where = "; ".join(".".join(map(str, item["loc"])) + ": " + item["msg"] for item in error.errors()[:5])
            raise InputError("plan", f"not a valid study plan ({where})", remedy="ask the coordinator for it again",
                             ) from None
        body = signed.plan.to_json()
        if json.loads(text)["plan"] != json.loads(body):
            raise InputError("plan", "holds something that rebuilding it does not give back",
                             remedy="ask the coordinator for it again")
        if sha256_hex(body) != signed.sha256:
            raise InputError("plan.sha256", "does not fit the plan", remedy="ask the coordinator for it again")
        if signed.public_key != trusted_key:
            raise InputError("plan.public_key", "is not the coordinator's key that is pinned here",
                             remedy="check with the coordinator by another channel")
        if not verify(trusted_key, _PURPOSE, body, signed.signature):
            raise InputError("plan.signature", "does not fit the plan", remedy="ask the coordinator for it again")
        return signed


def read_plan_file(path: Path) -> str:
    """The text of a plan file, for `SignedPlan.open`.

    Raises:
        InputError: if there is no such file, or it is not text of a plausible size.
    """
    try:
        if path.stat().st_size > MAX_PLAN_BYTES:
            raise InputError(str(path), "is too large for a study plan", bound=f"{MAX_PLAN_BYTES:,} bytes",
                             remedy="give the plan file that the coordinator sent")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        raise InputError(str(path), "cannot be read as a plan file",
                         remedy="give the plan file that the coordinator sent") from None


def averaged_rounds(training: TrainingSpec) -> int:
    """How many of the last aggregates make up the published model."""
    return max(1, math.ceil(training.averaged_share * training.rounds))
