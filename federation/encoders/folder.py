"""Any sentence-transformers model that already lies in a local folder. Nothing is downloaded, ever.

Install with `pip install -e '.[sentence-transformers]'`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from federation.encoders.base import ONE_BY_ONE, Features, fingerprint, unit_rows
from federation.encoders.use import CENTRE_SENTENCES
from federation.errors import InputError
from federation.plan_parts import EncoderSpec


class LocalFolder:
    """A model folder with a `modules.json`; its fingerprint covers every file in it."""

    languages: frozenset[str] | None = None
    """Unknown: the folder does not say."""

    def __init__(self, folder: Path | None, *, threads: int) -> None:
        if folder is None:
            raise InputError("encoder.folder", "is missing", remedy="give the folder of a sentence-transformers model")
        if not (folder / "modules.json").is_file():
            raise InputError("encoder.folder", f"{folder} holds no modules.json",
                             remedy="give the folder that a sentence-transformers model was saved to")
        self._folder, self._threads = folder, threads
        parts = sorted(path for path in folder.rglob("*") if path.is_file())
        framed: list[bytes | Path] = []
        for path in parts:
            framed += [str(path.relative_to(folder)).encode(), path]
        self.spec = EncoderSpec(name="local-folder", version="1", dimension=self._dimension(),
                                fingerprint=fingerprint(*framed, "\n".join(CENTRE_SENTENCES).encode(), ONE_BY_ONE))

    def _dimension(self) -> int:
        model = self._model
        getter = getattr(model, "get_embedding_dimension", None) or model.get_sentence_embedding_dimension
        return int(getter())

    @cached_property
    def _model(self) -> Any:
        # Set before the import: the library decides at import time whether it may reach out.
        os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise InputError("encoder", "sentence-transformers is not installed",
                             remedy="pip install -e '.[sentence-transformers]' in the project's folder") from None
        import torch

        torch.set_num_threads(self._threads)
        return SentenceTransformer(str(self._folder), device="cpu", local_files_only=True)

    @cached_property
    def _centre(self) -> Features:
        return np.asarray(self._alone(CENTRE_SENTENCES).mean(axis=0))

    def _alone(self, texts: Sequence[str]) -> Features:
        """Each text by itself: in a batch, padding and the last digits of a text's vector depend on the others."""
        return np.stack([np.asarray(self._model.encode([text], show_progress_bar=False)[0], dtype=np.float32)
                         for text in texts])

    def encode(self, texts: Sequence[str]) -> Features:
        """Encode; see `Encoder.encode`."""
        if not texts:
            return np.empty((0, self.spec.dimension), dtype=np.float32)
        return unit_rows(self._alone(texts) - self._centre)
