"""Running totals: against dense matrices, exact fractions, brute force over who counts when, and drawn noise.

Golden values: errors per unit of noise at 52 and 156 releases, as measured independently for the privacy dossier;
the coefficients' sums of squares in closed form (Henzinger, Upadhyay and Upadhyay 2023, arXiv:2211.05006).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from federation.privacy.accounting import (
    DiscreteGaussianTable,
    epsilon_of,
    epsilon_of_renyi,
    renyi_divergence,
)
from federation.privacy.noise import discrete_gaussian
from federation.privacy.series import (
    MOST_RELEASES,
    SCALE,
    coefficients,
    decode_newest,
    decode_total,
    encode,
    newest_weights,
    standard_deviations,
    total_weights,
)
from federation.randomness import RandomStream

IntArray = npt.NDArray[np.int64]


def measured(tables: list[IntArray]) -> list[IntArray]:
    return [encode(tables[: t + 1]) for t in range(len(tables))]


def dense(length: int) -> IntArray:
    """The lower-triangular matrix whose product with x is w."""
    c = coefficients(length)
    return np.array([[c[row - column] if row >= column else 0 for column in range(length)] for row in range(length)])


def exact_inverse(length: int) -> list[list[Fraction]]:
    """Inverse of `dense(length)` by elimination in fractions."""
    rows = [[Fraction(int(v)) for v in row] + [Fraction(int(i == j)) for j in range(length)]
            for i, row in enumerate(dense(length))]
    for i, row in enumerate(rows):
        rows[i] = row = [v / row[i] for v in row]
        for j in range(i + 1, length):
            rows[j] = [v - rows[j][i] * u for v, u in zip(rows[j], row, strict=True)]
    return [row[length:] for row in rows]


worlds = st.integers(1, 14).flatmap(lambda length: st.lists(
    st.lists(st.integers(-1000, 10**6), min_size=6, max_size=6), min_size=length, max_size=length)).map(
        lambda rows: [np.array(row, dtype=np.int64).reshape(3, 2) for row in rows])


def test_coefficients_are_the_rounded_recursion() -> None:
    f, expected = Fraction(1), []
    for k in range(1, MOST_RELEASES + 1):
        expected.append(math.floor(SCALE * f + Fraction(1, 2)))
        f *= Fraction(2 * k - 1, 2 * k)
    assert coefficients(MOST_RELEASES) == tuple(expected)
    assert coefficients(8) == (256, 128, 96, 80, 70, 63, 58, 54)
    assert coefficients(4, scale=8) == (8, 4, 3, 3), "a half goes up"


def test_coefficients_never_rise_and_never_reach_zero() -> None:
    c = coefficients(MOST_RELEASES)
    assert all(a >= b for a, b in pairwise(c))
    assert c[-1] == 7


def test_the_coefficients_square_is_the_sum() -> None:
    length, scale = 52, 2**40
    fine = np.array(coefficients(length, scale=scale)) / scale
    matrix = sum(np.diag(np.full(length - k, fine[k]), -k) for k in range(length))
    assert np.allclose(matrix @ matrix, np.tril(np.ones((length, length))), rtol=0, atol=1e-10)


@given(worlds)
def test_no_noise_comes_out_exactly(tables: list[IntArray]) -> None:
    measurements = measured(tables)
    assert np.array_equal(decode_total(measurements)[0], sum(tables))
    assert np.array_equal(decode_newest(measurements)[0], tables[-1])


def test_a_long_series_comes_out_exactly() -> None:
    tables = [np.array([10**6 + k, k % 7, 0, -k], dtype=np.int64) for k in range(MOST_RELEASES)]
    measurements = measured(tables)
    assert np.array_equal(decode_total(measurements)[0], sum(tables))
    assert np.array_equal(decode_newest(measurements)[0], tables[-1])


@given(worlds)
def test_encoding_is_the_dense_product(tables: list[IntArray]) -> None:
    expected = np.einsum("tk,kij->tij", dense(len(tables)), np.stack(tables))
    assert np.array_equal(np.stack(measured(tables)), expected)


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(-10**9, 10**9), min_size=3, max_size=3), min_size=1, max_size=12))
def test_decoding_noisy_sums_is_the_exact_inverse(rows: list[list[int]]) -> None:
    measurements = [np.array(row, dtype=np.int64) for row in rows]
    inverse = exact_inverse(len(rows))
    people = [[sum(weight * row[cell] for weight, row in zip(line, rows, strict=True)) for cell in range(3)]
              for line in inverse]
    newest, newest_variance = decode_newest(measurements)
    total, total_variance = decode_total(measurements)
    assert newest == pytest.approx([float(v) for v in people[-1]], rel=1e-12, abs=1e-6)
    assert total == pytest.approx([float(sum(column)) for column in zip(*people, strict=True)], rel=1e-12, abs=1e-6)
    assert newest_variance == pytest.approx(float(sum(w * w for w in inverse[-1])), rel=1e-12)
    assert total_variance == pytest.approx(
        float(sum(sum(column) ** 2 for column in zip(*inverse, strict=True))), rel=1e-12)


def test_weights_are_those_of_the_estimates() -> None:
    rng = np.random.default_rng(5)
    measurements = [rng.integers(-1000, 1000, size=4) for _ in range(30)]
    stacked = np.stack(measurements)
    assert np.allclose(total_weights(30) @ stacked, decode_total(measurements)[0])
    assert np.allclose(newest_weights(30) @ stacked, decode_newest(measurements)[0])
    assert total_weights(3) == pytest.approx([3 / 2048, 1 / 512, 1 / 256]), "the newest last"


def tree_error(horizon: int) -> float:
    """Worst error of the binary tree: one node a level for a person, one for each bit that is set for a total."""
    most = max(t.bit_count() for t in range(1, horizon + 1))
    return math.sqrt(horizon.bit_length() * most)


@pytest.mark.parametrize(("horizon", "independent", "tree", "golden"), [(52, 7.2, 5.5, 2.3), (156, 12.5, 7.5, 2.7)])
def test_errors_of_the_dossier(horizon: int, independent: float, tree: float, golden: float) -> None:
    assert math.sqrt(horizon) == pytest.approx(independent, rel=0.02)
    assert tree_error(horizon) == pytest.approx(tree, rel=0.02)
    assert standard_deviations(horizon)[0] == pytest.approx(golden, rel=0.02)


def test_the_mean_error_of_the_dossier() -> None:
    moved = math.hypot(*coefficients(52))
    errors = [moved * float(np.linalg.norm(total_weights(t))) for t in range(1, 53)]
    assert np.mean(errors) == pytest.approx(2.2, rel=0.02)
    assert errors[-1] == max(errors)


@settings(max_examples=40)
@given(st.integers(1, MOST_RELEASES))
def test_rounding_costs_next_to_nothing(horizon: int) -> None:
    exact = sum((Fraction(math.comb(2 * k, k), 4**k) ** 2 for k in range(horizon)), Fraction())
    assert float(exact) * (1 - 1e-9) <= standard_deviations(horizon)[0] <= float(exact) * 1.0002


@pytest.mark.parametrize(("horizon", "total", "newest"), [
    (1, 1.00, 1.00), (4, 1.49, 1.37), (12, 1.85, 1.53), (40, 2.24, 1.69), (52, 2.32, 1.72), (156, 2.67, 1.84)])
def test_the_table_of_the_module(horizon: int, total: float, newest: float) -> None:
    assert standard_deviations(horizon) == pytest.approx((total, newest), abs=0.005)


def test_drawn_noise_has_the_stated_variance_and_no_bias() -> None:
    """With another noise in each release, as when more partners survive in one sum than in another."""
    cells, scales = 20_000, [300.0, 450.0, 380.0, 600.0, 340.0, 300.0, 900.0]
    tables = [np.full(cells, 40 + k, dtype=np.int64) for k in range(len(scales))]
    noisy = [w + discrete_gaussian(scale).draw(cells, RandomStream.derived(b"series", str(k)))
             for k, (w, scale) in enumerate(zip(measured(tables), scales, strict=True))]
    for decode, weights, truth in ((decode_total, total_weights(7), sum(tables)[0]),
                                   (decode_newest, newest_weights(7), tables[-1][0])):
        variance = float(weights**2 @ np.square(scales))
        residual = decode(noisy)[0] - truth
        low, high = chi2.ppf([5e-6, 1 - 5e-6], cells) / cells
        assert low < np.mean(np.square(residual)) / variance < high
        assert abs(np.mean(residual)) < 4.5 * math.sqrt(variance / cells)
        assert decode(noisy)[1] == pytest.approx(float(np.square(weights).sum()))


@pytest.mark.parametrize("length", [1, 2, 5, 9])
def test_what_one_person_moves_by_brute_force(length: int) -> None:
    """Every release and cell in which somebody can be new: their shifts are c_0, c_1, … from there on."""
    rng = np.random.default_rng(7)
    tables = [rng.integers(0, 50, size=(2, 3)) for _ in range(length)]
    before, c = measured(tables), list(coefficients(length))
    for k, cell in itertools.product(range(length), np.ndindex(2, 3)):
        joined = [x.copy() for x in tables]
        joined[k][cell] += 1
        moved = [after - w for after, w in zip(measured(joined), before, strict=True)]
        shifts = [int(np.abs(m).sum()) for m in moved]
        assert [int(m[cell]) for m in moved] == shifts, "in one cell only"
        assert shifts == [0] * k + c[: length - k]


@given(st.sets(st.integers(1, 40), min_size=1), st.integers(1, 40))
def test_in_any_releases_the_shifts_are_different_ones_of_the_coefficients(window: set[int], k: int) -> None:
    """Late starts, gaps, and the years of a ceiling: n releases cost at most c_0, …, c_{n-1}, and none above c_0."""
    c = coefficients(40)
    incurred = sorted((c[s - k] for s in window if s >= k), reverse=True)
    assert all(shift <= worst for shift, worst in zip(incurred, c, strict=False))
    assert all(shift <= SCALE for shift in incurred)


@pytest.mark.parametrize("scale", [0.3, 2.0, 20.0])
def test_a_smaller_shift_never_costs_more(scale: float) -> None:
    """A discrete Gaussian is log-concave, so a larger shift dominates a smaller one; here in figures."""
    found = [epsilon_of([DiscreteGaussianTable(scale=scale, entries=2, shift=shift)], delta=1e-6)
             for shift in (1, 2, 3, 5, 8)]
    assert found == sorted(found)


def events(length: int, scale: float, entries: int) -> list[DiscreteGaussianTable]:
    return [DiscreteGaussianTable(scale=scale, entries=entries, shift=c) for c in coefficients(length)]


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Exact epsilon of a mu-GDP Gaussian mechanism (Balle and Wang 2018, theorem 8)."""
    def excess(epsilon: float) -> float:
        return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)) - delta

    return float(brentq(excess, 0, 100))


