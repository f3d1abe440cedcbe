"""How long an honest update is: against simulation with the real training, and each part of the formula by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from clients.people import Population
from clients.training import StepRule, train_round
from federation.model import MultiTaskHead
from federation.plan_parts import TrainingSpec
from federation.randomness import RandomStream
from federation.update_norm import _most_drawn, chi_bound, clipping_radius, honest_norm, rounded_up
from tests.people import make_people, seed_weights
from tests.worlds import make_plan

BASE = make_plan().training


def training(**changes: Any) -> TrainingSpec:
    return BASE.model_copy(update={"weight_decay": 0.0, "local_steps": 8, "learning_rate": 18.0, "l2_clip_norm": 0.2,
                                   "noise_multiplier": 15.24, **changes})


def update(spec: TrainingSpec, people: Population, slots: int, seed: int, hidden: int | None = None) -> float:
    """Norm of one real update, from a starting point that is not zero."""
    model = MultiTaskHead(dimension=5, tasks=2, hidden_units=hidden)
    seed_weights(model, 1)
    start = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()]).astype(np.float64)
    train_round(model, people, StepRule.of(spec, slots), stream=RandomStream.derived(b"s" * 32, str(seed)))
    after = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
    return float(np.linalg.norm(after - start * spec.kept_of_model))


def test_the_worked_example_of_the_module() -> None:
    assert honest_norm(training(), slots=512, model_size=1026) == pytest.approx(40.0, abs=0.05)
    assert 18 * 0.2 * 15.24 / 512 * math.sqrt(8) * chi_bound(1026, math.log(2e9)) == pytest.approx(11.2, abs=0.05)
    assert clipping_radius(training(), slots=512, model_size=1026) == pytest.approx(9.708 / 2, abs=0.01)
    # With little noise, a tenth of 8 steps at 18 x 0.2.
    assert clipping_radius(training(), slots=65_536, model_size=1026) == pytest.approx(2.88)


@pytest.mark.parametrize("changes", [{}, {"weight_decay": 0.02}, {"weight_decay": 0.08}, {"local_steps": 1},
                                     {"sampling_probability": 0.25}])
def test_no_more_honest_updates_are_longer_than_the_tail_says(changes: dict[str, Any]) -> None:
    spec = training(learning_rate=1.0, noise_multiplier=2.0, **changes)
    nobody = Population(groups=())
    norms = [update(spec, nobody, 20, seed) for seed in range(200)]
    # With nobody there, only noise is left, and only its part of the bound.
    gradients = honest_norm(spec.model_copy(update={"noise_multiplier": 1e-12}), slots=20, model_size=12, tail=0.2)
    noise = honest_norm(spec, slots=20, model_size=12, tail=0.2) - gradients
    over = sum(norm > noise for norm in norms)
    assert over <= 200 * 0.1 + 3 * math.sqrt(200 * 0.1 * 0.9)
    assert max(norms) > 0.8 * noise, "the bound is not an idle one"


@pytest.mark.parametrize("hidden", [None, 3])
@pytest.mark.parametrize("changes", [{}, {"weight_decay": 0.08}, {"sampling_probability": 0.25}])
def test_a_full_house_that_agrees_stays_below_and_comes_near(changes: dict[str, Any], hidden: int | None) -> None:
    # Everybody is the same person: the gradients of all point one way and are clipped.
    people = make_people(1, records=3).take(np.zeros(20, dtype=np.int64))
    spec = training(learning_rate=0.1, l2_clip_norm=0.01, noise_multiplier=0.1, **changes)
    size = (6 + 2) * 3 if hidden else 12
    bound = honest_norm(spec, slots=20, model_size=size)
    found = max(update(spec, Population(groups=(people,)), 20, seed, hidden) for seed in range(10))
    assert found <= bound
    if not changes:
        assert found > 0.7 * bound


@given(st.integers(1, 5000), st.floats(0.01, 30))
def test_the_tail_of_the_noise_is_that_of_chi_square_and_a_little_more(dimension: int, exponent: float) -> None:
    exact = math.sqrt(chi2.isf(math.exp(-exponent), dimension))
    assert exact <= chi_bound(dimension, exponent) * (1 + 1e-9)
    if dimension > 100:
        assert chi_bound(dimension, exponent) < 1.2 * exact


@given(st.integers(1, 3000), st.floats(0.001, 1.0), st.integers(1, 5), st.floats(0.1, 25))
def test_the_tail_of_those_who_came_up_covers_the_binomial(slots: int, q: float, steps: int, exponent: float) -> None:
    exact = binom.isf(math.exp(-exponent), slots * steps, q)
    found = _most_drawn([1.0] * steps, slots, q, exponent)
    # A count above `found` is at least the next whole number.
    assert math.floor(found) >= exact
    assert found <= slots * steps
    assert _most_drawn([1.0] * steps, slots, 1.0, exponent) == slots * steps


def test_a_smaller_chance_takes_a_longer_bound() -> None:
    norms = [honest_norm(training(), slots=512, model_size=1026, tail=tail) for tail in (0.5, 1e-3, 1e-9)]
    assert norms == sorted(norms)
    assert norms[0] < norms[1] < norms[2] < 1.1 * norms[0]


@given(st.floats(1e-6, 1e9))
def test_rounding_goes_up_and_leaves_three_digits(value: float) -> None:
    found = rounded_up(value)
    assert value * (1 - 1e-12) <= found <= value * 1.011
    assert found == float(f"{found:.3g}")


@pytest.mark.parametrize("tail", [0.0, 1.0, -1.0, math.nan, math.inf])
def test_a_chance_that_is_none_is_refused(tail: float) -> None:
    with pytest.raises(ValueError, match="tail is"):
        honest_norm(training(), slots=512, model_size=1026, tail=tail)


def test_a_model_that_grows_by_itself_has_no_bound() -> None:
    with pytest.raises(ValueError, match="expected at most 2"):
        honest_norm(training(weight_decay=0.2), slots=512, model_size=1026)
