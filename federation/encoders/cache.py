"""Features on disk: encoded once, memory-mapped afterwards.

One folder for each encoder fingerprint. `rows.f32` holds the vectors one after the other; `index.u8` holds, in the same
order, a 16-byte keyed hash of each text, so that the index says nothing about a text to whoever lacks the key. A row
counts only if its index entry is complete, and vectors are on disk before their entries are: a crash loses work, never
correctness. Features are personal data; the folder has mode 0700.
"""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from federation.encoders.base import Encoder, Features

_DIGEST = 16
_CHUNK = 512


class FeatureCache:
    """Vectors of one encoder, keyed by text content.

    Args:
        root: folder for all encoders' caches.
        encoder: who computes what is missing.
        key: secret for the index; a partner's own.
    """

    def __init__(self, root: Path, encoder: Encoder, *, key: bytes) -> None:
        self._encoder, self._key = encoder, key
        self._width = encoder.spec.dimension * 4
        # A different key must not meet another's index: it could not read it, and would only grow it.
        owner = hmac.new(key, b"leelight-feature-cache", sha256).hexdigest()[:16]
        self._folder = root / f"{encoder.spec.name}-{encoder.spec.fingerprint[:16]}-{owner}"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._rows, self._index = self._folder / "rows.f32", self._folder / "index.u8"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _digest(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode(), sha256).digest()[:_DIGEST]

    def _positions(self) -> dict[bytes, int]:
        raw = self._index.read_bytes() if self._index.exists() else b""
        stored = self._rows.stat().st_size // self._width if self._rows.exists() else 0
        whole = min(len(raw) // _DIGEST, stored)
        return {raw[i * _DIGEST:(i + 1) * _DIGEST]: i for i in range(whole)}

    def _append(self, digests: list[bytes], vectors: Features, at: int) -> None:
        for path, data, width in ((self._rows, vectors.tobytes(), self._width),
                                  (self._index, b"".join(digests), _DIGEST)):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b") as file:
                file.truncate(at * width)  # drops what a crash may have left behind
                file.seek(at * width)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def features(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Features:
        """Vectors of `texts`, float32 of shape `(texts, dimension)`; what is missing is encoded and kept.

        Args:
            texts: any number, repeats welcome.
            progress: called with the number of texts just settled.
        """
        digests = [self._digest(text) for text in texts]
        with self._locked():
            known = self._positions()
            missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
            if progress:
                progress(sum(digest in known for digest in digests))
            todo = list(missing.items())
            for start in range(0, len(todo), _CHUNK):
                part = todo[start:start + _CHUNK]
                vectors = np.ascontiguousarray(self._encoder.encode([text for _, text in part]), dtype="<f4")
                at, fresh = len(known), {digest for digest, _ in part}
                self._append([digest for digest, _ in part], vectors, at)
                known.update({digest: at + i for i, (digest, _) in enumerate(part)})
                if progress:
                    progress(sum(digest in fresh for digest in digests))
        if not texts:
            return np.empty((0, self._encoder.spec.dimension), dtype=np.float32)
        stored = np.memmap(self._rows, dtype="<f4", mode="r").reshape(-1, self._encoder.spec.dimension)
        return np.asarray(stored[[known[digest] for digest in digests]], dtype=np.float32)
