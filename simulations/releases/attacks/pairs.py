"""Pairs of neighbouring data sets, each with what everybody else holds so that the pair is where it hurts.

In each pair one person is there or is not: replaced by a null person. `crowd` are the partner's other people.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from federation.plan import StudyPlan
from federation.statistics import IntArray, TableLayout
from federation.taxonomy import Family, LabelValue, RegionRole
from server.release.gate import count_threshold
from simulations.releases.attacks.people import Counter, Someone
from simulations.releases.attacks.worlds import PROTECTED, REGIONS, TAGS, background, measurements

ORIGIN, DESTINATION = RegionRole.ORIGIN, RegionRole.DESTINATION


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Somebody who is there in one data set and not in the other.

    Attributes:
        name: what is special.
        person: the one.
        crowd: the partner's other people.
        others: true sums of all other partners.
        plan: under which both are counted.
    """

    name: str
    person: Someone
    crowd: tuple[Someone, ...]
    others: IntArray
    plan: StudyPlan

    def vectors(self, counter: Counter) -> tuple[IntArray, IntArray]:
        """True sums with the person, and without."""
        return (counter.tables(self.plan, (*self.crowd, self.person)) + self.others,
                counter.tables(self.plan, self.crowd) + self.others)


@dataclass(frozen=True)
class _Maker:
    plan: StudyPlan
    counter: Counter
    base: IntArray = field(repr=False)

    @property
    def layout(self) -> TableLayout:
        return TableLayout(self.plan)

    def pair(self, name: str, person: Someone, *, crowd: tuple[Someone, ...] = (), others: IntArray | None = None,
             plan: StudyPlan | None = None) -> Pair:
        return Pair(name=name, person=person, crowd=crowd, others=self.base if others is None else others,
                    plan=plan or self.plan)

    def others(self, family: Family, index: Any, value: Any) -> IntArray:
        vector = self.base.copy()
        self.layout.table(vector, family)[index] = value
        return vector

    def threshold(self, family: Family) -> int:
        variance = measurements(self.plan, self.base).variances[family]
        return count_threshold(minimum_count=self.plan.release.minimum_count, noise_variance=variance,
                               false_publication=self.plan.release.false_publication)


def pairs(plan: StudyPlan, counter: Counter, plans: tuple[StudyPlan, StudyPlan]) -> Iterator[Pair]:
    """All pairs.

    Args:
        plan: the study's.
        counter: counts the partner's people.
        plans: two releases of a year in which a person may count in half of the releases.
    """
    make = _Maker(plan, counter, background(plan))
    crowd = tuple(Someone(number=i, places={ORIGIN: REGIONS[i % 4]}, flagged=i % 3 == 0) for i in range(20))
    held, trained = (counter.held_out(wanted=wanted, share=plan.holdout_share) for wanted in (True, False))
    one = Someone(number=900, places={ORIGIN: REGIONS[1]})
    yield from _ordinary(make, one, crowd)
    yield from _labelled(make, held, trained)
    yield from _at_thresholds(make, one)
    yield from _nowhere(make, one)
    for number, release in enumerate(plans, start=1):
        yield make.pair(f"somebody who counts in half of the releases: release {number}", one, plan=release)


def _ordinary(make: _Maker, one: Someone, crowd: tuple[Someone, ...]) -> Iterator[Pair]:
    empty = make.layout.empty()
    flagged = replace(one, flagged=True)
    both = replace(flagged, places={ORIGIN: REGIONS[0], DESTINATION: REGIONS[2]})
    full = replace(both, tags=dict.fromkeys(TAGS, 1))
    yield make.pair("the only person of a federation without people", full, others=empty)
    yield make.pair("the only person of the partner", one)
    yield make.pair("one of a crowd", one, crowd=crowd)
    yield make.pair("not flagged", one)
    yield make.pair("flagged", flagged)
    yield make.pair("every indicator", replace(flagged, tags=dict.fromkeys(TAGS, 1)))
    yield make.pair("looked for and not there", replace(flagged, tags=dict.fromkeys(TAGS, 0)))
    yield make.pair("indicators not looked for", replace(flagged, tags={TAGS[0]: 1}))
    yield make.pair("two roles and a corridor", both)
    yield make.pair("a corridor into itself", replace(flagged, places={ORIGIN: REGIONS[0], DESTINATION: REGIONS[1]}))
    yield make.pair("everything", full, crowd=crowd)
    yield make.pair("a hundred records", replace(full, records=100), crowd=crowd)
    yield make.pair("no person id", replace(full, number=None), crowd=crowd)


def _labelled(make: _Maker, held: int, trained: int) -> Iterator[Pair]:
    somebody = Someone(number=held, places={ORIGIN: REGIONS[0]}, label=LabelValue.POSITIVE)
    yield make.pair("held out, a signal that is flagged", replace(somebody, flagged=True))
    yield make.pair("held out, a signal that is missed", somebody)
    yield make.pair("held out, a false alarm", replace(somebody, flagged=True, label=LabelValue.NEGATIVE))
    yield make.pair("labelled and trained with", replace(somebody, number=trained, flagged=True))


def _at_thresholds(make: _Maker, one: Someone) -> Iterator[Pair]:
    minimum = make.plan.release.minimum_count
    records, mix = make.threshold(Family.REGIONS), make.threshold(Family.INDICATORS)
    flagged, full = replace(one, flagged=True), replace(one, flagged=True, tags=dict.fromkeys(TAGS, 1))
    spot = (1, 0, 0)
    yield make.pair("the k-th of a region", one, others=make.others(Family.REGIONS, spot, minimum - 1))
    yield make.pair("at the threshold of records", one, others=make.others(Family.REGIONS, spot, records - 1))
    yield make.pair("at the threshold of signals", flagged, others=make.others(Family.REGIONS, (1, 0, 1), 205))
    yield make.pair("at the threshold of the mix", full,
                    others=make.others(Family.INDICATORS, (0, 0, 0, 1, 0), mix - 1))
    far = replace(full, places={ORIGIN: REGIONS[0], DESTINATION: REGIONS[2]})
    yield make.pair("at the threshold of a corridor", far,
                    others=make.others(Family.CORRIDORS, (1, 0), records - 1))
    # One partner has 700 of a thousand, as many as it may.
    yield make.pair("at the share of one partner", one, others=make.others(Family.DOMINANCE, 1, [700, 150, 150]))
    yield make.pair("at the least a model must tell", Someone(
        number=make.counter.held_out(wanted=True, share=make.plan.holdout_share), places={ORIGIN: REGIONS[1]},
        flagged=True, label=LabelValue.POSITIVE), others=make.others(
            Family.CONFUSION, 0, [[2850, 150], [650, 349]]))


def _nowhere(make: _Maker, one: Someone) -> Iterator[Pair]:
    """People who count nowhere: nothing that is published depends on them."""
    first = Someone(number=901, places={ORIGIN: REGIONS[2]}, first_record=77)
    yield make.pair("in a protected region", replace(one, places={ORIGIN: PROTECTED[0]}))
    yield make.pair("in a place that is not counted", replace(one, places={ORIGIN: "XA-999"}))
    yield make.pair("in a role that is not counted", replace(one, places={RegionRole.TRANSIT: REGIONS[0]}))
    yield make.pair("outside the period", replace(one, day=date(2026, 7, 1)))
    yield make.pair("a record id that is taken", replace(one, first_record=77), crowd=(first,))
    yield make.pair("objected to", replace(one, excluded=True))
    yield make.pair("kept no longer", replace(one, until=date(2026, 6, 1)))
