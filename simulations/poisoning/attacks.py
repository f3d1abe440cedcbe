"""What a partner that lies sends instead of its update.

It has trained like everybody else, and to make the attacks as strong as they are in the papers it also knows what the
others will send, which no partner can under local noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from federation.grid import MAX_WEIGHT, FloatArray
from federation.messages import Arrays

Attack = Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]
"""A lie `(d,)`, from the update that the partner has made, `(d,)`, and those of the others, `(n - 1, d)`."""

_TIMES: Final = 100.0
_HUGE: Final = 300.0
_DEVIATIONS: Final = 1.5


def honest(own: FloatArray, others: FloatArray, generator: np.random.Generator) -> FloatArray:
    """The truth."""
    del others, generator
    return own


def hundredfold(own: FloatArray, others: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Its update a hundred times over, as in model replacement (Bagdasaryan et al. 2020, arXiv:1807.00459)."""
    del others, generator
    return _TIMES * own


def flipped(own: FloatArray, others: FloatArray, generator: np.random.Generator) -> FloatArray:
    """The opposite of its update: as long as an honest one."""
    del others, generator
    return -own


def flipped_hundredfold(own: FloatArray, others: FloatArray, generator: np.random.Generator) -> FloatArray:
    """The opposite, a hundred times over."""
    del others, generator
    return -_TIMES * own


def huge(own: FloatArray, others: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Random numbers near the largest weights that are accepted."""
    del others
    return _HUGE * generator.standard_normal(len(own))


def little(own: FloatArray, others: FloatArray, generator: np.random.Generator) -> FloatArray:
    """"A little is enough": the others' mean less one and a half standard deviations, weight by weight, so that it lies
    among them (Baruch et al. 2019, arXiv:1902.06156, whose example has 1.5)."""
    del own, generator
    lie: FloatArray = others.mean(axis=0) - _DEVIATIONS * others.std(axis=0)
    return lie


def against(own: FloatArray, others: FloatArray, generator: np.random.Generator) -> FloatArray:
    """The opposite of the others' mean, a hundred times over (inner products: Xie et al. 2020, arXiv:1903.03936)."""
    del own, generator
    lie: FloatArray = -_TIMES * others.mean(axis=0)
    return lie


ATTACKS: Mapping[str, Attack] = MappingProxyType({
    "none": honest, "hundredfold": hundredfold, "flipped": flipped, "flipped hundredfold": flipped_hundredfold,
    "huge": huge, "a little": little, "against the others": against})


def told(attack: Attack, liar: str, model: Arrays, updates: Mapping[str, Arrays],
         generator: np.random.Generator) -> dict[str, Arrays]:
    """The partners' models when `liar` sends a lie; held to the largest weight that the coordinator accepts."""
    start = _flat(model)
    moves = {name: _flat(arrays) - start for name, arrays in updates.items()}
    others = np.array([move for name, move in moves.items() if name != liar])
    lie = np.clip(start + attack(moves[liar], others, generator), -MAX_WEIGHT, MAX_WEIGHT).astype(np.float32)
    parts = np.split(lie, np.cumsum([value.size for value in model.values()])[:-1])
    return {**updates, liar: {name: part.reshape(model[name].shape) for name, part in zip(model, parts, strict=True)}}


def _flat(arrays: Arrays) -> FloatArray:
    return np.concatenate([value.ravel() for value in arrays.values()], dtype=np.float64)
