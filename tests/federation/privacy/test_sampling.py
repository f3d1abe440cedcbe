from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from federation.privacy.sampling import sample_slots
from federation.randomness import RandomStream


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


def test_rounds_and_partners_toss_their_own_coins() -> None:
    tosses = np.zeros((4, 20_000))
    for row, context in enumerate((("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"))):
        tosses[row, sample_slots(20_000, 0.3, RandomStream.derived(b"root", *context))] = 1
    assert np.abs(np.corrcoef(tosses) - np.eye(4)).max() < 5 / math.sqrt(20_000)


def test_a_coin_never_falls_more_often_than_stated() -> None:
    class Fixed:
        def __init__(self, word: int) -> None:
            self.word = word

        def words(self, count: int) -> np.ndarray:
            return np.full(count, self.word, dtype=np.uint64)

    probability = 0.3
    last = math.floor(probability * 2**64)  # 0.3 is a multiple of 2^-54, so this is exact
    assert len(sample_slots(2, probability, Fixed(last - 1))) == 2  # type: ignore[arg-type]
    assert len(sample_slots(2, probability, Fixed(last))) == 0  # type: ignore[arg-type]


def test_probability_one_takes_every_slot() -> None:
    assert sample_slots(5, 1.0, RandomStream.derived(b"s")).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.1, math.nan])
def test_bad_probability(probability: float) -> None:
    with pytest.raises(ValueError, match="sampling_probability"):
        sample_slots(5, probability, RandomStream.derived(b"s"))
    with pytest.raises(ValueError, match="slots"):
        sample_slots(0, 0.5, RandomStream.derived(b"s"))
