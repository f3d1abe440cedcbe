"""Per-person clipping and a noised step with a public divisor, as an Opacus optimizer.

Opacus computes each person's gradient (a data set item is a person) and clips it. Two things are ours: the noise comes
from a cryptographic stream instead of torch's seedable generator, and the sum is divided by the plan's
`sampling_probability * slots` instead of a figure that Opacus derives from the size of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from opacus.optimizers import DPOptimizer

NormalSource = Callable[[Sequence[int]], npt.NDArray[np.float64]]
"""Standard normal values of the given shape, float64."""

GRID = 2.0**-20
"""Spacing, in units of the clip norm, to which a noised sum is rounded."""


class PersonDPOptimizer(DPOptimizer):  # type: ignore[misc]
    """DP-SGD step over people: clip to `l2_clip_norm`, sum, add noise, divide by a public number.

    Args:
        optimizer: the plain optimizer that applies the gradient.
        noise_multiplier: standard deviation of the noise over `l2_clip_norm`.
        l2_clip_norm: bound on one person's gradient over all parameters together.
        divisor: public; `sampling_probability * slots`.
        normal: source of standard normal values.

    Raises:
        ValueError: if a number is not finite or not above 0 (`noise_multiplier` may be 0, and the clip norm infinite
            with it, for the non-private baselines of a simulation; a plan can hold neither).
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, *, noise_multiplier: float, l2_clip_norm: float, divisor: float,
        normal: NormalSource,
    ) -> None:
        if not (math.isfinite(noise_multiplier) and noise_multiplier >= 0):
            raise ValueError(f"noise_multiplier is {noise_multiplier}, expected a finite number, at least 0")
        if not l2_clip_norm > 0 or (noise_multiplier > 0 and not math.isfinite(l2_clip_norm)):
            raise ValueError(f"l2_clip_norm is {l2_clip_norm}, expected a finite number above 0")
        if not (math.isfinite(divisor) and divisor > 0):
            raise ValueError(f"divisor is {divisor}, expected a finite number above 0")
        # "sum": a person's gradient is exactly their own; the public divisor is applied below, once.
        super().__init__(optimizer, noise_multiplier=noise_multiplier, max_grad_norm=l2_clip_norm,
                         expected_batch_size=None, loss_reduction="sum")
        self._divisor = divisor
        self._normal = normal

    def clip_and_accumulate(self) -> None:
        """Clip each person's gradient and sum, leaving out a person whose gradient is not finite.

        A norm that is NaN passes every comparison and would spoil the whole sum: whoever chose the model could tell
        from a NaN that one person is here. A person left out contributes zero, which is within any clip norm.
        """
        samples = self.grad_samples
        norms = torch.stack([sample.flatten(start_dim=1).norm(dim=1) for sample in samples]).norm(dim=0)
        usable = torch.isfinite(norms)
        factors = torch.where(usable, (self.max_grad_norm / (norms + 1e-12)).clamp(max=1.0), 0.0)
        for parameter, sample in zip(self.params, samples, strict=True):
            # Filled, not multiplied: 0 * inf is NaN.
            clean = sample.masked_fill(~usable.view(-1, *[1] * (sample.dim() - 1)), 0.0)
            parameter.summed_grad = torch.einsum("i,i...", factors, clean)

    def add_noise(self) -> None:
        """Put the noised sum on each parameter, on a fixed grid, and drop the true sum."""
        deviation = self.noise_multiplier * self.max_grad_norm
        for parameter in self.params:
            total = parameter.summed_grad
            if deviation > 0:
                noise = torch.from_numpy(self._normal(tuple(total.shape))) * deviation
                spacing = GRID * self.max_grad_norm
                total = torch.round((total.double() + noise) / spacing) * spacing
            parameter.grad = total.to(parameter.dtype).view_as(parameter)
            # Sensitive and no longer needed.
            parameter.summed_grad = None

    def scale_grad(self) -> None:
        """Divide by the public divisor."""
        for parameter in self.params:
            parameter.grad /= self._divisor
