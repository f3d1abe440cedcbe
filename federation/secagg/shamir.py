"""Shamir's t-of-n sharing of 32-byte secrets (Shamir 1979, "How to share a secret").

The field is that of the prime 2^256 + 297, the first above 2^256, so that every 32-byte string is an element. Holder k
gets the value of a random polynomial at k; its value at 0 is the secret. Any `threshold` values give it back by
Lagrange interpolation, fewer say nothing about it.

The weights of Lagrange's formula depend on who the holders are and on nothing else, so they are computed once and serve
all secrets of a session. (pycryptodome's Shamir takes 11 ms to combine 11 shares, and takes them for each secret anew:
with 200 partners that is minutes.)
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from federation.errors import InputError

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33
MAX_HOLDERS = 10_000


def split(secret: bytes, *, threshold: int, holders: int) -> list[bytes]:
    """Share `secret` among holders 1 … `holders` so that any `threshold` of them have it.

    Returns:
        The share of holder k at index k - 1, each of 33 bytes.

    Raises:
        InputError: if the secret is not 32 bytes, or not 1 <= threshold <= holders <= 10,000.
    """
    if len(secret) != SECRET_BYTES:
        raise InputError("secret", f"has {len(secret)} bytes", bound=f"{SECRET_BYTES} bytes")
    if not 1 <= threshold <= holders <= MAX_HOLDERS:
        raise InputError("threshold", f"is {threshold} of {holders} holders", bound=f"1 to holders <= {MAX_HOLDERS}")
    polynomial = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    polynomial.append(int.from_bytes(secret, "big"))
    return [evaluate(polynomial, point).to_bytes(SHARE_BYTES, "big") for point in range(1, holders + 1)]


def evaluate(polynomial: Sequence[int], point: int, prime: int = PRIME) -> int:
    """Value at `point` of a polynomial given from its highest coefficient to its constant (Horner)."""
    value = 0
    for coefficient in polynomial:
        # Points are small, so letting the number grow costs less than reducing it at each step.
        value = value * point + coefficient
    return value % prime


def weights_at_zero(points: Sequence[int], prime: int = PRIME) -> dict[int, int]:
    """Lagrange's weights: they make the value at 0 out of the values at `points`, for degrees below `len(points)`.

    Raises:
        ValueError: if a point is 0 (that is the secret's own place) or named twice.
    """
    if len(set(points)) != len(points) or any(point % prime == 0 for point in points):
        raise ValueError("points must be distinct and none of them 0")
    weights = {}
    for point in points:
        above, below = 1, 1
        for other in points:
            if other != point:
                above *= other
                below *= other - point
        weights[point] = above * pow(below, -1, prime) % prime
    return weights


def combine(shares: Mapping[int, bytes], weights: Mapping[int, int]) -> bytes | None:
    """The secret of which the holders in `weights` have these shares.

    It is not checked here that it is the right one: a wrong share gives a wrong secret. Callers hold a commitment.

    Args:
        shares: by holder; those without a weight are not used.
        weights: from `weights_at_zero`.

    Returns:
        32 bytes, or None if what comes out does not fit into them (so that a share was wrong for certain).
    """
    value = sum(weight * int.from_bytes(shares[holder], "big") for holder, weight in weights.items()) % PRIME
    return value.to_bytes(SECRET_BYTES, "big") if value < 2**256 else None
