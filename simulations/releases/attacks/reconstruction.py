"""Reconstruction: what follows about withheld and true numbers from everything that a release publishes.

From its equations (`equations`) and the sums that hold among true counts of regions, super-regions and countries:

- how many independent equations hold for the withheld measurements: none, if nothing published rests on them;
- which withheld measurements, and which true counts, are determined (the null space of the equations);
- which of them are bounded to less than 1 by linear programming (`ranges`): numbers are whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from federation.randomness import RandomStream
from federation.statistics import IntArray
from federation.taxonomy import Family
from server.release import derive
from server.release.decide import apply_gate
from server.release.nodes import FloatArray, Nodes
from simulations.releases.attacks.equations import Contents, Equations, Publish, withheld_entries
from simulations.releases.attacks.ranges import Ranges
from simulations.releases.attacks.worlds import Mechanism, background, content_of, measurements

PEOPLE = (3000, 1200, 700, 30)
"""Of each region: the last is withheld, alone in its super-region and its country."""


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What an attacker has found out exactly.

    Attributes:
        withheld: how many measurements are.
        equations: independent ones that hold for withheld measurements alone.
        measurements, truths: withheld measurements and true counts that the equations determine.
        bounded: those that are bounded to one whole number, though no equation determines them.
        narrowest: the smallest range among the withheld measurements and true counts; infinite if none was sought.
    """

    withheld: int
    equations: int
    measurements: int
    truths: int
    bounded: int
    narrowest: float

    @property
    def anything(self) -> bool:
        return bool(self.equations or self.measurements or self.truths or self.bounded)


def honest(contents: Contents, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """What is published."""
    return contents.of(truth + noise)


def reconstruct(contents: Contents, *, seed: int, publish: Publish = honest,
                people: tuple[int, ...] = PEOPLE) -> Recovered:
    """Attack one release.

    Args:
        contents: of the plan.
        seed: of the noise.
        publish: how a content is made.
        people: in each region.
    """
    equations, withheld = _release(contents, seed, publish, people)
    half = len(equations.truth)
    unit, nothing = np.eye(half), np.zeros((half, half))
    sought = np.vstack([np.hstack([unit, unit])[withheld], np.hstack([unit, nothing])])
    determined = equations.determined(sought)
    about, ranges = equations.about(withheld), Ranges(equations)
    # Where something is determined already, bounds on the rest are no matter.
    widths = [] if about or determined.any() else [ranges.width(target) for target in sought]
    return Recovered(
        withheld=len(withheld), equations=about,
        measurements=int(determined[: len(withheld)].sum()), truths=int(determined[len(withheld) :].sum()),
        bounded=sum(width < 1.0 for width in widths), narrowest=min(widths, default=np.inf))


def leans_on_withheld(contents: Contents, *, seed: int, publish: Publish) -> int:
    """How many independent equations hold for withheld measurements alone: the quick half of `reconstruct`."""
    equations, withheld = _release(contents, seed, publish, PEOPLE)
    return equations.about(withheld)


def _release(contents: Contents, seed: int, publish: Publish, people: tuple[int, ...]) -> tuple[Equations, IntArray]:
    """A release of such a world, and which of its measurements are withheld."""
    plan, truth = contents.plan, background(contents.plan, people)
    noise = Mechanism(plan=plan).releases(np.zeros_like(truth), len(plan.roster), RandomStream.derived(
        seed.to_bytes(8, "big"), "reconstruction")).sum(axis=0)
    equations = Equations(contents, truth, noise, publish)
    return equations, withheld_entries(equations.layout, apply_gate(measurements(plan, truth + noise)))


# Mistakes


def exact_margins(contents: Contents, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """Publish true totals of each country beside everything else."""
    found = measurements(contents.plan, truth)
    return honest(contents, truth, noise) | {"totals": found.table(Family.COUNTRIES).tolist()}


def country_as_a_sum(contents: Contents, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """Add up the noisy regions in place of measuring the country."""
    found = measurements(contents.plan, truth + noise)
    found.table(Family.COUNTRIES)[...] = found.table(Family.REGIONS).sum(axis=0)
    return contents.of(found.values)


def total_of_the_withheld(contents: Contents, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """Say how many people all withheld counts of regions come to together."""
    found = measurements(contents.plan, truth + noise)
    entries = withheld_entries(found.layout, apply_gate(found))
    block = found.layout.blocks[Family.REGIONS]
    own = entries[(block.start <= entries) & (entries < block.start + block.size)]
    return honest(contents, truth, noise) | {"withheld_records": int(found.values[own].sum())}


def least_squares_over_all(contents: Contents, truth: IntArray, noise: IntArray) -> dict[str, Any]:
    """Make the withheld consistent with the shown, too, and then leave them out."""
    whole, adjust = Nodes.of(measurements(contents.plan, truth + noise)), derive._consistent

    def leaky(_: Nodes, counts: FloatArray) -> tuple[FloatArray, ...]:
        adjusted = adjust(whole, whole.reviewed if counts.ndim == whole.reviewed.ndim else whole.flagged)
        return tuple(np.where(np.isnan(counts), np.nan, each) for each in adjusted)

    with patch.object(derive, "_consistent", leaky):
        return content_of(contents.plan, truth + noise)


LEAKS: Mapping[str, Publish] = {
    "exact margins": exact_margins, "the country as the sum of its regions": country_as_a_sum,
    "the total of what is withheld": total_of_the_withheld, "least squares over all": least_squares_over_all,
}
