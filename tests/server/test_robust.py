"""Robust rules: their naive twins and references, what they promise, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import trim_mean

from federation.grid import MAX_WEIGHT, WEIGHT_BITS, FloatArray
from federation.messages import Arrays
from federation.plan import StudyPlan
from federation.plan_parts import RobustRule, RobustSpec
from server.aggregation import weighted_mean
from server.robust import aggregate, bounded, centred_clipping, combine, trimmed_mean
from tests.worlds import make_plan

PLAN = make_plan(5)
SLOTS = (8, 16, 16, 32, 128)
GRID = 2.0**-WEIGHT_BITS


def spec(rule: str, **changes: Any) -> RobustSpec:
    own = {"mean": {}, "trimmed_mean": {"trimmed_each_side": 1},
           "centred_clipping": {"radius": 1.0, "iterations": 3}}[rule]
    return RobustSpec(**{"rule": RobustRule(rule), "norm_bound": 4.0, "trimmed_each_side": None, "radius": None,
                         "iterations": None, **own, **changes})


def plan_with(robust: RobustSpec | None, *, slots: tuple[int, ...] = SLOTS, decay: float = 0.01) -> StudyPlan:
    roster = tuple(entry.model_copy(update={"slots": own}) for entry, own in zip(PLAN.roster, slots, strict=True))
    training = PLAN.training.model_copy(update={"robust": robust, "weight_decay": decay})
    return PLAN.model_copy(update={"roster": roster, "training": training})


def models(seed: int, count: int = 5, scale: float = 1.0) -> dict[str, Arrays]:
    """Weights in two arrays of different shapes; the last one is where the round starts."""
    rng = np.random.default_rng(seed)
    return {f"partner-{i}": {"a": (scale * rng.standard_normal((2, 3))).astype(np.float32),
                             "b": (scale * rng.standard_normal(4)).astype(np.float32)} for i in range(count)}


def flat(arrays: Arrays) -> FloatArray:
    return np.concatenate([value.ravel() for value in arrays.values()]).astype(np.float64)


EVERY = [spec("mean"), spec("trimmed_mean"), spec("trimmed_mean", trimmed_each_side=2), spec("centred_clipping"),
         spec("centred_clipping", radius=0.1, iterations=1)]
updates = hnp.arrays(np.float64, st.tuples(st.integers(3, 7), st.integers(1, 5)), elements=st.floats(-50, 50))


# naive twins and references


@given(updates, st.integers(0, 1))
def test_a_trimmed_mean_is_that_of_scipy(moves: FloatArray, each_side: int) -> None:
    # SciPy takes a share and rounds its product with n down.
    expected = trim_mean(moves, (each_side + 0.5) / len(moves), axis=0)
    np.testing.assert_allclose(trimmed_mean(moves, each_side), expected, rtol=1e-12, atol=1e-12)


@given(updates, st.floats(0.01, 100), st.integers(1, 6), st.randoms(use_true_random=False))
def test_centred_clipping_equals_its_naive_twin(moves: FloatArray, radius: float, iterations: int, random: Any) -> None:
    shares = [random.uniform(0.1, 3) for _ in moves]
    weights = [share / sum(shares) for share in shares]
    centre = [0.0] * moves.shape[1]
    for _ in range(iterations):
        step = [0.0] * len(centre)
        for move, weight, share in zip(moves.tolist(), weights, shares, strict=True):
            apart = [x - c for x, c in zip(move, centre, strict=True)]
            norm = math.sqrt(sum(x * x for x in apart))
            factor = min(1.0, radius / share / norm) if norm else 1.0
            step = [s + weight * factor * x for s, x in zip(step, apart, strict=True)]
        centre = [c + s for c, s in zip(centre, step, strict=True)]
    found = centred_clipping(moves, np.array(weights), radii=radius / np.array(shares), iterations=iterations)
    np.testing.assert_allclose(found, centre, rtol=1e-9, atol=1e-9)


def test_from_zero_one_iteration_is_the_mean_under_a_norm_bound() -> None:
    moves, weights = np.random.default_rng(1).normal(size=(6, 9)), np.full(6, 1 / 6)
    held, _ = bounded(moves, np.full(6, 0.7))
    np.testing.assert_allclose(centred_clipping(moves, weights, radii=np.full(6, 0.7), iterations=1),
                               held.mean(axis=0), rtol=1e-12)


def test_a_worked_example() -> None:
    moves = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [100.0, 0.0]])
    quarter, ones = np.full(4, 0.25), np.ones(4)
    assert trimmed_mean(moves, 1).tolist() == [2.5, 0.0]
    # From 0, everybody pulls by 1; from 1, the first does not, and the others by 1 each.
    assert centred_clipping(moves, quarter, radii=ones, iterations=1).tolist() == [1.0, 0.0]
    assert centred_clipping(moves, quarter, radii=ones, iterations=2).tolist() == [1.75, 0.0]
    assert bounded(moves, np.full(4, 3.0))[0].tolist() == [[1, 0], [2, 0], [3, 0], [3, 0]]
    assert bounded(moves, np.full(4, 3.0))[1].tolist() == [False, False, False, True]


@pytest.mark.parametrize("robust", EVERY)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_whole_of_it_equals_its_naive_twin(robust: RobustSpec, decay: float) -> None:
    plan, start, sent = plan_with(robust, decay=decay), models(9)["partner-0"], models(2, scale=2.0)
    shrunk = flat(start) * (1 - plan.training.learning_rate * decay) ** plan.training.local_steps
    moves = []
    for name in (entry.name for entry in plan.roster):
        move = flat(sent[name]) - shrunk
        moves.append(move * min(1.0, robust.norm_bound / np.linalg.norm(move)))
    weights = np.array(SLOTS) / sum(SLOTS)
    if robust.trimmed_each_side is not None:
        b = robust.trimmed_each_side
        expected = np.array([sum(sorted(column)[b:5 - b]) / (5 - 2 * b) for column in np.array(moves).T])
    elif robust.rule is RobustRule.CENTRED_CLIPPING:
        expected = np.zeros(10)
        for _ in range(robust.iterations or 0):
            apart = [move - expected for move in moves]
            radii = [(robust.radius or 0) * 40 / slots for slots in SLOTS]  # 40: the mean of SLOTS
            expected = expected + sum(w * a * min(1.0, r / np.linalg.norm(a))
                                      for w, a, r in zip(weights, apart, radii, strict=True))
    else:
        expected = sum(w * move for w, move in zip(weights, moves, strict=True))
    found = combine(plan, start, sent)
    np.testing.assert_allclose(flat(found.model), shrunk + expected, atol=GRID)
    assert found.scaled == tuple(name for name in sent if np.linalg.norm(flat(sent[name]) - shrunk) > 4.0)
    assert found.scaled


def test_without_a_robust_part_it_is_the_weighted_mean_to_the_byte() -> None:
    plan, sent = plan_with(None), models(3, scale=100.0)
    found, expected = combine(plan, models(4)["partner-0"], sent), weighted_mean(plan, sent)
    assert found.scaled == ()
    assert all(found.model[name].tobytes() == value.tobytes() for name, value in expected.items())


def test_a_bound_that_holds_nobody_leaves_the_weighted_mean() -> None:
    sent, wide = models(3), spec("mean", norm_bound=1e4)
    found, expected = combine(plan_with(wide), models(4)["partner-0"], sent), weighted_mean(plan_with(None), sent)
    assert found.scaled == ()
    np.testing.assert_allclose(flat(found.model), flat(expected), atol=GRID)


# properties


@pytest.mark.parametrize("robust", EVERY)
def test_the_order_of_replies_changes_no_byte(robust: RobustSpec) -> None:
    plan, start, sent = plan_with(robust), models(9)["partner-0"], models(5, scale=2.0)
    expected = combine(plan, start, sent)
    for names in (sorted(sent, reverse=True), ["partner-3", "partner-0", "partner-4", "partner-1", "partner-2"]):
        found = combine(plan, start, {name: sent[name] for name in names})
        assert found.scaled == expected.scaled
        assert all(found.model[name].tobytes() == value.tobytes() for name, value in expected.model.items())


@pytest.mark.parametrize("robust", EVERY)
@given(seed=st.integers(0, 1000), places=st.permutations(range(5)))
def test_who_is_who_does_not_matter_among_equals(robust: RobustSpec, seed: int, places: list[int]) -> None:
    moves = np.random.default_rng(seed).normal(size=(5, 6))
    np.testing.assert_allclose(aggregate(robust, moves[places], np.ones(5)), aggregate(robust, moves, np.ones(5)),
                               atol=1e-14)


@pytest.mark.parametrize("robust", [*EVERY[:3], spec("centred_clipping", radius=1.0, iterations=1)])
@given(seed=st.integers(0, 1000))
def test_where_all_agree_it_is_what_they_say(robust: RobustSpec, seed: int) -> None:
    move = np.random.default_rng(seed).normal(size=6)
    move *= 0.9 / np.linalg.norm(move)  # within every bound and radius
    np.testing.assert_allclose(aggregate(robust, np.tile(move, (5, 1)), np.ones(5)), move, rtol=1e-12)


@given(seed=st.integers(0, 1000), shares=st.lists(st.floats(0.1, 5), min_size=5, max_size=5),
       iterations=st.integers(1, 6), length=st.floats(0, 1e6), radius=st.floats(0.01, 10))
def test_under_centred_clipping_nobody_moves_it_further_than_anybody(
    seed: int, shares: list[float], iterations: int, length: float, radius: float
) -> None:
    rng, parts = np.random.default_rng(seed), np.array(shares)
    moves = rng.normal(size=(5, 6)) * 3
    for liar in range(5):
        other = moves.copy()
        other[liar] = rng.normal(size=6) * length
        robust = spec("centred_clipping", radius=radius, iterations=iterations)
        moved = np.linalg.norm(aggregate(robust, other, parts) - aggregate(robust, moves, parts))
        # Whatever its slots are: radius times iterations over the partners, in mean slots.
        assert moved <= 2 * iterations * radius / parts.sum() * (1 + 1e-9) + 1e-12


@given(seed=st.integers(0, 1000), length=st.floats(0, 1e6), each_side=st.integers(1, 2))
def test_under_a_trimmed_mean_a_liar_stays_between_the_others(seed: int, length: float, each_side: int) -> None:
    rng = np.random.default_rng(seed)
    moves = rng.normal(size=(7, 6))
    lies = moves.copy()
    lies[:each_side] = rng.normal(size=(each_side, 6)) * length
    found, truth = moves[each_side:], aggregate(spec("trimmed_mean", trimmed_each_side=each_side), lies, np.ones(7))
    assert (truth >= found.min(axis=0) - 1e-12).all()
    assert (truth <= found.max(axis=0) + 1e-12).all()
    one = moves.copy()
    one[3] = rng.normal(size=6) * length
    spread = np.ptp(np.delete(moves, 3, axis=0), axis=0)
    moved = np.abs(trimmed_mean(one, each_side) - trimmed_mean(moves, each_side))
    assert (moved <= spread / (7 - 2 * each_side) + 1e-12).all()


@given(seed=st.integers(0, 1000), length=st.floats(0, 1e4))
def test_under_a_mean_the_norm_bound_holds_a_liar(seed: int, length: float) -> None:
    plan, rng = plan_with(spec("mean"), decay=0.0), np.random.default_rng(seed)
    start, sent = models(seed)["partner-0"], models(seed + 1)
    lies = {**sent, "partner-4": {name: np.clip(rng.normal(size=value.shape) * length, -MAX_WEIGHT, MAX_WEIGHT
                                                ).astype(np.float32) for name, value in start.items()}}
    moved = np.linalg.norm(flat(combine(plan, start, lies).model) - flat(combine(plan, start, sent).model))
    assert moved <= 2 * 128 / 200 * 4.0 + 10 * GRID


@pytest.mark.parametrize("robust", EVERY)
def test_weights_that_come_out_are_on_their_grid_and_no_larger_than_allowed(robust: RobustSpec) -> None:
    wide = robust.model_copy(update={"norm_bound": 1e6})
    start = {"a": np.full((2, 3), MAX_WEIGHT, dtype=np.float32), "b": np.zeros(4, dtype=np.float32)}
    sent = {f"partner-{i}": {"a": start["a"], "b": np.full(4, 0.1 * i, dtype=np.float32)} for i in range(5)}
    found = combine(plan_with(wide, decay=0.0), start, sent).model
    for name, value in found.items():
        assert value.dtype == np.float32
        assert value.shape == start[name].shape
        assert (np.abs(value) <= MAX_WEIGHT).all()
        assert (value.astype(np.float64) * 2**WEIGHT_BITS % 1 == 0).all()


def test_an_absent_partner_is_not_waited_for() -> None:
    plan, start, sent = plan_with(spec("centred_clipping")), models(9)["partner-0"], models(6)
    three = {name: sent[name] for name in ("partner-0", "partner-2", "partner-4")}
    slots = np.array([8, 16, 128])
    moves = np.array([flat(arrays) - flat(start) * 0.99**2 for arrays in three.values()])
    held, _ = bounded(moves, np.full(3, 4.0))
    expected = centred_clipping(held, slots / slots.sum(), radii=40 / slots, iterations=3)
    np.testing.assert_allclose(flat(combine(plan, start, three).model), flat(start) * 0.99**2 + expected, atol=GRID)


@settings(max_examples=20)
@given(st.integers(1, 6), st.floats(0.0, 1.0))
def test_decay_that_everybody_does_is_nobodys_update(steps: int, decay: float) -> None:
    # A partner without anybody and without noise only shrinks the model: its update is zero, however large the model.
    training = PLAN.training.model_copy(update={"local_steps": steps, "weight_decay": decay,
                                                "robust": spec("mean", norm_bound=1e-3)})
    plan = PLAN.model_copy(update={"training": training})
    start = models(1, scale=30.0)["partner-0"]
    idle = {name: (value * np.float32(1 - decay) ** steps).astype(np.float32) for name, value in start.items()}
    found = combine(plan, start, {entry.name: idle for entry in plan.roster})
    assert found.scaled == ()
    np.testing.assert_allclose(flat(found.model), flat(idle), atol=1e-4)


# refusals


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("robust", EVERY)
def test_what_is_not_finite_is_above_no_bound_and_stops_here(robust: RobustSpec, value: float) -> None:
    sent = models(1)
    sent["partner-1"]["b"][2] = value
    with pytest.raises(ValueError, match="not finite"):
        combine(plan_with(robust), models(2)["partner-0"], sent)


@pytest.mark.parametrize("robust", [None, *EVERY])
def test_nobody_and_strangers_are_refused(robust: RobustSpec | None) -> None:
    with pytest.raises(ValueError, match="no update"):
        combine(plan_with(robust), models(2)["partner-0"], {})
    with pytest.raises(ValueError, match=r"outside the roster: \['partner-5'\]"):
        combine(plan_with(robust), models(2)["partner-0"], models(1, count=6))


@pytest.mark.parametrize(("count", "each_side"), [(2, 1), (4, 2), (1, 1), (3, 2)])
def test_a_mean_of_nobody_is_refused(count: int, each_side: int) -> None:
    with pytest.raises(ValueError, match=f"{each_side} trimmed at each side of {count}"):
        trimmed_mean(np.zeros((count, 2)), each_side)
