"""Texts from small grammars, one YAML file per language in `languages/`.

A text is a frame, the fragments of its indicator tags and a little ordinary detail, in one of three voices: the
advertiser's (`advert`), the author's own (`post`) and a case worker's shorthand (`told`). `classified` holds frames of
everyday adverts that are not about work.
The same fragments serve benign and positive texts: what differs is how many and how strong, so the two overlap.
To add a language, copy a file and translate it; a test checks its shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np
import yaml

from federation.errors import InputError
from federation.taxonomy import Indicator


class Voice(StrEnum):
    ADVERT = "advert"
    CLASSIFIED = "classified"
    POST = "post"
    TOLD = "told"


STRENGTH: Mapping[Indicator, int] = MappingProxyType({
    # The strength of a tag standing alone, after the ILO/EC operational indicators (2009): weak 1, medium 2, strong 3.
    Indicator.DECEPTIVE_OFFER: 2, Indicator.VAGUE_ROLE: 1, Indicator.UPFRONT_COST_DEBT: 2,
    Indicator.ARRANGED_TRAVEL_HOUSING: 1, Indicator.DOCUMENT_CONTROL: 3, Indicator.PRIVATE_CHANNEL_MOVE: 1,
    Indicator.PRESSURE_SECRECY: 2, Indicator.PROFILE_TARGETING: 2, Indicator.VULNERABILITY_APPEAL: 2,
    Indicator.CONTROL_ISOLATION: 3, Indicator.THREAT_VIOLENCE: 3, Indicator.WAGE_OVERWORK: 3,
})
"""Recruitment and exploitation tags. `distress_help` is context, `templated_campaign` is not in a text."""

WEAK, MEDIUM = 1, 2
ZERO_WIDTH = "\u200b"


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language's word lists. `frames`, `details` and `feelings` are by voice, `tags` by voice and indicator."""

    code: str
    slots: Mapping[str, tuple[str, ...]]
    frames: Mapping[Voice, tuple[str, ...]]
    details: Mapping[Voice, tuple[str, ...]]
    feelings: Mapping[Voice, tuple[str, ...]]
    contact: tuple[str, ...]
    tags: Mapping[Voice, Mapping[Indicator, tuple[str, ...]]]


def languages() -> tuple[str, ...]:
    """Codes of all languages that have a file, sorted."""
    folder = files("simulations.world") / "languages"
    return tuple(sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")))


def _voices(lists: Mapping[str, Sequence[str]]) -> Mapping[Voice, tuple[str, ...]]:
    return MappingProxyType({Voice(voice): tuple(texts) for voice, texts in lists.items()})


@cache
def load_language(code: str) -> Language:
    """Read `languages/<code>.yaml`.

    Raises:
        InputError: if there is no such file or it lacks a part.
    """
    if code not in languages():
        raise InputError("language", f"{code} has no grammar", bound=", ".join(languages()),
                         remedy="add simulations/world/languages/<code>.yaml")
    raw = yaml.safe_load((files("simulations.world") / "languages" / f"{code}.yaml").read_text(encoding="utf-8"))
    try:
        tags = {
            Voice(voice): MappingProxyType({Indicator(tag): tuple(texts) for tag, texts in by_tag.items()})
            for voice, by_tag in raw["tags"].items()
        }
        return Language(
            code=code,
            slots=MappingProxyType({"job": tuple(raw["jobs"]), "place": tuple(raw["places"]),
                                    "when": tuple(raw["whens"])}),
            frames=_voices(raw["frames"]), details=_voices(raw["details"]), feelings=_voices(raw["feelings"]),
            contact=tuple(raw["contact"]), tags=MappingProxyType(tags))
    except (KeyError, ValueError, AttributeError) as error:
        raise InputError(f"languages/{code}.yaml", f"lacks or misnames {error}",
                         remedy="compare with en.yaml") from error


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of `options`, each equally likely."""
    return options[int(rng.integers(len(options)))]


def recruitment_tags(language: Language, voice: Voice) -> tuple[Indicator, ...]:
    """The tags with a strength that this voice can express, in the order of the taxonomy."""
    spoken = language.tags[Voice.TOLD if voice is Voice.TOLD else Voice.ADVERT]
    return tuple(tag for tag in Indicator if tag in STRENGTH and tag in spoken)


def compose(rng: np.random.Generator, language: Language, voice: Voice, *, tags: Sequence[Indicator],
            distress: Sequence[Indicator], feeling: bool, contact: bool) -> str:
    """One text.

    Args:
        tags: recruitment or exploitation tags, told in the advertiser's or the case worker's voice.
        distress: tags told in the author's or the case worker's voice.
        feeling: whether an everyday worry or joy is mentioned: the ordinary look-alike of distress.
        contact: whether invented contact details are given.
    """
    offer, own = (Voice.TOLD, Voice.TOLD) if voice is Voice.TOLD else (Voice.ADVERT, Voice.POST)
    plain = Voice.POST if voice is Voice.CLASSIFIED else voice
    parts = [pick(rng, language.tags[offer][tag]) for tag in tags]
    parts += [pick(rng, language.tags[own][tag]) for tag in distress]
    if feeling:
        parts.append(pick(rng, language.feelings[own]))
    if len(parts) < 4:  # longer texts leave no room for small talk
        parts += [pick(rng, language.details[plain]) for _ in range(int(rng.integers(3)))]
    parts = list(dict.fromkeys(parts))
    order = rng.permutation(len(parts))
    sentence = [pick(rng, language.frames[voice]), *(parts[i] for i in order)]
    if contact:
        sentence.append(pick(rng, language.contact))
    joint = ". " if voice is Voice.TOLD or rng.random() < 0.3 else ", "
    text = joint.join(part if joint == ", " else part[:1].upper() + part[1:] for part in sentence)
    return _fill(rng, language, text)


def _fill(rng: np.random.Generator, language: Language, text: str) -> str:
    values = {slot: pick(rng, options) for slot, options in language.slots.items()}
    number = int(rng.integers(2, 40))
    tail = int(rng.integers(100))
    # example.org is reserved by RFC 2606; 555-01xx and 07700 900xxx are kept for fiction by the numbering authorities.
    phone = f"+1 202 555 01{tail:02d}" if rng.random() < 0.5 else f"+44 7700 9001{tail:02d}"
    return text.format(**values, n=number, email=f"contact{number}.{tail}@example.org", phone=phone,
                       handle=f"@invented_{number}{tail}")


def obfuscate(rng: np.random.Generator, text: str) -> str:
    """Disturb one to three words by a zero-width space, spaced letters or a doubled letter.

    Random noise in the place of any real evasion habit: it tests normalisation and teaches nothing.
    """
    words = text.split(" ")
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(words)))
        word = words[at]
        if len(word) < 4 or "@" in word or word[0] == "+" or word.isdigit():
            continue
        cut = int(rng.integers(1, len(word) - 1))
        way = int(rng.integers(3))
        words[at] = (word[:cut] + ZERO_WIDTH + word[cut:], " ".join(word), word[:cut] + word[cut - 1] + word[cut:])[way]
    return " ".join(words)
