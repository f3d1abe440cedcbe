"""No model at all: hashed character n-grams (feature hashing, Weinberger et al. 2009, arXiv:0902.2206).

Reads any script, degrades gently under misspelling, and its vocabulary is public because there is none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from federation.encoders.base import Features, fingerprint, unit_rows
from federation.errors import InputError
from federation.plan_parts import EncoderSpec

_NGRAMS = (2, 5)
_VERSION = "1"


class HashedNgrams:
    """Signed counts of character 2- to 5-grams within words, in `dimension` buckets."""

    languages: frozenset[str] | None = None

    def __init__(self, *, dimension: int) -> None:
        if not 16 <= dimension <= 2**18:
            raise InputError("encoder.dimension", f"is {dimension}", bound="16 to 262144",
                             remedy="4096 is a good start")
        self.spec = EncoderSpec(name="hashed-ngrams", version=_VERSION, dimension=dimension,
                                fingerprint=fingerprint(f"char_wb {_NGRAMS} {dimension} v{_VERSION}".encode()))

    @cached_property
    def _vectorizer(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        return HashingVectorizer(analyzer="char_wb", ngram_range=_NGRAMS, n_features=self.spec.dimension,
                                 alternate_sign=True, norm="l2", lowercase=False, dtype=np.float32)

    def encode(self, texts: Sequence[str]) -> Features:
        """Encode; see `Encoder.encode`."""
        if not texts:
            return np.empty((0, self.spec.dimension), dtype=np.float32)
        folded = [unicodedata.normalize("NFKC", text).casefold() for text in texts]
        return unit_rows(self._vectorizer.transform(folded).toarray())
