"""From noisy sums to what the gate lets through: the one place where withheld numbers are still there to be looked at.

`apply_gate` looks at all measurements and gives back arrays in which everything withheld is NaN. Whatever is published
is made of those, of the plan and of earlier releases.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from federation.plan import StudyPlan
from federation.statistics import Measurements, TableLayout
from federation.taxonomy import Family
from server.release.calibration import Calibration
from server.release.complement import Contributions, IntArray, complements
from server.release.gate import (
    KEPT_BACK,
    Coverage,
    Reasons,
    Withheld,
    code_of,
    corridor_coverage,
    count_threshold,
    covered,
    declared_coverage,
    dominated,
    first_failed,
    places_of,
    rate_reasons,
    records_reasons,
)
from server.release.intervals import corrected_interval, lift_interval, signal_count
from server.release.nodes import BoolArray, FloatArray, Nodes
from server.release.series import GatedSeries, Running, SeriesWithheld, running
from server.series import SeriesMeasurement

LEAST_COMMON = 3.0
"""Others with an indicator, in standard deviations of the noise, from which on it is compared. Of fewer, what is
bounded is what the noise made small, and a lift of it is too high: of those shown at a true lift of 1, up to 12 in 100
would say "more often"."""
LEAST_LABELLED = 10.0
"""Labelled people with a signal, in standard deviations of the noise in a count of them."""
OTHERS_LABELLED = 2
"""So many times as many without a signal: false alarms are taken off everybody, so a false-alarm rate that is a few
points too low makes a rate out of nothing, and what is shown is then what noise has made high."""
Thresholds = dict[Family, int]
_KEPT_BACK = _COVER, _DOMINATED, _PROTECTS = tuple(code_of(one) for one in KEPT_BACK)
_OF_PARTNERS = (_COVER, _DOMINATED)


@dataclass(frozen=True, kw_only=True)
class GatedIndicators:
    """The indicator mix: `A` places, `R` roles, `T` tasks, two sides (0 not flagged, 1 flagged), `I` indicators.

    Attributes:
        counts: `(A, R, T, 2, 1 + I)`, people and those with each indicator; NaN where withheld.
        cells: `(A, R, T)`, whether the two numbers of people are shown.
        lifts: `(A, R, T, I)`, whether a comparison of the two sides is.
    """

    counts: FloatArray
    cells: Reasons
    lifts: Reasons


@dataclass(frozen=True, kw_only=True)
class GatedCorridors:
    """`P` pairs of places: `counts` is `(P, 1 + T)`, NaN where withheld, `reasons` `(P, T)`."""

    counts: FloatArray
    reasons: Reasons


@dataclass(frozen=True, kw_only=True)
class Gated:
    """What the gate let through.

    Attributes:
        nodes: NaN where withheld.
        records: `(N, R)`, of the counts of records.
        rates: `(N, R, T)`.
        calibrations: by task; its counts are NaN if there are too few labelled people.
    """

    nodes: Nodes
    records: Reasons
    rates: Reasons
    calibrations: tuple[Calibration, ...]
    indicators: GatedIndicators | None
    corridors: GatedCorridors | None
    series: GatedSeries | SeriesWithheld | None


def thresholds_of(plan: StudyPlan, variances: dict[Family, float]) -> Thresholds:
    """The least noisy count that may be shown, by family; the tables of dominance and of scores are never shown, and
    that of a series only in totals.

    For confusion it is that of the people with a signal: flagged and not, so the sum of two noisy counts.
    """
    return {family: (_least_labelled if family is Family.CONFUSION else _threshold)(plan, variance)
            for family, variance in variances.items() if family not in (Family.DOMINANCE, Family.SERIES, Family.SCORES)}


def apply_gate(measurements: Measurements, earlier: Sequence[SeriesMeasurement] = ()) -> Gated:
    """Decide about every number.

    Args:
        measurements: of the release.
        earlier: what was measured in earlier releases of the plan's series, as far as it is there.
    """
    plan, variances = measurements.layout.plan, measurements.variances
    nodes = Nodes.of(measurements)
    coverage = declared_coverage(plan.roster, plan.statistics, nodes.areas, partners=measurements.partners)
    calibrations, records = _calibrations(measurements), _records(measurements, nodes)
    rates = decide_rates(plan, nodes, records, calibrations)
    shown = replace(nodes, reviewed=np.where(records == 0, nodes.reviewed, np.nan),
                    flagged=np.where(rates == 0, nodes.flagged, np.nan))
    indicators = corridors = series = None
    if plan.statistics.indicators is not None:
        indicators = decide_indicators(
            plan, measurements.table(Family.INDICATORS).astype(np.float64), variances[Family.INDICATORS],
            rates=rates[nodes.at(plan.statistics.indicators.level)])
    if plan.statistics.corridors:
        corridors = decide_corridors(
            plan, measurements.table(Family.CORRIDORS).astype(np.float64), calibrations, variances[Family.CORRIDORS],
            partners=measurements.partners,
            one_partner=corridors_of_one_partner(plan, nodes, _one_partner(measurements, nodes)))
    if plan.statistics.series is not None:
        found = running(measurements, earlier, kept_back(records[nodes.at(plan.statistics.series.level)]))
        series = found if isinstance(found, SeriesWithheld) else decide_series(
            plan, found, calibrations, coverage=coverage)
    return Gated(nodes=shown, records=records, rates=rates, calibrations=calibrations, indicators=indicators,
                 corridors=corridors, series=series)


def _one_partner(measurements: Measurements, nodes: Nodes) -> BoolArray:
    plan = measurements.layout.plan
    return dominated(measurements.table(Family.DOMINANCE), nodes.areas, plan.statistics,
                     most=plan.release.most_of_one_partner)


def _records(measurements: Measurements, nodes: Nodes) -> Reasons:
    plan, partners = measurements.layout.plan, measurements.partners
    return decide_records(
        plan, nodes, declared_coverage(plan.roster, plan.statistics, nodes.areas, partners=partners),
        _one_partner(measurements, nodes), contributions_of(plan, partners, measurements.table(Family.DOMINANCE)))


def _threshold(plan: StudyPlan, variance: float) -> int:
    return count_threshold(minimum_count=plan.release.minimum_count, noise_variance=variance,
                           false_publication=plan.release.false_publication)


def _calibrations(measurements: Measurements) -> tuple[Calibration, ...]:
    plan, variance = measurements.layout.plan, measurements.variances[Family.CONFUSION]
    found = []
    for (tn, fp), (fn, tp) in measurements.table(Family.CONFUSION).astype(np.float64):
        known = Calibration.of(tp, fn, fp, tn, noise_variance=variance)
        nothing = Calibration.of(*(np.nan,) * 4, noise_variance=variance)
        found.append(known if enough_labelled(plan, known) else nothing)
    return tuple(found)


def _least_labelled(plan: StudyPlan, variance: float) -> int:
    return max(_threshold(plan, 2 * variance), math.ceil(LEAST_LABELLED * math.sqrt(variance)))


def enough_labelled(plan: StudyPlan, known: Calibration) -> bool:
    """Whether there are enough people of either label for the model's errors to be shown."""
    least = _least_labelled(plan, float(known.noise_variance))
    return bool(known.tp + known.fn >= least and known.fp + known.tn >= OTHERS_LABELLED * least)


