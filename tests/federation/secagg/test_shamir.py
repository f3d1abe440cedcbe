from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import InputError
from federation.secagg.recovery import Recovery
from federation.secagg.shamir import PRIME, combine, evaluate, split, weights_at_zero


def is_prime(number: int, bases: range = range(2, 60)) -> bool:
    """Miller and Rabin's test, with many bases."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in bases:
        power = pow(base, odd, number)
        if power not in (1, number - 1) and all(pow(power, 2**k, number) != number - 1 for k in range(twos)):
            return False
    return True


def test_the_prime_is_the_first_above_all_secrets() -> None:
    assert is_prime(PRIME)
    assert not any(is_prime(2**256 + offset, range(2, 5)) for offset in range(1, 297, 2))


@given(st.lists(st.integers(0, PRIME - 1), min_size=1, max_size=6), st.integers(0, 300))
def test_horner_is_the_sum_of_powers(polynomial: list[int], point: int) -> None:
    naive = sum(coefficient * point**power for power, coefficient in enumerate(reversed(polynomial))) % PRIME
    assert evaluate(polynomial, point) == naive


@given(st.lists(st.integers(1, 50), min_size=1, max_size=7, unique=True))
def test_weights_are_those_of_exact_fractions(points: list[int]) -> None:
    weights = weights_at_zero(points)
    for point in points:
        exact = Fraction(1)
        for other in points:
            if other != point:
                exact *= Fraction(other, other - point)
        assert (weights[point] * exact.denominator - exact.numerator) % PRIME == 0


@given(st.binary(min_size=32, max_size=32) | st.sampled_from([bytes(32), b"\xff" * 32]), st.integers(1, 7), st.data())
def test_any_threshold_of_shares_gives_the_secret(secret: bytes, holders: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, holders))
    shares = split(secret, threshold=threshold, holders=holders)
    for chosen in combinations(range(1, holders + 1), threshold):
        assert combine({k: shares[k - 1] for k in chosen}, weights_at_zero(chosen)) == secret


def test_one_share_fewer_says_nothing() -> None:
    # A small field can be searched: for each secret, each pair of values at two points comes from one polynomial.
    prime, points = 11, (2, 5)
    for secret in range(prime):
        seen = Counter(tuple(evaluate([first, second, secret], point, prime) for point in points)
                       for first, second in product(range(prime), repeat=2))
        assert len(seen) == prime**2
        assert set(seen.values()) == {1}


def test_coefficients_are_fresh_and_fill_the_field() -> None:
    shares = [split(bytes(32), threshold=2, holders=2)[0] for _ in range(400)]
    assert len(set(shares)) == 400
    # Threshold 2 at point 1 of a zero secret is the coefficient itself: its bits are fair coins.
    for bit in range(0, 256, 17):
        ones = sum(int.from_bytes(share, "big") >> bit & 1 for share in shares)
        assert 140 < ones < 260


@pytest.mark.parametrize(("threshold", "holders"), [(0, 3), (4, 3), (1, 10_001)])
def test_bad_numbers(threshold: int, holders: int) -> None:
    with pytest.raises(InputError, match="threshold"):
        split(bytes(32), threshold=threshold, holders=holders)
    with pytest.raises(InputError, match="31 bytes"):
        split(bytes(31), threshold=1, holders=1)


@pytest.mark.parametrize("points", [(1, 1), (0, 1), (PRIME, 2)])
def test_bad_points(points: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        weights_at_zero(points)


@given(st.sets(st.integers(1, 9), max_size=9), st.integers(1, 9))
def test_wrong_shares_are_worked_around_or_nothing_is_given(wrong: set[int], threshold: int) -> None:
    secret = bytes(range(32))
    shares = dict(enumerate(split(secret, threshold=threshold, holders=9), start=1))
    for holder in wrong:
        shares[holder] = (int.from_bytes(shares[holder], "big") ^ 1).to_bytes(33, "big")
    found = Recovery(tuple(range(1, 10)), threshold=threshold).secret(shares, lambda guess: guess == secret)
    # All sets are tried here, so it is found whenever enough good shares are there. Wrong ones may cancel, too.
    assert found == secret or (found is None and len(wrong) > 9 - threshold)


def test_who_gave_a_wrong_share_is_left_out_from_then_on() -> None:
    recovery, tries = Recovery((1, 2, 3, 4), threshold=2), []
    for number in range(5):
        secret = bytes([number]) * 32
        shares = dict(enumerate(split(secret, threshold=2, holders=4), start=1)) | {1: bytes(33)}

        def fits(guess: bytes, secret: bytes = secret) -> bool:
            tries.append(guess)
            return guess == secret

        assert recovery.secret(shares, fits) == secret
    assert len(tries) <= 4 + 5
