from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from federation.privacy.noise import add_discrete_gaussian
from federation.privacy.sampling import sample_slots
from federation.randomness import RandomStream


def pmf(scale: float, reach: int) -> np.ndarray:
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * scale**2))
    return weights / weights.sum()


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.75, 6.49])
@pytest.mark.parametrize("source", ["system", "seeded"])
def test_noise_fits_the_exact_distribution(scale: float, source: str) -> None:
    stream = RandomStream.derived(b"noise", str(scale)) if source == "seeded" else None
    noise = add_discrete_gaussian(np.zeros(20_000, dtype=np.int64), scale, stream)
    reach = math.ceil(12 * scale)
    expected = pmf(scale, reach) * len(noise)
    found = np.bincount(noise + reach, minlength=2 * reach + 1)
    keep = expected >= 8
    merged_expected = np.append(expected[keep], expected[~keep].sum())
    merged_found = np.append(found[keep], found[~keep].sum())
    if merged_expected[-1] < 8:
        merged_expected = np.append(merged_expected[:-2], merged_expected[-2:].sum())
        merged_found = np.append(merged_found[:-2], merged_found[-2:].sum())
    assert stats.chisquare(merged_found, merged_expected * merged_found.sum() / merged_expected.sum()).pvalue > 1e-4


def test_noise_is_added_and_keeps_shape_and_type() -> None:
    table = np.arange(24, dtype=np.int64).reshape(2, 3, 4) * 1000
    noisy = add_discrete_gaussian(table, 1.0, RandomStream.derived(b"n"))
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


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_bad_scale_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        add_discrete_gaussian(np.zeros(1, dtype=np.int64), scale)


def test_floats_are_refused() -> None:
    with pytest.raises(ValueError, match="int64"):
        add_discrete_gaussian(np.zeros(1), 1.0)  # type: ignore[arg-type]


def test_sampling_is_poisson_and_not_a_shuffle() -> None:
    stream = RandomStream.derived(b"s")
    slots, probability, trials = 400, 0.1, 2000
    sizes = np.array([len(sample_slots(slots, probability, stream)) for _ in range(trials)])
    dispersion = ((sizes - slots * probability) ** 2 / (slots * probability * (1 - probability))).sum()
    assert 1e-4 < stats.chi2.cdf(dispersion, trials) < 1 - 1e-4
    hits = np.zeros(slots)
    for _ in range(trials):
        hits[sample_slots(slots, probability, stream)] += 1
    assert stats.chisquare(hits).pvalue > 1e-4


def test_probability_one_takes_every_slot() -> None:
    assert sample_slots(5, 1.0, RandomStream.derived(b"s")).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.1, math.nan])
def test_bad_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="sampling_probability"):
        sample_slots(5, probability, RandomStream.derived(b"s"))
    with pytest.raises(ValueError, match="slots"):
        sample_slots(0, 0.5, RandomStream.derived(b"s"))
