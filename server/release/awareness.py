"""What the indicators look like and what can help, in the languages of the release page.

One YAML file a language in `awareness/`, each with a text for every indicator. All are drafts, and each says so.

>>> load_awareness("fr").indicators[Indicator.VAGUE_ROLE].label
'Emploi imprécis'
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, field_validator

from federation.errors import InputError
from federation.taxonomy import Indicator

_FOLDER = Path(__file__).parent / "awareness"
LANGUAGES: Final = ("en", "es", "fr", "ro", "uk", "hi")
"""BCP 47 tags of the languages there are, in the order in which a page offers them."""

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IndicatorText(_Frozen):
    """What is said about one indicator.

    Attributes:
        label: its name, a few words.
        sign: one sentence: what it looks like.
        advice: what a person can do to be safer.
    """

    label: _Text
    sign: _Text
    advice: _Text


class AwarenessTexts(_Frozen):
    """All texts in one language.

    Attributes:
        lang: BCP 47 tag, for the `lang` attribute.
        language_name: what speakers call the language.
        direction: of the script, for the `dir` attribute.
        title: heading of the section.
        intro: stands before the signs: that none proves anything, and whom to call in danger.
        draft_notice: that the texts are not reviewed yet, in this language and in English; to be shown with them.
        indicators: a text for every indicator.
    """

    lang: _Text
    language_name: _Text
    direction: Literal["ltr", "rtl"]
    title: _Text
    intro: _Text
    draft_notice: _Text
    indicators: Mapping[Indicator, IndicatorText]

    @field_validator("indicators")
    @classmethod
    def _complete(cls, texts: Mapping[Indicator, IndicatorText]) -> Mapping[Indicator, IndicatorText]:
        if missing := [indicator for indicator in Indicator if indicator not in texts]:
            raise ValueError(f"{', '.join(missing)} missing")
        return texts


@cache
def load_awareness(lang: str) -> AwarenessTexts:
    """The texts in the language `lang`, one of `LANGUAGES`.

    Raises:
        InputError: if there are none, or the file is incomplete; the message names each wrong key.
    """
    if lang not in LANGUAGES:
        raise InputError("language", f"there are no awareness texts in {lang!r}", bound=", ".join(LANGUAGES))
    return parse_awareness((_FOLDER / f"{lang}.yaml").read_text(encoding="utf-8"), lang=lang)


def parse_awareness(text: str, *, lang: str) -> AwarenessTexts:
    """Texts from the contents of a YAML file, which has to be in the language `lang`.

    Raises:
        InputError: if it is not YAML, a key is missing, unknown or empty, an indicator has no text, or the language is
            another.
    """
    name, remedy = f"awareness text {lang}.yaml", "compare it with en.yaml"
    try:
        texts = AwarenessTexts.model_validate(yaml.safe_load(text))
    except yaml.YAMLError:
        raise InputError(name, "is not valid YAML", remedy="repair the file") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise InputError(name, problems, remedy=remedy) from None
    if texts.lang != lang:
        raise InputError(name, f"lang is {texts.lang}", bound=lang, remedy=remedy)
    return texts
