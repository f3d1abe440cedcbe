"""Two worlds to release: twelve invented regions in three roles, and the states of the US in one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federation.identity import SigningKey
from federation.plan import StudyPlan
from federation.plan_parts import (
    Aggregation,
    ConductSpec,
    EncoderSpec,
    ModelSpec,
    PrivacyClaim,
    RosterEntry,
    StatisticsSpec,
    TrainingSpec,
)
from federation.privacy.guarantee import table_variance
from federation.statistics import SummedTables, TableLayout
from federation.taxonomy import PartnerKind, RegionRole, Task
from server.release.bundle import Release, write_release
from server.release.tiles import us_grid

KINDS = (PartnerKind.PLATFORM, PartnerKind.NGO, PartnerKind.AGENCY)
TWELVE = tuple(f"XA-{i:02d}" for i in range(1, 13))
KEY = SigningKey.from_bytes(b"\x07" * 32)
MODEL = "ab" * 32
DAY = date(2026, 8, 15)


def make_plan(
    regions: tuple[str, ...] = TWELVE, roles: tuple[RegionRole, ...] = (RegionRole.ORIGIN, RegionRole.DESTINATION,
                                                                        RegionRole.OBSERVED),
    *, coverage: tuple[tuple[str, ...], ...] | None = None, **changes: Any,
) -> StudyPlan:
    """A plan with one partner for each entry of `coverage` (default: five, of whom one covers less)."""
    coverage = coverage or (regions, regions, regions, regions[: len(regions) * 3 // 4], regions[::2])
    roster = tuple(
        RosterEntry(name=f"partner-{i}", kind=KINDS[i % 3], slots=4096, regions=covered,
                    declared_prevalence={Task.RECRUITMENT: 0.03, Task.DISTRESS: 0.06}, public_key=f"{i:064x}")
        for i, covered in enumerate(coverage))
    fields: dict[str, Any] = {
        "study": "north-coast-2026", "label": "SYNTHETIC", "synthetic": True, "regions_drawn": False,
        "rehearsal": False,
        "period_end": date(2026, 6, 30),
        "purpose": "Find out in which regions records hold signals of recruitment and of distress.",
        "tasks": (Task.RECRUITMENT, Task.DISTRESS), "roster": roster,
        "encoder": EncoderSpec(name="fast-use", version="0.2.1", fingerprint="cd" * 32, dimension=320),
        "model": ModelSpec(hidden_units=None, intercept_scale=0.25, initial_seed=7),
        "training": TrainingSpec(aggregation=Aggregation.LOCAL, rounds=20, local_steps=3, learning_rate=0.5,
                                 weight_decay=0.0, averaged_share=0.5, sampling_probability=0.1, l2_clip_norm=1.0,
                                 noise_multiplier=1.4, max_records_per_person=4),
        "statistics": StatisticsSpec(aggregation=Aggregation.LOCAL, regions=regions, roles=roles, noise_scale=6.5,
                                     flag_threshold=0.5, minimum_count=11, false_publication=0.01),
        "privacy": PrivacyClaim(delta=1e-5, training_epsilon=2.41, statistics_epsilon=1.13, total_epsilon=2.98),
        "secure_aggregation": None, "conduct": ConductSpec(quorum=1, stage_deadline_seconds=60.0), "holdout_share": 0.2,
    }
    return StudyPlan(**(fields | changes))


def make_tables(plan: StudyPlan, *, seed: int = 3, people: int = 1500) -> SummedTables:
    """Noisy sums of a drawn world; regions differ in size, so that some are withheld."""
    generator = np.random.default_rng(seed)
    layout = TableLayout(regions=plan.statistics.regions, roles=plan.statistics.roles, tasks=plan.tasks)
    variance = table_variance(plan, len(plan.roster))
    reviewed = generator.lognormal(np.log(people), 0.9, layout.shape[:2]).astype(np.int64)
    shares = generator.beta(4.0, 60.0, (*layout.shape[:2], len(plan.tasks)))
    shares[..., -1] *= 1.8
    flagged = generator.binomial(reviewed[..., None], np.minimum(shares, 1.0))
    noise = np.rint(generator.normal(0.0, variance**0.5, layout.shape))
    counts = np.concatenate([reviewed[..., None], flagged], axis=2) + noise.astype(np.int64)
    return SummedTables(layout=layout, counts=counts.astype(np.int64), noise_variance=variance,
                        partners=tuple(entry.name for entry in plan.roster))


def publish(directory: Path, plan: StudyPlan, tables: SummedTables | None = None) -> Release:
    return write_release(directory, plan=plan, plan_sha256=plan.sha256, tables=tables or make_tables(plan),
                         model_sha256=MODEL, released_on=DAY, key=KEY)


@pytest.fixture(scope="session")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of twelve invented regions, three roles."""
    directory = tmp_path_factory.mktemp("twelve")
    publish(directory, make_plan())
    return directory


@pytest.fixture(scope="session")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of the states of the US, observed role only."""
    directory = tmp_path_factory.mktemp("states")
    plan = make_plan(tuple(sorted(us_grid())), (RegionRole.OBSERVED,), synthetic=False, study="state-signals",
                     label="REAL TEXTS, DRAWN REGIONS", regions_drawn=True)
    publish(directory, plan, make_tables(plan, people=900))
    return directory


@pytest.fixture
def plan() -> StudyPlan:
    return make_plan()


@pytest.fixture
def planned() -> Callable[..., StudyPlan]:
    """`make_plan`, for tests that need another plan."""
    return make_plan


@pytest.fixture
def tabled() -> Callable[..., SummedTables]:
    """`make_tables`."""
    return make_tables


@pytest.fixture
def published() -> Callable[..., Release]:
    """`publish`: writes a release with this suite's key, model hash and day."""
    return publish


@pytest.fixture
def key() -> SigningKey:
    return KEY
