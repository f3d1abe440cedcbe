"""Putting visible updates together so that a few partners that lie move the model by no more than the plan says.

An update is what a partner did to the model in a round beyond the shrinking by weight decay that everybody knows. First
each is held to the plan's norm bound. A longer one is scaled down to it and not refused (Sun et al. 2019,
arXiv:1911.07963): whoever knows the bound can send exactly that much anyway, so refusing would stop nobody, and it
would lose an honest partner that is past it by chance, or let a liar bring a round below its quorum. (Protocols in
which nobody sees an update refuse, since they can check a norm and not change it.) Then one of three rules:

- `mean`: weighted by slots.
- `trimmed_mean` (Yin et al. 2018, arXiv:1803.01498, definition 2): for each weight of the model, the mean without the b
  largest and the b smallest values. Slots do not enter: they are what a partner says of itself, and a rule against
  partners that lie must not give a larger say to whoever claims to be large. What remains is not weighted either, or
  the mean would jump where two values change places. The price is more noise where slots are unequal.
- `centred_clipping` (Karimireddy, He and Jaggi 2021, arXiv:2012.10333, section 4): a few iterations of
  `v + weighted mean of (u - v) min(1, radius / norm(u - v))` from `v = 0`, weighted by slots. The plan's radius is that
  of a partner with the mean number of slots; one with k times as many has a k-th of it, as its noise is that much
  shorter: then all pull alike at most, and who claims to be large gains nothing (the paper has equal partners). Nothing
  is kept from round to round: updates carry noise that is new each time and longer than what they have in common, so an
  earlier aggregate is no better centre.

What one partner can do by changing its update, however large the change: under `mean`, with weight p, it moves the
aggregate by at most `2 p * norm_bound`; under `centred_clipping` by at most `2 * iterations * radius / n` if all n
partners are there (an iteration is a mean of maps that bring no two points further apart, and a partner moves it by
`2 p` times its own radius); under `trimmed_mean` each weight by at most the spread of the others' values over
`n - 2 b`. With at most b liars, a trimmed mean stays within what honest partners sent, weight by weight.

All is in float64 and in the order of the roster, so that the same replies give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federation.grid import FloatArray, snap
from federation.messages import Arrays
from federation.plan import StudyPlan
from federation.plan_parts import RobustRule, RobustSpec
from server.aggregation import weighted_mean


@dataclass(frozen=True, kw_only=True)
class Combined:
    """The model after a round, and whose updates were longer than the norm bound, in the order of the roster."""

    model: Arrays
    scaled: tuple[str, ...]


def combine(plan: StudyPlan, model: Arrays, updates: Mapping[str, Arrays]) -> Combined:
    """One model out of the partners', by the rule of the plan.

    Args:
        plan: rule, roster and weight decay.
        model: where the round started; float32.
        updates: the partners' models, checked for names, shapes and size.

    Returns:
        Float32 weights; on their grid, if the plan has a robust rule.

    Raises:
        ValueError: if there is no update, one from somebody outside the roster, one with a value that is not finite, or
            too few for the rule.
    """
    spec = plan.training.robust
    if spec is None:
        return Combined(model=weighted_mean(plan, updates), scaled=())
    strangers = set(updates) - {entry.name for entry in plan.roster}
    if strangers:
        raise ValueError(f"updates from outside the roster: {sorted(strangers)}")
    present = [entry for entry in plan.roster if entry.name in updates]
    if not present:
        raise ValueError("no update to aggregate")
    start = _flat(model, model) * plan.training.kept_of_model
    moves, long = bounded(np.array([_flat(updates[entry.name], model) - start for entry in present]),
                          np.full(len(present), spec.norm_bound))
    shares = np.array([entry.slots for entry in present]) / (plan.slots / len(plan.roster))
    after = start + aggregate(spec, moves, shares)
    snap(after)
    return Combined(model=_shaped(after, model),
                    scaled=tuple(entry.name for entry, over in zip(present, long, strict=True) if over))


def bounded(moves: FloatArray, norms: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Updates `(n, d)` of at most these norms `(n,)`, and which of them had to be scaled down, `(n,)`.

    Raises:
        ValueError: if a value is not finite: a NaN is above no bound.
    """
    found = np.sqrt(np.square(moves).sum(axis=1))
    if not np.isfinite(found).all():
        raise ValueError("an update has a value that is not finite")
    long = found > norms
    factors = np.ones(len(moves))
    factors[long] = norms[long] / found[long]
    return moves * factors[:, None], long


def aggregate(spec: RobustSpec, moves: FloatArray, shares: FloatArray) -> FloatArray:
    """The rule on updates `(n, d)` that keep the norm bound: `(d,)`. `shares` `(n,)` are slots, in those of the mean
    partner of the roster."""
    weights = shares / shares.sum()
    match spec:
        case RobustSpec(rule=RobustRule.TRIMMED_MEAN, trimmed_each_side=int(each_side)):
            return trimmed_mean(moves, each_side)
        case RobustSpec(rule=RobustRule.CENTRED_CLIPPING, radius=float(radius), iterations=int(iterations)):
            return centred_clipping(moves, weights, radii=radius / shares, iterations=iterations)
    return _mean(moves, weights)


def trimmed_mean(moves: FloatArray, each_side: int) -> FloatArray:
    """Of each column of `(n, d)`, the mean without its `each_side` largest and smallest values: `(d,)`.

    Raises:
        ValueError: if nothing is left.
    """
    if 2 * each_side >= len(moves):
        raise ValueError(f"{each_side} trimmed at each side of {len(moves)} updates, expected less than half")
    kept: FloatArray = np.sort(moves, axis=0)[each_side : len(moves) - each_side]
    # Row by row: sorted values in one order, whoever sent them.
    return _mean(kept, np.full(len(kept), 1 / len(kept)))


def centred_clipping(moves: FloatArray, weights: FloatArray, *, radii: FloatArray, iterations: int) -> FloatArray:
    """The centre `(d,)` of updates `(n, d)` after so many iterations from zero.

    Args:
        moves: finite.
        weights: `(n,)`, not below 0, sum 1.
        radii: `(n,)`, above 0; farthest that each may be from the centre and still count whole.
        iterations: at least 1.
    """
    centre: FloatArray = np.zeros(moves.shape[1])
    for _ in range(iterations):
        apart, _far = bounded(moves - centre, radii)
        centre = centre + _mean(apart, weights)
    return centre


def _mean(moves: FloatArray, weights: FloatArray) -> FloatArray:
    # Not a matrix product: its order of summation depends on the machine.
    total: FloatArray = sum((move * weight for move, weight in zip(moves, weights, strict=True)),
                            start=np.zeros(moves.shape[1]))
    return total


def _flat(arrays: Arrays, like: Arrays) -> FloatArray:
    return np.concatenate([arrays[name].ravel() for name in like], dtype=np.float64)


def _shaped(values: FloatArray, like: Arrays) -> Arrays:
    shaped, first = {}, 0
    for name, held in like.items():
        shaped[name] = values[first : first + held.size].reshape(held.shape).astype(np.float32)
        first += held.size
    return shaped
