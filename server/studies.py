"""What the coordinator keeps of a study that has run: once, and for good.

A study is measured once. Its noisy sums are kept with a salt, and the hash of both is in the journal and in the release
from then on. So a release cannot be made of another draw of the noise, and whoever is shown the two files can tell that
these are the numbers.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.numpy import load_file, save_file

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.identity import read_secret, write_secret
from federation.messages import Arrays
from federation.plan import SignedPlan, StudyPlan, read_plan_file
from federation.plan_parts import Hex32, Slug
from federation.privacy.guarantee import table_variances
from federation.private_files import replace_private
from federation.randomness import RandomStream
from federation.statistics import Measurements, TableLayout
from server.calibrating import calibrations_json, calibrations_of
from server.rounds import StudyOutcome
from server.stages import REPORTS, StageReport

SALT_BYTES: Final = 32
_KEPT = "give the measurements.json that the coordinator keeps of this release's study"


class _Sums(BaseModel):
    """`measurements.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    plan_sha256: Hex32
    partners: Annotated[tuple[Slug, ...], Field(min_length=1)]
    values: tuple[int, ...]


def measurements_json(measurements: Measurements) -> bytes:
    """All noisy sums of a study as canonical JSON."""
    return canonical_json({"plan_sha256": measurements.layout.plan.sha256, "partners": list(measurements.partners),
                           "values": measurements.values.tolist()})


def read_measurements(data: bytes, plan: StudyPlan, *, name: str) -> Measurements:
    """Read noisy sums back.

    Args:
        data: as `measurements_json` gives them.
        plan: theirs.
        name: of the file, for the error.

    Raises:
        InputError: if they are not those of this plan.
    """
    layout = TableLayout(plan)
    try:
        sums = _Sums.model_validate_json(data)
    except (ValidationError, RecursionError):
        raise InputError(name, "does not hold the noisy sums of a study", remedy=_KEPT) from None
    if sums.plan_sha256 != plan.sha256:
        raise InputError(name, f"belongs to plan {sums.plan_sha256[:16]}…", bound=f"plan {plan.sha256[:16]}…",
                         remedy=_KEPT)
    try:
        values = layout.check(np.array(sums.values, dtype=np.int64))
    except (ValueError, OverflowError):
        raise InputError(name, "holds other numbers than the plan's cells", bound=f"{layout.length} numbers of 64 bits",
                         remedy=_KEPT) from None
    return Measurements(layout=layout, values=values, variances=table_variances(plan, len(sums.partners)),
                        partners=sums.partners)


def commitment_to(measurements: bytes, salt: bytes) -> str:
    """SHA-256 of the salt and the noisy sums: tells nobody anything who has not both."""
    return hashlib.sha256(salt + measurements).hexdigest()


def salt_for(plan: StudyPlan) -> bytes:
    """A salt from the operating system; in a rehearsal one that comes out the same again."""
    if plan.rehearsal:
        return RandomStream.derived(bytes.fromhex(plan.sha256), "measurements-salt").bytes(SALT_BYTES)
    return secrets.token_bytes(SALT_BYTES)


@dataclass(frozen=True)
class Study:
    """The folder of one study.

    ```
    plan.json            the signed plan               model.safetensors   the published model
    measurements.json    the sums of noisy tables      measurements.salt   what hides them in their hash (0600)
    stages.json          who answered, was late, declined
    calibration.json     what the model's scores mean, if the plan asks for it
    ```
    """

    path: Path

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    @property
    def model_path(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def measurements_path(self) -> Path:
        return self.path / "measurements.json"

    @property
    def salt_path(self) -> Path:
        return self.path / "measurements.salt"

    def write(self, signed: SignedPlan, outcome: StudyOutcome) -> None:
        """Write what a study left into a folder that is there and empty."""
        replace_private(self.plan_path, f"{signed.to_json()}\n".encode())
        save_file(outcome.model, self.model_path, metadata={"plan_sha256": signed.sha256})
        stages = [asdict(stage) for stage in outcome.stages]
        replace_private(self.path / "stages.json", f"{json.dumps(stages, indent=1)}\n".encode())
        if signed.plan.statistics.scores is not None:
            meaning = calibrations_json(calibrations_of(outcome.measurements, outcome.model))
            replace_private(self.path / "calibration.json", f"{json.dumps(meaning, indent=1)}\n".encode())
        write_secret(self.salt_path, salt_for(signed.plan))
        write_secret(self.measurements_path, measurements_json(outcome.measurements))

    def stages(self) -> tuple[StageReport, ...]:
        """How each stage went, of all runs of the study.

        Raises:
            InputError: if they are not there, or were changed.
        """
        path = self.path / "stages.json"
        try:
            return REPORTS.validate_json(path.read_bytes())
        except (OSError, ValidationError):
            raise InputError(str(path), "cannot be read as the stages of a study",
                             remedy="bring it back from a backup") from None

    def signed_plan(self, coordinator: str) -> SignedPlan:
        """The plan, verified again under the coordinator's public key.

        Raises:
            InputError: if it does not check out, or is not there.
        """
        return SignedPlan.open(read_plan_file(self.plan_path), trusted_key=coordinator)

    def model(self) -> Arrays:
        """The published model."""
        return load_file(self.model_path)

    @property
    def model_sha256(self) -> str:
        return sha256_hex(self.model_path.read_bytes())

    def measurements(self, plan: StudyPlan) -> Measurements:
        """The sums of noisy tables.

        Raises:
            InputError: if they are not there, or are not those of `plan`.
        """
        return read_measurements(read_secret(self.measurements_path), plan, name=str(self.measurements_path))

    @property
    def commitment(self) -> str:
        """The hash of the noisy sums and their salt."""
        return commitment_to(read_secret(self.measurements_path), read_secret(self.salt_path))
