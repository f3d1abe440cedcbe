"""Campaigns: how much comes from templates, how large they are, and who knows them."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date
from functools import cache

import pytest

from federation.taxonomy import PartnerKind, RegionRole, Task
from simulations.world import Parameters, SyntheticWorld
from simulations.world.drafts import Draft
from simulations.world.profiles import account_count
from tests.simulations.world.bounds import assert_counts, assert_share

P = Parameters()
SPEC = P.campaigns
# A platform with enough positives, so that shares can be told from luck.
PLATFORM = replace(P.partners[2], prevalence=0.2, languages=("en", "es"))
WORLD = SyntheticWorld(seed=21, parameters=replace(P, bad_rows=0.0, partners=(replace(PLATFORM, people=8_000),)))


@cache
def _drafts() -> tuple[Draft, ...]:
    return tuple(WORLD.stream(PLATFORM.name))


@cache
def _campaigns() -> dict[str, list[Draft]]:
    found: dict[str, list[Draft]] = defaultdict(list)
    for draft in _drafts():
        if draft.origin is not None:
            found[draft.origin.campaign].append(draft)
    return dict(found)


@pytest.mark.parametrize("positive", [True, False])
def test_the_share_of_records_from_templates(positive: bool) -> None:
    drafts = [draft for draft in _drafts() if draft.truth[Task.RECRUITMENT] is positive]
    share = SPEC.share_of_positives if positive else SPEC.share_of_negatives
    # Records come in campaigns of 11 on average with a long tail: a design effect of about 40.
    assert_share(sum(draft.origin is not None for draft in drafts), len(drafts), share, spread=6.5)


def test_campaigns_do_not_add_to_the_prevalence() -> None:
    flat = replace(P, region_spread=0.0, bad_rows=0.0)
    for campaigns in (SPEC, replace(SPEC, share_of_positives=0.0, share_of_negatives=0.0)):
        world = SyntheticWorld(seed=5, parameters=replace(
            flat, campaigns=campaigns, partners=(replace(PLATFORM, people=6_000),)))
        masses = world.profile(PLATFORM.name).masses
        positive = sum(mass for (_, true), mass in masses.items() if true) / sum(masses.values())
        # A recruiting author's other records are not positive: 0.2 of the people, 0.85 of their records.
        assert positive == pytest.approx(0.2 * 0.85, abs=0.012)


def test_sizes_follow_zipf_between_their_ends() -> None:
    sizes = Counter(len(records) for records in list(_campaigns().values())[:-1])  # the last may lack room
    assert min(sizes) >= SPEC.smallest
    assert max(sizes) <= SPEC.largest
    weights = {size: size ** -SPEC.exponent for size in range(SPEC.smallest, SPEC.largest + 1)}
    assert_counts(sizes, {size: weight / sum(weights.values()) for size, weight in weights.items()})


def test_accounts_regions_and_days_are_few() -> None:
    for records in list(_campaigns().values())[:-1]:
        accounts = Counter(draft.row["person"] for draft in records)
        assert len(accounts) in {account_count(len(records), drawn, P.records_cap) for drawn in range(2, 6)}
        assert max(accounts.values()) <= P.records_cap
        days = {date.fromisoformat(draft.row["observed_at"]) for draft in records}
        assert (max(days) - min(days)).days < SPEC.days[1]
        assert len({draft.language for draft in records}) == 1
        assert len({draft.row["region_observed"] for draft in records} - {""}) <= SPEC.regions[1]
        assert len({draft.truth[Task.RECRUITMENT] for draft in records}) == 1
        assert len({draft.row["channel"] for draft in records}) == 1


def test_texts_of_a_campaign_differ_in_their_slots_alone() -> None:
    different = 0
    for records in _campaigns().values():
        plain = [draft.row["text"] for draft in records if not draft.signals.obfuscated]
        assert len({draft.signals.tags for draft in records}) == 1
        different += len(set(plain)) > 1
    assert different > 0.9 * len(_campaigns())


def test_most_templates_are_held_out_and_their_records_are_never_labelled() -> None:
    for positive, count in ((True, SPEC.positive_templates), (False, SPEC.benign_templates)):
        templates = WORLD.templates.positive if positive else WORLD.templates.benign
        assert len({template.name for template in templates}) == count
        assert sum(not template.seen for template in templates) == round(count * SPEC.held_out)
    labelled: Counter[bool] = Counter()
    for draft in _drafts():
        if draft.origin is None:
            continue
        row = draft.row
        has = any(row[f"label_{task.value}"] for task in Task)
        labelled[draft.origin.seen] += has
        assert draft.origin.seen or not (has or row["weak_labels"] or row["indicator_vague_role"])
    assert labelled[True] > 0
    assert labelled[False] == 0


def test_templates_belong_to_the_world_and_campaigns_to_a_partner() -> None:
    world = SyntheticWorld(seed=2, records=40_000)
    names: dict[str, set[str]] = {}
    for partner in world.partners:
        origins = {draft.origin for draft in world.stream(partner.name)} - {None}
        assert bool(origins) is (partner.kind is PartnerKind.PLATFORM)
        names[partner.name] = {origin.template for origin in origins if origin is not None}
        assert all(origin.campaign.startswith(partner.name) for origin in origins if origin is not None)
    assert names["platform-jobs"] & names["platform-social"]


def test_positive_campaigns_are_where_the_effects_are() -> None:
    effects = WORLD.effects[Task.RECRUITMENT][RegionRole.OBSERVED]
    found: dict[bool, list[float]] = {True: [], False: []}
    for records in _campaigns().values():
        regions = {draft.row["region_observed"] for draft in records} - {""}
        found[records[0].truth[Task.RECRUITMENT]] += [effects[region] for region in regions]
    means = {positive: sum(values) / len(values) for positive, values in found.items()}
    assert means[True] > means[False] + P.region_spread**2 / 3


def test_templates_come_and_go() -> None:
    names = [{template.name for template in SyntheticWorld(seed=2, quarter=quarter).templates.positive}
             for quarter in range(6)]
    for now, later in itertools.pairwise(names):
        assert 5 <= len(later - now) <= 8  # a quarter of 27
        assert len(now) == len(later)
    assert not names[0] & names[4]
