"""Arithmetic that no company can change: a row's result is the same whatever else is in the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.exact import ExactHead, exact_logits, snap_weights
from federation.grid import MAX_WEIGHT, exact_inputs, product
from federation.model import MultiTaskHead
from tests.people import seed_weights


def unit_rows(seed: int, rows: int, dimension: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def head(seed: int, hidden: int | None, dimension: int = 40, tasks: int = 2) -> MultiTaskHead:
    model = MultiTaskHead(dimension=dimension, tasks=tasks, hidden_units=hidden)
    seed_weights(model, seed, scale=2.0)
    return model


@settings(max_examples=60)
@given(st.integers(0, 1000), st.integers(1, 90), st.sampled_from([None, 3, 64]), st.integers(1, 3))
def test_a_rows_logits_do_not_depend_on_the_others(seed: int, rows: int, hidden: int | None, tasks: int) -> None:
    inputs = exact_inputs(unit_rows(seed, rows, 40), 0.1)
    model = head(seed, hidden, tasks=tasks)
    together = exact_logits(model, inputs)
    order = np.random.default_rng(seed).permutation(rows)
    assert (exact_logits(model, inputs[order]) == together[order]).all()
    for count in {1, 2, rows // 2 or 1, rows}:
        assert (exact_logits(model, inputs[:count]) == together[:count]).all()
    plain = model(torch.from_numpy(inputs)).detach().numpy()
    np.testing.assert_allclose(together, plain, atol=2e-2 if hidden else 1e-4)


def test_ordinary_arithmetic_does_depend_on_them() -> None:
    # Without the grid the same product moves last digits, here or on other machines: what the grid is for.
    values = np.random.default_rng(0).normal(size=(4000, 513))
    weights = np.random.default_rng(1).normal(size=513)
    forward, backward = values.sum(axis=0), values[::-1].sum(axis=0)
    assert (forward != backward).any()
    on_grid = np.round(values * 2**12) / 2**12
    assert (on_grid.sum(axis=0) == on_grid[::-1].sum(axis=0)).all()
    assert np.isfinite(values @ weights).all()


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 20), st.integers(1, 70), st.integers(1, 70))
def test_products_are_exact_in_integers(seed: int, rows: int, inner: int, columns: int) -> None:
    generator = np.random.default_rng(seed)
    left = generator.integers(-(2**20), 2**20, (rows, inner))
    right = generator.integers(-(2**20), 2**20, (inner, columns))
    assert (product(left.astype(float), right.astype(float)) == left @ right).all()


@pytest.mark.parametrize("narrow", [1, 2, 4, 5, 15, 16])
@pytest.mark.parametrize("rows", [0, 1, 511, 512, 513, 1500])
def test_narrow_products_are_exact_in_integers(rows: int, narrow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a step: what goes in lies in memory by columns, too, and one thread is what takes the narrow way.
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    generator = np.random.default_rng(rows + narrow)
    values, few = generator.integers(-2**12, 2**12, (rows, 20)), generator.integers(-2**12, 2**12, (narrow, 20))
    errors = generator.integers(-2**12, 2**12, (rows, narrow))
    assert (product(values.astype(float), few.astype(float).T) == values @ few.T).all()
    assert (product(errors.astype(float).T, values.astype(float)) == errors.T @ values).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 1000])
def test_tanh_is_the_same_wherever_a_number_stands(length: int, kind: type) -> None:
    values = (np.random.default_rng(length).normal(size=length) * 3).astype(kind)
    together = np.tanh(values)
    assert all(np.tanh(values[at:])[0] == together[at] for at in range(length))
    assert all(np.tanh(values[at : at + 1])[0] == together[at] for at in range(length))


def test_at_the_edge_of_what_a_plan_allows_nothing_is_rounded() -> None:
    # 2^17 dimensions, the largest weights, all of one sign: the largest partial sums there can be.
    dimension = 2**17
    inputs = exact_inputs(np.full((1, dimension), dimension**-0.5, dtype=np.float32), 10.0)
    model = MultiTaskHead(dimension=dimension, tasks=1, hidden_units=None)
    model.output.weight.data.fill_(MAX_WEIGHT)
    model.output.weight.data[0, ::2] = MAX_WEIGHT - 2.0**-13
    exact = sum(round(float(x) * 2**12) * round(float(w) * 2**22)
                for x, w in zip(inputs[0], model.output.weight.data[0], strict=True))
    assert int(exact_logits(model, inputs)[0, 0] * 2**34) == exact
    assert exact < 2**53


@settings(max_examples=60)
@given(st.integers(0, 1000), st.sampled_from([None, 3, 64]), st.integers(1, 6))
def test_gradients_do_not_depend_on_the_others_either(seed: int, hidden: int | None, records: int) -> None:
    people = 7
    inputs = exact_inputs(unit_rows(seed, people * records, 40), 0.1).reshape(people, records, -1).astype(float)
    model = head(seed, hidden).double()
    snap_weights(model)
    exact = ExactHead(model)
    errors = np.random.default_rng(seed).normal(size=(people, records, 2))

    def layers(rows: slice) -> list[np.ndarray]:
        own = np.ascontiguousarray(inputs[rows])
        return [layer.errors for layer in exact.gradients(own, exact.hidden(own), errors[rows], np.zeros(0))]

    together = layers(slice(None))
    for person in range(people):
        for all_of_them, alone in zip(together, layers(slice(person, person + 1)), strict=True):
            assert (all_of_them[person] == alone[0]).all()


def test_closed_form_gradients_are_autograds() -> None:
    for hidden in (None, 16):
        model = head(3, hidden).double()
        snap_weights(model)
        inputs = exact_inputs(unit_rows(1, 30, 40), 0.1).reshape(10, 3, -1).astype(float)
        exact, errors = ExactHead(model), np.random.default_rng(0).normal(size=(10, 3, 2))
        states = None if hidden is None else np.tanh(inputs @ model.hidden.weight.detach().numpy().T)  # type: ignore[union-attr]
        layers = exact.gradients(inputs, states, errors, np.zeros(0))
        (model(torch.from_numpy(inputs)) * torch.from_numpy(errors)).sum().backward()  # type: ignore[no-untyped-call]
        for layer, weight in zip(layers, model.parameters(), strict=True):
            found = np.einsum("pko,pki->oi", layer.errors, layer.inputs)
            np.testing.assert_allclose(found, weight.grad.numpy(), rtol=1e-9, atol=1e-12)  # type: ignore[union-attr]


def test_what_is_no_feature_vector_counts_as_nothing() -> None:
    rows = unit_rows(0, 5, 8)
    rows[1] *= 1.1
    rows[2, 3] = np.nan
    rows[3, 0] = np.inf
    rows[4] = 3e38
    inputs = exact_inputs(rows, 0.5)
    assert inputs[0, -1] == 0.5
    assert (inputs[1:] == 0).all()
    assert (inputs * 2**12 == np.round(inputs * 2**12)).all()
    np.testing.assert_allclose(inputs[0, :-1], rows[0], atol=2**-13)


def test_weights_are_snapped_and_held_in_bounds() -> None:
    model = head(0, None).double()
    model.output.weight.data[0, 0], model.output.weight.data[0, 1] = 1e9, -1e9
    snap_weights(model)
    weights = model.output.weight.detach().numpy()
    assert (weights[0, 0], weights[0, 1]) == (MAX_WEIGHT, -MAX_WEIGHT)
    assert (weights * 2**22 == np.round(weights * 2**22)).all()
