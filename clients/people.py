"""From records to people: the data set whose items Opacus clips one by one.

An item is a person with up to K of their labelled records. People sit in slots, of which there is a public number;
those held out for measuring the model at home do not train. Should there be more people than slots, all of them train:
to turn some away would make one person's presence decide about another's. Divisor and weight stay the public ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from clients.features import Prepared
from clients.node import NodeHome
from clients.selection import target_matrix, training_rows
from federation.model import partner_prior
from federation.plan import RosterEntry, StudyPlan


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

    def take(self, rows: torch.Tensor) -> People:
        """Only the people at `rows`."""
        return People(features=self.features[rows], targets=self.targets[rows], weights=self.weights[rows],
                      prior=self.prior[rows])


def training_people(home: NodeHome, plan: StudyPlan, entry: RosterEntry, prepared: Prepared) -> People:
    """The partner's training people, each with up to `max_records_per_person` labelled records."""
    targets = target_matrix(prepared.frame, plan)
    chosen = training_rows(home, plan, prepared.frame, targets)
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
