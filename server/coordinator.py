"""The coordinator's home: its key, and what came out of a study.

The ServerApp only keeps the outcome. Making a release of it is a step of its own, taken by the coordinator afterwards:
nothing is published because a run happened to end.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file, save_file

from federation.canonical import sha256_hex
from federation.errors import InputError
from federation.identity import SigningKey
from federation.messages import Arrays
from federation.plan import SignedPlan
from federation.privacy.guarantee import table_variances
from federation.statistics import Measurements, TableLayout
from server.rounds import StudyOutcome

if TYPE_CHECKING:
    from server.release.bundle import Release


class CoordinatorHome:
    """A folder on the coordinator's disk.

    ```
    coordinator.key      signing key (0600)
    plan.json            the signed plan                 model.safetensors   the published model
    measurements.json    the sum of noisy tables         stages.json         who answered, was late, declined
    release/             what is published
    ```
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, *, key: SigningKey | None = None) -> CoordinatorHome:
        """Make a home with a fresh key (or the given one, which only a simulation has a use for)."""
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (key or SigningKey.generate()).save(path / "coordinator.key")
        return cls(path)

    def signing_key(self) -> SigningKey:
        return SigningKey.load(self.path / "coordinator.key")

    @property
    def release_dir(self) -> Path:
        return self.path / "release"

    @property
    def model_path(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    def keep_plan(self, signed: SignedPlan) -> None:
        """Write the signed plan, as it is sent to the partners."""
        self.plan_path.write_text(signed.to_json() + "\n", encoding="utf-8")

    def keep(self, signed: SignedPlan, outcome: StudyOutcome) -> None:
        """Write what a study left."""
        self.keep_plan(signed)
        save_file(outcome.model, self.model_path, metadata={"plan_sha256": signed.sha256})
        measured = {"plan_sha256": signed.sha256, "values": outcome.measurements.values.tolist(),
                    "partners": outcome.measurements.partners}
        (self.path / "measurements.json").write_text(json.dumps(measured) + "\n", encoding="utf-8")
        stages = [asdict(stage) for stage in outcome.stages]
        (self.path / "stages.json").write_text(json.dumps(stages, indent=1) + "\n", encoding="utf-8")

    def signed_plan(self) -> SignedPlan:
        """The plan of the study that was kept here, verified again.

        Raises:
            InputError: if it does not check out.
        """
        return SignedPlan.open(self.plan_path.read_text(encoding="utf-8"),
                               trusted_key=self.signing_key().public)

    def model(self) -> Arrays:
        """The published model."""
        return load_file(self.model_path)

    def measurements(self) -> Measurements:
        """The sum of noisy tables.

        Raises:
            InputError: if it was kept for another plan.
        """
        plan = self.signed_plan()
        kept = json.loads((self.path / "measurements.json").read_text(encoding="utf-8"))
        if kept["plan_sha256"] != plan.sha256:
            raise InputError("measurements.json", "belongs to another plan", remedy="run the study again")
        layout, partners = TableLayout(plan.plan), tuple(kept["partners"])
        return Measurements(layout=layout, values=layout.check(np.array(kept["values"], dtype=np.int64)),
                            variances=table_variances(plan.plan, len(partners)), partners=partners)

    def release(self) -> Release:
        """Make the release of the study that was kept here, sign it and write it to `release/`."""
        # Imported here: the ServerApp keeps outcomes and has no use for templates.
        from server.release.bundle import write_release

        signed = self.signed_plan()
        return write_release(self.release_dir, plan=signed.plan, plan_sha256=signed.sha256, tables=self.tables(),
                             model_sha256=sha256_hex(self.model_path.read_bytes()), key=self.signing_key(),
                             released_on=signed.plan.period_end)
