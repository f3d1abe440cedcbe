"""From records to people: the data set whose items Opacus clips one by one.

An item is a person with up to K of their labelled records. People sit in slots, of which there is a public number;
those who find no slot, and those held out for measuring the model at home, do not train.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
import pandas as pd
import torch

from clients.node import NodeHome
from clients.store import RecordStore
from federation.encoders import Encoder, language_covered, load_encoder
from federation.encoders.base import Features
from federation.encoders.cache import FeatureCache
from federation.errors import Refusal, RefusalCode
from federation.model import partner_prior
from federation.plan import EncoderSpec, RosterEntry, StudyPlan
from federation.taxonomy import LabelValue


@dataclass(frozen=True, kw_only=True)
class People:
    """People as padded tensors; `P` people, at most `K` records each, `D` feature dimensions, `T` tasks.

    Attributes:
        features: float32 `(P, K, D + 1)`, the intercept constant last; zero where a person has fewer records.
        targets: float32 `(P, K, T)`, 0 or 1.
        weights: float32 `(P, K, T)`: 1 / (labelled records of that person for that task), 0 where there is no label.
        prior: float32 `(P, 1, T)`, log-odds of the prevalence that the person's partner has declared.
    """

    features: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    prior: torch.Tensor

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A partner's readable records for one plan, with their features; row `i` of each belongs to record `i`."""

    frame: pd.DataFrame
    features: Features
    intercept_scale: float

    def inputs(self, rows: np.ndarray) -> torch.Tensor:
        """Model inputs of the given rows, `(rows, D + 1)`."""
        constant = np.full((len(rows), 1), self.intercept_scale, dtype=np.float32)
        return torch.from_numpy(np.hstack([self.features[rows], constant]))


@lru_cache(maxsize=4)
def _encoder(name: str, version: str, fingerprint: str, dimension: int, threads: int, folder: str | None) -> Encoder:
    from pathlib import Path

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


def prepare(home: NodeHome, plan: StudyPlan, *, progress: Callable[[int], None] | None = None) -> Prepared:
    """Read the store, leave out what the encoder cannot read, and look up or compute features.

    Raises:
        Refusal: `not_ready`, if nothing was ever ingested here.
    """
    if not home.store_path.is_file():
        raise Refusal(RefusalCode.NOT_READY, "no record store: ingest a file first")
    encoder = plan_encoder(home, plan.encoder)
    # Whichever is later: no plan can bring back a record whose retention has ended.
    with RecordStore(home.store_path) as store:
        frame = store.frame(max(date.today(), plan.period_end))
    # Explicitly boolean: pandas takes an empty plain list for a list of columns.
    readable = np.array([tag == "und" or language_covered(encoder, tag) for tag in frame["language"]], dtype=bool)
    frame = frame[readable].reset_index(drop=True)
    cache = FeatureCache(home.cache_dir, encoder, key=home.person_secret())
    features = cache.features(list(frame["text"]), progress=progress)
    # The text has done its work; nothing downstream needs it.
    return Prepared(frame=frame.drop(columns="text"), features=features, intercept_scale=plan.model.intercept_scale)


def is_held_out(home: NodeHome, unit_key: str, share: float) -> bool:
    """Whether a person is kept out of training. Fixed for a partner's secret, so no study ever trains on them."""
    return home.keyed("holdout").value(unit_key) < share


def target_matrix(frame: pd.DataFrame, plan: StudyPlan) -> np.ndarray:
    """Labels as float32 `(records, T)`: 1 positive, 0 negative, NaN anything else."""
    values = {LabelValue.POSITIVE: 1.0, LabelValue.NEGATIVE: 0.0}
    rows = [[values.get(labels.get(task), np.nan) for task in plan.tasks] for labels in frame["labels"]]
    return np.array(rows, dtype=np.float32).reshape(len(frame), len(plan.tasks))


def training_people(home: NodeHome, plan: StudyPlan, entry: RosterEntry, prepared: Prepared) -> People:
    """The people in this partner's slots, each with up to `max_records_per_person` labelled records.

    Which records and which people, where there are too many, is a uniform choice keyed to the plan.
    """
    targets = target_matrix(prepared.frame, plan)
    order = home.keyed(f"training/{plan.sha256}")
    holdout = home.keyed("holdout")
    persons: dict[str, list[int]] = {}
    for row in np.flatnonzero(~np.isnan(targets).all(axis=1)):
        persons.setdefault(prepared.frame["unit_key"].iat[row], []).append(int(row))
    units = [unit for unit in persons if holdout.value(unit) >= plan.holdout_share]
    seated = sorted(units, key=lambda unit: order.value("slot", unit))[:entry.slots]
    limit = plan.training.max_records_per_person
    identifiers = prepared.frame["record_id"]
    chosen = [sorted(persons[unit], key=lambda row: order.value("record", str(identifiers.iat[row])))[:limit]
              for unit in seated]
    return _pad(prepared, targets, chosen, torch.tensor(partner_prior(plan, entry)))


def _pad(prepared: Prepared, targets: np.ndarray, chosen: list[list[int]], prior: torch.Tensor) -> People:
    width = max((len(rows) for rows in chosen), default=1)
    people, tasks = len(chosen), targets.shape[1]
    index = np.full((people, width), -1, dtype=np.int64)
    for person, rows in enumerate(chosen):
        index[person, :len(rows)] = rows
    present = index >= 0
    features = np.zeros((people, width, prepared.features.shape[1] + 1), dtype=np.float32)
    features[present, :-1] = prepared.features[index[present]]
    features[present, -1] = prepared.intercept_scale
    labels = np.full((people, width, tasks), np.nan, dtype=np.float32)
    labels[present] = targets[index[present]]
    known = ~np.isnan(labels)
    weights = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return People(features=torch.from_numpy(features), targets=torch.from_numpy(np.where(known, labels, 0)),
                  weights=torch.from_numpy(weights.astype(np.float32)), prior=prior.expand(people, 1, tasks))
