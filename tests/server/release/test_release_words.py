"""Sentences that numbers need, and a word for every code."""

from __future__ import annotations

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.taxonomy import AreaLevel, Family, PartnerKind, RegionRole, Task
from server.release import words
from server.release.derive import Band, Lift, Trend
from server.release.gate import Withheld
from server.release.rows import TOO_FEW_LABELLED
from server.release.series import SeriesWithheld


def test_every_code_has_a_word() -> None:
    for known, codes in ((words.TASKS, Task), (words.ROLES, RegionRole), (words.KINDS, PartnerKind),
                         (words.LEVELS, AreaLevel), (words.BANDS, Band), (words.TRENDS, Trend), (words.LIFTS, Lift),
                         (words.FAMILIES, Family)):
        assert set(known) == {code.value for code in codes}
    assert set(words.SERIES_REASONS) == {reason.value for reason in SeriesWithheld}
    assert set(words.REASONS) == {reason.value for reason in Withheld} | {TOO_FEW_LABELLED}


@given(st.floats(0.01, 30.0))
def test_beliefs_and_odds_never_understate(epsilon: float) -> None:
    for prior, (_, after) in zip((0.01, 0.1, 0.5), words.beliefs(epsilon), strict=True):
        exact = prior * math.exp(epsilon) / (1 - prior + prior * math.exp(epsilon))
        assert "more than" in after or float(after.removesuffix(" %")) >= 100 * exact - 1e-9
    stated = words.odds(epsilon)
    assert "million" in stated or float(stated.replace(",", "")) >= math.exp(epsilon) * (1 - 1e-9)


@pytest.mark.parametrize(("epsilon", "name"), [(0.5, "strong"), (1.0, "strong"), (1.01, "reasonable"),
                                               (10.0, "reasonable"), (10.01, "weak")])
def test_strength_by_the_published_tiers(epsilon: float, name: str) -> None:
    """Ponomareva et al. 2023, "How to DP-fy ML", JAIR 77: up to 1 strong, up to 10 reasonable."""
    assert words.strength(epsilon).endswith(f"By it, this one is {name}.")


@pytest.mark.parametrize(("trend", "said"), [
    ({"class": "rose", "difference": 320.4, "lower": 40.2, "upper": 1600.6}, ("rose", "by 320 (40 to 1,601)")),
    ({"class": "fell", "difference": -320.4, "lower": -600.6, "upper": -40.2}, ("fell", "by 320 (40 to 601)")),
    ({"class": "no_clear_change", "difference": 5.0, "lower": -90.7, "upper": 100.0},
     ("no clear change", "(−91 to +100)")),
])
def test_a_change_in_words(trend: dict[str, float], said: tuple[str, str]) -> None:
    assert words.change(trend) == said


@pytest.mark.parametrize(("factor", "said"), [(0.0, "0.00"), (0.357, "0.36"), (1.844, "1.84"), (9.996, "10.0"),
                                              (12.34, "12.3"), (99.96, "100"), (1234.5, "1,234")])
def test_ratios(factor: float, said: str) -> None:
    assert words.times(factor) == said


@pytest.mark.parametrize(("share", "said"), [(0.8126, "81"), (0.0152, "1.5"), (0.0999, "10"), (0.099, "9.9"),
                                             (0.992, "99.2"), (0.9, "90"), (1.0, "100.0")])
def test_shares_of_100(share: float, said: str) -> None:
    assert words.hundredths(share) == said


def test_what_is_said_of_a_place() -> None:
    cell = {"status": "shown", "band": "high", "display": {"rate": 1234, "lower": 1000, "upper": 1500}}
    assert words.rate_sentence(cell) == (
        "1,234 signals in 10,000 reviewed records, 95 % interval 1,000 to 1,500; high: clearly above the country’s")
    assert words.rate_sentence(cell | {"band": None}).endswith("1,000 to 1,500")
    assert words.rate_sentence({"status": "withheld", "reason": "too_few_signals"}) == (
        "withheld, too few signals to publish safely")


def test_medium_is_told_as_no_clear_difference_and_not_as_a_level() -> None:
    cell = {"status": "shown", "band": "medium", "display": {"rate": 500, "lower": 400, "upper": 600}}
    assert words.rate_sentence(cell).endswith("; medium: neither clearly above nor clearly below the country’s")


def test_small_words() -> None:
    assert words.day(date(2026, 6, 30)) == "30 June 2026"
    assert (words.counted(1, "agency", "agencies"), words.counted(1200, "agency", "agencies")) == (
        "1 agency", "1,200 agencies")
    assert [words.band_of_counts(band) for band in ({"from": 11, "to": 50}, {"from": 1000, "to": None})] == [
        "11 to 50", "1,000 or more"]
    assert "at most 2 roles" in words.counts_once(2)
    assert words.counts_in(2) == "One person may count in up to 2 roles."
