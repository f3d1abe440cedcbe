"""Features on disk: encoded once, memory-mapped afterwards.

One folder for each encoder fingerprint and owner. `rows.f32` holds the vectors one after the other; `index.u8` holds,
in the same order, a 16-byte keyed hash of each text, so that the index says nothing about a text to whoever lacks the
key. A row counts only if its index entry is complete, and vectors are on disk before their entries are: a crash loses
work, never correctness. Features are personal data: the folder has mode 0700, and `prune` forgets texts that
are no more.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np

from federation.encoders.base import Encoder, Features
from federation.private_files import sync_folder

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
        self._folder = root / "-".join([encoder.spec.name, encoder.spec.fingerprint[:16],
                                        f"{encoder.spec.dimension}d", _owner(key)])
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._rows, self._index = self._folder / "rows.f32", self._folder / "index.u8"

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
        digests = [_digest(self._key, text) for text in texts]
        with _locked(self._folder):
            known = _positions(self._folder, self._width)
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
            # Under the lock: another process may prune, and rows move then.
            stored = np.memmap(self._rows, dtype="<f4", mode="r").reshape(-1, self._encoder.spec.dimension)
            return np.asarray(stored[[known[digest] for digest in digests]], dtype=np.float32)


def prune(root: Path, *, key: bytes, texts: Iterable[str], dry_run: bool = False) -> int:
    """Forget the vectors of all texts but `texts`, in every cache that belongs to `key`.

    A crash in the middle costs vectors that have to be computed again, and the same again finishes it. Nothing is left
    in the files of what was forgotten.

    Args:
        root: folder for all encoders' caches; it need not be there.
        key: the partner's own.
        texts: those to keep; read only if there is a cache.
        dry_run: change nothing.

    Returns:
        How many vectors were forgotten, or would be.
    """
    folders = sorted(root.glob(f"*-{_owner(key)}")) if root.is_dir() else []
    wanted = {_digest(key, text) for text in texts} if folders else set()
    return sum(_prune_one(folder, wanted, dry_run=dry_run) for folder in folders)


def _prune_one(folder: Path, wanted: set[bytes], *, dry_run: bool) -> int:
    dimension = re.search(r"-(\d+)d-[0-9a-f]{16}$", folder.name)
    if dimension is None:
        return 0
    with _locked(folder):
        width, rows, index = int(dimension[1]) * 4, folder / "rows.f32", folder / "index.u8"
        known = _positions(folder, width)
        kept = {digest: i for digest, i in known.items() if digest in wanted}
        if dry_run:
            return len(known) - len(kept)
        fresh = rows.with_suffix(".new"), index.with_suffix(".new")
        for path in fresh:
            path.unlink(missing_ok=True)
        if kept and (index.stat().st_size, rows.stat().st_size) == (len(kept) * _DIGEST, len(kept) * width):
            return 0
        if kept:
            with rows.open("rb") as old:
                _write(fresh[0], (_at(old, i * width, width) for i in kept.values()))
            _write(fresh[1], kept)
        # The index goes first and comes last: at no time does it belong to other rows.
        index.unlink(missing_ok=True)
        sync_folder(folder)
        rows.unlink(missing_ok=True)
        for path, place in zip(fresh, (rows, index), strict=True):
            if kept:
                path.replace(place)
            sync_folder(folder)
        return len(known) - len(kept)


def _at(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _write(path: Path, parts: Iterable[bytes]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def _owner(key: bytes) -> str:
    return hmac.new(key, b"leelight-feature-cache", sha256).hexdigest()[:16]


def _digest(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), sha256).digest()[:_DIGEST]


def _positions(folder: Path, width: int) -> dict[bytes, int]:
    """Where the vector of each text lies, by the text's digest."""
    index, rows = folder / "index.u8", folder / "rows.f32"
    raw = index.read_bytes() if index.exists() else b""
    stored = rows.stat().st_size // width if rows.exists() else 0
    whole = min(len(raw) // _DIGEST, stored)
    return {raw[i * _DIGEST:(i + 1) * _DIGEST]: i for i in range(whole)}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
