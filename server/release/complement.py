"""Complementary suppression: what is withheld for a partner's sake must not follow from what is shown.

A place less those of its parts that are shown is what the others are together, up to the noise of all of them. If a
part is withheld because it is one partner's, or because too few partners cover it, that difference is looked at like a
place of its own. It may be known if

- it is below the threshold for enough records, at the noise that a difference of so many numbers has, so that it says
  no more than "few"; or
- enough partners of enough kinds have declared regions in it, and none of them dominates it.

Otherwise one more part is withheld: the smallest that is enough by itself, or if none is, the largest. It ends, since
the difference is at last the place itself, which is shown only if both rules hold for it. (Hundepool et al. 2012,
"Statistical Disclosure Control", 4.5: a cell that one contributor dominates, and the choice of secondary cells. There
the intervals that others can work out are what is bounded; here the difference must pass the same rules as a cell.)

Differences in all ways that what is shown allows: parts of parts are subtracted where the part itself is withheld, and
what a place or a part is, is taken as large or as small as what is shown above and below it makes it. Sums of
differences that are nobody's are nobody's, too: covered by more, and dominated by nobody if none of them is. Those that
are too few by themselves can be enough together, so all below a place are looked at together, too; that some of them
are enough, are a partner's, and are with the rest nobody's is the one way that is left open.

Persons are protected by epsilon. This protects partners, from those who know no more than is published: a partner can
take its own figures off a difference. It is decided from noisy numbers and public declarations, like all of the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from server.release.nodes import BoolArray, FloatArray, Nodes

IntArray = npt.NDArray[np.int64]
Threshold = Callable[[float], int]
"""The least noisy count that may be shown, by the variance of its noise."""


@dataclass(frozen=True, kw_only=True)
class Contributions:
    """What is known of partners by regions, in the order of the places' regions (`Q` of them).

    Attributes:
        declared: `(partners, Q)`, who has declared which region.
        enough: whether partners, given as `(partners,)`, are enough of enough kinds.
        totals: `(Q, R, partners)`, noisy; None if nobody is known to dominate anything.
        most: share above which a difference is one partner's.
    """

    declared: BoolArray
    enough: Callable[[BoolArray], bool]
    totals: IntArray | None
    most: float

    def may_be_known(self, role: int, regions: IntArray) -> bool:
        """Whether a sum over `regions` in one of the roles is nobody's in particular."""
        if not self.enough(np.asarray(self.declared[:, regions].any(axis=1))):
            return False
        if self.totals is None:
            return True
        by_partner = self.totals[regions, role].sum(axis=0)
        return bool(by_partner.sum() > 0 and by_partner.max() <= self.most * by_partner.sum())


def complements(nodes: Nodes, shown: BoolArray, sensitive: BoolArray, contributions: Contributions, *,
                threshold: Threshold) -> BoolArray:
    """`(N, R)`: what is withheld besides, so that nothing `sensitive` follows from what is left.

    Args:
        nodes: the counts of records as measured; those not `shown` are not looked at.
        shown: `(N, R)`, by the other rules.
        sensitive: `(N, R)`, what is withheld for a partner's sake.
        contributions: see there.
        threshold: see there.
    """
    family = _Family(nodes)
    left = np.array(shown)
    for role in range(shown.shape[1]):
        if sensitive[:, role].any():
            _withhold(family, left[:, role], sensitive[:, role], nodes.reviewed[:, role], nodes.variance,
                      partial(contributions.may_be_known, role), threshold)
    return shown & ~left


