"""Texts that are not of a campaign are no near-copies of one another, in any language.

Measured by character 5-grams: the Jaccard similarity of a text and its nearest other one. A grammar with one frame, or
without details, fails.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer

from simulations.world import Parameters, SyntheticWorld, grammar
from simulations.world.grammar import Language, Voice, languages, load_language
from simulations.world.partners import DEFAULT_PARTNERS

_TEXTS = 400
# One half of the texts may have a neighbour this near: short ones share a frame, and a file has few of each.
_MEDIAN, _NEAR, _NEAR_SHARE = 0.50, 0.80, 0.12


def _texts(code: str) -> list[str]:
    partners = tuple(replace(p, people=200, languages=(code,), uncovered_languages=())
                     for p in DEFAULT_PARTNERS if p.name in ("platform-jobs", "ngo-outreach", "agency-helpline"))
    world = SyntheticWorld(seed=8, parameters=Parameters(partners=partners, bad_rows=0.0))
    found = [[draft.row["text"] for draft in world.stream(p.name) if draft.origin is None] for p in partners]
    return [text for texts in found for text in texts[:_TEXTS // 3]]


def _nearest(texts: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Similarity of each text to the most similar other one."""
    grams = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True).fit_transform(texts).astype(np.float64)
    shared = (grams @ grams.T).toarray()
    sizes = np.diag(shared)
    similar = shared / (sizes[:, None] + sizes[None, :] - shared)
    np.fill_diagonal(similar, 0.0)
    return similar.max(axis=1)


def _varied(texts: list[str]) -> bool:
    found = _nearest(texts)
    return bool(np.median(found) < _MEDIAN and (found > _NEAR).mean() < _NEAR_SHARE)


@pytest.mark.parametrize("code", languages())
def test_texts_are_no_near_copies(code: str) -> None:
    assert _varied(_texts(code)), (code, np.median(_nearest(_texts(code))), (_nearest(_texts(code)) > _NEAR).mean())


@cache
def _poor(code: str) -> Language:
    """A mutant: one frame of each kind, one fragment of each tag, one place, one day, no details."""
    whole = _WHOLE[code]
    return replace(
        whole, slots={slot: options[:1] for slot, options in whole.slots.items()},
        frames={voice: {kind: texts[:1] for kind, texts in kinds.items()} for voice, kinds in whole.frames.items()},
        tags={voice: {tag: texts[:2] for tag, texts in tags.items()} for voice, tags in whole.tags.items()},
        details={voice: texts[:1] for voice, texts in whole.details.items()})


_WHOLE = {code: load_language(code) for code in languages()}


@pytest.mark.parametrize("code", languages())
def test_a_grammar_with_one_frame_would_be_noticed(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulations.world.people.load_language", _poor)
    assert not _varied(_texts(code))


def test_naive_similarity_agrees() -> None:
    def grams(text: str) -> set[str]:
        return {text.lower()[i:i + 5] for i in range(len(text) - 4)}

    texts = _texts("en")[:40]
    naive = [max(len(grams(a) & grams(b)) / len(grams(a) | grams(b)) for j, b in enumerate(texts) if j != i)
             for i, a in enumerate(texts)]
    assert _nearest(texts) == pytest.approx(naive, abs=0.02)  # the vectoriser folds runs of spaces


def test_campaign_texts_are_near_copies() -> None:
    partner = replace(DEFAULT_PARTNERS[0], people=900)
    world = SyntheticWorld(seed=8, parameters=Parameters(partners=(partner,), bad_rows=0.0))
    texts = [draft.row["text"] for draft in world.stream(partner.name) if draft.origin is not None]
    assert np.median(_nearest(texts)) > 0.7


def test_voices_without_tags_have_other_sources_of_variety() -> None:
    for code in languages():
        language = load_language(code)
        assert len(language.frames[Voice.POST][grammar.TextKind.EVERYDAY_POST]) >= 5
        assert len(language.slots["job"]) >= 10
