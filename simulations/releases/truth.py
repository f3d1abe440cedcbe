"""A truth about places, and the measurements that a federation would take of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from federation.plan import StudyPlan
from federation.privacy.guarantee import table_variances
from federation.privacy.noise import add_discrete_gaussian
from federation.randomness import RandomStream
from federation.statistics import LEVELS, Measurements, TableLayout
from federation.taxonomy import AreaLevel, Family

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """How a model errs, and on how many labelled people that is measured."""

    sensitivity: float
    false_alarm_rate: float
    labelled_positive: int
    labelled_negative: int


@dataclass(frozen=True)
class Truth:
    """What is true of every region of a plan, and how a release comes to know of it.

    Attributes:
        plan: its layout has the regions.
        people: `(regions, roles)`, people with a record there.
        rate: `(regions, roles, T)`, the rate behind the records: each person is a signal with this probability.
        classifier: by task.
    """

    plan: StudyPlan
    people: IntArray
    rate: FloatArray
    classifier: tuple[Classifier, ...]

    @cached_property
    def layout(self) -> TableLayout:
        return TableLayout(self.plan)

    def draw(self, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """One quarter's people: who is a signal, and whom the model flags; `(regions, roles, T)` each."""
        signals = rng.binomial(self.people[..., None], self.rate)
        flags = np.empty_like(signals)
        for task, model in enumerate(self.classifier):
            flags[..., task] = rng.binomial(signals[..., task], model.sensitivity) + rng.binomial(
                self.people - signals[..., task], model.false_alarm_rate)
        return signals, flags

    def tables(self, flags: IntArray, rng: np.random.Generator) -> IntArray:
        """The vector of all partners together, without noise. Partners hold equal parts of every region; indicators and
        corridors stay empty."""
        layout, vector = self.layout, self.layout.empty()
        whole = np.concatenate([self.people[..., None], flags], axis=-1)
        for level, family in LEVELS.items():
            if family in layout.blocks:
                layout.table(vector, family)[...] = self.at_level(whole, level)
        confusion = layout.table(vector, Family.CONFUSION)
        for task, model in enumerate(self.classifier):
            hits = rng.binomial(model.labelled_positive, model.sensitivity)
            alarms = rng.binomial(model.labelled_negative, model.false_alarm_rate)
            confusion[task] = [[model.labelled_negative - alarms, alarms], [model.labelled_positive - hits, hits]]
        dominance = layout.table(vector, Family.DOMINANCE)
        dominance[...] = self.people[..., None] // dominance.shape[-1]
        return vector

    def at_level(self, counts: npt.NDArray[np.generic], level: AreaLevel) -> npt.NDArray[np.generic]:
        """Counts of regions, `(regions, …)`, added up to the places of a level."""
        areas = self.layout.areas
        codes = {code: i for i, code in enumerate(areas.codes(level))}
        sums = np.zeros((len(codes), *counts.shape[1:]), dtype=counts.dtype)
        np.add.at(sums, [codes[str(areas.above(region, level))] for region in areas.regions], counts)
        return sums

    def measured(self, vector: IntArray, stream: RandomStream) -> Measurements:
        """The tables with the plan's noise on them, exact."""
        noisy, spec = vector.copy(), self.plan.statistics
        for family in self.layout.blocks:
            table = self.layout.table(noisy, family)
            table[...] = add_discrete_gaussian(table, spec.noise_scales[family], stream)
        names = tuple(entry.name for entry in self.plan.roster)
        return Measurements(layout=self.layout, values=noisy, variances=table_variances(self.plan, len(names)),
                            partners=names)
