"""The head's arithmetic on grids, where float64 makes no rounding error.

A matrix product picks its order of additions by the size of the batch. In ordinary floating point, one more row can so
move another row's last digit; then somebody's presence shows in somebody else's gradient or flag, and what clipping
bounds is no longer what one person changes. Here inputs are whole multiples of 2^-12 and weights of 2^-22, so that
every partial sum of a product is a whole multiple of 2^-34 of at most 2^19 and fits into float64's 53 bits. Such a sum
is exact, hence the same in every order. What remains works number by number: tanh is NumPy's, which handles the end of
an array as it does its middle, where torch does not (tests/federation/test_exact.py).

The bound of 2^19: weights are at most `MAX_WEIGHT` = 2^10, and the magnitudes of an input sum to at most 2^9, for unit
vectors of up to 2^17 dimensions with their constant as for 512 hidden units of at most 1. A plan can hold no more.

Rounding inputs by up to 2^-13 and weights by 2^-23 costs nothing that can be measured in the model's quality.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import numpy.typing as npt
import torch

from federation.grid import INPUT_BITS, product, snap
from federation.model import MultiTaskHead
from federation.privacy.clipping import FloatArray, LayerGradient, inner_products


def snap_weights(model: torch.nn.Module) -> None:
    """Put a float64 model's weights on their grid, in place."""
    with torch.no_grad():
        for weight in model.parameters():
            snap(weight.numpy())


class ExactHead:
    """A `MultiTaskHead` on grids: logits, and gradients as outer products.

    Args:
        model: float64, its weights on the grid (`snap_weights`). They are read anew at each call.
    """

    def __init__(self, model: MultiTaskHead) -> None:
        self._model = model

    def hidden(self, inputs: FloatArray) -> FloatArray | None:
        """What comes out of the hidden layer, if there is one, on the grid 2^-12: `(…, H)`."""
        if self._model.hidden is None:
            return None
        # float32 is four times as fast, and its error far below the grid.
        values = _apply(inputs, self._model.hidden.weight).astype(np.float32)
        np.tanh(values, out=values)
        values *= np.float32(2.0**INPUT_BITS)
        np.rint(values, out=values)
        return np.multiply(values, 2.0**-INPUT_BITS, dtype=np.float64)

    def logits(self, inputs: FloatArray, hidden: FloatArray | None) -> FloatArray:
        """Logits without any prior, `(…, T)`, of inputs on the grid and what `hidden` gave for them."""
        return _apply(inputs if hidden is None else hidden, self._model.output.weight)

    def gradients(self, inputs: FloatArray, hidden: FloatArray | None, errors: FloatArray,
                  products: FloatArray) -> list[LayerGradient]:
        """Each layer's gradient, in the order of the parameters.

        Args:
            inputs: `(P, K, D + 1)`.
            hidden: what `hidden` gave for them.
            errors: `(P, K, T)`; derivative of the loss by the logits.
            products: inner products of each person's `inputs`.
        """
        if hidden is None:
            return [LayerGradient(inputs=inputs, errors=errors, products=products)]
        # Task by task: a product of matrices could add in another order for another number of rows.
        weights = self._model.output.weight.detach().numpy()
        back, more = errors[..., :1] * weights[0], np.empty_like(hidden)
        for task in range(1, len(weights)):
            back += np.multiply(errors[..., task : task + 1], weights[task], out=more)
        back *= np.subtract(1.0, np.square(hidden, out=more), out=more)
        return [LayerGradient(inputs=inputs, errors=back, products=products),
                LayerGradient(inputs=hidden, errors=errors, products=inner_products(hidden))]


def _apply(values: FloatArray, weight: torch.Tensor) -> FloatArray:
    rows = product(values.reshape(-1, values.shape[-1]), weight.detach().numpy().T)
    return rows.reshape(*values.shape[:-1], len(weight))


def exact_logits(model: MultiTaskHead, inputs: npt.NDArray[np.float32]) -> FloatArray:
    """Logits `(N, T)` of inputs on the grid, `(N, D + 1)`; a row's do not depend on the others."""
    copy = deepcopy(model).double()
    snap_weights(copy)
    head, rows = ExactHead(copy), inputs.astype(np.float64)
    return head.logits(rows, head.hidden(rows))