def contributions_of(plan: StudyPlan, partners: tuple[str, ...], totals: IntArray | None) -> Contributions:
    """Who declared what, and has how much of it; `partners` are those in the sum, `totals` as in `Contributions`."""
    entries = [entry for entry in plan.roster if entry.name in partners]
    places = [places_of(entry, plan.statistics) for entry in entries]
    regions = TableLayout(plan).areas.regions

    def enough(those: BoolArray) -> bool:
        return covered(Counter(entry.kind for entry, one in zip(entries, those, strict=True) if one), plan.release)

    return Contributions(declared=np.array([[region in one for region in regions] for one in places]), enough=enough,
                         totals=totals, most=plan.release.most_of_one_partner)


def decide_records(plan: StudyPlan, nodes: Nodes, coverage: Coverage, one_partner: BoolArray,
                   contributions: Contributions) -> Reasons:
    """`(N, R)`: whether counts of records are shown; `one_partner` is `(N, R)`, from `gate.dominated`."""
    found = records_reasons(
        nodes.reviewed, thresholds=np.array([_threshold(plan, float(variance)) for variance in nodes.variance]),
        cover=np.array([covered(coverage[area.code], plan.release) for area in nodes.areas]), one_partner=one_partner)
    besides = complements(nodes, found == 0, np.isin(found, _OF_PARTNERS), contributions,
                          threshold=lambda variance: _threshold(plan, variance))
    return np.where(besides, _PROTECTS, found).astype(np.int8)