def test_the_account_agrees_with_the_exact_gaussian_and_with_the_other_accountant() -> None:
    length, entries, delta = 6, 3, 1e-6
    moved = math.hypot(*coefficients(length))
    for unit in (3.0, 10.0):
        ours = epsilon_of(events(length, unit * moved, entries), delta=delta)
        exact = gaussian_epsilon(math.sqrt(entries) / unit, delta)
        assert exact <= ours <= exact * 1.005
        # The continuous mechanism, composed by dp-accounting release by release.
        composed = pld.from_gaussian_mechanism(standard_deviation=unit * moved, sensitivity=SCALE)
        for _ in range(entries - 1):
            composed = composed.compose(pld.from_gaussian_mechanism(unit * moved, sensitivity=SCALE))
        for c in coefficients(length)[1:]:
            one = pld.from_gaussian_mechanism(unit * moved, sensitivity=c)
            composed = composed.compose(one.self_compose(entries))
        assert ours == pytest.approx(composed.get_epsilon_for_delta(delta), rel=0.005)


def test_the_account_is_below_zcdp() -> None:
    length, entries, delta, scale = 8, 3, 1e-6, 900.0
    rho = sum(entries * c * c for c in coefficients(length)) / (2 * scale**2)
    booked = events(length, scale, entries)
    for order in (4, 8, 16):
        divergence = math.fsum(renyi_divergence(event, order) for event in booked)
        assert divergence == pytest.approx(order * rho)
        assert epsilon_of(booked, delta=delta) <= epsilon_of_renyi(divergence, order=order, delta=delta)


