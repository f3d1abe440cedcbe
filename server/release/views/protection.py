"""What protects people, in figures and words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.release import words
from server.release.views.index import Json


@dataclass(frozen=True, kw_only=True)
class Noise:
    """A table: how many of its entries one person changes, the noise in each, and ± what holds it 95 times in 100."""

    table: str
    entries: int
    sd: str
    within: int


@dataclass(frozen=True, kw_only=True)
class Protection:
    """Attributes:
        counts_once: how much of a release one person can change.
        counts_in: why figures of several roles must not be added up.
        beliefs: what is believed of a person before and, at most, after.
        odds: the most that odds can be multiplied by.
        strength: what a promise of this size is called.
    """

    counts_once: str
    counts_in: str
    beliefs: tuple[tuple[str, str], ...]
    odds: str
    strength: str
    noise: tuple[Noise, ...]


def protection(content: Json) -> Protection:
    """Of a release."""
    privacy = content["privacy"]
    statistics = next(part for part in privacy["parts"] if part["part"] == "statistics")
    epsilon, roles = privacy["total_epsilon"], statistics["max_roles_per_person"]
    return Protection(
        counts_once=words.counts_once(roles), counts_in=words.counts_in(roles), beliefs=tuple(words.beliefs(epsilon)),
        odds=words.odds(epsilon), strength=words.strength(epsilon), noise=tuple(
            Noise(table=words.FAMILIES[each["family"]], entries=each["entries"], sd=f"{each['noise_sd']:.1f}",
                  within=math.ceil(1.96 * each["noise_sd"])) for each in statistics["families"]))
