from __future__ import annotations

import hmac
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.encoders import cache as cache_module
from federation.encoders import language_covered, load_encoder
from federation.encoders.base import Encoder, Features, fingerprint, unit_rows
from federation.encoders.cache import FeatureCache, prune
from federation.encoders.hashing import HashedNgrams
from federation.errors import InputError
from federation.plan_parts import EncoderSpec


@pytest.fixture(scope="module")
def use() -> Encoder:
    return load_encoder("use-multilingual", threads=2)


def test_use_reads_across_languages(use: Encoder) -> None:
    vectors = use.encode(["They took my passport and I can't leave", "Me quitaron el pasaporte y no puedo salir",
                          "Они забрали мой паспорт, и я не могу уйти", "The cat sleeps on the warm windowsill"])
    assert vectors.shape == (4, 512)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    same, other = vectors[0] @ vectors[1:3].T, vectors[0] @ vectors[3]
    assert same.min() > 0.5 > other


def test_use_says_what_it_cannot_read(use: Encoder) -> None:
    assert language_covered(use, "en")
    assert language_covered(use, "pt-BR")
    assert not language_covered(use, "ro")
    assert not language_covered(use, "und")
    assert language_covered(HashedNgrams(dimension=64), "ro")


def test_use_does_not_depend_on_the_batch(use: Encoder) -> None:
    texts = ["one short text", "another, rather longer text about something else entirely", "third"]
    together = use.encode(texts)
    apart = np.vstack([use.encode([text]) for text in texts])
    np.testing.assert_allclose(together, apart, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=5))
def test_hashing_gives_finite_unit_rows(texts: list[str]) -> None:
    vectors = HashedNgrams(dimension=64).encode(texts)
    assert vectors.shape == (len(texts), 64)
    norms = np.linalg.norm(vectors, axis=1)
    assert np.all((np.abs(norms - 1) < 1e-5) | (norms == 0))


def test_hashing_is_stable_across_processes() -> None:
    # A golden row: a hash that changed between processes or versions would scramble every stored feature.
    row = HashedNgrams(dimension=16).encode(["abc"])[0]
    np.testing.assert_allclose(np.flatnonzero(row), np.flatnonzero(HashedNgrams(dimension=16).encode(["ABC"])[0]))
    assert HashedNgrams(dimension=16).spec.fingerprint != HashedNgrams(dimension=32).spec.fingerprint


def test_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        unit_rows(np.array([[1.0, np.nan]], dtype=np.float32))


@pytest.mark.parametrize(("name", "options", "message"), [
    ("nothing", {}, "unknown"), ("hashed-ngrams", {"dimension": 3}, "16 to"),
    ("use-multilingual", {"threads": 0}, "threads"),
    ("local-folder", {}, "folder"), ("local-folder", {"folder": Path("/nowhere")}, "modules.json"),
])
def test_bad_choices_are_explained(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(name, **options)  # type: ignore[arg-type]


def test_fingerprint_frames_its_parts(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"ab")
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")
    assert fingerprint(tmp_path / "f") == fingerprint(b"ab")


class CountingEncoder:
    """Eight numbers of a text; counts what it was asked to encode."""

    languages = None
    spec = EncoderSpec(name="counting", version="1", fingerprint="0" * 64, dimension=8)

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> Features:
        self.seen += texts
        return np.array([[hash_free(text) + i for i in range(8)] for text in texts], dtype=np.float32)


def hash_free(text: str) -> float:
    return float(sum(text.encode()) % 997)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.sampled_from("a bb ccc dddd eeeee é 北".split()), max_size=6), max_size=4))
def test_cache_equals_encoding_and_never_encodes_twice(batches: list[list[str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as root:
        encoder = CountingEncoder()
        for batch in batches:
            found = FeatureCache(Path(root), encoder, key=b"k").features(batch)
            np.testing.assert_array_equal(found[:], CountingEncoder().encode(batch).reshape(len(batch), 8))
        assert len(encoder.seen) == len(set(encoder.seen))


def test_cache_is_private_and_its_index_is_keyed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, CountingEncoder(), key=b"one")
    cache.features(["secret text"])
    folder = next(tmp_path.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700
    index = (folder / "index.u8").read_bytes()
    FeatureCache(tmp_path, CountingEncoder(), key=b"two").features(["secret text"])
    other = next(p for p in tmp_path.iterdir() if p != folder)
    assert (other / "index.u8").read_bytes() != index
    assert (folder / "index.u8").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", ["index", "rows", "both"])
def test_a_torn_write_costs_work_and_nothing_else(tmp_path: Path, torn: str) -> None:
    FeatureCache(tmp_path, CountingEncoder(), key=b"k").features(["a", "bb"])
    folder = next(tmp_path.iterdir())
    if torn in ("index", "both"):
        (folder / "index.u8").write_bytes((folder / "index.u8").read_bytes()[:-5])
    if torn in ("rows", "both"):
        (folder / "rows.f32").write_bytes((folder / "rows.f32").read_bytes()[:-5])
    found = FeatureCache(tmp_path, CountingEncoder(), key=b"k").features(["bb", "ccc", "a"])
    np.testing.assert_array_equal(found[:], CountingEncoder().encode(["bb", "ccc", "a"]))


def _fill(root: str, texts: list[str]) -> None:
    FeatureCache(Path(root), CountingEncoder(), key=b"k").features(texts)


def test_two_processes_may_fill_one_cache(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(1500)]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(str(tmp_path), part)) for part in (texts[:1000], texts[500:])]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    encoder = CountingEncoder()
    found = FeatureCache(tmp_path, encoder, key=b"k").features(texts)
    assert encoder.seen == []
    np.testing.assert_array_equal(found[:], CountingEncoder().encode(texts))


def kept_in(root: Path, texts: list[str]) -> CountingEncoder:
    """The encoder after `texts` were asked for: what it saw was not in the cache any more."""
    encoder = CountingEncoder()
    found = FeatureCache(root, encoder, key=b"k").features(texts)
    np.testing.assert_array_equal(found[:], CountingEncoder().encode(texts).reshape(len(texts), 8))
    return encoder


def cache_bytes(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("a bb ccc dddd eeeee é 北".split()), unique=True),
       st.lists(st.sampled_from("a bb ccc dddd eeeee é 北 never".split()), unique=True))
