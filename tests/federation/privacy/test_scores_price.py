"""The table of scores is in the price of that of confusion: what the account says, against dp-accounting by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld

from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.plan_statistics import ScoresSpec
from federation.privacy.accounting import GRID_DELTA_SHARE, GRID_EPSILON, INTERVAL
from federation.privacy.guarantee import family_events, price, statistics_events, table_variances
from federation.privacy.noise import discrete_gaussian
from federation.randomness import RandomStream
from federation.statistics import TableLayout
from federation.taxonomy import Family
from tests.worlds import make_plan

SCORES = ScoresSpec(bins=12, reach=0.6)
WITHOUT, WITH = make_plan(), make_plan(statistics={"scores": SCORES})


def composed(plan: StudyPlan, families: set[Family]) -> float:
    """Epsilon of these families, each entry a discrete Gaussian, by dp-accounting."""
    total = None
    for family, block in TableLayout(plan).blocks.items():
        if family in families:
            one = pld.from_discrete_gaussian_mechanism(
                sigma=plan.statistics.noise_scales[family], sensitivity=block.shift,
                value_discretization_interval=INTERVAL).self_compose(block.entries)
            total = one if total is None else total.compose(one)
    return float(total.get_epsilon_for_delta(plan.privacy.delta * (1 - GRID_DELTA_SHARE)))


def test_neither_who_trains_nor_who_is_held_out_pays_more_than_is_charged() -> None:
    every = set(WITH.statistics.families)
    held_out, trains = (composed(WITH, every - {other}) for other in (Family.SCORES, Family.CONFUSION))
    charged = price(WITH).statistics
    assert charged == pytest.approx(max(held_out, trains) + GRID_EPSILON, rel=1e-6)
    # Had somebody been in both, it would have been too little.
    assert composed(WITH, every) > charged * 1.01


def test_a_plan_costs_one_partner_the_same_with_scores_and_without() -> None:
    one, other = price(WITHOUT), price(WITH)
    assert (one.training, one.statistics, one.total, one.at_partners) == (
        other.training, other.statistics, other.total, other.at_partners)
    assert statistics_events(WITHOUT) == statistics_events(WITH) == tuple(family_events(WITH).values())
    assert set(family_events(WITH)) == set(WITH.statistics.families) - {Family.SCORES}


def test_in_a_secure_sum_somebody_at_several_partners_may_be_in_both_tables_and_pays_for_both() -> None:
    plans = [make_plan(secure="table", colluders=0, noise_scale=8.0, statistics=statistics)
             for statistics in ({}, {"scores": SCORES})]
    assert plans[1].statistics.aggregation is Aggregation.SECURE
    one, other = map(price, plans)
    assert one.total == other.total
    for (_, few), (_, more) in zip(one.at_partners, other.at_partners, strict=True):
        assert more > few


def test_more_noise_in_the_scores_is_allowed_and_changes_no_price() -> None:
    scales = {**WITH.statistics.noise_scales, Family.SCORES: 11.0}
    louder = make_plan(statistics={"scores": SCORES, "noise_scales": scales})
    assert price(louder).statistics == price(WITH).statistics
    assert table_variances(louder, 3)[Family.SCORES] == pytest.approx(3 * 121.0, rel=1e-3)


def test_each_bin_gets_noise_of_its_own_scale() -> None:
    noise = discrete_gaussian(WITH.statistics.noise_scales[Family.SCORES]).draw(20_000, RandomStream.derived(b"s", "t"))
    assert math.isclose(float(np.std(noise)), 6.0, rel_tol=0.03)
