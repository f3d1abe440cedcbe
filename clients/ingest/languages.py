"""Which language a text is written in, when the file does not say.

py3langid (naive Bayes over byte n-grams, 97 languages), deterministic. Below `MIN_CONFIDENCE`, or with fewer than
`MIN_LETTERS` letters, the answer is `und`: a wrong language is worse than none.
"""

from __future__ import annotations

import re
from functools import cache

import pycountry
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from federation.errors import InputError
from federation.records import BCP47

UNDETERMINED = "und"
MIN_LETTERS = 12
MIN_CONFIDENCE = 0.5
_ENOUGH = 240
"""Characters read: two or three sentences. More rarely changes the answer and takes time in proportion."""

_PLACEHOLDER = re.compile(r"<(?:url|email|user|phone|number)>")


def check_language(tag: str, name: str) -> None:
    """Do nothing if `tag`, given as `name`, is a language that a record may have.

    Raises:
        InputError: otherwise; where it is a language written out, with the tag for it.
    """
    code = tag.replace("_", "-").split("-")[0].lower()
    known = pycountry.languages.get(alpha_2=code) if len(code) == 2 else pycountry.languages.get(alpha_3=code)
    if BCP47.fullmatch(tag) and known is not None:
        return
    meant = pycountry.languages.get(name=tag.strip().capitalize())
    short = getattr(meant, "alpha_2", None) or getattr(meant, "alpha_3", None)
    raise InputError(name, f"{tag!r} is not a language tag", bound="a BCP 47 tag such as ro, en or pt-BR, or und",
                     remedy=f"write {short}" if short else "write its two letters (ISO 639-1); `und` stands for none")


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def detect(text: str) -> tuple[str, float]:
    """The language of `text` (ISO 639-1, a BCP 47 tag) and the confidence in it, from 0 to 1."""
    sample = _PLACEHOLDER.sub(" ", text[:_ENOUGH])
    if sum(map(str.isalpha, sample)) < MIN_LETTERS:
        return UNDETERMINED, 0.0
    language, confidence = _identifier().classify(sample)
    confidence = min(max(float(confidence), 0.0), 1.0)
    return (language, confidence) if confidence >= MIN_CONFIDENCE else (UNDETERMINED, confidence)
