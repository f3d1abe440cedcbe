"""Arrays on the wire: what is packed comes back, and nothing else is unpacked."""

from __future__ import annotations

import io
import tracemalloc
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from federation.packing import MOST_ARRAYS, pack, unpack


def record(**changes: Any) -> ArrayRecord:
    """A record of one array of two by three float32, altered."""
    original = Array(np.arange(6, dtype=np.float32).reshape(2, 3))
    fields = {"dtype": original.dtype, "shape": original.shape, "stype": original.stype, "data": original.data}
    return ArrayRecord(OrderedDict(x=Array(**(fields | changes))))


def saved(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return file.getvalue()


@given(arrays.arrays(st.sampled_from([np.float32, np.int64]), arrays.array_shapes(min_side=0)))
def test_what_is_packed_comes_back_writable(value: np.ndarray) -> None:
    found = unpack(pack({"x": value}), most_bytes=value.nbytes)["x"]
    assert (found.dtype, found.shape, found.tobytes()) == (value.dtype, value.shape, value.tobytes())
    assert found.flags.writeable


def test_flowers_own_reading_gives_the_same() -> None:
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(unpack(record())["x"], record()["x"].numpy())
    np.testing.assert_array_equal(unpack(record())["x"], value)


HONEST = saved(np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize("changes", [
    {"data": b""}, {"data": b"junk"}, {"data": HONEST[:-1]}, {"data": HONEST + b"\0"}, {"shape": (3, 2)},
    {"shape": (6,)}, {"dtype": "int64"}, {"dtype": "float64"}, {"stype": "other"},
    {"data": HONEST.replace(b"(2, 3)", b"(2, 9)")}, {"data": HONEST.replace(b"False", b"True ")},
    {"data": HONEST.replace(b"<f4", b"<f8")}, {"data": HONEST.replace(b"<f4", b"|O4")},
    {"data": HONEST.replace(b"\x01\x00", b"\x02\x00", 1)},
    {"data": saved(np.zeros((2, 3), dtype=np.float64)), "dtype": "float64"},
    {"data": saved(np.zeros((2, 3), dtype=np.complex64)), "dtype": "complex64"},
    {"data": saved(np.asfortranarray(np.zeros((2, 3), dtype=np.float32)))},
], ids=str)
def test_an_array_that_is_not_what_it_says_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="array"):
        unpack(record(**changes))


def test_a_header_that_promises_gigabytes_takes_no_memory() -> None:
    shape = (1_000_000, 1_000)
    data = HONEST.replace(b"(2, 3), }" + b" " * 14, b"(1000000, 1000), }" + b" " * 5)
    assert data != HONEST
    tracemalloc.start()
    with pytest.raises(ValueError, match="does not fit"):
        unpack(record(data=data, shape=shape))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_more_than_was_allowed_is_refused_unread() -> None:
    unpack(record(), most_bytes=24)
    with pytest.raises(ValueError, match="24 bytes, expected at most 23"):
        unpack(record(), most_bytes=23)
    many = {str(number): np.zeros(1, dtype=np.float32) for number in range(MOST_ARRAYS + 1)}
    with pytest.raises(ValueError, match="65 arrays"):
        unpack(pack(many))
