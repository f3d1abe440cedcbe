"""Differencing: many noisy releases of two data sets that differ in one person, told apart as well as can be.

The data sets go through the partner's own counting code, the noise is the plan's, and everything else is known to the
attacker. For normal noise the best test of one vector against another is linear in what is seen (Neyman and Pearson):
each entry that differs, divided by the variance of its noise. Events are that this sum is above, or below, a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from clients.places import Mention
from federation.plan import StudyPlan
from federation.randomness import RandomStream
from federation.statistics import IntArray, TableLayout
from federation.taxonomy import Family, LabelValue, RegionRole
from simulations.releases.attacks.bounds import Bound, best_event
from simulations.releases.attacks.people import Counter, Someone
from simulations.releases.attacks.worlds import REGIONS, TAGS, Mechanism

_STILL = 4
"""Entries that do not differ are drawn too, so many of them: they must not help."""
_LOT = 50_000
_EXACT = 0.05
"""Stands for the spread of an entry without noise."""


@dataclass(frozen=True, kw_only=True)
class Leak:
    """A mistake in how tables are counted, noised or published.

    Attributes:
        name: what was done.
        counting: a change of the partner's counting code.
        factor: by family, what the noise scale is multiplied with.
        margins: entries of the vector that are published as an exact sum, too.
    """

    name: str
    counting: Any = nullcontext
    factor: dict[Family, float] | None = None
    margins: Family | None = None


def _in_two_regions() -> AbstractContextManager[Any]:
    """Count each person in the next region, too."""
    from clients import places

    counted = places._Chooser._mentions

    def twice(self: Any, *args: Any) -> list[Mention]:
        found = counted(self, *args)
        return found + [Mention(row=one.row, role=one.role, region=(one.region + 1) % len(self._region_at))
                        for one in found]

    return patch.object(places._Chooser, "_mentions", twice)


LEAKS = (
    Leak(name="half the noise", factor=dict.fromkeys(Family, 0.5)),
    Leak(name="a person counted in two regions", counting=_in_two_regions),
    Leak(name="no noise in the table of dominance", factor={Family.DOMINANCE: 0.0}),
    Leak(name="regions added up to an exact margin", margins=Family.REGIONS),
    Leak(name="a fifth of the noise is missing", factor=dict.fromkeys(Family, 0.8)),
)


def neighbours(counter: Counter, share: float) -> dict[str, tuple[list[Someone], list[Someone]]]:
    """Pairs of data sets: a crowd with somebody and without."""
    crowd = [Someone(number=i, places={RegionRole.ORIGIN: REGIONS[i % 4]}, flagged=i % 3 == 0,
                     tags=dict.fromkeys(TAGS, i % 2)) for i in range(20)]
    held = counter.held_out(wanted=True, share=share)
    everywhere = Someone(
        number=held, places={RegionRole.ORIGIN: REGIONS[0], RegionRole.DESTINATION: REGIONS[2]}, flagged=True,
        tags=dict.fromkeys(TAGS, 1), label=LabelValue.POSITIVE)
    plain = Someone(number=500, places={RegionRole.ORIGIN: REGIONS[1]})
    often = Someone(number=501, records=40, flagged=True, tags=dict.fromkeys(TAGS, 1),
                    places={RegionRole.ORIGIN: REGIONS[3], RegionRole.DESTINATION: REGIONS[3]})
    return {"somebody in every table": ([*crowd, everywhere], crowd), "somebody in few": ([*crowd, plain], crowd),
            "forty records of one person": ([*crowd, often], crowd)}


def tell_apart(plan: StudyPlan, vectors: tuple[IntArray, IntArray], claimed: dict[float, float], *, releases: int,
               stream: RandomStream, leak: Leak | None = None) -> Bound:
    """The best bound on epsilon from so many releases of each vector.

    Args:
        plan: the study's.
        vectors: true tables of the two data sets.
        claimed: epsilon by delta.
        releases: of each.
        stream: of the noise.
        leak: a mistake to make.
    """
    mechanism = Mechanism(plan=plan, factor=(leak.factor if leak else None) or {})
    moved = np.flatnonzero(vectors[0] != vectors[1])
    still = np.setdiff1d(np.arange(len(vectors[0])), moved)[:_STILL]
    columns = np.concatenate([moved, still])
    spread = np.maximum(mechanism.spread(), _EXACT)[columns]
    weight = (vectors[0] - vectors[1])[columns] / spread**2
    scores = [np.concatenate([(mechanism.releases(vector, lot, stream, columns) - vectors[1][columns]) @ weight
                              for lot in _lots(releases)]) for vector in vectors]
    if leak and leak.margins:
        exact = [float(TableLayout(plan).table(vector, leak.margins).sum()) for vector in vectors]
        scores = [score + (margin - exact[1]) * (exact[0] - exact[1]) / _EXACT**2
                  for score, margin in zip(scores, exact, strict=True)]
    return best_event(scores[0], scores[1], claimed)


def _lots(releases: int) -> list[int]:
    """A million vectors at once would not fit into memory."""
    return [min(_LOT, releases - done) for done in range(0, releases, _LOT)]


def differencing(plan: StudyPlan, counter: Counter, claimed: dict[float, float], *, releases: int, seed: int,
                 leak: Leak | None = None, only: Sequence[str] = ()) -> dict[str, Bound]:
    """`tell_apart` for each pair of neighbours, or for some of them."""
    found = {}
    with leak.counting() if leak else nullcontext():
        for name, pair in neighbours(counter, plan.holdout_share).items():
            if not only or name in only:
                one, other = (counter.tables(plan, people) for people in pair)
                stream = RandomStream.derived(seed.to_bytes(8, "big"), "differencing", name, leak.name if leak else "")
                found[name] = tell_apart(plan, (one, other), claimed, releases=releases, stream=stream, leak=leak)
    return found
