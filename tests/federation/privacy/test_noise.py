"""The discrete Gaussian: against its exact probabilities, a naive twin by another method, and OpenDP."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from federation.privacy import noise as noise_module
from federation.privacy.noise import TAIL, DiscreteGaussian, add_discrete_gaussian
from federation.randomness import RandomStream


def pmf(scale: float, reach: int) -> np.ndarray:
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * scale**2))
    return weights / weights.sum()


def fit(noise: np.ndarray, scale: float) -> float:
    """p-value of chi-square against the exact probabilities, rare values merged."""
    reach = math.ceil(14 * scale) + 1
    expected = pmf(scale, reach) * len(noise)
    found = np.bincount(noise + reach, minlength=2 * reach + 1)
    keep = expected >= 8
    expected, found = np.append(expected[keep], expected[~keep].sum()), np.append(found[keep], found[~keep].sum())
    if expected[-1] < 8:
        expected, found = (np.append(v[:-2], v[-2:].sum()) for v in (expected, found))
    return float(stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue)


class NaiveTwin:
    """Canonne, Kamath and Steinke 2020, Algorithms 1-3, one value at a time in fractions."""

    def __init__(self, stream: RandomStream) -> None:
        self.stream = stream

    def below(self, bound: int) -> int:
        width = max(1, (bound - 1).bit_length())
        while (value := int(self.stream.words(1)[0]) >> (64 - width)) >= bound:
            pass
        return value

    def bernoulli(self, chance: Fraction) -> bool:
        return self.below(chance.denominator) < chance.numerator

    def bernoulli_exp(self, gamma: Fraction) -> bool:
        while gamma > 1:
            if not self.bernoulli_exp(Fraction(1)):
                return False
            gamma -= 1
        count = 1
        while self.bernoulli(gamma / count):
            count += 1
        return count % 2 == 1

    def laplace(self, scale: int) -> int:
        while True:
            low = self.below(scale)
            if not self.bernoulli_exp(Fraction(low, scale)):
                continue
            high = 0
            while self.bernoulli_exp(Fraction(1)):
                high += 1
            magnitude, negative = low + scale * high, self.below(2) == 1
            if not (negative and magnitude == 0):
                return -magnitude if negative else magnitude

    def gaussian(self, scale: float) -> int:
        sigma = Fraction(scale)
        width, square = math.floor(sigma) + 1, sigma * sigma
        while True:
            candidate = self.laplace(width)
            gap = abs(candidate) - square / width
            if self.bernoulli_exp(gap * gap / (2 * square)):
                return candidate


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.75, 7.3, 39.5, 64.0])
def test_a_million_draws_fit_the_exact_probabilities(scale: float) -> None:
    assert fit(DiscreteGaussian(scale).draw(10**6, RandomStream.derived(b"fit", str(scale))), scale) > 1e-4


@pytest.mark.parametrize("scale", [1.0, 5.5])
def test_draws_agree_with_the_naive_twin_and_with_opendp(scale: float) -> None:
    stream = RandomStream.derived(b"twin", str(scale))
    ours = DiscreteGaussian(scale).draw(6000, stream)
    twin = NaiveTwin(stream)
    theirs = np.array([twin.gaussian(scale) for _ in range(3000)])
    opendp = add_discrete_gaussian(np.zeros(6000, dtype=np.int64), scale)
    edges = np.arange(math.floor(-2.5 * scale), math.ceil(2.5 * scale) + 1)
    counts = np.array([np.histogram(np.clip(v, edges[0], edges[-1] - 1), edges)[0] for v in (ours, theirs, opendp)])
    assert stats.chi2_contingency(counts[:, counts.sum(axis=0) > 20]).pvalue > 1e-4


@pytest.mark.parametrize("multiplier", [0.1, 13.4, 1e5])
def test_at_a_training_steps_scale_it_is_a_normal_distribution(multiplier: float) -> None:
    scale = multiplier * 2.0**28
    draws = DiscreteGaussian(scale).draw(200_000, RandomStream.derived(b"wide"))
    assert stats.kstest(draws / scale, "norm").pvalue > 1e-4
    # The last bits are uniform: nothing in them follows the bins or the floating point.
    assert stats.chisquare(np.bincount(draws % 64, minlength=64)).pvalue > 1e-4


def test_rounds_and_partners_draw_independently() -> None:
    sampler = DiscreteGaussian(100.0)
    draws = np.stack([sampler.draw(40_000, RandomStream.derived(b"root", partner, str(round_number)))
                      for partner in ("a", "b") for round_number in (1, 2, 3)])
    correlation = np.corrcoef(draws) - np.eye(6)
    assert np.abs(correlation).max() < 5 / math.sqrt(40_000)
    lag = np.corrcoef(draws[0][:-1], draws[0][1:])[0, 1]
    assert abs(lag) < 5 / math.sqrt(40_000)


def test_doubtful_comparisons_are_decided_as_exact_arithmetic_would(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = DiscreteGaussian(2e5)
    bins = np.repeat(np.arange(520, 760), 17)
    values = sampler._starts[bins] + np.tile(np.linspace(0, (1 << sampler._width_bits) - 1, 17).astype(np.int64), 240)
    plain = sampler._decide(values, bins, RandomStream.derived(b"same"))
    # With error bounds of everything, each decision goes through decimal arithmetic.
    monkeypatch.setattr(noise_module, "_DOUBT", 1e30)
    calls = []
    exact = sampler._decide_exactly
    monkeypatch.setattr(sampler, "_decide_exactly", lambda *args: calls.append(1) or exact(*args))
    assert (sampler._decide(values, bins, RandomStream.derived(b"same")) == plain).all()
    assert len(calls) == len(values)
    assert 0.05 < plain.mean() < 0.95


def test_an_undecided_comparison_draws_more_bits() -> None:
    sampler = DiscreteGaussian(20.0)
    index, value = 512 + 13, 13
    curve = sampler._unit * Fraction(math.exp(-0.5 * (value / 20.0) ** 2))
    chance = (curve - sampler._base[index]) / sampler._cap[index]
    bits = 20
    numerator = math.floor(chance * 2**bits)
    decided = [sampler._decide_exactly(value, index, numerator, bits, RandomStream.derived(b"more", str(i)))
               for i in range(400)]
    # The uniform number begins like the chance: the bits that follow decide, at the odds of what remains.
    remainder = float(chance * 2**bits - numerator)
    assert abs(np.mean(decided) - remainder) < 5 * math.sqrt(0.25 / 400)


@pytest.mark.parametrize("scale", [0.1, 1.0, 39.0, 39.4, 39.4 * 2**20, 80.0, 1e9, 2.0**46])
def test_bins_cover_the_curve_and_what_is_cut_off_is_as_small_as_said(scale: float) -> None:
    sampler = DiscreteGaussian(scale)
    assert sum(sampler._weights) == 2**64
    width = 1 << sampler._width_bits
    for index in range(1023):
        start = int(sampler._starts[index])
        for value in {start, start + width // 2, start + width - 1}:
            height = math.exp(-0.5 * (value / scale) ** 2) * sampler._unit
            assert sampler._base[index] <= height <= sampler._weights[index]
    reach = 512 * width
    assert reach >= 13 * scale
    beyond = 2 * float(stats.norm.sf((reach - 0.5) / scale)) if scale > 5 else 0.0
    assert beyond < TAIL


@pytest.mark.parametrize("scale", [0.1, 0.7, 3.3, 39.39, 39.4, 1e9, 2.0**46])
def test_base_and_cap_make_up_each_bar_and_bases_fifteen_sixteenths_of_all(scale: float) -> None:
    sampler = DiscreteGaussian(scale)
    assert [base + cap for base, cap in zip(sampler._base, sampler._cap, strict=True)] == sampler._weights
    assert sum(sampler._base) * 16 == 15 * 2**64
    assert min(sampler._cap) > 0
    # The table of columns holds each base as often as it is large, and leaves the last sixteenth to the caps.
    columns = sampler._column_starts[: 15 * 2**10]
    assert [int(np.count_nonzero(columns == start)) * 2**50 for start in sampler._starts] == sampler._base
    assert len(sampler._column_starts) == 2**14


@pytest.mark.parametrize("scale", [0.7, 1e9])
def test_a_word_below_the_caps_gives_its_columns_bin_and_its_place_there(scale: float) -> None:
    sampler = DiscreteGaussian(scale)
    columns = np.arange(15 * 2**10, dtype=np.uint64)
    place = (1 << sampler._width_bits) - 1

    class Words:
        def words(self, count: int) -> np.ndarray:
            # The bits in between are for nothing.
            return columns << np.uint64(50) | np.uint64(1 << 49) | np.uint64(place) if count else columns[:0]

    drawn = sampler._lot(len(columns), Words())  # type: ignore[arg-type]
    assert (drawn == sampler._column_starts[: len(columns)] + place).all()


def test_alias_tables_hold_every_cap_exactly() -> None:
    sampler = DiscreteGaussian(3.3)
    capacity = 2**54
    held = [0] * 1024
    for column, (cut, other) in enumerate(zip(sampler._threshold.tolist(), sampler._alias.tolist(), strict=True)):
        held[column] += cut
        held[other] += capacity - cut
    assert held == [16 * cap for cap in sampler._cap]


@pytest.mark.parametrize("scale", [0.7, 1e9, 2.0**46])
def test_a_word_picks_its_column_or_from_the_threshold_on_the_alias(scale: float) -> None:
    sampler = DiscreteGaussian(scale)
    for column in range(0, 1024, 37):
        cut = int(sampler._threshold[column])
        points = [point for point in (0, cut - 1, cut, 2**54 - 1) if 0 <= point < 2**54]
        picked = sampler._pick_caps(np.array([(column << 54) | point for point in points], dtype=np.uint64)).tolist()
        assert picked == [column if point < cut else int(sampler._alias[column]) for point in points]


def test_a_source_gives_the_same_values_however_it_is_asked() -> None:
    sampler = DiscreteGaussian(5.0)
    small, large = (sampler.source(RandomStream.derived(b"s")) for _ in range(2))
    asked = [small(count) for count in (1, 0, 700, 299, 40_000, 19_000)]
    assert np.concatenate(asked).tolist() == large(60_000).tolist()


def test_what_a_source_has_given_stays_as_it_is() -> None:
    take = DiscreteGaussian(5.0).source(RandomStream.derived(b"s"))
    first = take(20_000)
    copy = first.copy()
    first[:] += 1
    take(40_000)
    assert (first == copy + 1).all()


@pytest.mark.parametrize("source", ["system", "seeded"])
def test_noise_is_added_and_keeps_shape_and_type(source: str) -> None:
    table = np.arange(24, dtype=np.int64).reshape(2, 3, 4) * 1000
    noisy = add_discrete_gaussian(table, 1.0, RandomStream.derived(b"n") if source == "seeded" else None)
    assert noisy.shape == table.shape
    assert noisy.dtype == np.int64
    assert np.abs(noisy - table).max() < 20
    assert (noisy != table).any()


def test_seeded_noise_repeats_and_system_noise_does_not() -> None:
    zeros = np.zeros(64, dtype=np.int64)
    seeded = [add_discrete_gaussian(zeros, 5.0, RandomStream.derived(b"n")) for _ in range(2)]
    assert (seeded[0] == seeded[1]).all()
    system = [add_discrete_gaussian(zeros, 5.0) for _ in range(2)]
    assert (system[0] != system[1]).any()


@pytest.mark.parametrize("scale", [0.0, -1.0, 0.05, 2.0**47, math.nan, math.inf])
def test_a_bad_scale_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        add_discrete_gaussian(np.zeros(1, dtype=np.int64), scale)


def test_floats_are_refused() -> None:
    with pytest.raises(ValueError, match="int64"):
        add_discrete_gaussian(np.zeros(1), 1.0)  # type: ignore[arg-type]
