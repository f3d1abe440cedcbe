from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from federation.randomness import RandomStream


def test_the_stream_is_chacha20() -> None:
    key = bytes(range(32))
    naive = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(100))
    stream = RandomStream(key)
    assert stream.bytes(60) + stream.bytes(40) == naive


@given(st.lists(st.text(max_size=4), max_size=3), st.lists(st.text(max_size=4), max_size=3))
def test_different_contexts_are_different_streams(one: list[str], other: list[str]) -> None:
    same = RandomStream.derived(b"r", *one).bytes(32) == RandomStream.derived(b"r", *other).bytes(32)
    assert same == (one == other)


def test_two_streams_from_the_system_differ() -> None:
    assert RandomStream.from_os().bytes(32) != RandomStream.from_os().bytes(32)


def test_normal_and_uniform_fit_their_distributions() -> None:
    stream = RandomStream.derived(b"r", "fit")
    assert stats.kstest(stream.normal((200_000,)), "norm").pvalue > 1e-3
    uniform = stream.uniform((200_000,))
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert uniform.min() > 0
    assert uniform.max() < 1


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 256, 1000])
def test_below_is_uniform(bound: int) -> None:
    stream = RandomStream.derived(b"r", "below")
    draws = np.array([stream.below(bound) for _ in range(8000)])
    assert draws.min() >= 0
    assert draws.max() < bound
    if bound > 1:
        counts = np.bincount(draws % min(bound, 50), minlength=min(bound, 50))
        weights = np.bincount(np.arange(bound) % min(bound, 50), minlength=min(bound, 50)) / bound
        assert stats.chisquare(counts, weights * len(draws)).pvalue > 1e-4


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="32"):
        RandomStream(b"short")
    with pytest.raises(ValueError, match="at least 1"):
        RandomStream(bytes(32)).below(0)
