"""Per-person clipping onto an integer grid, exact sums, and a noised step, as an Opacus optimizer.

A person's gradient is clipped to `l2_clip_norm` and truncated toward zero to whole multiples of
`l2_clip_norm * 2^-SUM_BITS`. The integers are summed exactly, so the order of summation, the size of the batch and
everybody else in it cannot move a person's contribution by a single digit. Integer noise is added to the integer sum.

There are two ways to the integers:

- **Closed form**, for layers whose per-record gradient is an outer product (every linear layer). A person's gradient is
  the sum over their records k of `errors[k] (x) inputs[k]`, and its square norm is

      sum over records k, l of <errors[k], errors[l]> <inputs[k], inputs[l]>

  (Goodfellow 2015, arXiv:1510.01799, for one record; Bu et al. 2022, arXiv:2205.10683, section 3, "ghost norm", for
  sums), so no person's gradient is ever written out. Inputs lie on a grid of 2^-INPUT_BITS, the clipped errors are
  truncated to 2^-COEFFICIENT_BITS, and then a float64 matrix product of the two is exact: every partial sum is a whole
  number of 2^-SUM_BITS and below 2^53 of them.
- **Opacus's per-person gradients**, for any other model, truncated entry by entry.

Opacus's own optimizer clips in float32, derives the divisor from the size of the data and draws seedable noise; this
one takes over those three steps and leaves the rest of `DPOptimizer` as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from opacus.optimizers import DPOptimizer

from federation.grid import COEFFICIENT_BITS, INPUT_BITS, SUM_BITS, product

BLOCK_PEOPLE: Final = 512
"""People in one closed-form product, at most. With 8 records each, inputs of at most 2^4 (an intercept constant is at
most 10) and coefficients of at most 2^4, every partial sum stays below 2^(12 + 4 + 4 + SUM_BITS) = 2^48 units."""
_LARGEST_COEFFICIENT: Final = 2.0**4
_NORM_BITS: Final = 20
"""Square norms are summed in multiples of 2^-20. Their terms are below 2^26: 512 outputs with coefficients of 2^4 make
2^17, inputs 2^9; so 64 terms fit into 53 bits."""
_FEW: Final = 8
_ROUNDING: Final = 2.0**-30
"""What float64 can lose in the last few operations on a norm, relative, generously."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
IntSource = Callable[[int], IntArray]
"""So many independent noise values, int64, in an array that nobody else holds."""


@dataclass(frozen=True, kw_only=True)
class LayerGradient:
    """The gradients of one linear layer's weight for `P` people with `K` records each, as outer products.

    Attributes:
        inputs: `(P, K, I)` on the grid 2^-INPUT_BITS, at most 2^4 in magnitude; what went into the layer.
        errors: `(P, K, O)`; derivative of the person's loss by what came out of the layer.
        products: `inner_products(inputs)`.
    """

    inputs: FloatArray
    errors: FloatArray
    products: FloatArray


def inner_products(vectors: FloatArray) -> FloatArray:
    """Inner products of each person's `(P, K, N)` vectors among themselves: `(P, K, K)`, exact on a grid."""
    if vectors.shape[1] == 1:
        squares: FloatArray = np.einsum("pkn,pkn->pk", vectors, vectors)[:, :, None]
        return squares
    if vectors.shape[2] <= _FEW:
        # A product of matrices for each person costs more than it does.
        columns = np.moveaxis(vectors, 2, 0)
        few: FloatArray = columns[0][:, :, None] * columns[0][:, None, :]
        for column in columns[1:]:
            few += column[:, :, None] * column[:, None, :]
        return few
    tensor = torch.from_numpy(vectors)
    products: FloatArray = torch.bmm(tensor, tensor.transpose(1, 2)).numpy()
    return products


def _coefficients(layers: Sequence[LayerGradient], l2_clip_norm: float) -> list[FloatArray]:
    """Each person's errors in clip norms, truncated to whole multiples of 2^-COEFFICIENT_BITS, as numbers of those.

    Someone whose errors are above `_LARGEST_COEFFICIENT` gets them divided by a power of two that brings them below:
    they will be clipped anyway, to the same direction. Someone with an error that is not finite gets zeros.
    """
    scaled = [layer.errors * (2.0**COEFFICIENT_BITS / l2_clip_norm) for layer in layers]
    for own in scaled:
        np.trunc(own, out=own)
    bound = _LARGEST_COEFFICIENT * 2.0**COEFFICIENT_BITS
    # Written so that NaN is over the bound; as a rule nobody is, and nobody's own peak is needed.
    if not all(own.max(initial=0.0) <= bound and own.min(initial=0.0) >= -bound for own in scaled):
        _bring_below(bound, scaled)
    return scaled


