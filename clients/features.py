"""From stored records to features: what a node can read, for one plan. No torch here, so that encoding starts fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from clients.node import NodeHome
from clients.policy import Policy
from clients.selection import TakingPart, taking_part
from clients.store import RecordStore
from federation.encoders import Encoder, load_encoder
from federation.encoders.base import Features
from federation.encoders.cache import FeatureCache
from federation.errors import Refusal, RefusalCode
from federation.grid import exact_inputs
from federation.plan import StudyPlan
from federation.plan_parts import EncoderSpec


class FeatureRows(Protocol):
    """Features, in memory or on disk; row `i` belongs to record `i`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: npt.NDArray[np.int64]) -> Features:
        """Those of some records, `(rows, D)`, in memory."""
        ...


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A partner's readable records for one plan, with their features; row `i` of each belongs to record `i`.

    `unreadable` records are in languages that the encoder does not cover, `unattached` ones have no person id and the
    partner's policy refuses such. The partner is told; nobody else is.

    What a record takes of memory: docs/scale.md. Its features stay on disk, and its text is gone.
    """

    frame: pd.DataFrame
    features: FeatureRows
    intercept_scale: float
    unreadable: int
    unattached: int

    def inputs(self, rows: np.ndarray) -> Features:
        """Model inputs of the given rows, float32 `(rows, D + 1)` on the grid, the intercept constant last."""
        return exact_inputs(self.features[rows], self.intercept_scale)


@lru_cache(maxsize=4)
def _encoder(name: str, version: str, fingerprint: str, dimension: int, threads: int, folder: str | None) -> Encoder:
    encoder = load_encoder(name, threads=threads, folder=Path(folder) if folder else None, dimension=dimension)
    if encoder.spec != EncoderSpec(name=name, version=version, fingerprint=fingerprint, dimension=dimension):
        raise Refusal(RefusalCode.NOT_CONFIGURED, "the encoder installed here is not the one of the plan")
    return encoder


def plan_encoder(home: NodeHome, spec: EncoderSpec) -> Encoder:
    """The encoder that a plan pins, if it is installed here with the same weights.

    Raises:
        Refusal: `not_configured`, if what is installed differs.
        InputError: if it is not installed at all.
    """
    folder = home.settings.encoder_folder
    return _encoder(spec.name, spec.version, spec.fingerprint, spec.dimension, home.settings.threads,
                    str(folder) if folder else None)


def usable_frames(home: NodeHome, plan: StudyPlan) -> Iterator[pd.DataFrame]:
    """The stored records that a plan may still look at, piece by piece, texts included (`RecordStore.frames`).

    Raises:
        Refusal: `not_ready`, if nothing was ever ingested here.
    """
    if not home.store_path.is_file():
        raise Refusal(RefusalCode.NOT_READY, "no record store: ingest a file first")
    # Whichever is later: no plan can bring back a record whose retention has ended.
    return _frames(home.store_path, max(date.today(), plan.period_end))


def _frames(store_path: Path, day: date) -> Iterator[pd.DataFrame]:
    with RecordStore(store_path) as store:
        yield from store.frames(day)


def prepare(home: NodeHome, plan: StudyPlan, *, policy: Policy | None = None,
            progress: Callable[[int], None] | None = None) -> Prepared:
    """Read the store, leave out what the policy refuses or the encoder cannot read, and look up or compute features.

    Args:
        home: whose records.
        plan: names the encoder.
        policy: the rules that were checked for this piece of work; read from the home if not given.
        progress: called with the number of texts just settled.

    Raises:
        Refusal: `not_ready`, if nothing was ever ingested here.
        InputError: if the node has no usable policy.
    """
    frames, encoder = usable_frames(home, plan), plan_encoder(home, plan.encoder)
    rules = policy or home.policy()
    chosen: list[TakingPart] = []

    def texts() -> Iterator[str]:
        for frame in frames:
            part = taking_part(frame, rules, encoder)
            yield from part.frame["text"]
            # The text has done its work; nothing downstream needs it.
            chosen.append(replace(part, frame=part.frame.drop(columns="text")))

    cache = FeatureCache(home.cache_dir, encoder, key=home.person_secret())
    features = cache.features(texts(), progress=progress)
    together = TakingPart.joined(chosen)
    return Prepared(frame=together.frame, features=features, intercept_scale=plan.model.intercept_scale,
                    unreadable=together.unreadable, unattached=together.unattached)
