"""The ceiling: exact, in bounds at every setting, agreed with by drawing, and not passed by what learns from texts."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from federation.taxonomy import Task
from simulations.world import Parameters, SyntheticWorld
from simulations.world.bayes import BayesReader, ceiling
from simulations.world.drafts import Draft
from simulations.world.parameters import CampaignParameters
from simulations.world.partners import DEFAULT_PARTNERS, some_partners
from tests.simulations.world.bounds import assert_share

DEFAULT_OVERLAP = Parameters().overlap


@cache
def _auc(task: Task, overlap: float, seed: int = 1, partners: int = 8) -> float:
    parameters = Parameters(overlap=overlap, partners=some_partners(partners))
    return ceiling(SyntheticWorld(seed=seed, parameters=parameters), task)


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("overlap", [0.0, DEFAULT_OVERLAP, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_ceiling_is_between_90_and_95_in_a_hundred(task: Task, overlap: float, seed: int) -> None:
    assert 0.90 <= _auc(task, overlap, seed) <= 0.95


@pytest.mark.parametrize("task", list(Task))
def test_more_overlap_means_a_lower_ceiling(task: Task) -> None:
    found = [_auc(task, overlap) for overlap in (0.0, DEFAULT_OVERLAP, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] - found[-1] > 0.02


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("partners", [3, 4, 5, 8, 20])
def test_no_setting_comes_near_certainty(task: Task, partners: int) -> None:
    world = SyntheticWorld(seed=1, parameters=Parameters(overlap=0.0, partners=some_partners(partners)))
    assert ceiling(world, task) < 0.95
    # Of all partners' records together, which differ in prevalence and in voice.
    assert BayesReader(world).auc(task) < 0.97
    for partner in world.partners:
        if task in partner.declared_prevalence:
            assert BayesReader(world, [partner.name]).auc(task) < 0.98


def _drawn(world: SyntheticWorld, task: Task) -> list[Draft]:
    return [draft for p in world.parameters.partners if task in p.declared_prevalence
            for draft in world.stream(p.name)]


@pytest.mark.parametrize("task", list(Task))
def test_drawing_agrees_with_the_exact_figure(task: Task) -> None:
    # Without campaigns, whose texts are few and repeated: their luck is not that of single texts.
    alone = CampaignParameters(share_of_positives=0.0, share_of_negatives=0.0)
    world = SyntheticWorld(seed=3, records=12_000, parameters=Parameters(campaigns=alone))
    reader = BayesReader(world)
    drafts = _drawn(world, task)
    truth = np.array([draft.truth[task] for draft in drafts])
    scores = np.clip([reader.score(draft, task) for draft in drafts], -1e9, 1e9)
    positives, negatives = truth.sum(), (~truth).sum()
    error = math.sqrt(0.25 * (1 / positives + 1 / negatives) / 3)  # at most, for independent records
    assert roc_auc_score(truth, scores) == pytest.approx(reader.auc(task), abs=4.9 * error)


@pytest.mark.parametrize("task", list(Task))
def test_scores_are_calibrated(task: Task) -> None:
    world = SyntheticWorld(seed=4, records=12_000)
    reader = BayesReader(world)
    found = [(reader.score(draft, task), draft.truth[task]) for draft in _drawn(world, task) if draft.origin is None]
    for low, high in ((-9, -3), (-3, -1), (-1, 1), (1, 3), (3, 9)):
        part = [(1 / (1 + math.exp(-score)), truth) for score, truth in found if low <= score < high]
        # People write several records and share places, so the spread is wider than that of independent ones.
        assert_share(sum(truth for _, truth in part), len(part), float(np.mean([p for p, _ in part])), spread=1.6)


def test_the_figure_is_what_a_list_of_all_pairs_gives() -> None:
    # A naive twin where few states are possible: every pair of them, one after another.
    partner = replace(DEFAULT_PARTNERS[4], languages=("en",), uncovered_languages=())
    world = SyntheticWorld(seed=1, parameters=Parameters(partners=(partner,), indicator_trials=1))
    reader = BayesReader(world)
    scored = [(p, n, round(p / (p + n), 12)) for p, n in zip(*map(list, reader.masses(Task.DISTRESS)), strict=True)]
    won = sum(p * n * ((s > t) + (s == t) / 2) for p, _, s in scored for _, n, t in scored)
    pairs = sum(p for p, _, _ in scored) * sum(n for _, n, _ in scored)
    assert reader.auc(Task.DISTRESS) == pytest.approx(won / pairs, abs=1e-9)


def test_what_cannot_be_is_told_apart() -> None:
    world = SyntheticWorld(seed=1, size="tiny")
    reader = BayesReader(world)
    everyday = next(d for d in world.stream("platform-jobs") if d.signals.kind.value.startswith("everyday"))
    assert reader.score(everyday, Task.RECRUITMENT) == -math.inf


def test_disturbed_spelling_counts_as_evidence_by_its_two_shares() -> None:
    world = SyntheticWorld(seed=1, size="tiny")
    reader, p = BayesReader(world), world.parameters
    draft = next(d for d in world.stream("ngo-legal") if d.signals.tags)
    plain, disturbed = (draft._replace(signals=draft.signals._replace(obfuscated=seen)) for seen in (False, True))
    odds = math.log(p.obfuscated_if_positive / p.obfuscated_if_negative * (1 - p.obfuscated_if_negative)
                    / (1 - p.obfuscated_if_positive))
    assert reader.score(disturbed, Task.RECRUITMENT) - reader.score(plain, Task.RECRUITMENT) == pytest.approx(odds)
