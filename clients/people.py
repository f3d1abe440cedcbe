"""From records to people: the data set whose items Opacus clips one by one.

An item is a person with up to K of their labelled records. People sit in slots, of which there is a public number;
those held out for measuring the model at home do not train. Should there be more people than slots, all of them train:
to turn some away would make one person's presence decide about another's. Divisor and weight stay the public ones.

A few people are held in memory, ready for a step. The features of many are read block by block in each step, so that
memory grows by a few hundred bytes a record (docs/scale.md); a step then takes three to four times as long. Which of
the two it is moves no bit of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from clients.features import Prepared
from clients.node import NodeHome
from clients.selection import Rows, target_matrix, training_rows
from federation.model import partner_prior
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry
from federation.privacy.clipping import BLOCK_PEOPLE, FloatArray, inner_products

_BLOCK_RECORDS = 4096
"""Records in one closed-form product: sixteen megabytes of inputs. A matter of speed alone."""
_KEPT_BYTES = 1 << 26
"""Inputs of so many people are held in memory between steps. A matter of speed alone."""


@dataclass(frozen=True, kw_only=True)
class People:
    """`P` people with `K` records each, `D` feature dimensions, `T` tasks.

    Attributes:
        inputs: float64 `(P, K, D + 1)` on the grid of `federation.exact`, the intercept constant last.
        targets: float64 `(P, K, T)`, 0 or 1.
        weights: float64 `(P, K, T)`: 1 / (labelled records of that person for that task), 0 where there is no label.
        prior: float64 `(P, 1, T)`, log-odds of the prevalence that the person's partner has declared.
        products: float64 `(P, K, K)`, the inner products of each person's inputs.
    """

    inputs: FloatArray
    targets: FloatArray
    weights: FloatArray
    prior: FloatArray
    products: FloatArray

    @classmethod
    def of(cls, *, inputs: FloatArray, targets: FloatArray, weights: FloatArray, prior: FloatArray) -> Self:
        """People with their inner products."""
        return cls(inputs=inputs, targets=targets, weights=weights, prior=prior, products=inner_products(inputs))

    @property
    def records(self) -> int:
        """K."""
        return int(self.inputs.shape[1])

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Rows | slice) -> Self:
        """Only the people at `rows`."""
        return type(self)(inputs=self.inputs[rows], targets=self.targets[rows], weights=self.weights[rows],
                          prior=self.prior[rows], products=self.products[rows])


class Group(Protocol):
    """People with equally many records each, in memory or on disk."""

    @property
    def records(self) -> int:
        """How many each of them has."""
        ...

    def __len__(self) -> int: ...

    def take(self, rows: Rows | slice) -> People:
        """Only the people at `rows`, in memory."""
        ...


@dataclass(frozen=True, kw_only=True)
class StoredPeople:
    """People whose features stay on disk until they are taken.

    Attributes:
        prepared: whose features.
        targets: `target_matrix` of all its records.
        rows: `(P, K)`, those of each person.
        prior: `(T,)`, as in `People`.
    """

    prepared: Prepared
    targets: npt.NDArray[np.float32]
    rows: Rows
    prior: FloatArray

    @property
    def records(self) -> int:
        return int(self.rows.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Rows | slice) -> People:
        own = self.rows[rows]
        inputs = self.prepared.inputs(own.ravel()).reshape(*own.shape, -1).astype(np.float64)
        labels = self.targets[own].astype(np.float64)
        known = ~np.isnan(labels)
        weights = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
        return People.of(inputs=inputs, targets=np.where(known, labels, 0.0), weights=weights,
                         prior=np.tile(self.prior, (len(own), 1, 1)))


@dataclass(frozen=True, kw_only=True)
class Population:
    """Everybody who trains at a partner, by number of records: those with one, those with two and so on.

    People are numbered through the groups. Grouped so, nobody is padded to the length of somebody else.
    """

    groups: tuple[Group, ...]

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def blocks(self, rows: Rows) -> Iterator[People]:
        """The people at `rows` (ascending, without repeats), in blocks that fit a cache."""
        first = 0
        for group in self.groups:
            own = rows[rows.searchsorted(first) : rows.searchsorted(first + len(group))] - first
            size = min(BLOCK_PEOPLE, max(1, _BLOCK_RECORDS // group.records))
            for start in range(0, len(own), size):
                # Slices are views: with everybody in a step, nothing in memory is copied.
                at = slice(start, start + size) if len(own) == len(group) else own[start : start + size]
                yield group.take(at)
            first += len(group)

    def take(self, rows: Rows) -> Self:
        """Only the people at `rows` (ascending, without repeats), in memory."""
        groups, first = [], 0
        for group in self.groups:
            own = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(group))] - first
            groups.append(group.take(own))
            first += len(group)
        return type(self)(groups=tuple(groups))


def training_people(home: NodeHome, plan: StudyPlan, entry: RosterEntry, prepared: Prepared) -> Population:
    """The partner's training people, each with up to `max_records_per_person` labelled records."""
    targets = target_matrix(prepared.frame, plan)
    prior = np.array(partner_prior(plan, entry))
    groups = [StoredPeople(prepared=prepared, targets=targets, rows=rows, prior=prior)
              for rows in training_rows(home, plan, prepared.frame, targets).values()]
    numbers = sum(group.rows.size for group in groups) * (plan.encoder.dimension + 1)
    keep = numbers * np.dtype(np.float64).itemsize <= _KEPT_BYTES
    return Population(groups=tuple(group.take(slice(None)) if keep else group for group in groups))
