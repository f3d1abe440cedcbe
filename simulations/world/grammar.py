"""Word lists for invented texts: one YAML file per language in `languages/`.

A text is a frame, the fragments of its indicator tags and a little ordinary detail, in one of four voices. The same
frames and fragments serve benign and positive texts: what differs is how often they are drawn, so the two overlap.
To add a language, copy a file and translate it: nothing else names the languages. A test checks its shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml

from federation.errors import InputError
from federation.taxonomy import Indicator

FOLDER = files("simulations.world") / "languages"


class Voice(StrEnum):
    ADVERT = "advert"
    """Of someone who offers work."""
    CLASSIFIED = "classified"
    """Of someone who sells, lets or teaches."""
    POST = "post"
    """Of somebody about themselves."""
    TOLD = "told"
    """The shorthand of a call-taker or case worker."""


class TextKind(StrEnum):
    """What a text is about, by its frame alone. None of them says whether a record is a true positive."""

    JOB_OFFER = "job_offer"
    MIGRANT_JOB = "migrant_job"
    """Work abroad with travel, permit or lodging: lawful far more often than not. A hard negative where benign."""
    ADULT_SERVICES = "adult_services"
    """An independent adult's own work. A hard negative where benign: being about it proves nothing."""
    EVERYDAY_ADVERT = "everyday_advert"
    EVERYDAY_POST = "everyday_post"
    CASE_NOTE = "case_note"


HARD_KINDS = (TextKind.MIGRANT_JOB, TextKind.ADULT_SERVICES)
"""Where benign texts are hardest to tell from positive ones."""
KINDS: Mapping[Voice, tuple[TextKind, ...]] = MappingProxyType({
    Voice.ADVERT: (TextKind.JOB_OFFER, *HARD_KINDS), Voice.CLASSIFIED: (TextKind.EVERYDAY_ADVERT,),
    Voice.POST: (TextKind.EVERYDAY_POST,), Voice.TOLD: (TextKind.CASE_NOTE, *HARD_KINDS)})
"""What each voice can be about; a language has frames for every one."""

STRENGTH: Mapping[Indicator, int] = MappingProxyType({
    # The strength of a tag standing alone, after the ILO/EC operational indicators (2009): weak 1, medium 2, strong 3.
    Indicator.DECEPTIVE_OFFER: 2, Indicator.VAGUE_ROLE: 1, Indicator.UPFRONT_COST_DEBT: 2,
    Indicator.ARRANGED_TRAVEL_HOUSING: 1, Indicator.DOCUMENT_CONTROL: 3, Indicator.PRIVATE_CHANNEL_MOVE: 1,
    Indicator.PRESSURE_SECRECY: 2, Indicator.PROFILE_TARGETING: 2, Indicator.VULNERABILITY_APPEAL: 2,
    Indicator.CONTROL_ISOLATION: 3, Indicator.THREAT_VIOLENCE: 3, Indicator.WAGE_OVERWORK: 3,
})
"""Recruitment and exploitation tags. `distress_help` is context, `templated_campaign` is not in a text."""

TAGS: Mapping[Voice, tuple[Indicator, ...]] = MappingProxyType({
    # No advert threatens, and a post shows what its author lives through.
    Voice.ADVERT: tuple(tag for tag in STRENGTH if tag is not Indicator.THREAT_VIOLENCE),
    Voice.TOLD: (*STRENGTH, Indicator.DISTRESS_HELP),
    Voice.POST: (Indicator.CONTROL_ISOLATION, Indicator.THREAT_VIOLENCE, Indicator.WAGE_OVERWORK,
                 Indicator.DISTRESS_HELP)})
"""What each voice can express; a language has fragments for every one."""


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language's word lists: `frames` by voice and kind, `tags` by voice and indicator, the others by voice."""

    code: str
    slots: Mapping[str, tuple[str, ...]]
    frames: Mapping[Voice, Mapping[TextKind, tuple[str, ...]]]
    details: Mapping[Voice, tuple[str, ...]]
    feelings: Mapping[Voice, tuple[str, ...]]
    contact: tuple[str, ...]
    tags: Mapping[Voice, Mapping[Indicator, tuple[str, ...]]]


def languages() -> tuple[str, ...]:
    """Codes of all languages that have a file, sorted."""
    return tuple(sorted(p.name.removesuffix(".yaml") for p in FOLDER.iterdir() if p.name.endswith(".yaml")))


@cache
def load_language(code: str) -> Language:
    """Read `languages/<code>.yaml`.

    Raises:
        InputError: if there is no such file or it lacks a part.
    """
    if code not in languages():
        raise InputError("language", f"{code} has no grammar", bound=", ".join(languages()),
                         remedy="add simulations/world/languages/<code>.yaml")
    raw = yaml.safe_load((FOLDER / f"{code}.yaml").read_text(encoding="utf-8"))
    try:
        return Language(
            code=code,
            slots={slot: tuple(raw[name]) for slot, name in (("job", "jobs"), ("place", "places"), ("when", "whens"))},
            frames={voice: {kind: tuple(raw["frames"][voice.value][kind.value]) for kind in kinds}
                    for voice, kinds in KINDS.items()},
            details={voice: tuple(raw["details"][voice.value]) for voice in (Voice.ADVERT, Voice.POST, Voice.TOLD)},
            feelings={voice: tuple(raw["feelings"][voice.value]) for voice in (Voice.POST, Voice.TOLD)},
            contact=tuple(raw["contact"]),
            tags={voice: {tag: tuple(raw["tags"][voice.value][tag.value]) for tag in tags}
                  for voice, tags in TAGS.items()})
    except (KeyError, TypeError) as error:
        raise InputError(f"languages/{code}.yaml", f"lacks {error}", remedy="compare with en.yaml") from error