def kept_back(records: Reasons) -> Reasons:
    """Those decisions about records that no later total of a series may undo (`KEPT_BACK`); the others are 0."""
    return np.where(np.isin(records, _KEPT_BACK), records, 0).astype(np.int8)


def kept_back_of(measurements: Measurements) -> Reasons:
    """`(A, R)`: the same for the places of the plan's series.

    Raises:
        ValueError: if it has none.
    """
    plan, nodes = measurements.layout.plan, Nodes.of(measurements)
    if plan.statistics.series is None:
        raise ValueError("the plan has no series")
    return kept_back(_records(measurements, nodes)[nodes.at(plan.statistics.series.level)])


def decide_rates(plan: StudyPlan, nodes: Nodes, records: Reasons, calibrations: tuple[Calibration, ...]) -> Reasons:
    """`(N, R, T)`: whether rates are. From the numbers as measured, so that whoever has them can decide again."""
    return np.stack([_rates(plan, nodes.flagged[..., task], nodes.reviewed, nodes.variance[:, None], records, known)
                     for task, known in enumerate(calibrations)], axis=-1)


def _rates(plan: StudyPlan, flagged: FloatArray, reviewed: FloatArray, variance: FloatArray | float, records: Reasons,
           calibration: Calibration) -> Reasons:
    value, lower, upper = corrected_interval(flagged, reviewed, flagged_variance=variance, reviewed_variance=variance,
                                             calibration=calibration)
    signals, sd = signal_count(flagged, reviewed, flagged_variance=variance, reviewed_variance=variance,
                               calibration=calibration, minimum_count=plan.release.minimum_count)
    return rate_reasons(records, usable=bool(calibration.usable(plan.release.least_youden)), signals=signals, sd=sd,
                        value=value, lower=lower, upper=upper, rule=plan.release)


def decide_indicators(plan: StudyPlan, counts: FloatArray, variance: float, *, rates: Reasons) -> GatedIndicators:
    """What is shown of the mix: where the rate is, and enough people are on either side.

    The people on both sides give the rate, so a mix without its rate would tell what the rate was withheld for.

    Args:
        plan: the study's.
        counts: `(A, R, T, 2, 1 + I)`, noisy.
        variance: of the noise in each count.
        rates: `(A, R, T)`, the decisions on the rates of the same places.
    """
    threshold = _threshold(plan, variance)
    cells = np.where(rates != 0, rates, first_failed({
        Withheld.TOO_FEW_RECORDS: ~(counts[..., 0, 0] >= threshold),
        Withheld.TOO_FEW_SIGNALS: ~(counts[..., 1, 0] >= threshold)}, rates.shape)).astype(np.int8)
    _, lower, upper = lift_interval(counts[..., 1, 1:], counts[..., 1, :1], counts[..., 0, 1:], counts[..., 0, :1],
                                    variance=variance)
    # Enough people have the indicator, on both sides together: a sum of two noisy counts.
    enough = counts[..., 1, 1:] + counts[..., 0, 1:] >= _threshold(plan, 2 * variance)
    common = counts[..., 0, 1:] >= LEAST_COMMON * math.sqrt(variance)
    tells = enough & common & np.isfinite(lower) & np.isfinite(upper) & (upper > 0.0)
    lifts = np.where(cells[..., None] != 0, cells[..., None],
                     first_failed({Withheld.INSUFFICIENT: ~tells}, tells.shape)).astype(np.int8)
    people = np.where((cells == 0)[..., None], counts[..., 0], np.nan)
    with_tag = np.where((lifts == 0)[..., None, :], counts[..., 1:], np.nan)
    return GatedIndicators(counts=np.concatenate([people[..., None], with_tag], axis=-1), cells=cells, lifts=lifts)


