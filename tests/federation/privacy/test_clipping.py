"""Clipping onto the grid: closed form against Opacus's hooks, exact bounds in Python integers, the bare optimizer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus import GradSampleModule

from clients.people import People
from clients.training import person_losses
from federation.exact import ExactHead, snap_weights
from federation.grid import SUM_BITS
from federation.model import MultiTaskHead
from federation.privacy.clipping import (
    LayerGradient,
    PersonDPOptimizer,
    clipped_sum,
    inner_products,
    truncated_sum,
)
from tests.people import make_people, seed_weights

UNIT = 2**SUM_BITS


def layer(inputs: np.ndarray, errors: np.ndarray) -> LayerGradient:
    return LayerGradient(inputs=inputs, errors=errors, products=inner_products(inputs))


def random_layers(seed: int, *, people: int, records: int, scale: float,
                  outputs: tuple[int, ...]) -> list[LayerGradient]:
    generator = np.random.default_rng(seed)
    layers = []
    for size in outputs:
        inputs = np.round(generator.normal(size=(people, records, 6)) * 2**11) / 2**12
        layers.append(layer(inputs, generator.normal(size=(people, records, size)) * scale))
    return layers


def one(layers: list[LayerGradient], person: int) -> list[LayerGradient]:
    at = slice(person, person + 1)
    return [LayerGradient(inputs=g.inputs[at], errors=g.errors[at], products=g.products[at]) for g in layers]


def square(sums: list[np.ndarray]) -> int:
    """Square of the Euclidean norm in Python's integers."""
    return sum(int(value) ** 2 for units in sums for value in units.ravel())


SHAPES = st.tuples(st.integers(0, 500), st.integers(1, 6), st.integers(1, 8), st.floats(1e-6, 1e6),
                   st.sampled_from([(2,), (1,), (5, 2), (12, 1)]), st.floats(1e-4, 1e3))


@settings(max_examples=150)
@given(SHAPES)
def test_nobody_is_longer_than_one_clip_norm_in_exact_integers(shape: Any) -> None:
    seed, people, records, scale, outputs, clip = shape
    layers = random_layers(seed, people=people, records=records, scale=scale, outputs=outputs)
    for person in range(people):
        assert square(clipped_sum(one(layers, person), clip)) <= UNIT**2


@settings(max_examples=80)
@given(SHAPES)
def test_the_sum_is_exactly_the_sum_of_people(shape: Any) -> None:
    # In integers: whoever else is there, and however many, moves nobody's contribution by a digit.
    seed, people, records, scale, outputs, clip = shape
    layers = random_layers(seed, people=people, records=records, scale=scale, outputs=outputs)
    layers[0].errors[0] *= 1e9  # someone who needs the rare path must not take the others along
    together = clipped_sum(layers, clip)
    apart = [clipped_sum(one(layers, person), clip) for person in range(people)]
    for index, units in enumerate(together):
        assert (units == sum(single[index] for single in apart)).all()


@settings(max_examples=80)
@given(SHAPES)
def test_it_is_the_clipped_gradient_up_to_the_grid(shape: Any) -> None:
    seed, people, records, scale, outputs, clip = shape
    layers = random_layers(seed, people=people, records=records, scale=scale, outputs=outputs)
    for person in range(people):
        own = one(layers, person)
        gradient = np.concatenate([np.einsum("pko,pki->oi", g.errors, g.inputs).ravel() for g in own])
        norm = float(np.linalg.norm(gradient))
        expected = gradient * min(1.0, clip / norm)
        found = np.concatenate([units.ravel() for units in clipped_sum(own, clip)]) * (clip / UNIT)
        # Truncation of each record's coefficients, and the room that is left for it.
        slack = 8 * records * math.sqrt(max(outputs)) * 2.0**-16 * 3 * clip
        # Errors far above the clip norm are first brought to 16 clip norms, on the same grid.
        slack *= max(1.0, float(np.sum([np.abs(g.errors).max() * 3 for g in own])) * records / max(norm, 1e-300) / 4)
        assert np.abs(found - expected).max() <= slack


