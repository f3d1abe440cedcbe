"""Features on disk: encoded once, memory-mapped afterwards.

One folder for each encoder fingerprint and owner. `rows.f32` holds the vectors one after the other; `index.u8` holds,
in the same order, a 16-byte keyed hash of each text, so that the index says nothing about a text to whoever lacks the
key. A row counts only if its index entry is complete, and vectors are on disk before their entries are: a crash loses
work, never correctness. Features are personal data: the folder has mode 0700, and `prune` forgets texts that
are no more.

However many vectors there are, what is held in memory is 24 bytes for each in the cache while texts are looked up, and
8 for each text that was asked for afterwards.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from federation.encoders.base import Encoder, Features
from federation.private_files import sync_folder

_DIGEST = 16
_CHUNK = 512
_AT_ONCE = 1 << 14
"""Texts that are looked up together, and of which those are held in memory that must be encoded."""

Positions = npt.NDArray[np.int64]
Keys = npt.NDArray[np.bytes_]
"""Digests as `S16`. NumPy leaves zeros at the end out of a comparison, which tells digests of one length apart."""


@dataclass(frozen=True)
class StoredFeatures:
    """Features on disk, read when they are asked for; row `i` is that of the `i`-th text.

    What is erased from the cache stays readable here, as long as this is held.
    """

    vectors: Features
    """All that are in the cache, memory-mapped."""
    at: Positions
    """Where each text's lies."""

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, rows: Positions | slice) -> Features:
        """Those of some texts, `(rows, dimension)`, in memory."""
        return np.asarray(self.vectors[self.at[rows]], dtype=np.float32)


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
            if at == 0:
                # A crash may have left rows without an index. Another process may still map them: cut short under it,
                # they would kill it.
                path.unlink(missing_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b") as file:
                file.truncate(at * width)  # drops what a crash may have left behind
                file.seek(at * width)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

    def features(self, texts: Iterable[str], *, progress: Callable[[int], None] | None = None) -> StoredFeatures:
        """Vectors of `texts`, float32 of shape `(texts, dimension)`; what is missing is encoded and kept.

        Args:
            texts: any number, repeats welcome; read once and not kept.
            progress: called with the number of texts just settled.
        """
        found, left = [np.empty(0, dtype=np.int64)], iter(texts)
        with _locked(self._folder):
            index = _Index(_digests(self._folder, self._width))
            while part := list(islice(left, _AT_ONCE)):
                found.append(self._settle(part, index, progress or (lambda _: None)))
            # Under the lock: another process may prune, and rows move then.
            return StoredFeatures(self._mapped(len(index)), np.concatenate(found))

    def _settle(self, texts: list[str], index: _Index, progress: Callable[[int], None]) -> Positions:
        """Positions of the vectors of `texts`, after those that were missing are there."""
        digests = [_digest(self._key, text) for text in texts]
        keys = _as_keys(digests)
        at, times = index.find(keys), Counter(digests)
        progress(int((at >= 0).sum()))
        todo = list({digests[row]: texts[row] for row in np.flatnonzero(at < 0)}.items())
        for start in range(0, len(todo), _CHUNK):
            part = todo[start:start + _CHUNK]
            vectors = np.ascontiguousarray(self._encoder.encode([text for _, text in part]), dtype="<f4")
            self._append([digest for digest, _ in part], vectors, len(index) + start)
            progress(sum(times[digest] for digest, _ in part))
        if todo:
            index.add(_as_keys([digest for digest, _ in todo]))
            at = index.find(keys)
        return at

    def _mapped(self, rows: int) -> Features:
        dimension = self._encoder.spec.dimension
        if not rows:
            return np.empty((0, dimension), dtype=np.float32)
        return np.asarray(np.memmap(self._rows, dtype="<f4", mode="r", shape=(rows, dimension)))


class _Index:
    """Where the vector of each text lies, by the text's digest; 24 bytes each."""

    def __init__(self, keys: Keys) -> None:
        self._keys, self._at = keys[:0], np.empty(0, dtype=np.int64)
        self.add(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, keys: Keys) -> None:
        """Texts whose vectors come after those that are there, in this order."""
        at = np.concatenate([self._at, np.arange(len(self), len(self) + len(keys))])
        keys = np.concatenate([self._keys, keys])
        order = keys.argsort(kind="stable")
        self._keys, self._at = keys[order], at[order]

    def find(self, keys: Keys) -> Positions:
        """Where the vectors of some texts lie, -1 for those that have none."""
        if not len(self):
            return np.full(len(keys), -1, dtype=np.int64)
        near = np.minimum(self._keys.searchsorted(keys), len(self) - 1)
        return np.where(self._keys[near] == keys, self._at[near], -1)


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


def _as_keys(digests: Iterable[bytes]) -> Keys:
    return np.frombuffer(b"".join(digests), dtype=f"S{_DIGEST}")


def _digests(folder: Path, width: int) -> Keys:
    """The digests of the texts whose vectors are whole, in the order of the vectors."""
    index, rows = folder / "index.u8", folder / "rows.f32"
    raw = index.read_bytes() if index.exists() else b""
    stored = rows.stat().st_size // width if rows.exists() else 0
    whole = min(len(raw) // _DIGEST, stored)
    return np.frombuffer(raw, dtype=f"S{_DIGEST}", count=whole)


def _positions(folder: Path, width: int) -> dict[bytes, int]:
    """Where the vector of each text lies, by the text's digest."""
    raw = _digests(folder, width).tobytes()
    return {raw[i:i + _DIGEST]: i // _DIGEST for i in range(0, len(raw), _DIGEST)}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
