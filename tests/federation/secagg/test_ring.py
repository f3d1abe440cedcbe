from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import InputError
from federation.secagg.ring import Ring, ring_for


@given(st.sampled_from([32, 64]), st.data())
def test_sums_in_the_ring_are_sums_of_integers(bits: int, data: st.DataObject) -> None:
    ring = Ring(bits=bits)  # type: ignore[arg-type]
    partners = data.draw(st.integers(1, 8))
    bound = ring.largest // partners
    rows = [data.draw(st.lists(st.integers(-bound, bound) | st.sampled_from([bound, -bound]), min_size=3, max_size=3))
            for _ in range(partners)]
    words = sum(ring.encode(np.array(row), bound=bound) for row in rows)
    assert ring.decode(words).tolist() == [sum(column) for column in zip(*rows, strict=True)]
    assert words.dtype == ring.dtype


def test_the_narrowest_ring_is_taken_up_to_the_last_value() -> None:
    assert ring_for(1, 2**31 - 1).bits == 32
    assert ring_for(1, 2**31).bits == 64
    assert ring_for(7, (2**31 - 1) // 7).bits == 32
    assert ring_for(3, (2**63 - 1) // 3).bits == 64
    with pytest.raises(InputError, match=r"3 such entries.*at most 3074457345618258602.*coarser"):
        ring_for(3, (2**63 - 1) // 3 + 1)


@pytest.mark.parametrize(("partners", "bound"), [(0, 1), (1, 0), (-1, 5)])
def test_nothing_to_add(partners: int, bound: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        ring_for(partners, bound)


@pytest.mark.parametrize("values", [[6], [-6], [np.iinfo(np.int64).min], [np.iinfo(np.int64).max]])
def test_an_entry_beyond_the_bound_is_refused(values: list[int]) -> None:
    with pytest.raises(InputError, match=r"too large.*-5 to 5"):
        Ring(bits=64).encode(np.array(values), bound=5)


@pytest.mark.parametrize("values", [np.zeros(2), np.zeros((2, 2), np.int64), [1, 2], np.zeros(2, np.int32)])
def test_another_type_or_shape_is_refused(values: object) -> None:
    with pytest.raises(InputError, match="int64"):
        Ring(bits=32).encode(values, bound=5)  # type: ignore[arg-type]