def test_what_the_factorisation_saves() -> None:
    """Three years of quarters whose last running total has a standard deviation of 20 people, at delta 1e-6.

    Naive are fresh noise on each running total, and sums of independently noised quarters: both cost twelve tables.
    """
    releases, error = 12, 20.0
    scale = error / float(np.linalg.norm(total_weights(releases)))
    factorised = epsilon_of(events(releases, scale, 3), delta=1e-6)
    cumulative = epsilon_of([DiscreteGaussianTable(scale=error, entries=3 * releases)], delta=1e-6)
    quarters = epsilon_of([DiscreteGaussianTable(scale=error / math.sqrt(releases), entries=3)], delta=1e-6)
    assert factorised == pytest.approx(0.66, abs=0.01)
    assert cumulative == pytest.approx(1.30, abs=0.02)
    assert quarters == pytest.approx(cumulative, rel=0.02)
    assert factorised / cumulative == pytest.approx(standard_deviations(releases)[0] / math.sqrt(releases), rel=0.1)


@pytest.mark.parametrize("wrong", [0, -1, MOST_RELEASES + 1])
def test_a_release_that_is_none(wrong: int) -> None:
    for function, name in ((coefficients, "length"), (total_weights, "length"),
                           (newest_weights, "length"), (standard_deviations, "length")):
        with pytest.raises(ValueError, match=f"{name} is {wrong}, expected 1 to {MOST_RELEASES}"):
            function(wrong)
    with pytest.raises(ValueError, match="scale is 0"):
        coefficients(3, scale=0)