def test_inner_products_agree_in_all_three_ways() -> None:
    generator = np.random.default_rng(0)
    for records, size in ((1, 5), (4, 3), (4, 20)):
        vectors = np.round(generator.normal(size=(7, records, size)) * 64) / 64
        assert (inner_products(vectors) == np.einsum("pkn,pln->pkl", vectors, vectors)).all()


@pytest.mark.parametrize("hidden", [None, 64])
def test_norms_and_sums_agree_with_opacus_hooks(hidden: int | None) -> None:
    people = make_people(40, records=5, dimension=30, seed=3)
    model = MultiTaskHead(dimension=30, tasks=2, hidden_units=hidden).double()
    seed_weights(model, 0, scale=0.2)
    snap_weights(model)
    head = ExactHead(model)
    # The formulas first, without rounding what the hidden layer gives to its grid.
    states = None if model.hidden is None else np.tanh(people.inputs @ model.hidden.weight.detach().numpy().T)
    layers = _layers(head, people, states)
    wrapped = GradSampleModule(model, loss_reduction="sum")
    person_losses(wrapped, people).sum().backward()  # type: ignore[no-untyped-call]
    samples = [p.grad_sample.numpy() for p in model.parameters()]
    hooks = np.sqrt(sum((g.reshape(40, -1) ** 2).sum(axis=1) for g in samples))
    ghost = np.sqrt(sum((inner_products(g.errors) * g.products).sum(axis=(1, 2)) for g in layers))
    np.testing.assert_allclose(ghost, hooks, rtol=1e-5)
    # Then the clipped sum as it is really made.
    clip = float(np.median(hooks))
    factor = np.minimum(1, clip / hooks)
    layers = _layers(head, people, head.hidden(people.inputs))
    for units, sample in zip(clipped_sum(layers, clip), samples, strict=True):
        np.testing.assert_allclose(units * (clip / UNIT), np.einsum("p,p...->...", factor, sample),
                                   atol=40 * clip * 1e-3)


def _layers(head: ExactHead, people: People, states: np.ndarray | None) -> list[LayerGradient]:
    logits = head.logits(people.inputs, states) + people.prior
    errors = (1 / (1 + np.exp(-logits)) - people.targets) * people.weights
    return head.gradients(people.inputs, states, errors, people.products)


def test_too_many_people_at_once_are_refused() -> None:
    layers = random_layers(0, people=513, records=1, scale=1.0, outputs=(1,))
    with pytest.raises(ValueError, match="513"):
        clipped_sum(layers, 1.0)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_contributes_nothing(poison: float) -> None:
    layers = random_layers(1, people=3, records=2, scale=1.0, outputs=(4, 2))
    rest = clipped_sum([LayerGradient(inputs=g.inputs[1:], errors=g.errors[1:], products=g.products[1:])
                        for g in layers], 0.5)
    layers[0].errors[0, 0, 0] = poison
    for units, others in zip(clipped_sum(layers, 0.5), rest, strict=True):
        assert (units == others).all()
    samples = [torch.ones(3, 4), torch.ones(3, 2)]
    samples[1][0, 1] = poison
    for units, others in zip(truncated_sum(samples, 0.5), truncated_sum([s[1:] for s in samples], 0.5), strict=True):
        assert (units == others).all()