def _bring_below(bound: float, coefficients: Sequence[FloatArray]) -> None:
    """Divide everybody who is over the bound by a power of two, in place."""
    peaks = np.max([np.abs(own).max(axis=(1, 2), initial=0.0) for own in coefficients], axis=0)
    over = ~(peaks <= bound)
    finite = np.isfinite(peaks[over])
    _, exponent = np.frexp(np.where(finite, peaks[over], 0.0) / bound)
    shrink = np.ldexp(1.0, -exponent)[:, None, None]
    for own in coefficients:
        own[over] = np.trunc(np.where(finite[:, None, None], own[over], 0.0) * shrink)


def _norm_bound(layers: Sequence[LayerGradient], coefficients: Sequence[FloatArray]) -> FloatArray:
    """Upper bound, tight to 2^-12, on the norm of each person's sum of `coefficients (x) inputs`, shape `(P,)`.

    In clip norms. Inner products of vectors on a grid are exact; their products are rounded up to multiples of 2^-20
    before they are summed, so the bound does not depend on the order of anything.
    """
    square = np.zeros(len(coefficients[0]))
    for layer, own in zip(layers, coefficients, strict=True):
        terms = inner_products(own)
        terms *= layer.products
        terms *= 2.0 ** (_NORM_BITS - 2 * COEFFICIENT_BITS)
        np.ceil(terms, out=terms)
        # One more than the ceiling: the product itself is rounded.
        terms += 1
        square += terms.sum(axis=(1, 2))
    square *= 2.0**-_NORM_BITS
    norm: FloatArray = np.sqrt(np.maximum(square, 0.0, out=square), out=square)
    norm *= 1 + _ROUNDING
    return norm


def _truncation_loss(layers: Sequence[LayerGradient]) -> FloatArray:
    """By how much truncating the coefficients can lengthen a person's contribution, in clip norms, shape `(P,)`.

    For one record, not at all: every entry shrinks. For several, below sqrt(O) 2^-COEFFICIENT_BITS |inputs[k]| each.
    """
    loss, records = np.zeros(len(layers[0].inputs)), layers[0].inputs.shape[1]
    if records == 1:
        return loss
    for layer in layers:
        longest = layer.products.diagonal(axis1=1, axis2=2).max(axis=1)
        loss += np.sqrt(longest * layer.errors.shape[2]) * records
    return loss * (2.0**-COEFFICIENT_BITS * (1 + _ROUNDING))


def clipped_sum(layers: Sequence[LayerGradient], l2_clip_norm: float) -> list[IntArray]:
    """Sum of people's clipped gradients in units of `l2_clip_norm * 2^-SUM_BITS`, one int64 `(O, I)` a layer.

    Each person's contribution over all layers has Euclidean norm at most 2^SUM_BITS units, exactly, and depends on
    nothing but their own rows. It is their gradient times min(1, l2_clip_norm / norm), up to the grid and less than
    1 % shorter.

    Args:
        layers: gradients of at most `BLOCK_PEOPLE` people, the same people in each layer.
        l2_clip_norm: C.

    Raises:
        ValueError: if there are more people than that.
    """
    people = len(layers[0].inputs)
    if people > BLOCK_PEOPLE:
        raise ValueError(f"{people} people in one product, expected at most {BLOCK_PEOPLE}: split them")
    coefficients = _coefficients(layers, l2_clip_norm)
    room = np.maximum(1 - _truncation_loss(layers), 0.0)
    norms = _norm_bound(layers, coefficients)
    # Within the clip norm nothing is cut, and nothing truncated a second time.
    factor = np.where(norms <= 1.0, 1.0, room / np.maximum(norms, 1.0))[:, None, None]
    sums = []
    for layer, own in zip(layers, coefficients, strict=True):
        own *= factor
        np.trunc(own, out=own)
        total = product(own.reshape(-1, own.shape[2]).T, layer.inputs.reshape(-1, layer.inputs.shape[2]))
        # Whole multiples of 2^-INPUT_BITS so far; multiplied and converted in one pass, without another array.
        sums.append(np.multiply(total, 2.0**INPUT_BITS, out=np.empty(total.shape, dtype=np.int64), casting="unsafe"))
    return sums