def test_tables_that_do_not_fit() -> None:
    good = np.zeros((2, 2), dtype=np.int64)
    for function, name in ((encode, "table"), (decode_total, "measurement"), (decode_newest, "measurement")):
        with pytest.raises(ValueError, match=f"number of {name}s is 0"):
            function([])
        with pytest.raises(ValueError, match=rf"{name} 1: float64\[2, 2\], expected int64\[2, 2\]"):
            function([good.astype(float)])
        with pytest.raises(ValueError, match=rf"{name} 2: int64\[4\], expected int64\[2, 2\]"):
            function([good, good.reshape(4)])
        with pytest.raises(ValueError, match=f"number of {name}s is {MOST_RELEASES + 1}"):
            function([good] * (MOST_RELEASES + 1))


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_that_are_too_large(sign: int) -> None:
    most = np.array([0, sign * ((2**63 - 1) // SCALE)], dtype=np.int64)
    few = np.array([0, sign], dtype=np.int64)
    assert encode([few, most]).tolist() == [0, int(most[1]) * SCALE + sign * (SCALE // 2)]
    for tables in ([2 * few, most], [np.array([0, np.iinfo(np.int64).min])]):
        with pytest.raises(ValueError, match="64 bits"):
            encode(tables)
    assert decode_total([few * 2**53])[0].tolist() == [0, sign * 2**45]
    with pytest.raises(ValueError, match="beyond 2\\^53"):
        decode_total([few * (2**53 + 1)])


def test_tables_without_cells() -> None:
    empty = np.zeros((0, 2), dtype=np.int64)
    assert encode([empty, empty]).shape == (0, 2)
    assert decode_total([empty])[0].shape == (0, 2)
