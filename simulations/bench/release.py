"""`python -m simulations.bench release`: 5,000 subdivisions, four roles, two tasks, fourteen indicators."""

from __future__ import annotations

import json
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import pycountry
import typer
from rich.console import Console

from federation.identity import SigningKey
from federation.plan import SignedPlan
from federation.plan_statistics import IndicatorsSpec
from federation.randomness import RandomStream
from federation.statistics import Measurements
from federation.taxonomy import AreaLevel, Family, Indicator, RegionRole, Task
from server.release.bundle import bundle_files
from server.release.content import Facts, build_content
from simulations.releases.plans import release_plan
from simulations.releases.truth import Classifier, Truth

REGIONS = 5_000
_RELEASED = date(2026, 8, 1)


def release(
    regions: Annotated[int, typer.Option(help="How many subdivisions.")] = REGIONS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate, gate and write one large release, and say what takes the time."""
    measurements = world(regions)
    started = time.perf_counter()
    facts = Facts(plan=measurements.layout.plan, partners=measurements.partners, model_sha256="0" * 64,
                  released_on=_RELEASED, previous=None, commitment="0" * 64)
    content = build_content(facts, measurements)
    estimated = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        written = 0
        for name, data in bundle_files(content, SignedPlan.sign(facts.plan, SigningKey.generate())).items():
            written += (Path(folder) / name).write_bytes(data)
        ended = time.perf_counter()
    found = {"regions": regions, "cells": len(content["cells"]), "shown": content["suppression"]["shown"],
             "lifts": len(content["indicators"]["cells"]) * len(content["indicators"]["tags"]),
             "megabytes": round(written / 1e6, 1), "estimate_and_gate_seconds": round(estimated - started, 1),
             "write_seconds": round(ended - estimated, 1), "seconds": round(ended - started, 1)}
    if as_json:
        typer.echo(json.dumps(found))
        return
    console = Console()
    for name, value in found.items():
        console.print(f"{name.replace('_', ' '):28} {value:,}")


def world(regions: int, *, seed: int = 1) -> Measurements:
    """Noisy sums of a large world: real subdivision codes, invented numbers; no figure describes any place."""
    codes = sorted(one.code for one in pycountry.subdivisions)[:regions]
    tags = IndicatorsSpec(level=AreaLevel.REGION, tags=tuple(Indicator))
    plan = release_plan(codes, (), roles=tuple(RegionRole), tasks=tuple(Task), epsilon=2.0, indicators=tags,
                        label="SYNTHETIC", study="bench-release")
    rng, stream = np.random.default_rng(seed), RandomStream.derived(b"bench", "release")
    shape = (len(codes), len(RegionRole))
    people = rng.lognormal(np.log(400), 1.2, shape).astype(np.int64)
    model = Classifier(sensitivity=0.8, false_alarm_rate=0.07, labelled_positive=5000, labelled_negative=20000)
    truth = Truth(plan, people, rng.beta(1.5, 10.0, (*shape, 2)), (model, model))
    _, flags = truth.draw(rng)
    vector = truth.tables(flags, rng)
    mix = truth.layout.table(vector, Family.INDICATORS)
    sides = np.stack([people[..., None] - flags, flags], axis=-1)
    mix[..., 0] = sides
    mix[..., 1:] = rng.binomial(sides[..., None], np.linspace(0.05, 0.5, len(Indicator)))
    return truth.measured(vector, stream)
