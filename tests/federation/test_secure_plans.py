"""Plans with secure sums: what they must state, what they cost, and what each side makes of them."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from federation.errors import InputError
from federation.grid import SUM_BITS
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.distributed import LEAST_SHARE_SCALE
from federation.privacy.guarantee import check_claim, partner_noise, price, table_variances
from federation.secagg import SessionSpec
from federation.secagg.session import threshold_for
from federation.secure import MOST_PEOPLE, Purpose, check_plan, session_of
from federation.statistics import TableLayout
from federation.taxonomy import Family
from server.aggregation import gradient_step
from tests.worlds import COARSE, make_plan, roster

CONTEXT = "0" * 64
SECURE = {"secure": "both", "colluders": 1, "quorum": 3, "noise_scale": 6.0}


def rebuilt(plan: StudyPlan, **changes: Any) -> StudyPlan:
    return StudyPlan.model_validate({**dict(plan), **changes})


def test_which_part_is_summed_must_be_stated_with_what_it_rests_on() -> None:
    with pytest.raises(ValidationError, match="secure_aggregation: must be given"):
        rebuilt(make_plan(4, **SECURE), secure_aggregation=None)
    with pytest.raises(ValidationError, match="secure_aggregation: must be given"):
        rebuilt(make_plan(4), secure_aggregation=make_plan(4, **SECURE).secure_aggregation)


@pytest.mark.parametrize(("partners", "quorum", "colluders", "good"), [
    (3, 3, 1, True), (3, 2, 0, True), (3, 2, 1, False), (4, 3, 1, True), (4, 2, 0, False), (5, 4, 2, True),
    (5, 3, 1, False), (20, 13, 5, True), (20, 12, 5, False), (2, 2, 0, False), (5, 5, 4, True), (5, 5, 5, False),
])
def test_two_quorums_must_share_somebody_honest(partners: int, quorum: int, colluders: int, good: bool) -> None:
    def made() -> StudyPlan:
        return make_plan(partners, secure="table", quorum=quorum, colluders=colluders, noise_scale=20.0)

    if good:
        plan = made()
        assert plan.noise_shares == quorum - colluders
        assert session_of(plan, Purpose.TABLE, 1, 0, CONTEXT).threshold <= quorum
    else:
        with pytest.raises(ValidationError, match=r"quorum is|secure"):
            made()


@given(st.integers(3, 60), st.data())
def test_a_plan_and_its_sessions_agree_on_the_least_quorum(partners: int, data: st.DataObject) -> None:
    colluders = data.draw(st.integers(0, partners - 1))
    least = threshold_for(partners, colluders)
    if least <= partners:
        spec = SessionSpec(plan_sha256=CONTEXT, context_sha256=CONTEXT, purpose="table", round_number=1, attempt=0,
                           length=1, bound=1, colluders=colluders, quorum=least,
                           roster=tuple((entry.name, entry.public_key) for entry in roster(partners)))
        assert spec.threshold <= least
    with pytest.raises(InputError):
        SessionSpec(plan_sha256=CONTEXT, context_sha256=CONTEXT, purpose="table", round_number=1, attempt=0,
                    length=1, bound=1, roster=tuple((entry.name, entry.public_key) for entry in roster(partners)),
                    colluders=colluders, quorum=least - 1)


@pytest.mark.parametrize("training", [{"local_steps": 2}, {"sampling_probability": 0.5}])
def test_a_secure_round_is_one_step_with_everybody(training: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected 1 of each with secure aggregation"):
        make_plan(4, **SECURE, **training)
    make_plan(4, **{**SECURE, "secure": "table"}, **training)


def test_each_partner_draws_its_share_and_at_local_parts_all_of_it() -> None:
    local, secure = make_plan(4, noise_scale=6.0), make_plan(5, **{**SECURE, "quorum": 4})
    scales = {family: 6.0 * COARSE.get(family, 1.0) for family in local.statistics.families}
    assert local.statistics.noise_scales == scales
    assert partner_noise(local).tables == scales
    assert partner_noise(local).training == 5.0 * 2**SUM_BITS
    assert partner_noise(secure).tables == {
        family: pytest.approx(scale / math.sqrt(3)) for family, scale in scales.items()}
    assert partner_noise(secure).training == pytest.approx(5.0 * 2**SUM_BITS / math.sqrt(3))
    table_only = make_plan(5, **{**SECURE, "quorum": 4, "secure": "table"})
    assert partner_noise(table_only).training == 5.0 * 2**SUM_BITS
    # With the fewest that a sum may have, less those that collude, there is exactly what was promised.
    assert all(3 * Fraction(partner_noise(secure).tables[family]) ** 2 >= Fraction(scale) ** 2
               for family, scale in scales.items())
    assert table_variances(secure, 5) == {family: pytest.approx(5 * scale**2 / 3) for family, scale in scales.items()}
    assert table_variances(local, 4) == {family: pytest.approx(4 * scale**2) for family, scale in scales.items()}


def test_for_one_partner_the_price_is_that_of_the_noise_in_the_sum() -> None:
    local = make_plan(4, noise_scale=6.0, local_steps=1)
    secure = make_plan(4, **SECURE)
    assert (price(secure).training, price(secure).statistics) == (price(local).training, price(local).statistics)


@pytest.mark.parametrize("partners", [2, 3, 5])
def test_somebody_at_several_partners_moves_a_sum_so_many_times_as_far(partners: int) -> None:
    secure, delta = make_plan(6, **{**SECURE, "quorum": 5}), 1e-5
    found = dict(price(secure).at_partners)[partners]
    # Independently: one mechanism of sensitivity k in each part, composed.
    training = pld.from_gaussian_mechanism(5.0, sensitivity=float(partners), value_discretization_interval=1e-4)
    # Entries that a person moves: at a scale of 6 in regions, confusion, indicators and corridors; at 9 in the others.
    fine, coarse = 3 + 2 + 2 * (1 + 3) + 3, 3 + 3 + 1
    tables = [pld.from_discrete_gaussian_mechanism(
        scale, sensitivity=partners, value_discretization_interval=1e-4).self_compose(entries)
        for scale, entries in ((6.0, fine), (9.0, coarse))]
    whole = training.self_compose(secure.training.rounds).compose(tables[0]).compose(tables[1])
    truth = whole.get_epsilon_for_delta(delta)
    assert truth <= found <= truth * 1.001
    # Far more than under local noise, where so many independent mechanisms compose.
    local = make_plan(6, noise_scale=6.0, local_steps=1)
    assert found > dict(price(local).at_partners)[partners] * 1.2


def test_a_share_too_small_to_account_for_is_refused_with_the_way_out() -> None:
    plan = make_plan(12, secure="table", colluders=0, noise_scale=1.8 * math.sqrt(12))
    check_claim(plan)
    for family in plan.statistics.families:
        scales = {**plan.statistics.noise_scales, family: 5.0}
        small = rebuilt(plan, statistics=plan.statistics.model_copy(update={"noise_scales": scales}))
        with pytest.raises(InputError, match=r"plan\.statistics.* at least 1\.6 each.*What to do: ask the coordinator"):
            partner_noise(small)


def test_shares_that_sixteen_entries_do_not_forgive_are_refused_with_the_way_out() -> None:
    # Each is large enough by itself; what is kept aside is spent by all entries that a person moves together.
    plan = make_plan(12, secure="table", colluders=0, noise_scale=LEAST_SHARE_SCALE * math.sqrt(12) * 1.001)
    partner_noise(plan)
    with pytest.raises(InputError, match=r"plan\.statistics\.noise_scales.*12 shares.*What to do: ask .* more noise"):
        check_claim(plan)
    alone = make_plan(12, secure="table", colluders=0, noise_scale=LEAST_SHARE_SCALE * math.sqrt(12) * 1.001,
                      statistics={"indicators": None, "corridors": (), "super_regions": (), "noise_scales": {
                          family: 12.0 if family is not Family.CONFUSION else LEAST_SHARE_SCALE * math.sqrt(12) * 1.001
                          for family in (Family.REGIONS, Family.COUNTRIES, Family.CONFUSION, Family.DOMINANCE)}})
    check_claim(alone)


def test_training_in_sums_does_not_run_into_the_reserve() -> None:
    # 33,000 weights in 60 rounds: the distance of such large shares from one draw is nothing at all.
    plan = make_plan(4, **SECURE, rounds=60, noise_multiplier=20.0)
    large = rebuilt(plan, model=plan.model.model_copy(update={"hidden_units": 512}))
    check_claim(rebuilt(large, privacy=large.privacy.model_copy(update={
        "training_epsilon": 50.0, "total_epsilon": 60.0, "statistics_epsilon": 10.0})))


def test_a_session_is_the_plans_and_nobody_elses() -> None:
    plan = make_plan(4, **SECURE)
    table, train = session_of(plan, Purpose.TABLE, 1, 7, CONTEXT), session_of(plan, Purpose.TRAIN, 2, 7, CONTEXT)
    sizes = {Family.REGIONS: 3 * 2 * 3, Family.SUPER_REGIONS: 2 * 2 * 3, Family.COUNTRIES: 1 * 2 * 3,
             Family.CONFUSION: 2 * 2 * 2, Family.INDICATORS: 1 * 2 * 2 * 2 * 4, Family.CORRIDORS: 4 * 3,
             Family.DOMINANCE: 3 * 2 * 4}
    assert {family: block.size for family, block in TableLayout(plan).blocks.items()} == sizes
    assert (table.length, train.length) == (sum(sizes.values()), plan.model_size)
    assert (table.ring.bits, train.ring.bits) == (32, 64)
    assert table.bound >= MOST_PEOPLE + 13 * max(partner_noise(plan).tables.values())
    assert train.bound >= MOST_PEOPLE * 2**SUM_BITS + 13 * partner_noise(plan).training
    assert (table.colluders, table.quorum, len(table.roster)) == (1, 3, 4)
    ids = {session_of(p, purpose, number, attempt, context).session_id
           for p in (plan, make_plan(4, **SECURE, learning_rate=0.5)) for purpose in Purpose
           for number in ((1,) if purpose is Purpose.TABLE else (1, 2)) for attempt in (0, 1)
           for context in (CONTEXT, "1" * 64)}
    assert len(ids) == 2 * 3 * 2 * 2


@pytest.mark.parametrize(("purpose", "number"), [(Purpose.TABLE, 0), (Purpose.TABLE, 2), (Purpose.TRAIN, 0),
                                                 (Purpose.TRAIN, 3), (Purpose.TRAIN, -1)])
def test_what_the_plan_does_not_sum_has_no_session(purpose: Purpose, number: int) -> None:
    with pytest.raises(InputError, match="sums no"):
        session_of(make_plan(4, **SECURE), purpose, number, 0, CONTEXT)
    with pytest.raises(InputError, match="sums no"):
        session_of(make_plan(4), purpose, 1, 0, CONTEXT)


def test_too_many_partners_for_sixty_four_bits_is_a_clear_error() -> None:
    plan = make_plan(4, **{**SECURE, "noise_scale": 60.0})
    many = tuple(plan.roster[0].model_copy(update={"name": f"p-{i}", "public_key": f"{i:064x}"}) for i in range(600))
    wide = plan.model_copy(update={"roster": many, "conduct": plan.conduct.model_copy(update={"quorum": 500})})
    with pytest.raises(InputError, match="64 bits"):
        session_of(wide, Purpose.TRAIN, 1, 0, CONTEXT)
    # And before anything runs, on every side.
    with pytest.raises(InputError, match="64 bits"):
        check_plan(wide)
    local = wide.training.model_copy(update={"aggregation": Aggregation.LOCAL})
    check_plan(wide.model_copy(update={"training": local}))


def test_a_step_along_a_sum_is_the_mean_clipped_gradient_of_the_survivors_slots() -> None:
    plan = make_plan(4, **SECURE, learning_rate=0.5, weight_decay=0.1, l2_clip_norm=0.25)
    model = {"output.weight": np.full((2, 65), 0.5, dtype=np.float32)}
    total = np.arange(130, dtype=np.int64) * 2**25
    stepped = gradient_step(plan, model, total, ["partner-0", "partner-2"])["output.weight"]
    gradient = np.arange(130).reshape(2, 65) * 2.0**25 * 0.25 / 2**28 / (32 + 32)
    np.testing.assert_allclose(stepped, 0.5 - 0.5 * (gradient + 0.1 * 0.5), atol=2.0**-22)
    assert stepped.dtype == np.float32
    assert (np.asarray(stepped, dtype=np.float64) * 2**22 % 1 == 0).all()


def test_aggregation_is_named_by_the_fields_own_words() -> None:
    assert [how.value for how in Aggregation] == ["local", "secure"]
