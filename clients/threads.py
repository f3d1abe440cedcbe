"""How many CPU threads the arithmetic of this process uses. A matter of speed alone."""

from __future__ import annotations

from functools import lru_cache

import torch
from threadpoolctl import threadpool_limits


@lru_cache(maxsize=1)
def use_threads(count: int) -> None:
    """Hold torch to `count` threads and NumPy to one. More than the machine has cores costs a factor of ten.

    NumPy's OpenBLAS waits for its threads by spinning: with two of them and one other busy program, a product takes ten
    times as long. What is worth several threads goes to torch (`federation.grid.product`).
    """
    torch.set_num_threads(count)
    threadpool_limits(limits=1, user_api="blas")
