from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from federation.secagg import ProtocolError, Stage
from federation.secagg.keys import LOW_ORDER, new_seed, private_key, public_bytes
from federation.secagg.masks import PIECE_BYTES, add_mask
from federation.secagg.messages import Masked
from federation.secagg.pairs import Binding, agree
from tests.federation.secagg.runs import Session, make_spec

KEY = bytes(range(32))


@pytest.mark.parametrize("kind", ["<u4", "<u8"])
@pytest.mark.parametrize("length", [0, 1, PIECE_BYTES // 8, PIECE_BYTES // 4 + 1, 3 * PIECE_BYTES // 4 + 7])
def test_a_mask_is_the_key_stream_in_one_piece(kind: str, length: int) -> None:
    words = np.arange(length).astype(kind)
    size = words.nbytes
    stream = Cipher(algorithms.AES256(KEY), modes.CTR(bytes(16))).encryptor().update(bytes(size))
    add_mask(words, KEY)
    assert (words == np.arange(length).astype(kind) + np.frombuffer(stream, kind)).all()
    add_mask(words, KEY, subtract=True)
    assert (words == np.arange(length).astype(kind)).all()


@pytest.mark.parametrize("bound", [1000, 2**40])
def test_a_masked_vector_of_zeros_is_uniform_and_new_each_time(bound: int) -> None:
    spec = make_spec(3, length=40_000, bound=bound)
    seen = []
    for _ in range(2):
        session = Session(spec, {name: np.zeros(spec.length, np.int64) for name in spec.names})
        session.masked()
        seen += [Masked.decode(answer, spec).vector(spec) for answer in session.sent[Stage.MASKED].values()]
    for words in seen:
        counts = np.bincount(words.view(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6
        top = np.bincount((words >> (spec.ring.bits - 8)).astype(np.int64), minlength=256)
        assert stats.chisquare(top).pvalue > 1e-6
    # Independent of each other: the differences are uniform, too, and the floats do not correlate.
    for first, one in enumerate(seen):
        for other in seen[first + 1:]:
            assert stats.chisquare(np.bincount((one - other).view(np.uint8), minlength=256)).pvalue > 1e-6
    assert np.abs(np.corrcoef(np.array(seen, dtype=float)) - np.eye(6)).max() < 6 / np.sqrt(spec.length)


@given(st.integers(0, 255))
def test_every_bit_of_a_seed_counts(bit: int) -> None:
    seed = bytes(range(32))
    other = (int.from_bytes(seed, "big") ^ 1 << bit).to_bytes(32, "big")
    binding = Binding(session_id=bytes(32), transcript=bytes(32))
    assert binding.personal_key(seed, "a") != binding.personal_key(other, "a")
    assert binding.commitment(seed, "a") != binding.commitment(other, "a")


def test_keys_are_bound_to_purpose_session_transcript_and_names() -> None:
    one, other = new_seed(), new_seed()
    keys = set()
    for binding in (Binding(session_id=bytes(32), transcript=bytes(32)),
                    Binding(session_id=KEY, transcript=bytes(32)), Binding(session_id=bytes(32), transcript=KEY)):
        for pair in (("a", "b"), ("a", "c"), ("ab", "c")):
            there = binding.mask_key(private_key(one), public_bytes(other), between=pair)
            back = binding.mask_key(private_key(other), public_bytes(one), between=(pair[1], pair[0]))
            assert there == back
            keys |= {there, binding.personal_key(one, pair[0]), binding.commitment(one, pair[0])}
    assert len(keys) == 9 + 6 + 6


def test_a_box_opens_for_whom_it_was_made_and_unchanged_only() -> None:
    binding, agreed = Binding(session_id=bytes(32), transcript=bytes(32)), bytes(32)
    box = binding.seal(b"s" * 66, agreed, sender="a", recipient="b")
    assert binding.open(box, agreed, sender="a", recipient="b") == b"s" * 66
    assert binding.seal(b"s" * 66, agreed, sender="a", recipient="b") != box
    for place in (0, 20, len(box) - 1):
        changed = bytearray(box)
        changed[place] ^= 1
        with pytest.raises(ProtocolError, match="box from a"):
            binding.open(bytes(changed), agreed, sender="a", recipient="b")
    for wrong, secret, sender, recipient in (
            (binding, agreed, "b", "a"), (binding, agreed, "a", "c"), (binding, KEY, "a", "b"),
            (Binding(session_id=KEY, transcript=bytes(32)), agreed, "a", "b"),
            (Binding(session_id=bytes(32), transcript=KEY), agreed, "a", "b")):
        with pytest.raises(ProtocolError):
            wrong.open(box, secret, sender=sender, recipient=recipient)


def test_the_points_of_low_order_are_those_that_give_zero() -> None:
    private = X25519PrivateKey.generate()
    for number in LOW_ORDER:
        point = number.to_bytes(32, "little")
        with pytest.raises(ValueError, match="shared key"):
            private.exchange(X25519PublicKey.from_public_bytes(point))
        with pytest.raises(ProtocolError, match="anybody knows"):
            agree(private, point)
    for number in range(2, 30):  # neighbours are ordinary points
        assert len(agree(private, number.to_bytes(32, "little"))) == 32
