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
from federation.journal import Journal, PlanSigned, Side, StudyRun
from federation.messages import Arrays
from federation.plan import SignedPlan
from federation.statistics import SummedTables, TableLayout
from server.rounds import StudyOutcome

if TYPE_CHECKING:
    from server.release.bundle import Release


class CoordinatorHome:
    """A folder on the coordinator's disk.

    ```
    coordinator.key      signing key (0600)
    plan.json            the signed plan                 model.safetensors   the published model
    tables.json          the sum of noisy tables         stages.json         who answered, was late, declined
    journal.jsonl        what was signed, run and released, with journal.jsonl.head
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

    def journal(self) -> Journal:
        """The coordinator's journal, begun if there is none.

        Raises:
            InputError: as `Journal.open_or_create`.
        """
        return Journal.open_or_create(self.path / "journal.jsonl", key=self.signing_key(), owner="coordinator",
                                      side=Side.COORDINATOR)

    def keep_plan(self, signed: SignedPlan) -> None:
        """Write the signed plan, as it is sent to the partners, and that it was signed. A plan that is here stays."""
        text = signed.to_json() + "\n"
        if self.plan_path.is_file() and self.plan_path.read_text(encoding="utf-8") == text:
            return
        self.journal().append(PlanSigned(plan_sha256=signed.sha256, study=signed.plan.study))
        self.plan_path.write_text(text, encoding="utf-8")

    def keep(self, signed: SignedPlan, outcome: StudyOutcome) -> None:
        """Write what a study left."""
        self.keep_plan(signed)
        save_file(outcome.model, self.model_path, metadata={"plan_sha256": signed.sha256})
        tables = {"plan_sha256": signed.sha256, "counts": outcome.tables.counts.tolist(),
                  "noise_variance": outcome.tables.noise_variance, "partners": outcome.tables.partners}
        (self.path / "tables.json").write_text(json.dumps(tables) + "\n", encoding="utf-8")
        stages = [asdict(stage) for stage in outcome.stages]
        (self.path / "stages.json").write_text(json.dumps(stages, indent=1) + "\n", encoding="utf-8")
        self.journal().append(StudyRun(
            plan_sha256=signed.sha256, partners=tuple(sorted(outcome.tables.partners)),
            measurements_sha256=sha256_hex((self.path / "tables.json").read_bytes()),
            model_sha256=sha256_hex(self.model_path.read_bytes())))

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

    def tables(self) -> SummedTables:
        """The sum of noisy tables.

        Raises:
            InputError: if it was kept for another plan.
        """
        plan = self.signed_plan()
        kept = json.loads((self.path / "tables.json").read_text(encoding="utf-8"))
        if kept["plan_sha256"] != plan.sha256:
            raise InputError("tables.json", "belongs to another plan", remedy="run the study again")
        layout = TableLayout(regions=plan.plan.statistics.regions, roles=plan.plan.statistics.roles,
                             tasks=plan.plan.tasks)
        return SummedTables(layout=layout, counts=layout.check(np.array(kept["counts"], dtype=np.int64)),
                            noise_variance=float(kept["noise_variance"]), partners=tuple(kept["partners"]))

    def release(self) -> Release:
        """Make the release of the study that was kept here, sign it and write it to `release/`."""
        # Imported here: the ServerApp keeps outcomes and has no use for templates.
        from server.release.bundle import write_release

        signed = self.signed_plan()
        return write_release(self.release_dir, plan=signed.plan, plan_sha256=signed.sha256, tables=self.tables(),
                             model_sha256=sha256_hex(self.model_path.read_bytes()), key=self.signing_key(),
                             released_on=signed.plan.period_end)
