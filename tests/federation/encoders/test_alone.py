"""Nobody's text may show in another's features, not in the last digit."""

from __future__ import annotations

import numpy as np
import pytest

from federation.encoders import load_encoder
from federation.encoders.use import CENTRE_SENTENCES


@pytest.mark.parametrize("name", ["use-multilingual", "hashed-ngrams"])
def test_a_texts_features_do_not_depend_on_the_others(name: str) -> None:
    encoder = load_encoder(name, threads=1)
    texts = [*CENTRE_SENTENCES, "short", "a much longer text " * 60, "", *(f"number {i} of many" for i in range(30))]
    together = encoder.encode(texts)
    assert (encoder.encode(texts[1:]) == together[1:]).all()
    assert (encoder.encode(texts[::-1]) == together[::-1]).all()
    for row in range(0, len(texts), 7):
        assert (encoder.encode([texts[row]])[0] == together[row]).all()
    lengths = np.linalg.norm(together, axis=1)
    assert ((lengths == 0) | (np.abs(lengths - 1) < 1e-5)).all()