class _Family:
    """Who lies below whom.

    Attributes:
        children: for each place the indices of those directly below.
        regions: for each place the regions it consists of, from 0 to `Q - 1`.
        inner: the places with others below, each after all that are below it.
    """

    def __init__(self, nodes: Nodes) -> None:
        self.children: list[list[int]] = [[] for _ in nodes.areas]
        for at, above in enumerate(nodes.parent.tolist()):
            if above >= 0:
                self.children[above].append(at)
        order = list(_from_the_top(nodes.parent.tolist(), self.children))[::-1]
        leaves = [at for at, below in enumerate(self.children) if not below]
        self.regions: list[IntArray] = [np.zeros(0, dtype=np.int64)] * len(self.children)
        for region, at in enumerate(leaves):
            self.regions[at] = np.array([region])
        for at in order:
            if self.children[at]:
                self.regions[at] = np.concatenate([self.regions[child] for child in self.children[at]])
        self.inner = [at for at in order if self.children[at]]

    def without(self, place: int, parts: list[int]) -> IntArray:
        """The regions of a place that are in none of its `parts`."""
        taken = [region for part in parts for region in self.regions[part].tolist()]
        return np.setdiff1d(self.regions[place], np.array(taken, dtype=np.int64))

    def parts(self, place: int, shown: BoolArray, opened: BoolArray) -> tuple[list[int], list[int]]:
        """The coarsest places below one that are shown and not `opened`, and all others that are not shown."""
        front, hidden, rest = [], [], list(self.children[place])
        while rest:
            at = rest.pop()
            if shown[at] and not opened[at]:
                front.append(at)
                continue
            if not shown[at]:
                hidden.append(at)
            rest += self.children[at]
        return front, hidden

    def gaps(self, shown: BoolArray) -> BoolArray:
        """The places with something below that is not shown."""
        found = np.zeros(len(shown), dtype=np.bool_)
        for place in self.inner:
            found[place] = any(found[child] or not shown[child] for child in self.children[place])
        return found

    def least(self, values: FloatArray, shown: BoolArray) -> FloatArray:
        """What a place is at least, by its own value or by those of its parts; infinite where neither tells."""
        found = np.where(shown, values, np.inf)
        for place in self.inner:
            found[place] = min(found[place], found[self.children[place]].sum())
        return found

    def most(self, values: FloatArray, shown: BoolArray, least: FloatArray) -> FloatArray:
        """What a place is at most, by its own value or by that of what it is a part of, less the other parts."""
        found = np.where(shown, values, -np.inf)
        for place in reversed(self.inner):
            parts = self.children[place]
            unknown = np.isinf(least[parts])
            # Less the others: of one unknown part the rest, of several nothing.
            rest = found[place] - least[parts][~unknown].sum() + np.where(unknown, 0.0, least[parts])
            known = ~unknown if not unknown.any() else unknown & (unknown.sum() == 1)
            found[parts] = np.where(known, np.maximum(found[parts], rest), found[parts])
        return found


def _from_the_top(parent: list[int], children: list[list[int]]) -> Iterator[int]:
    rest = [at for at, above in enumerate(parent) if above < 0]
    while rest:
        at = rest.pop()
        yield at
        rest += children[at]


def _withhold(family: _Family, shown: BoolArray, sensitive: BoolArray, reviewed: FloatArray, variance: FloatArray,
              may_be_known: Callable[[IntArray], bool], threshold: Threshold) -> None:
    """Take out of `shown`, `(N,)`, until every difference may be known."""

    def safe(place: int, front: list[int]) -> bool:
        if most[place] - least[front].sum() < threshold(float(variance[place] + noise[front].sum())):
            return True
        return may_be_known(family.without(place, front))

    def unsafe() -> tuple[int, list[int]] | None:
        for opened in (np.zeros_like(shown), family.gaps(shown)):
            for place in (place for place in family.inner if shown[place]):
                front, hidden = family.parts(place, shown, opened)
                if front and sensitive[hidden].any() and not safe(place, front):
                    return place, sorted(front, key=lambda at: (reviewed[at], at))
        return None

    while True:
        least, noise = family.least(reviewed, shown), family.least(variance, shown)
        most = family.most(reviewed, shown, least)
        if (found := unsafe()) is None:
            return
        place, front = found
        alone = (at for at in front if safe(place, [other for other in front if other != at]))
        shown[next(alone, front[-1])] = False
