"""The coordinator's home: its key, and one folder for each study with what came out of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.numpy import save_file

from federation.canonical import sha256_hex
from federation.identity import SigningKey
from federation.plan import SignedPlan
from server.release.bundle import write_release
from server.rounds import StudyOutcome


class CoordinatorHome:
    """A folder on the coordinator's disk.

    ```
    coordinator.key      signing key (0600)
    plan.json            the signed plan                 model.safetensors   the published model
    stages.json          who answered, late, refused     release/            what is published
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

    def keep(self, signed: SignedPlan, outcome: StudyOutcome) -> None:
        """Write what a study left, the release last."""
        (self.path / "plan.json").write_text(signed.to_json() + "\n", encoding="utf-8")
        save_file(outcome.model, self.model_path, metadata={"plan_sha256": signed.sha256})
        stages = [asdict(stage) for stage in outcome.stages]
        (self.path / "stages.json").write_text(json.dumps(stages, indent=1) + "\n", encoding="utf-8")
        write_release(self.release_dir, plan=signed.plan, plan_sha256=signed.sha256, tables=outcome.tables,
                      model_sha256=sha256_hex(self.model_path.read_bytes()), released_on=signed.plan.period_end,
                      key=self.signing_key())
