"""Putting secrets together from shares of which some may be wrong.

Each secret can be recognised (by its commitment, or by its public key), so a wrong share cannot lead to a wrong secret:
what comes out is tried, and if it does not fit, other sets of holders are. The set that fitted last is tried first for
the next secret, so that one holder with wrong shares costs one search and not one for each secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, islice

from federation.secagg.shamir import combine, weights_at_zero

MOST_TRIES = 2_000
"""Sets of holders that are tried for one secret. Beyond that the session is given up rather than searched for hours."""


class Recovery:
    """The shares of one session's holders.

    Args:
        holders: the numbers of those who answered, from 1; at least `threshold` of them.
        threshold: how many of them it takes.
    """

    def __init__(self, holders: tuple[int, ...], *, threshold: int) -> None:
        self._holders, self._threshold = holders, threshold
        self._weights: dict[tuple[int, ...], dict[int, int]] = {}

    def secret(self, shares: Mapping[int, bytes], fits: Callable[[bytes], bool]) -> bytes | None:
        """The secret that fits, or None if no set of holders that was tried gives it.

        Args:
            shares: of this secret, by holder.
            fits: whether this is the secret.
        """
        for holders in islice(self._sets(), MOST_TRIES):
            secret = combine(shares, self._weights_of(holders))
            if secret is not None and fits(secret):
                self._holders = (*holders, *(holder for holder in self._holders if holder not in holders))
                return secret
        return None

    def _sets(self) -> Iterator[tuple[int, ...]]:
        """The first `threshold` holders, then with one left out, then with two, as long as enough are left."""
        seen = set()
        for wrong in range(len(self._holders) - self._threshold + 1):
            for out in combinations(self._holders, wrong):
                kept = tuple(holder for holder in self._holders if holder not in out)[:self._threshold]
                if kept not in seen:
                    seen.add(kept)
                    yield kept

    def _weights_of(self, holders: tuple[int, ...]) -> dict[int, int]:
        if holders not in self._weights:
            self._weights[holders] = weights_at_zero(holders)
        return self._weights[holders]
