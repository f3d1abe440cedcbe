"""Invented people for tests of training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from clients.people import People
from federation.grid import INPUT_BITS


def make_people(count: int, *, records: int = 3, dimension: int = 5, tasks: int = 2, seed: int = 0) -> People:
    """`count` people with so many records each on the grid, some of them without a label for some task."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(count, records, dimension + 1))
    known = generator.random((count, records, tasks)) < 0.7
    return People.of(
        inputs=np.round(inputs * 2**INPUT_BITS) / 2**INPUT_BITS,
        targets=generator.integers(0, 2, (count, records, tasks)).astype(float),
        weights=known / np.maximum(known.sum(axis=1, keepdims=True), 1), prior=np.zeros((count, 1, tasks)))


def seed_weights(model: nn.Module, seed: int, *, scale: float = 0.4) -> None:
    """Normal weights from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.data.normal_(0.0, scale, generator=generator)
