"""What a release says of privacy and of its gate: public constants of the plan, and the price that they come to."""

from __future__ import annotations

import math
from typing import Any

from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.accounting import DiscreteGaussianTable, epsilon_of
from federation.privacy.guarantee import family_events, table_variances
from federation.privacy.guarantee import price as compute_price
from federation.privacy.series import coefficients
from federation.secure import noise_in_words, parts_in_sums
from federation.statistics import TableLayout, entries_of, scales_in_people
from federation.taxonomy import Family
from server.release.decide import LEAST_LABELLED, OTHERS_LABELLED, thresholds_of
from server.release.gate import WIDEST_INTERVAL
from server.release.rows import PER

THRESHOLD_IN_WORDS = "ceil((minimum_count - 1) + noise_sd * inverse_normal_cdf(1 - false_publication) + 1/2)" + (
    f"; labelled people with a signal: at least {LEAST_LABELLED:g} noise_sd, without: {OTHERS_LABELLED} times as many")


def privacy(plan: StudyPlan, *, partners: int) -> dict[str, Any]:
    """Unit, figures, mechanisms and trust; `partners` are in the sum."""
    claim = plan.privacy
    return {
        "privacy_unit": "person (author or subject) at one partner",
        "adjacency": "replace the person's slot by a null person",
        "delta": claim.delta,
        "total_epsilon": claim.total_epsilon,
        # Composed by the same function as a partner's review and receipts, so that no two places tell two figures.
        "same_person_at_partners": [
            {"partners": k, "epsilon": epsilon} for k, epsilon in compute_price(plan).at_partners],
        "parts": [_training(plan), _statistics(plan, partners)],
        "series_epsilon": series_epsilon(plan),
        "appearances": {**plan.statistics.appearances.model_dump(mode="json"), "year_epsilon": year_epsilon(plan)},
        "trust": ("none: a rehearsal, whose noise was drawn from a seed and can be repeated, so it protects nobody"
                  if plan.rehearsal else f"noise: {noise_in_words(plan)}"),
        "secure_sums": _sums(plan),
        "rehearsal": plan.rehearsal,
        "accounting": "PLD (dp-accounting), upper bound",
    }


def year_epsilon(plan: StudyPlan) -> float:
    """Epsilon of the tables of all releases of a year in which one person may count, were each like this one.

    Somebody who has counted in a series is in every later table of it, whichever releases are their own.
    """
    spec = plan.statistics
    return epsilon_of([event for family, event in family_events(plan).items()
                       for _ in range(spec.appearances.releases_a_year if family is Family.SERIES
                                      else spec.appearances.releases_per_person)], delta=plan.privacy.delta)


def series_epsilon(plan: StudyPlan) -> float | None:
    """Epsilon of all releases of the series up to this one for one person, were all with this one's noise; None if
    there is none.

    Nobody moves more than somebody who counted in the first and is in all of them. A partner's account books more: each
    release as if everybody in it were new.
    """
    spec = plan.statistics
    if spec.series is None:
        return None
    events = [DiscreteGaussianTable(scale=spec.noise_scales[Family.SERIES], entries=entries_of(plan, Family.SERIES),
                                    shift=shift) for shift in coefficients(spec.series.index)]
    return epsilon_of(events, delta=plan.privacy.delta)


def _training(plan: StudyPlan) -> dict[str, Any]:
    training = plan.training
    return {"part": "training", "epsilon": plan.privacy.training_epsilon,
            "mechanism": "person-level DP-SGD: clipped per person, discrete Gaussian noise " + (
                "added to exact sums by each partner" if training.aggregation is Aggregation.LOCAL else
                "in the exact sum over all partners, to which each adds a share"),
            "noise_multiplier": training.noise_multiplier, "l2_clip_norm": training.l2_clip_norm,
            "sampling_probability": training.sampling_probability, "steps": training.steps}


def _statistics(plan: StudyPlan, partners: int) -> dict[str, Any]:
    spec, blocks, variances = plan.statistics, TableLayout(plan).blocks, table_variances(plan, partners)
    # In people, each of them: a series is measured in smaller units.
    scales = scales_in_people(plan)
    return {"part": "statistics", "epsilon": plan.privacy.statistics_epsilon,
            "mechanism": "discrete Gaussian noise " + (
                "added by each partner to each entry of its tables" if spec.aggregation is Aggregation.LOCAL else
                "in each entry of the sum over all partners' tables, to which each adds a share"),
            "max_roles_per_person": spec.max_roles_per_person,
            "families": [{"family": family.value, "noise_scale": scales[family], "entries": block.entries,
                          "l2_sensitivity": round(block.l2_sensitivity / block.shift, 6),
                          "noise_sd": round(math.sqrt(variances[family]) / block.shift, 4)}
                         for family, block in blocks.items()]}


def _sums(plan: StudyPlan) -> dict[str, Any] | None:
    """Which parts were summed securely, and how many partners may work with the coordinator; None if none was."""
    if plan.secure_aggregation is None:
        return None
    return {"parts": list(parts_in_sums(plan)), "colluders": plan.secure_aggregation.colluders,
            "partners": len(plan.roster), "least_in_a_sum": plan.conduct.quorum}


def gate(plan: StudyPlan, *, partners: int) -> dict[str, Any]:
    """The rules by which numbers were shown or withheld."""
    rule, variances = plan.release, table_variances(plan, partners)
    return {
        "thresholds": {family.value: limit for family, limit in thresholds_of(plan, variances).items()},
        "threshold_in_words": THRESHOLD_IN_WORDS,
        "noise_sd": {family.value: round(math.sqrt(variance), 4) for family, variance in variances.items()
                     if family is not Family.SERIES},
        "widest_interval": round(WIDEST_INTERVAL * PER), "flag_threshold": plan.statistics.flag_threshold,
        **rule.model_dump(mode="json", exclude={"signers"}),
    }
