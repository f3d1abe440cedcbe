"""What may be shown. Every number of a release leaves through here, and through nothing else.

Decided from noisy numbers and public configuration alone: deciding on noisy values is post-processing and costs no
privacy; deciding on true values would leak them (privacy.md 5). A number that is withheld becomes NaN and a reason, and
what comes after the gate (`server.release.derive`) sees nothing else of it, so no margin, rate, band or trend can be
made of it.

- *Cover.* Partners that are in the sum have declared the place: at least `minimum_partners` of `minimum_kinds`.
- *Dominance.* By noisy totals, no partner has more than `most_of_one_partner` of the people counted in the place and
  role; of a corridor, in any role at either end.
- *Enough records.* The noisy count reaches ceil((k - 1) + sd Φ⁻¹(1 - false_publication) + 1/2). The 1/2 is the
  continuity correction for whole counts: without it the chance that a true count of k - 1 passes would be 1.4 % instead
  of 1 % at sd = 4. Worked example: k = 11, sd = 15, 1 %: 46. Without noise it is k itself.
- *A model that can tell.* Sensitivity + specificity - 1 is at least `least_youden` (`calibration.Calibration.usable`).
- *Enough signals.* The same threshold on the signals left after the model's false alarms are taken off
  (`intervals.signal_count`): a place with many records and only false alarms is not shown as having signals.
- *A figure that says something.* Its interval is bounded, no wider than half of all rates, and the rate no more than 1.

- *Margins.* What is withheld for lack of cover or for dominance does not follow from a place less its shown parts:
  further parts are withheld until it does not (`server.release.complement`). Each level is measured with noise of its
  own, and least squares is done only where a place and all its parts are shown (`Nodes.families_complete`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from federation.areas import Area, country_of
from federation.plan_parts import ReleaseSpec, RosterEntry
from federation.plan_statistics import Corridor, StatisticsSpec
from federation.taxonomy import AreaLevel, PartnerKind
from server.release.nodes import BoolArray, FloatArray

WIDEST_INTERVAL = 0.5
"""An interval that covers more than half of all rates there can be says next to nothing."""

Reasons = npt.NDArray[np.int8]
"""0 is shown; i > 0 is `REASONS[i - 1]`."""
Coverage = Mapping[str, Mapping[PartnerKind, int]]
"""For each place, how many partners of each kind declared to cover it. Kinds with none are absent."""


class Withheld(StrEnum):
    """Why a number is not shown. Closed: no value is ever added to a reason. Public ones first, so that a reason says
    no more about data than it must."""

    TOO_FEW_PARTNERS = "too_few_partners"
    ONE_PARTNER_DOMINATES = "one_partner_dominates"
    TOO_FEW_RECORDS = "too_few_records"
    PROTECTS_ANOTHER = "protects_another"
    MODEL_NOT_GOOD_ENOUGH = "model_not_good_enough"
    TOO_FEW_SIGNALS = "too_few_signals"
    INSUFFICIENT = "insufficient"


REASONS = tuple(Withheld)
KEPT_BACK = (Withheld.TOO_FEW_PARTNERS, Withheld.ONE_PARTNER_DOMINATES, Withheld.PROTECTS_ANOTHER)
"""Reasons for a partner's sake. They may hold in one release and not in the next, whose plan may also ask for fewer
partners; no later total of a series may undo them."""


def code_of(why: Withheld | None) -> int:
    """The code of a reason; 0 for none."""
    return 0 if why is None else 1 + REASONS.index(why)


def reason(code: int) -> Withheld | None:
    """What a code stands for; None if the number is shown."""
    return REASONS[code - 1] if code else None


def first_failed(failed: Mapping[Withheld, BoolArray | bool], shape: tuple[int, ...]) -> Reasons:
    """The first guard that each number fails, in the order of `Withheld`."""
    found = np.zeros(shape, dtype=np.int8)
    for code, name in enumerate(REASONS, start=1):
        if name in failed:
            found[(found == 0) & np.broadcast_to(failed[name], shape)] = code
    return found


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


def declared_coverage(roster: Iterable[RosterEntry], spec: StatisticsSpec, areas: Iterable[Area], *,
                      partners: Iterable[str]) -> Coverage:
    """Who covers what, from public declarations; a country or super-region is covered by whoever covers a part of it.

    Only partners whose tables are in the sum count: a region that three declared and one delivered would otherwise be
    that one's figures under three names. Who delivered is known to all partners and depends on no record.
    """
    present = set(partners)
    entries = [(entry.kind, places_of(entry, spec)) for entry in roster if entry.name in present]
    return {area.code: dict(sorted(Counter(kind for kind, places in entries if area.code in places).items()))
            for area in areas}


def places_of(entry: RosterEntry, spec: StatisticsSpec) -> frozenset[str]:
    """Every place, at any level, of which a partner has declared a part. Protected regions are no part of any."""
    regions = set(entry.regions) & (set(spec.regions) - set(spec.protected))
    above = {one.code for one in spec.super_regions if regions & set(one.regions)}
    return frozenset(regions | above | {country_of(region) for region in regions})


def covered(kinds: Mapping[PartnerKind, int], rule: ReleaseSpec) -> bool:
    """Whether so many partners of so many kinds are enough."""
    return sum(kinds.values()) >= rule.minimum_partners and sum(n > 0 for n in kinds.values()) >= rule.minimum_kinds


def corridor_coverage(roster: Iterable[RosterEntry], spec: StatisticsSpec, pair: Corridor, *,
                      partners: Iterable[str]) -> dict[PartnerKind, int]:
    """Partners in the sum that have declared a part of both ends, by kind."""
    present = set(partners)
    return dict(sorted(Counter(entry.kind for entry in roster if entry.name in present
                               and {pair.origin, pair.destination} <= places_of(entry, spec)).items()))


def dominated(totals: npt.NDArray[np.int64], areas: Sequence[Area], spec: StatisticsSpec, *, most: float) -> BoolArray:
    """`(N, R)`: whether one partner has more than `most` of the people counted in a place and role, by noisy totals.

    Args:
        totals: `(regions, R, partners)`, noisy; for coarser places they are added up.
        areas: `N` places, the regions among them in the order of `totals`.
        spec: says which region lies where.
        most: share above which a cell is one partner's.

    Returns:
        True also where the noisy totals do not add up to anything.
    """
    above = {region: one.code for one in spec.super_regions for region in one.regions}
    regions = [area.code for area in areas if area.level is AreaLevel.REGION]
    at = {area.code: i for i, area in enumerate(areas)}
    sums = np.zeros((len(areas), *totals.shape[1:]), dtype=np.int64)
    for column in (regions, [above.get(code) for code in regions], [country_of(code) for code in regions]):
        rows = [i for i, code in enumerate(column) if code in at]
        np.add.at(sums, [at[str(column[i])] for i in rows], totals[rows])
    whole = sums.sum(axis=-1)
    return np.asarray((whole <= 0) | (sums.max(axis=-1) > most * whole))


def records_reasons(
    reviewed: FloatArray, *, thresholds: FloatArray, cover: BoolArray, one_partner: BoolArray
) -> Reasons:
    """Whether the count of records of each node may be shown.

    Args:
        reviewed: `(N, R)`, noisy.
        thresholds, cover: `(N,)`; one_partner: `(N, R)`.
    """
    return first_failed({
        Withheld.TOO_FEW_PARTNERS: ~cover[:, None], Withheld.ONE_PARTNER_DOMINATES: one_partner,
        # Written so that NaN fails it.
        Withheld.TOO_FEW_RECORDS: ~(reviewed >= thresholds[:, None])}, reviewed.shape)


def rate_reasons(records: Reasons, *, usable: BoolArray | bool, signals: FloatArray, sd: FloatArray, lower: FloatArray,
                 upper: FloatArray, value: FloatArray, rule: ReleaseSpec) -> Reasons:
    """Whether a rate may be shown, of what `records` lets through; all arrays have its shape.

    Args:
        records: the decision on the count of records.
        usable: whether the model is good enough.
        signals, sd: noisy count of signals without false alarms, and its standard deviation at few signals.
        value, lower, upper: the rate and its interval, unclipped.
        rule: the plan's.
    """
    quantile = NormalDist().inv_cdf(1.0 - rule.false_publication)
    # As in `count_threshold`, a chance above 1/2 does not let less than k pass.
    enough = signals >= np.maximum(rule.minimum_count, rule.minimum_count - 1 + quantile * sd + 0.5)
    tells = (upper - lower <= WIDEST_INTERVAL) & (value <= 1.0)
    found = first_failed({Withheld.MODEL_NOT_GOOD_ENOUGH: ~np.asarray(usable), Withheld.TOO_FEW_SIGNALS: ~enough,
                          Withheld.INSUFFICIENT: ~tells}, records.shape)
    return np.where(records != 0, records, found).astype(np.int8)
