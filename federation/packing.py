"""Arrays in Flower's records: packed as numpy writes them, and unpacked only if they are exactly that.

`flwr.app.Array.numpy` believes the header inside the data, which may name any shape: a few bytes could ask for
gigabytes. Here the header must fit what the record declares and the bytes that are really there, so that unpacking
takes no more memory than the message has taken already.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord

# Format 1.0 as `numpy.save` writes it (numpy.lib.format): magic, length, a dictionary in fixed words, a line's end.
_HEADER: Final = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f4|<i8)', 'fortran_order': False, 'shape': \(([0-9, ]{0,100})\), \} {0,128}\n",
    re.DOTALL)
_DTYPES: Final[Mapping[bytes, npt.DTypeLike]] = {b"<f4": np.float32, b"<i8": np.int64}
MOST_ARRAYS: Final = 64
"""More than any model of a plan has."""


def pack(arrays: Mapping[str, npt.NDArray[Any]]) -> ArrayRecord:
    """Arrays by name as a record of Flower's."""
    return ArrayRecord(OrderedDict((name, Array(np.ascontiguousarray(value))) for name, value in arrays.items()))


def unpack(record: ArrayRecord, *, most_bytes: int | None = None) -> dict[str, npt.NDArray[Any]]:
    """What `pack` packed: float32 and int64 arrays by name.

    Args:
        record: as it arrived.
        most_bytes: that any one array may take. None: as many as are there.

    Raises:
        ValueError: if it holds anything else, or more.
    """
    if len(record) > MOST_ARRAYS:
        raise ValueError(f"{len(record)} arrays, expected at most {MOST_ARRAYS}")
    return {name: _array(array, most_bytes) for name, array in record.items()}


def _array(packed: Array, most_bytes: int | None) -> npt.NDArray[Any]:
    data = packed.data
    header = _HEADER.match(data[:512])
    if packed.stype != "numpy.ndarray" or header is None:
        raise ValueError("not an array of float32 or int64 as numpy writes it")
    shape = tuple(int(size) for size in header[2].decode().split(",") if size.strip())
    dtype, size = np.dtype(_DTYPES[header[1]]), len(data) - header.end()
    if most_bytes is not None and size > most_bytes:
        raise ValueError(f"{size} bytes, expected at most {most_bytes}")
    if (packed.dtype, tuple(packed.shape)) != (str(dtype), shape) or size != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array's header does not fit what the record declares or holds")
    # A copy, since a view of bytes cannot be written to.
    return np.frombuffer(data, dtype=dtype, offset=header.end()).reshape(shape).copy()
