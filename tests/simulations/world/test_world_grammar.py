"""Every language file has the same shape, so that adding one is copying and translating."""

from __future__ import annotations

import string

import numpy as np
import pytest

from federation.errors import InputError
from federation.taxonomy import Indicator
from simulations.world.grammar import (
    STRENGTH,
    ZERO_WIDTH,
    Language,
    Voice,
    compose,
    languages,
    load_language,
    obfuscate,
    recruitment_tags,
)

OWN_VOICE = {Indicator.CONTROL_ISOLATION, Indicator.THREAT_VIOLENCE, Indicator.WAGE_OVERWORK, Indicator.DISTRESS_HELP}
SLOTS = {"job", "place", "when", "n", "email", "phone", "handle"}


def _texts(language: Language) -> list[str]:
    plain = [*language.contact]
    for by_voice in (language.frames, language.details, language.feelings):
        plain += [text for texts in by_voice.values() for text in texts]
    return plain + [text for tags in language.tags.values() for texts in tags.values() for text in texts]


@pytest.mark.parametrize("code", languages())
def test_a_language_is_complete(code: str) -> None:
    language = load_language(code)
    assert language.code == code
    assert set(language.tags[Voice.TOLD]) == {*STRENGTH, Indicator.DISTRESS_HELP}
    assert set(language.tags[Voice.ADVERT]) == set(STRENGTH) - {Indicator.THREAT_VIOLENCE}
    assert set(language.tags[Voice.POST]) == OWN_VOICE
    assert set(language.frames) == set(Voice)
    assert set(language.details) == {Voice.ADVERT, Voice.POST, Voice.TOLD}
    assert set(language.feelings) == {Voice.POST, Voice.TOLD}
    for tags in language.tags.values():
        assert all(len(texts) >= 3 and len(set(texts)) == len(texts) for texts in tags.values())
    for text in _texts(language):
        assert {field for _, field, _, _ in string.Formatter().parse(text) if field} <= SLOTS


def test_the_brief_languages_are_there() -> None:
    assert {"en", "es", "fr", "ro"} <= set(languages())


@pytest.mark.parametrize("code", languages())
@pytest.mark.parametrize("voice", list(Voice))
def test_composed_texts_have_no_open_slot(code: str, voice: Voice) -> None:
    rng, language = np.random.default_rng(1), load_language(code)
    tags = recruitment_tags(language, voice) if voice is not Voice.CLASSIFIED else ()
    for _ in range(30):
        text = compose(rng, language, voice, tags=tags[:3], distress=(), feeling=voice in (Voice.POST, Voice.TOLD),
                       contact=True)
        assert text.strip()
        assert not set(text) & set("{}")


def test_obfuscation_keeps_the_letters() -> None:
    rng = np.random.default_rng(2)
    text = "please message us privately at anna@example.org or +1 202 555 0101"
    changed = [obfuscate(rng, text) for _ in range(100)]
    assert any(ZERO_WIDTH in other for other in changed)
    assert all("anna@example.org" in other and "+1 202 555 0101" in other for other in changed)


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="no grammar"):
        load_language("../en")