def truncated_sum(samples: Sequence[torch.Tensor], l2_clip_norm: float) -> list[IntArray]:
    """The same from per-person gradients `(P, ...)`, one tensor a parameter; int64 `(...)` each.

    Someone whose gradient is not finite contributes nothing: a NaN passes every comparison and would tell whoever chose
    the model that this person is here.
    """
    samples = [sample.double().flatten(start_dim=1) for sample in samples]
    norms = torch.stack([sample.norm(dim=1) for sample in samples]).norm(dim=0) * (1 + 2.0**-20)
    usable = torch.isfinite(norms)
    factor = (1 / norms).clamp(max=1 / l2_clip_norm).masked_fill(~usable, 0.0) * 2.0**SUM_BITS
    return [torch.trunc(sample.masked_fill(~usable[:, None], 0.0) * factor[:, None]).to(torch.int64).sum(dim=0).numpy()
            for sample in samples]


class PersonDPOptimizer(DPOptimizer):  # type: ignore[misc]
    """DP-SGD step over people: exact integer sum of clipped gradients, integer noise, public divisor.

    Before `step`, either hand over sums with `add_people` (as often as there are blocks of people), or let Opacus's
    hooks leave per-person gradients on the parameters. A step without either adds its noise all the same.

    Args:
        optimizer: the plain optimizer that applies the gradient.
        l2_clip_norm: bound on one person's gradient over all parameters together.
        noise_multiplier: standard deviation of the noise over `l2_clip_norm`; what `noise` draws.
        divisor: public; `sampling_probability * slots`.
        noise: source of integer noise of scale `noise_multiplier * 2^SUM_BITS`.

    Raises:
        ValueError: if a number is not finite or not above 0.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, *, noise_multiplier: float, l2_clip_norm: float, divisor: float,
        noise: IntSource,
    ) -> None:
        for name, value in (("noise_multiplier", noise_multiplier), ("l2_clip_norm", l2_clip_norm),
                            ("divisor", divisor)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}, expected a finite number above 0")
        # "sum": a person's gradient is exactly their own; the public divisor is applied below, once.
        super().__init__(optimizer, noise_multiplier=noise_multiplier, max_grad_norm=l2_clip_norm,
                         expected_batch_size=None, loss_reduction="sum")
        self._divisor = divisor
        self._noise = noise

    def add_people(self, sums: Sequence[IntArray]) -> None:
        """Add the sums of `clipped_sum` or `truncated_sum`, in the order of the parameters, to the step under way."""
        for parameter, units in zip(self.params, sums, strict=True):
            held, own = parameter.summed_grad, units.reshape(parameter.shape)
            parameter.summed_grad = own if held is None else held + own

    def clip_and_accumulate(self) -> None:
        """Clip, truncate and sum whatever per-person gradients the hooks have left."""
        samples = [getattr(parameter, "grad_sample", None) for parameter in self.params]
        if all(sample is not None for sample in samples):
            self.add_people(truncated_sum(self.grad_samples, self.max_grad_norm))

    def noised_sums(self) -> list[IntArray]:
        """The sum with its noise for each parameter, int64 in its shape; the true one is dropped."""
        # All at once: each draw has its own cost.
        noise = self._noise(sum(parameter.numel() for parameter in self.params))
        sums, first = [], 0
        for parameter in self.params:
            total = noise[first : first + parameter.numel()].reshape(parameter.shape)
            if parameter.summed_grad is not None:
                total += parameter.summed_grad
            # Sensitive and no longer needed.
            parameter.summed_grad = None
            sums.append(total)
            first += total.size
        return sums

    def add_noise(self) -> None:
        """Put the noised sum on each parameter, over the public divisor."""
        scale = self.max_grad_norm * 2.0**-SUM_BITS / self._divisor
        for parameter, total in zip(self.params, self.noised_sums(), strict=True):
            parameter.grad = torch.from_numpy(total * scale).to(parameter.dtype)

    def pre_step(self, closure: Callable[[], float] | None = None) -> bool:
        """Everything before the plain optimizer's step. Opacus would skip it, noise and all, without gradients."""
        del closure
        self.clip_and_accumulate()
        self.add_noise()
        return True
