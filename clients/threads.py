"""How many CPU threads the arithmetic of this process uses. A matter of speed alone."""

from __future__ import annotations

from functools import lru_cache

import torch
from threadpoolctl import threadpool_limits


@lru_cache(maxsize=1)
def use_threads(count: int) -> None:
    """Hold torch and NumPy to `count` threads. More than the machine has cores costs a factor of ten."""
    torch.set_num_threads(count)
    threadpool_limits(limits=count, user_api="blas")
