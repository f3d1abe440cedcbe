"""What a text expresses is drawn from tables; here those are compared with drawing tag by tag, and with the draws."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.taxonomy import Channel, Indicator
from simulations.world import Parameters
from simulations.world.draws import Draws, cumulated
from simulations.world.grammar import STRENGTH, TAGS, TextKind, Voice
from simulations.world.signals import Counts, SignalModel, by_strength, own_table, tag_table, voice_of
from tests.simulations.world.bounds import assert_counts, assert_share

P = Parameters()


def _naive_tags(rng: np.random.Generator, p: Parameters, voice: Voice, *, recruits: bool) -> list[Indicator]:
    """Tag by tag: a binomial number by exponential races, then heavier ones on top."""
    candidates = [tag for tag in TAGS[voice] if tag in STRENGTH]
    weight = {1: 1.0, 2: p.medium_weight, 3: p.strong_weight}
    times = rng.exponential(size=len(candidates)) / np.array([weight[STRENGTH[tag]] for tag in candidates])
    count = rng.binomial(p.indicator_trials, p.indicator_probability)
    chosen = [candidates[i] for i in np.argsort(times)[:count]]
    if recruits:
        heavier = [tag for tag in candidates if STRENGTH[tag] > 1 and tag not in chosen]
        extra = 1 + int(rng.choice(3, p=np.array(p.added) / sum(p.added)))
        chosen += [heavier[i] for i in rng.permutation(len(heavier))[:extra]]
    return chosen


def _counts(tags: list[Indicator]) -> Counts:
    found = Counter(STRENGTH[tag] for tag in tags)
    return found[1], found[2], found[3]


@pytest.mark.parametrize("voice", [Voice.ADVERT, Voice.TOLD])
@pytest.mark.parametrize("recruits", [False, True])
def test_the_table_agrees_with_drawing_tag_by_tag(voice: Voice, recruits: bool) -> None:
    rng = np.random.default_rng(1)
    table = tag_table(P, voice, recruits=recruits)
    seen = Counter(_counts(_naive_tags(rng, P, voice, recruits=recruits)) for _ in range(8_000))
    assert_counts(seen, table)


@given(overlap=st.floats(0, 1), trials=st.integers(1, 14), chance=st.floats(0.01, 0.99), recruits=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_table_is_a_distribution(overlap: float, trials: int, chance: float, recruits: bool) -> None:
    p = replace(P, overlap=overlap, indicator_trials=trials, indicator_probability=chance)
    for voice in Voice:
        assert sum(tag_table(p, voice, recruits=recruits).values()) == pytest.approx(1.0)
        assert sum(own_table(p, voice, distressed=recruits).values()) == pytest.approx(1.0)


def test_benign_texts_keep_the_measured_number_of_indicators() -> None:
    table = tag_table(P, Voice.ADVERT, recruits=False)
    for count in range(9):
        share = sum(v for counts, v in table.items() if sum(counts) == count)
        assert share == pytest.approx(comb(9, count) * 0.34**count * 0.66 ** (9 - count))
    # Volodko, Cockbain and Kleinberg 2019: 98.4 % of 430 job adverts had one or more, 15 % five or more.
    assert 1 - table[0, 0, 0] == pytest.approx(0.976, abs=0.001)
    assert sum(v for counts, v in table.items() if sum(counts) >= 5) == pytest.approx(0.155, abs=0.001)


@pytest.mark.parametrize("recruits", [False, True])
def test_draws_follow_the_tables(recruits: bool) -> None:
    model, draws = SignalModel(P), Draws(5, "signals", int(recruits))
    tags: Counter[Counts] = Counter()
    single: Counter[Indicator] = Counter()
    own: Counter[object] = Counter()
    disturbed = feeling = silent = 0
    n = 8000
    for _ in range(n):
        found = model.draw(draws, Voice.TOLD, TextKind.CASE_NOTE, recruits=recruits, distressed=recruits)
        tags[_counts(list(found.tags))] += 1
        single.update(found.tags)
        own[found.own] += 1
        disturbed += found.obfuscated
        silent += not found.own
        feeling += found.feeling and not found.own
        assert len(set(found.tags)) == len(found.tags)
    assert_counts(tags, tag_table(P, Voice.TOLD, recruits=recruits))
    assert_counts(own, own_table(P, Voice.TOLD, distressed=recruits))
    assert_share(disturbed, n, P.obfuscated_if_positive if recruits else P.obfuscated_if_negative)
    assert_share(feeling, silent, P.feeling)
    for group in by_strength(Voice.TOLD):  # within a strength all tags are alike
        assert_counts({tag: single[tag] for tag in group}, dict.fromkeys(group, 1 / len(group)), spread=1.0)


@pytest.mark.parametrize("recruits", [False, True])
@pytest.mark.parametrize("channel", [Channel.JOB_ADVERT, Channel.CLASSIFIED_AD, Channel.PUBLIC_POST,
                                     Channel.HELPLINE_CALL])
def test_kinds_of_text_follow_their_shares(channel: Channel, recruits: bool) -> None:
    model, draws = SignalModel(P), Draws(6, channel.value, int(recruits))
    seen = Counter(model.kind(draws, channel, recruits=recruits) for _ in range(5000))
    assert_counts(seen, P.text_kinds(channel, recruits=recruits))
    assert sum(P.text_kinds(channel, recruits=recruits).values()) == pytest.approx(1.0)


def test_positive_texts_never_come_in_everyday_kinds() -> None:
    for channel in Channel:
        kinds = P.text_kinds(channel, recruits=True)
        assert {voice_of(channel, kind) for kind in kinds} <= {Voice.ADVERT, Voice.TOLD}
        assert set(kinds) <= set(P.text_kinds(channel, recruits=False))


def test_draws_are_fair_and_their_own() -> None:
    draws = Draws(1, "a")
    assert_counts(Counter(draws.at(cumulated([3, 1, 6])) for _ in range(5000)), {0: 0.3, 1: 0.1, 2: 0.6})
    assert_counts(Counter(draws.below(4) for _ in range(5000)), dict.fromkeys(range(4), 0.25))
    assert_counts(Counter(draws.between(2, 5) for _ in range(5000)), dict.fromkeys(range(2, 6), 0.25))
    assert_counts(Counter(tuple(draws.some("abc", 2)) for _ in range(6000)),
                  {(a, b): 1 / 6 for a in "abc" for b in "abc" if a != b})
    assert_share(sum(draws.chance(0.2) for _ in range(5000)), 5000, 0.2)
    normal = [draws.normal() for _ in range(5000)]
    assert abs(np.mean(normal)) < 0.08
    assert abs(np.std(normal) - 1) < 0.06
    assert sum(draws.dirichlet(0.5, 4)) == pytest.approx(1.0)
    assert [Draws(1, "a").random() for _ in range(2)] == [Draws(1, "a").random()] * 2
    assert len({Draws(seed, name).random() for seed in (1, 2) for name in ("a", "b")}) == 4
    assert Draws(1, "ab", "c").random() != Draws(1, "a", "bc").random()


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300))
def test_cumulated_shares_leave_no_gap(weights: list[float]) -> None:
    ends = cumulated(weights)
    assert ends[-1] == 1.0
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(ends))
