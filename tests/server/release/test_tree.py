"""Consistent trees: against dense weighted least squares, by hand, by property, and by measured coverage."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from server.release.intervals import count_interval
from server.release.tree import make_consistent

Floats = NDArray[np.float64]
NAN = math.nan


def dense(value: Floats, variance: Floats, parent: list[int], complete: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """One column, from the definition: the weighted least-squares fit to what satisfies every complete family's sum.

    With A x = 0 for the sums, x = z - V A' (A V A')^-1 A z and Cov x = V - V A' (A V A')^-1 A V.
    """
    out, spread = value.copy(), variance.copy()
    used = np.flatnonzero(~np.isnan(variance))
    rows = []
    for node in used:
        children = [child for child in range(len(parent)) if parent[child] == node]
        if complete[node] and children:
            row = np.zeros(len(parent))
            row[node] = -1.0
            row[children] = 1.0
            rows.append(row[used])
    if rows:
        sums, v = np.array(rows), np.diag(variance[used])
        gain = v @ sums.T @ np.linalg.inv(sums @ v @ sums.T) @ sums
        out[used] = value[used] - gain @ value[used]
        spread[used] = np.diag(v - gain @ v)
    return out, spread


@st.composite
def forests(draw: st.DrawFn) -> tuple[Floats, Floats, list[int], NDArray[np.bool_]]:
    """Up to 14 nodes in any order, up to four levels and two roots, two columns, some nodes not used."""
    size = draw(st.integers(1, 14))
    depth, parent = [], []
    for node in range(size):
        above = [i for i in range(node) if depth[i] < 3]
        chosen = draw(st.sampled_from([-1, *above] if sum(p < 0 for p in parent) < 2 else above)) if node else -1
        parent.append(chosen)
        depth.append(0 if chosen < 0 else depth[chosen] + 1)
    values = np.array(draw(st.lists(st.floats(-500, 500), min_size=2 * size, max_size=2 * size))).reshape(size, 2)
    variances = np.array(draw(st.lists(st.floats(0.1, 900), min_size=2 * size, max_size=2 * size))).reshape(size, 2)
    unused = np.array(draw(st.lists(st.integers(0, 9), min_size=2 * size, max_size=2 * size))).reshape(size, 2) == 0
    variances[unused] = NAN
    complete = np.array(draw(st.lists(st.booleans(), min_size=2 * size, max_size=2 * size))).reshape(size, 2)
    for node, above in enumerate(parent):
        if above >= 0:
            complete[above] &= ~unused[node]
    order = np.array(draw(st.permutations(range(size))))
    place = np.argsort(order)
    moved = [-1 if parent[old] < 0 else int(place[parent[old]]) for old in order]
    return values[order], variances[order], moved, complete[order]


@settings(max_examples=200)
@given(forest=forests())
def test_twin_agrees(forest: tuple[Floats, Floats, list[int], NDArray[np.bool_]]) -> None:
    values, variances, parent, complete = forest
    fitted, spread = make_consistent(values, variances, parent, complete)
    for column in (0, 1):
        expected, of_expected = dense(values[:, column], variances[:, column], parent, complete[:, column])
        np.testing.assert_allclose(fitted[:, column], expected, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(spread[:, column], of_expected, rtol=1e-7, atol=1e-9)


@given(forest=forests())
def test_complete_families_add_up_and_nothing_gets_worse(
    forest: tuple[Floats, Floats, list[int], NDArray[np.bool_]],
) -> None:
    values, variances, parent, complete = forest
    fitted, spread = make_consistent(values, variances, parent, complete)
    used = ~np.isnan(variances)
    for node in range(len(parent)):
        children = [child for child in range(len(parent)) if parent[child] == node]
        adds = complete[node] & used[node]
        if children:
            np.testing.assert_allclose(fitted[children].sum(axis=0)[adds], fitted[node][adds], rtol=1e-7, atol=1e-6)
    assert (spread[used] <= variances[used] * (1 + 1e-9)).all()
    assert (spread[used] > 0).all()
    np.testing.assert_array_equal(fitted[~used], values[~used])
    again, _ = make_consistent(fitted, variances, parent, complete)
    np.testing.assert_allclose(again, fitted, rtol=1e-6, atol=1e-6)


def column(*entries: float | bool) -> list[list[float | bool]]:
    return [[entry] for entry in entries]


def test_worked_example_of_the_module() -> None:
    values, variances = make_consistent(column(100, 40, 30), column(1, 1, 1), [-1, 0, 0], column(True, False, False))
    np.testing.assert_allclose(values, column(90, 50, 40))
    np.testing.assert_allclose(variances, column(2 / 3, 2 / 3, 2 / 3))


def test_standard_errors_of_a_tree_of_1_8_64() -> None:
    # privacy.md 5: noise sd 8 everywhere gives 7.49 at the root, 7.12 in the middle, 7.54 at the leaves.
    parent = [-1, *[0] * 8, *np.repeat(np.arange(1, 9), 8)]
    _, variances = make_consistent(np.zeros((73, 1)), np.full((73, 1), 64.0), parent, np.ones((73, 1), dtype=bool))
    np.testing.assert_allclose(np.sqrt(variances[[0, 1, 72], 0]), [7.49, 7.12, 7.54], atol=5e-3)


def test_an_exact_part_is_believed() -> None:
    values, variances = make_consistent(column(100, 40, 30), column(1, 1e-12, 1), [-1, 0, 0],
                                        column(True, False, False))
    np.testing.assert_allclose(values, column(85, 40, 45))
    np.testing.assert_allclose(variances, column(0.5, 0, 0.5), atol=1e-9)


def test_a_family_that_is_not_complete_is_left_as_it_was_but_not_its_own_families() -> None:
    parent = [-1, 0, 0, 1, 1]
    values, variances = make_consistent(column(100, 40, 30, 10, 20), column(*[1.0] * 5), parent,
                                        column(False, True, False, False, False))
    np.testing.assert_allclose(values, column(100, 110 / 3, 30, 40 / 3, 70 / 3))
    np.testing.assert_allclose(variances, column(1, 2 / 3, 1, 2 / 3, 2 / 3))


def test_an_unused_node_comes_back_as_it_was_and_tells_nothing() -> None:
    parent = [-1, 0, 0, 1, 1, 2]
    for left in (NAN, math.inf, 5.0):
        with np.errstate(all="raise"):
            values, variances = make_consistent(
                column(100, left, left, 10, 20, left), column(1, NAN, NAN, 1, 1, NAN), parent,
                column(False, True, False, False, False, False))
        np.testing.assert_array_equal(values, column(100, left, left, 10, 20, left))
        np.testing.assert_array_equal(variances, column(1, NAN, NAN, 1, 1, NAN))


def test_what_is_passed_in_is_not_changed() -> None:
    values, variances = np.array([[100.0], [40.0], [30.0]]), np.ones((3, 1))
    complete = np.ones((3, 1), dtype=bool)
    make_consistent(values, variances, [-1, 0, 0], complete)
    np.testing.assert_array_equal(values, column(100, 40, 30))
    np.testing.assert_array_equal(variances, np.ones((3, 1)))
    assert complete.all()


@pytest.mark.parametrize("sds", [(3, 3, 3), (10, 10, 10), (30, 10, 3), (3, 10, 30)])
def test_coverage_at_three_levels(sds: tuple[int, int, int]) -> None:
    generator = np.random.default_rng(sds)
    level = np.repeat([0, 1, 2], [1, 5, 40])
    parent = [-1, *[0] * 5, *np.repeat(np.arange(1, 6), 8)]
    leaves = generator.integers(20, 300, 40)
    true = np.concatenate([[leaves.sum()], leaves.reshape(5, 8).sum(axis=1), leaves])[:, None]
    sd = np.array(sds, dtype=float)[level][:, None]
    noisy = true + np.rint(generator.normal(0, sd, (46, 10_000)))
    values, variances = make_consistent(noisy, np.broadcast_to(sd**2 + 1 / 12, noisy.shape), parent,
                                        np.ones(noisy.shape, dtype=bool))
    lower, upper = count_interval(values, variance=variances)
    inside = (lower <= true) & (true <= upper)
    for depth in range(3):
        assert 0.94 <= inside[level == depth].mean() <= 0.96


GOOD: dict[str, Any] = {"values": column(100, 40, 30), "variances": column(1, 1, 1), "parent": [-1, 0, 0],
                        "complete": column(True, False, False)}


@pytest.mark.parametrize(("problem", "bad"), [
    ("circle", {"parent": [1, 0, -1]}), ("circle", {"parent": [0, 0, 0]}), ("neither", {"parent": [-1, 0, 3]}),
    ("neither", {"parent": [-2, 0, 0]}), ("integers", {"parent": [-1.0, 0.0, 0.0]}),
    ("shape|must be", {"parent": [-1, 0]}), ("must be", {"values": [100, 40, 30]}),
    ("must be", {"variances": column(1, 1)}), ("must be", {"complete": column(True, False)}),
    ("booleans", {"complete": column(1, 0, 0)}), ("variances", {"variances": column(1, 0, 1)}),
    ("variances", {"variances": column(1, -4, 1)}), ("variances", {"variances": column(1, math.inf, 1)}),
    ("values", {"values": column(100, NAN, 30)}), ("values", {"values": column(100, math.inf, 30)}),
    ("not used", {"variances": column(1, 1, NAN)}),
])
def test_bad_input_is_refused(problem: str, bad: dict[str, Any]) -> None:
    make_consistent(**GOOD)
    with pytest.raises(ValueError, match=problem):
        make_consistent(**GOOD | bad)
