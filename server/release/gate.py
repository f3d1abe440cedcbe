"""What may be shown. Decided from noisy counts and the public roster, and from nothing else.

A cell is shown if both its noisy counts reach a threshold and enough partners of different kinds have *declared* that
they cover its region. Deciding on noisy values is post-processing and costs no privacy; deciding on true values would
leak them (privacy.md 5). A withheld cell leaves with a reason and no number of its own.

The overall rate of a role and task is made of all its noisy cells, withheld ones too: of those that are shown alone it
would lean high, since a cell is shown for having many signals. Adding noisy cells up is post-processing as well. It is
given where a cell is shown beside it, so where the partners are enough, and not where exactly one cell is withheld,
whose number could be worked out from it and those that are shown.

The threshold, for counts of a person each, with Gaussian noise of standard deviation sd in the sum:

    ceil((k - 1) + sd · Φ⁻¹(1 - false_publication) + 1/2)

The 1/2 is the continuity correction for whole counts: without it the chance that a true count of k - 1 passes would be
1.4 % instead of 1 % at sd = 4. Worked example: k = 11, sd = 15, 1 %: 46. Without noise it is k itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

from federation.plan_parts import RosterEntry
from federation.taxonomy import PartnerKind, RegionRole, Task
from server.release.estimate import PER, CellEstimate, Rate, pooled_rate

MINIMUM_PARTNERS = 3
MINIMUM_KINDS = 2
WIDEST_INTERVAL = PER / 2
"""Per 10,000. An interval that covers more than half of all rates there can be says next to nothing."""

Coverage = Mapping[str, Mapping[PartnerKind, int]]
"""For each region, how many partners of each kind declared to cover it. Kinds with none are absent."""


class Withheld(StrEnum):
    """Why a cell is not shown. Closed: no value is ever added to a reason."""

    TOO_FEW_PARTNERS = "too_few_partners"
    TOO_FEW_RECORDS = "too_few_records"
    TOO_FEW_SIGNALS = "too_few_signals"
    INSUFFICIENT = "insufficient"


class Band(StrEnum):
    """How a shown cell compares with the overall rate of its task and role. Never a rank."""

    HIGHER = "higher"
    LOWER = "lower"
    NOT_DISTINGUISHABLE = "not_distinguishable"


@dataclass(frozen=True, kw_only=True)
class ShownCell:
    """A cell that passed. `rate` is bounded by construction."""

    estimate: CellEstimate
    rate: Rate
    band: Band


@dataclass(frozen=True, kw_only=True)
class WithheldCell:
    """A cell that did not pass. Has no room for a number."""

    region: str
    role: RegionRole
    task: Task
    reason: Withheld


@dataclass(frozen=True, kw_only=True)
class OverallRate:
    """The rate over all `cells` cells of one role and task, shown or not, itself made of noisy sums only."""

    role: RegionRole
    task: Task
    cells: int
    rate: Rate


@dataclass(frozen=True, kw_only=True)
class GatedRelease:
    """Every cell of the fixed list, in its order, and the overall rates that the bands refer to."""

    cells: tuple[ShownCell | WithheldCell, ...]
    overall: tuple[OverallRate, ...]


def count_threshold(*, minimum_count: int, noise_variance: float, false_publication: float) -> int:
    """The least noisy count that may be shown (formula at the top of this module).

    Raises:
        ValueError: if k < 1, the variance is negative or not finite, or the chance is not within (0, 1).
    """
    if minimum_count < 1 or not 0.0 <= noise_variance < math.inf or not 0.0 < false_publication < 1.0:
        raise ValueError(f"no threshold for minimum_count {minimum_count}, noise_variance {noise_variance}, "
                         f"false_publication {false_publication}")
    quantile = NormalDist().inv_cdf(1.0 - false_publication)
    # A chance above 1/2 would put the threshold below k; a policy of "at least k" never means that.
    return max(minimum_count, math.ceil(minimum_count - 1 + math.sqrt(noise_variance) * quantile + 0.5))


def declared_coverage(roster: Iterable[RosterEntry], regions: Iterable[str], *, partners: Iterable[str]) -> Coverage:
    """Who covers what, from public declarations.

    Only partners whose table is in the sum count: a region that three declared and one delivered would otherwise be
    that one's figures under three names. Who delivered is known to all partners and depends on no record.

    Args:
        roster: the plan's roster.
        regions: the plan's regions.
        partners: names of the partners whose tables were added up.
    """
    present = set(partners)
    entries = [entry for entry in roster if entry.name in present]
    return {region: dict(sorted(Counter(entry.kind for entry in entries if region in entry.regions).items()))
            for region in regions}


def _tells(rate: Rate | None) -> bool:
    """Whether a rate says anything: bounded, narrow enough, and no higher than a rate can be."""
    return rate is not None and rate.upper - rate.lower <= WIDEST_INTERVAL and rate.value <= PER


def _reason(cell: CellEstimate, threshold: int, kinds: Mapping[PartnerKind, int]) -> Withheld | None:
    """The first guard that `cell` fails, public ones first, so that a reason says no more about data than it must."""
    if sum(kinds.values()) < MINIMUM_PARTNERS or sum(n > 0 for n in kinds.values()) < MINIMUM_KINDS:
        return Withheld.TOO_FEW_PARTNERS
    if cell.reviewed < threshold:
        return Withheld.TOO_FEW_RECORDS
    if cell.flagged < threshold:
        return Withheld.TOO_FEW_SIGNALS
    return None if _tells(cell.rate) else Withheld.INSUFFICIENT


def _band(rate: Rate, overall: Rate | None) -> Band:
    if overall is not None and rate.lower > overall.value:
        return Band.HIGHER
    if overall is not None and rate.upper < overall.value:
        return Band.LOWER
    return Band.NOT_DISTINGUISHABLE


def apply_gate(
    cells: tuple[CellEstimate, ...], *, threshold: int, coverage: Coverage, noise_variance: float
) -> GatedRelease:
    """Decide each cell, and compare what is shown with the overall rate of its role and task.

    Args:
        cells: estimates from noisy sums.
        threshold: see `count_threshold`.
        coverage: see `declared_coverage`. A region missing from it counts as covered by nobody.
        noise_variance: variance of the noise in each count, for the overall rates.
    """
    reasons = [_reason(cell, threshold, coverage.get(cell.region, {})) for cell in cells]
    groups: dict[tuple[RegionRole, Task], list[CellEstimate]] = {}
    for cell in cells:
        groups.setdefault((cell.role, cell.task), []).append(cell)
    shown = Counter((cell.role, cell.task) for cell, reason in zip(cells, reasons, strict=True) if reason is None)
    pooled = {key: rate for key, group in groups.items() if shown[key] and len(group) - shown[key] != 1
              and _tells(rate := pooled_rate(tuple(group), noise_variance=noise_variance))}
    gated: list[ShownCell | WithheldCell] = []
    for cell, reason in zip(cells, reasons, strict=True):
        if reason is None and cell.rate is not None:
            band = _band(cell.rate, pooled.get((cell.role, cell.task)))
            gated.append(ShownCell(estimate=cell, rate=cell.rate, band=band))
        else:
            gated.append(WithheldCell(region=cell.region, role=cell.role, task=cell.task,
                                      reason=reason or Withheld.INSUFFICIENT))
    overall = tuple(OverallRate(role=role, task=task, cells=len(groups[role, task]), rate=rate)
                    for (role, task), rate in pooled.items() if rate is not None)
    return GatedRelease(cells=tuple(gated), overall=overall)