def test_pruning_keeps_what_is_wanted_and_nothing_else(texts: list[str], wanted: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        FeatureCache(root, CountingEncoder(), key=b"k").features(texts)
        gone = [text for text in texts if text not in wanted]
        assert prune(root, key=b"k", texts=wanted, dry_run=True) == len(gone)
        assert prune(root, key=b"k", texts=iter(wanted)) == len(gone)
        raw = cache_bytes(root)
        for text in gone:
            assert hmac.digest(b"k", text.encode(), "sha256")[:16] not in raw
            assert CountingEncoder().encode([text])[0].astype("<f4").tobytes() not in raw
        assert prune(root, key=b"k", texts=wanted) == 0
        assert kept_in(root, [text for text in texts if text in wanted]).seen == []
        assert kept_in(root, texts).seen == gone


def test_pruning_touches_no_other_owners_cache(tmp_path: Path) -> None:
    FeatureCache(tmp_path, CountingEncoder(), key=b"other").features(["a", "bb"])
    before = cache_bytes(tmp_path)
    assert prune(tmp_path, key=b"k", texts=[]) == 0
    assert prune(tmp_path / "none", key=b"k", texts=[]) == 0
    assert cache_bytes(tmp_path) == before


@pytest.mark.parametrize("torn", ["index", "rows", "both", "extra"])
def test_pruning_after_a_torn_write_leaves_nothing_of_what_is_gone(tmp_path: Path, torn: str) -> None:
    FeatureCache(tmp_path, CountingEncoder(), key=b"k").features(["a", "bb"])
    folder = next(tmp_path.iterdir())
    if torn in ("index", "both"):
        (folder / "index.u8").write_bytes((folder / "index.u8").read_bytes()[:-5])
    if torn in ("rows", "both"):
        (folder / "rows.f32").write_bytes((folder / "rows.f32").read_bytes()[:-5])
    if torn == "extra":
        (folder / "rows.new").write_bytes((folder / "rows.f32").read_bytes())
    vector = CountingEncoder().encode(["bb"])[0].astype("<f4").tobytes()
    prune(tmp_path, key=b"k", texts=["a"])
    assert vector[:-5] not in cache_bytes(tmp_path)
    assert kept_in(tmp_path, ["a"]).seen == []
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.*")} == {0o600}


@pytest.mark.parametrize("calls", range(6))
def test_a_prune_that_dies_never_mixes_vectors_up(tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a", "bb", "ccc", "dddd"]
    FeatureCache(tmp_path, CountingEncoder(), key=b"k").features(texts)
    left = [calls]

    def dies(_: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "sync_folder", dies)
        if calls < 3:
            with pytest.raises(KeyboardInterrupt):
                prune(tmp_path, key=b"k", texts=["bb", "dddd"])
        else:
            prune(tmp_path, key=b"k", texts=["bb", "dddd"])
    kept_in(tmp_path, texts)
    prune(tmp_path, key=b"k", texts=["dddd"])
    assert CountingEncoder().encode(["bb"])[0].astype("<f4").tobytes() not in cache_bytes(tmp_path)
    assert kept_in(tmp_path, ["dddd", "ccc"]).seen == ["ccc"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("a bb ccc dddd eeeee é 北".split()), max_size=12), st.integers(1, 5))
def test_texts_may_come_in_parts_of_any_length(texts: list[str], at_once: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "_AT_ONCE", at_once)
        encoder, settled = CountingEncoder(), []
        found = FeatureCache(Path(root), encoder, key=b"k").features(iter(texts), progress=settled.append)
        np.testing.assert_array_equal(found[:], CountingEncoder().encode(texts).reshape(len(texts), 8))
        assert sorted(encoder.seen) == sorted(set(texts))
        assert sum(settled) == len(texts)


def test_features_that_somebody_holds_outlive_a_cache_that_is_filled_anew(tmp_path: Path) -> None:
    held = FeatureCache(tmp_path, CountingEncoder(), key=b"k").features(["a", "bb", "ccc"])
    # As a prune leaves it that dies between the index and the rows.
    next(tmp_path.glob("*/index.u8")).unlink()
    rows = next(tmp_path.glob("*/rows.f32")).stat().st_ino
    FeatureCache(tmp_path, CountingEncoder(), key=b"k").features(["dddd"])
    # Cut short in place, the file would take this process down at the next look.
    assert next(tmp_path.glob("*/rows.f32")).stat().st_ino != rows
    np.testing.assert_array_equal(held[:], CountingEncoder().encode(["a", "bb", "ccc"]))