def corridors_of_one_partner(plan: StudyPlan, nodes: Nodes, one_partner: BoolArray) -> BoolArray:
    """`(P,)`: whether one partner makes up a place at either end, in any role; `one_partner` is `(N, R)`."""
    at = {area.code: i for i, area in enumerate(nodes.areas)}
    ends = [[at[pair.origin], at[pair.destination]] for pair in plan.statistics.corridors]
    return np.asarray(one_partner[ends].any(axis=(1, 2)))


def decide_corridors(plan: StudyPlan, counts: FloatArray, calibrations: tuple[Calibration, ...], variance: float, *,
                     partners: tuple[str, ...], one_partner: BoolArray) -> GatedCorridors:
    """What is shown of the corridors.

    Args:
        plan: the study's.
        counts: `(P, 1 + T)`, noisy.
        calibrations: by task.
        variance: of the noise in each count.
        partners: names of those in the sum.
        one_partner: `(P,)`, from `corridors_of_one_partner`.
    """
    cover = np.array([covered(corridor_coverage(plan.roster, plan.statistics, pair, partners=partners), plan.release)
                      for pair in plan.statistics.corridors])
    records = first_failed({Withheld.TOO_FEW_PARTNERS: ~cover, Withheld.ONE_PARTNER_DOMINATES: one_partner,
                            Withheld.TOO_FEW_RECORDS: ~(counts[:, 0] >= _threshold(plan, variance))}, (len(counts),))
    found = np.stack([_rates(plan, counts[:, 1 + task], counts[:, 0], variance, records, known)
                      for task, known in enumerate(calibrations)], axis=-1)
    shown = np.concatenate([(found == 0).any(axis=1, keepdims=True), found == 0], axis=1)
    return GatedCorridors(counts=np.where(shown, counts, np.nan), reasons=found)


def decide_series(plan: StudyPlan, series: Running, calibrations: tuple[Calibration, ...], *,
                  coverage: Coverage) -> GatedSeries:
    """What is shown of the running totals, by the rules that hold for the rates of their places.

    What was withheld for a partner's sake in any release, later totals could tell from the others: its total is
    withheld from then on.

    Args:
        plan: the study's, which has a series.
        series: as measured.
        calibrations: by task, of this release's model. Its errors stand for those of earlier releases' models.
        coverage: of all places.
    """
    spec, totals, variance = plan.statistics.series, series.totals(), series.variance
    codes = TableLayout(plan).areas.codes(spec.level) if spec else ()
    records = records_reasons(
        totals[..., 0], thresholds=np.full(len(codes), _threshold(plan, variance)),
        cover=np.array([covered(coverage[code], plan.release) for code in codes])
        & ~(series.kept_back == _COVER).any(axis=(0, 2)),
        one_partner=(series.kept_back == _DOMINATED).any(axis=0))
    protects = (series.kept_back == _PROTECTS).any(axis=0) & ~np.isin(records, _OF_PARTNERS)
    records = np.where(protects, _PROTECTS, records).astype(np.int8)
    found = np.stack([_rates(plan, totals[..., 1 + task], totals[..., 0], variance, records, known)
                      for task, known in enumerate(calibrations)], axis=-1)
    shown = np.concatenate([(found == 0).any(axis=-1, keepdims=True), found == 0], axis=-1)
    return GatedSeries(running=series.keep(shown), reasons=found)
