"""The simplest honest competitor: a count of listed words, from the public sentences that a model starts from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from federation.start import sentences
from federation.taxonomy import Indicator, Task

_WORD = re.compile(r"\w+")


def words_of(text: str) -> frozenset[str]:
    """The words of a text, in lower case."""
    return frozenset(_WORD.findall(text.casefold()))


@lru_cache
def lexicon(task: Task) -> frozenset[str]:
    """Words that stand in a larger share of a task's signal sentences than of the others.

    Lists are of all languages of the sentences at once: words that languages share are few. Labels of the public
    indicators count as sentences with a signal: the cry for help as one of distress, the others of recruitment.
    """
    signal, other = sentences(task)
    labels = [tag.value.replace("_", " ") for tag in Indicator
              if (tag is Indicator.DISTRESS_HELP) == (task is Task.DISTRESS)]
    inside, outside = _shares([*signal, *labels]), _shares(other)
    return frozenset(word for word, share in inside.items() if share > outside.get(word, 0.0))


def _shares(texts: Iterable[str]) -> dict[str, float]:
    lists = [words_of(text) for text in texts]
    counts = Counter(word for words in lists for word in words)
    return {word: count / len(lists) for word, count in counts.items()}


def lexicon_score(task: Task, text: str) -> float:
    """How many different words of the list stand in a text."""
    return float(len(words_of(text) & lexicon(task)))
