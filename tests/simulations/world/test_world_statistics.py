"""The records against the parameters they were drawn with, each by a bound that a right generator keeps.

One fixed seed, one world of 30,000 records; chance alone would break a bound once in a million such tests.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import groupby

import numpy as np
import pytest

from federation.taxonomy import Channel, PartnerKind, Provenance, RegionRole, Task
from simulations.world import Parameters, SyntheticWorld
from simulations.world.drafts import Draft
from simulations.world.grammar import TextKind
from simulations.world.profiles import covered_regions
from tests.simulations.world.bounds import assert_counts, assert_share

P = Parameters(bad_rows=0.005)
WORLD = SyntheticWorld(seed=17, records=30_000, parameters=P)
NAMES = tuple(p.name for p in P.partners)
KINDS = list(PartnerKind)


@cache
def _all(name: str) -> tuple[Draft, ...]:
    return tuple(WORLD.stream(name))


def _of(kind: PartnerKind) -> list[Draft]:
    return [draft for p in P.partners if p.kind is kind for draft in _all(p.name)]


def _alone(name: str) -> list[Draft]:
    return [draft for draft in _all(name) if draft.origin is None]


def test_about_as_many_records_as_asked_for() -> None:
    found = sum(len(_all(name)) for name in NAMES)
    assert found == pytest.approx(30_000, rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_prevalence(name: str) -> None:
    profile = WORLD.profile(name)
    expected = sum(mass for (_, true), mass in profile.masses.items() if true) / sum(profile.masses.values())
    drafts = _all(name)
    positive = sum(draft.truth[Task.RECRUITMENT] for draft in drafts)
    # Records of one person, and of one campaign, are alike: a design effect of about 25 on platforms.
    assert_share(positive, len(drafts), expected, spread=5.0 if profile.platform else 1.3)


@pytest.mark.parametrize("name", NAMES)
def test_distress(name: str) -> None:
    profile = WORLD.profile(name)
    for recruits in (True, False):
        drafts = [d for d in _alone(name) if d.truth[Task.RECRUITMENT] is recruits
                  and d.signals.kind in (TextKind.EVERYDAY_POST, TextKind.CASE_NOTE)]
        if not drafts:
            continue
        weights = [share * (rate if recruits else 1 - rate * profile.advertises) for share, rate in zip(
            profile.place_shares, profile.recruiting, strict=True)]
        expected = sum(w * rate for w, rate in zip(weights, profile.distress[recruits], strict=True)) / sum(weights)
        assert_share(sum(d.truth[Task.DISTRESS] for d in drafts), len(drafts), expected, spread=1.6)
    assert not any(d.truth[Task.DISTRESS] for d in _all(name) if d.origin is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_share(kind: PartnerKind) -> None:
    own = P.kinds[kind]
    drafts = [d for d in _of(kind) if d.origin is None or d.origin.seen]
    missing = sum(d.row["label_recruitment"] in ("", "unverified") for d in drafts)
    negative = sum(not d.truth[Task.RECRUITMENT] for d in drafts) / len(drafts)
    # A labelled negative may be recorded as unverified too.
    labelled_unverified = (1 - own.unlabelled) * negative * (1 - own.false_alarm) * own.other_answers / 3
    assert_share(missing, len(drafts), own.unlabelled + labelled_unverified)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", list(Task))
def test_label_noise(kind: PartnerKind, task: Task) -> None:
    own = P.kinds[kind]
    labelled = [d for d in _of(kind) if d.row[f"label_{task.value}"] in ("positive", "negative")]
    positives = [d for d in labelled if d.truth[task]]
    negatives = [d for d in labelled if not d.truth[task]]
    seen = [sum(d.row[f"label_{task.value}"] == "positive" for d in part) for part in (positives, negatives)]
    assert_share(seen[0], len(positives), 1 - own.missed)
    # Other answers are taken from the negatives that are labelled right.
    alarm = own.false_alarm / (own.false_alarm + (1 - own.false_alarm) * (1 - own.other_answers))
    assert_share(seen[1], len(negatives), alarm)


@pytest.mark.parametrize("kind", KINDS)
def test_other_answers_and_provenance(kind: PartnerKind) -> None:
    values = Counter(d.row["label_recruitment"] for d in _of(kind))
    others = {values[value] > 0 for value in ("unrelated", "general_information")}
    assert others == {P.kinds[kind].other_answers > 0}
    sources = Counter(d.row["label_recruitment_provenance"] for d in _of(kind) if d.row["label_recruitment"])
    assert len(sources) == 2
    assert_counts(sources, dict.fromkeys(sources, 0.5))
    assert Provenance.WEAK.value not in sources  # training would take it for a full label


def test_weak_votes() -> None:
    for name in NAMES:
        profile = WORLD.profile(name)
        open_rows = [d for d in _all(name) if not d.row["label_recruitment"] and not d.row["label_distress"]
                     and (d.origin is None or d.origin.seen)]
        votes = [(json.loads(d.row["weak_labels"])[0]["vote"], d.truth[Task.RECRUITMENT]) for d in open_rows
                 if d.row["weak_labels"]]
        if not profile.platform:
            assert not votes
            continue
        assert P.weak_precision[0] <= profile.weak_precision <= P.weak_precision[1]
        assert_share(len(votes), len(open_rows), P.weak_coverage)
        for truth, share in ((True, P.weak_recall), (False, profile.weak_false)):
            assert_share(sum(vote == 1 for vote, true in votes if true is truth),
                         sum(true is truth for _, true in votes), share)
        ahead = [true for vote, true in votes if vote == 1]
        # The number of positives themselves varies with the campaigns.
        assert_share(sum(ahead), len(ahead), profile.weak_precision, spread=2.5)
        assert not any(d.row["weak_labels"] for d in _all(name) if d.row["label_recruitment"])


@pytest.mark.parametrize("kind", KINDS)
def test_known_places(kind: PartnerKind) -> None:
    own, drafts = P.kinds[kind], [d for d in _of(kind) if d.bad != "unknown region"]
    known = {role: sum(bool(d.row[f"region_{role.value}"]) for d in drafts) for role in RegionRole}
    both = sum(bool(d.row["region_origin"] and d.row["region_destination"]) for d in drafts)
    assert_share(both, len(drafts), own.knows_both)
    assert_share(known[RegionRole.ORIGIN], len(drafts), own.knows_origin)
    assert_share(known[RegionRole.DESTINATION], len(drafts), own.knows_destination)
    assert_share(known[RegionRole.OBSERVED], len(drafts), own.knows_observed)
    assert_share(known[RegionRole.TRANSIT], len(drafts), own.knows_transit)


@pytest.mark.parametrize("name", NAMES)
def test_places_and_corridors(name: str) -> None:
    # Of people who act alone, each counted once; both ends as drawn, whether or not the row gives them.
    profile = WORLD.profile(name)
    expected: Counter[tuple[str, str]] = Counter()
    for places, share in zip(profile.places, profile.place_shares, strict=True):
        expected[places[RegionRole.ORIGIN], places[RegionRole.DESTINATION]] += share
    seen: Counter[tuple[str, str]] = Counter()
    for _, records in groupby(_alone(name), key=lambda d: d.row["person"]):
        for draft in records:
            ends = draft.row["region_origin"], draft.row["region_destination"]
            if all(ends):
                seen[ends] += 1
                break
    assert_counts(seen, expected)
    assert sum(profile.place_shares) == pytest.approx(1.0)


def test_corridors_stand_out_and_are_lognormal() -> None:
    logs = []
    for seed in range(60):
        routes = SyntheticWorld(seed=seed).corridors
        assert len({(r.origin, r.destination) for r in routes}) == P.corridors
        assert all(r.origin != r.destination for r in routes)
        logs += [math.log(r.volume) for r in routes]
    assert abs(np.mean(logs)) < 5 * P.corridor_spread / math.sqrt(len(logs))
    assert np.std(logs) == pytest.approx(P.corridor_spread, rel=0.12)
    table, true = WORLD.truth()["corridors"], {(r.origin, r.destination) for r in WORLD.corridors}
    on, off = [], []
    for origin in P.regions:
        for destination in set(P.regions) - {origin}:
            count = sum(table.get(origin, {}).get(destination, {"": 0}).values())
            (on if (origin, destination) in true else off).append(count)
    assert np.mean(on) > 2.5 * np.mean(off)


def test_same_region_share_where_there_are_no_corridors() -> None:
    # With one shared place distribution, origin and destination meet by chance as well.
    world = SyntheticWorld(seed=3, parameters=replace(P, corridor_share=0.0, outside_coverage=0.0))
    profile = world.profile("agency-helpline")
    reach: Counter[str] = Counter()
    same = 0.0
    for places, share in zip(profile.places, profile.place_shares, strict=True):
        reach[places[RegionRole.DESTINATION]] += share
        same += share * (places[RegionRole.ORIGIN] == places[RegionRole.DESTINATION])
    chance = sum(share**2 for share in reach.values())
    assert same == pytest.approx(P.same_region + (1 - P.same_region) * chance)


@pytest.mark.parametrize("name", NAMES)
def test_languages(name: str) -> None:
    profile = WORLD.profile(name)
    people = Counter(next(records).language for _, records in groupby(_alone(name), key=lambda d: d.row["person"]))
    assert_counts(people, dict(zip(profile.languages, profile.language_shares, strict=True)))
    uncovered = len(profile.partner.uncovered_languages)
    assert sum(profile.language_shares[len(profile.languages) - uncovered:]) == pytest.approx(
        P.uncovered_share if uncovered else 0.0)
    given = sum(bool(d.row["language"]) for d in _all(name))
    assert_share(given, len(_all(name)), profile.kind.language_given)


@pytest.mark.parametrize("name", NAMES)
def test_records_of_a_person_and_channels(name: str) -> None:
    profile = WORLD.profile(name)
    sizes = Counter(len(list(records)) for _, records in groupby(_alone(name), key=lambda d: d.row["person"]))
    assert_counts(sizes, dict(zip(profile.records, profile.record_shares, strict=True)))
    channels = Counter(Channel(d.row["channel"]) for d in _alone(name))
    assert_counts(channels, profile.partner.channels)


@pytest.mark.parametrize("kind", KINDS)
def test_hard_negatives(kind: PartnerKind) -> None:
    for recruits in (True, False):
        expected: Counter[TextKind] = Counter()
        seen: Counter[TextKind] = Counter()
        for p in P.partners:
            own = [d for d in _alone(p.name) if d.truth[Task.RECRUITMENT] is recruits] if p.kind is kind else []
            seen.update(d.signals.kind for d in own)
            for channel, share in p.channels.items():
                for text_kind, part in P.text_kinds(channel, recruits=recruits).items():
                    expected[text_kind] += len(own) * share * part
        assert_counts(seen, {text_kind: mass / sum(expected.values()) for text_kind, mass in expected.items()},
                      spread=1.5)
        assert seen[TextKind.MIGRANT_JOB]
        assert seen[TextKind.ADULT_SERVICES] or kind is PartnerKind.PLATFORM


def test_disturbed_spelling_contacts_and_bad_rows() -> None:
    drafts = [d for name in NAMES for d in _all(name)]
    for recruits, share in ((True, P.obfuscated_if_positive), (False, P.obfuscated_if_negative)):
        part = [d for d in drafts if d.truth[Task.RECRUITMENT] is recruits]
        assert_share(sum(d.signals.obfuscated for d in part), len(part), share)
    assert_share(sum(bool(d.bad) for d in drafts), len(drafts), P.bad_rows)
    told = [d for d in drafts if d.origin is None and d.bad != "empty text" and not d.signals.obfuscated]
    contact = sum(any(mark in d.row["text"] for mark in ("@", "+1 202 555", "+44 7700")) for d in told)
    assert_share(contact, len(told), P.contact_share)


def test_region_effects_are_a_permutation_of_fixed_sizes() -> None:
    for effects in WORLD.effects.values():
        sizes = [sorted(by.values()) for by in effects.values()]
        assert sizes[0] == pytest.approx(sizes[1])
        assert abs(sum(sizes[0])) < 1e-9
        # Quantiles of a normal distribution have a little less than its spread.
        assert np.std(sizes[0]) == pytest.approx(P.region_spread, rel=0.15)


def test_region_skew() -> None:
    # Dirichlet of concentration a over n parts: E[sum of squares] = (a + 1) / (n a + 1).
    squares = []
    for seed in range(150):
        profile = SyntheticWorld(seed=seed).profile("agency-helpline")
        reach: Counter[str] = Counter()
        for places, share in zip(profile.places, profile.place_shares, strict=True):
            reach[places[RegionRole.DESTINATION]] += share
        squares.append(sum(share**2 for share in reach.values()))
    a, n = P.region_concentration, len(P.regions)
    assert np.mean(squares) == pytest.approx((a + 1) / (n * a + 1), abs=4.9 * np.std(squares) / math.sqrt(150))


def test_origins_outside_the_coverage_are_few() -> None:
    partner = next(p for p in P.partners if p.name == "ngo-shelter")
    inside = set(covered_regions(P, partner))
    profile = WORLD.profile(partner.name)
    outside = sum(share for places, share in zip(profile.places, profile.place_shares, strict=True)
                  if places[RegionRole.ORIGIN] not in inside)
    assert outside == pytest.approx(P.outside_coverage * (1 - len(inside) / len(P.regions)))
