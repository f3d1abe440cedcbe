from __future__ import annotations

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


def test_words_are_the_stream_and_uniform() -> None:
    words = RandomStream.derived(b"r").words(200_000)
    assert words.tobytes() == RandomStream.derived(b"r").bytes(1_600_000)
    assert stats.kstest(words / 2.0**64, "uniform").pvalue > 1e-3


def test_long_reads_are_one_stream() -> None:
    long, short = RandomStream.derived(b"r"), RandomStream.derived(b"r")
    count = 2**20 + 5
    assert long.bytes(2 * count) == short.bytes(count) + short.bytes(count)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="32"):
        RandomStream(b"short")
