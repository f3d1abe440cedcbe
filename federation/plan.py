"""The study plan: every public constant of a study, in one signed document.

What shapes a mechanism stands here and nowhere else, and none of it is derived from private data (DESIGN 3). The
coordinator composes and signs it; each partner's node and the server rebuild it from the same JSON and check the hash
and the signature before they act on anything.
"""

from __future__ import annotations

import json
import math
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.identity import SigningKey, verify
from federation.plan_parts import (
    Aggregation,
    ConductSpec,
    EncoderSpec,
    Frozen,
    Hex32,
    ModelSpec,
    PrivacyClaim,
    ReleaseSpec,
    RosterEntry,
    SecureAggregationSpec,
    Slug,
    TrainingSpec,
    Visible,
)
from federation.plan_statistics import StatisticsSpec
from federation.regions import check_region
from federation.secagg.session import threshold_for
from federation.taxonomy import Task

PLAN_VERSION: Literal[1] = 1
MAX_PLAN_BYTES = 10_000_000
_PURPOSE = "study-plan"


FIRST_YEAR, LAST_YEAR = 1900, 2199
"""A period lies within these years, so that days can be added to its end."""


class StudyPlan(Frozen):
    """Everything public about one study. Build it with the launcher; read it back with `SignedPlan.open`."""

    plan_version: Literal[1] = PLAN_VERSION
    study: Slug
    purpose: Annotated[str, Field(min_length=10, max_length=500), Visible]
    label: Annotated[str, Field(min_length=1, max_length=80), Visible]
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
    release: ReleaseSpec
    privacy: PrivacyClaim
    secure_aggregation: SecureAggregationSpec | None
    """None if no part of the study is summed securely."""
    conduct: ConductSpec
    holdout_share: Annotated[float, Field(ge=0.0, le=0.5)]
    """People whom each node keeps out of training to measure the model on. Chosen by keyed hash."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [entry.name for entry in self.roster]
        if len(set(names)) != len(names):
            raise ValueError("roster: a partner is listed twice")
        if len({entry.public_key for entry in self.roster}) != len(names):
            raise ValueError("roster: two partners have one public key")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError("tasks: listed twice")
        self.model.start_weights(dimension=self.encoder.dimension, tasks=len(self.tasks))
        self._check_aggregation()
        self._check_trimming()
        if self.conduct.quorum > len(names):
            raise ValueError(f"conduct.quorum {self.conduct.quorum} is above the {len(names)} partners of the roster")
        if self.statistics.period_start.year < FIRST_YEAR or self.period_end.year > LAST_YEAR:
            raise ValueError(f"period_end {self.period_end}, statistics.period_start {self.statistics.period_start}: "
                             f"not within {FIRST_YEAR} to {LAST_YEAR}")
        if self.statistics.period_start > self.period_end:
            raise ValueError(f"statistics.period_start {self.statistics.period_start} is after period_end "
                             f"{self.period_end}")
        listed = self.statistics.regions, self.statistics.protected, *(entry.regions for entry in self.roster)
        for region in chain.from_iterable(listed):
            check_region(region, synthetic=self.synthetic)
        largest = max(entry.slots for entry in self.roster)
        bound = largest**-1.1
        if self.privacy.delta > bound:
            raise ValueError(f"privacy.delta {self.privacy.delta:g} is above slots^-1.1 = {bound:.2g} for the largest "
                             f"partner ({largest} slots)")
        return self

    def _check_aggregation(self) -> None:
        secure = Aggregation.SECURE in (self.training.aggregation, self.statistics.aggregation)
        if secure != (self.secure_aggregation is not None):
            raise ValueError("secure_aggregation: must be given if a part is summed securely, and only then")
        steps, probability = self.training.local_steps, self.training.sampling_probability
        if self.training.aggregation is Aggregation.SECURE and (steps, probability) != (1, 1):
            # Coins at several partners are independent, and what they do for somebody at several is not worked out.
            raise ValueError(f"training has {steps} local steps and a sampling probability of {probability:g}, "
                             "expected 1 of each with secure aggregation: the noise is in the sum alone, so no partner "
                             "can step by itself")
        if self.secure_aggregation is None:
            return
        partners, colluders = len(self.roster), self.secure_aggregation.colluders
        least = threshold_for(partners, colluders)
        if partners < 3:
            raise ValueError(f"{partners} partners, expected at least 3 for secure sums; enrol more, or do without "
                             "them (statistics=local)")
        if self.conduct.quorum < least:
            raise ValueError(f"conduct.quorum is {self.conduct.quorum} of {partners} partners, expected at least "
                             f"{least} for sums that withstand {colluders} colluders")

    def _check_trimming(self) -> None:
        robust, quorum = self.training.robust, self.conduct.quorum
        trimmed = robust.trimmed_each_side if robust is not None else None
        if trimmed is not None and 2 * trimmed >= quorum:
            raise ValueError(f"training.robust.trimmed_each_side is {trimmed}, expected less than half of the quorum "
                             f"of {quorum}: nobody might be left to take the mean of; trim fewer, or raise the quorum")

    @property
    def noise_shares(self) -> int:
        """In a secure sum, shares of noise that are surely there and known to nobody who works with the coordinator."""
        return self.conduct.quorum - (self.secure_aggregation.colluders if self.secure_aggregation else 0)

    @property
    def slots(self) -> int:
        """Slots of all partners together."""
        return sum(entry.slots for entry in self.roster)

    def partner(self, name: str) -> RosterEntry | None:
        """The roster entry called `name`, if any."""
        return next((entry for entry in self.roster if entry.name == name), None)

    @property
    def model_size(self) -> int:
        """How many numbers a model of this plan has, and so a model update."""
        return self.model.size(dimension=self.encoder.dimension, tasks=len(self.tasks))

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def sha256(self) -> str:
        return sha256_hex(self.to_json())


class SignedPlan(Frozen):
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