@settings(max_examples=80)
@given(st.integers(0, 100), st.floats(1e-4, 1e3), st.sampled_from([1e-30, 1e-3, 1.0, 1e4, 1e30]))
def test_per_person_gradients_are_truncated_within_the_clip_norm(seed: int, clip: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    samples = [torch.randn(1, 7, 3, generator=generator) * scale, torch.randn(1, 5, generator=generator) * scale]
    assert square(truncated_sum(samples, clip)) <= UNIT**2


def optimizer(**changes: Any) -> tuple[PersonDPOptimizer, torch.nn.Parameter]:
    parameter = torch.nn.Parameter(torch.zeros(3, 2, dtype=torch.float64))
    settings = {"noise_multiplier": 1.0, "l2_clip_norm": 0.5, "divisor": 4.0,
                "noise": lambda count: np.arange(count, dtype=np.int64), **changes}
    return PersonDPOptimizer(torch.optim.SGD([parameter], lr=1.0), **settings), parameter


def test_a_step_is_sum_plus_noise_in_integers_over_the_public_divisor() -> None:
    step, parameter = optimizer()
    step.add_people([np.full((3, 2), UNIT, dtype=np.int64)])
    step.add_people([np.full((3, 2), -7, dtype=np.int64)])
    step.step()
    expected = -(UNIT - 7 + np.arange(6).reshape(3, 2)) * (0.5 / UNIT / 4.0)
    np.testing.assert_array_equal(parameter.detach().numpy(), expected)
    assert parameter.summed_grad is None


def test_a_step_without_anybody_is_noise_alone() -> None:
    step, parameter = optimizer()
    step.step()
    np.testing.assert_array_equal(parameter.detach().numpy(), -np.arange(6).reshape(3, 2) * (0.5 / UNIT / 4.0))


@pytest.mark.parametrize(("field", "value"), [
    ("noise_multiplier", 0.0), ("noise_multiplier", -1.0), ("noise_multiplier", math.nan),
    ("noise_multiplier", math.inf), ("l2_clip_norm", 0.0), ("l2_clip_norm", math.nan), ("l2_clip_norm", math.inf),
    ("divisor", 0.0), ("divisor", math.nan), ("divisor", math.inf),
])
def test_numbers_that_void_the_step_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        optimizer(**{field: value})


def test_the_two_ways_agree() -> None:
    # The same people through the closed form and through written-out gradients.
    layers = random_layers(5, people=9, records=3, scale=1.0, outputs=(2,))
    samples = [torch.from_numpy(np.einsum("pko,pki->poi", g.errors, g.inputs)) for g in layers]
    assert max(float(sample.norm()) for sample in samples) > 0.7
    for closed, written in zip(clipped_sum(layers, 0.7), truncated_sum(samples, 0.7), strict=True):
        np.testing.assert_allclose(closed.ravel() * (0.7 / UNIT), written * (0.7 / UNIT), atol=9 * 1e-3)




def test_truncating_records_that_cancel_lengthens_nobody() -> None:
    # Two records with opposite inputs: cutting the second one's coefficient by more than the first one's makes the
    # difference longer. Room for that is left below the clip norm.
    generator = np.random.default_rng(0)
    direction = np.round(generator.normal(size=6) * 2**12) / 2**12 * 4
    inputs = np.stack([direction, -direction])[None]
    for _ in range(300):
        errors = np.array([[[generator.uniform(2, 3)], [generator.uniform(0, 1)]]])
        assert square(clipped_sum([layer(inputs, errors)], 0.5)) <= UNIT**2


def test_each_weight_gets_a_noise_value_of_its_own() -> None:
    weights = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in ((3, 2), (4,), (1, 5))]
    step = PersonDPOptimizer(torch.optim.SGD(weights, lr=1.0), noise_multiplier=1.0, l2_clip_norm=1.0, divisor=1.0,
                             noise=lambda count: np.arange(count, dtype=np.int64))
    step.add_people([np.full(weight.shape, 100, dtype=np.int64) for weight in weights])
    for expected in (100 + np.arange(15), np.arange(15)):
        sums = step.noised_sums()
        assert [total.shape for total in sums] == [tuple(weight.shape) for weight in weights]
        assert (np.concatenate([total.ravel() for total in sums]) == expected).all()
