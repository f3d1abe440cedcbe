"""How long an honest partner's update can be, from the public constants of a plan alone.

In a round a partner takes T steps `w <- (1 - a) w - r (g + n)`: a is the learning rate r times weight decay, g the
clipped gradients of those whose slots came up over the divisor `q * slots`, n the noise. What the round did to the
model beyond shrinking it is

    w_T - (1 - a)^T w_0 = -r * sum over k < T of (1 - a)^k (g_k + n_k)

and by the triangle inequality its norm is at most the sum of

- the gradients: `r * C * sum |1 - a|^k * N_k / (q * slots)`, C the clip norm and N_k ~ Binomial(slots, q) those who
  came up. With q = 1 all did; otherwise Bernstein's inequality bounds the sum (Boucheron, Lugosi and Massart 2013,
  section 2.8);
- the noise: a discrete Gaussian is subgaussian with its own scale (Canonne, Kamath and Steinke 2020, arXiv:2004.00010),
  so the norm of d of them exceeds `s * sqrt(d + 2 sqrt(d x) + 2 x)` with probability at most `exp(-x)` (Hsu, Kakade and
  Zhang 2012, arXiv:1110.2842, theorem 2.1), where `s = r * C * z * sqrt(sum (1 - a)^2k) / (q * slots)` for the noise
  multiplier z;
- rounding: each step to the grid of weights, and the last one to float32.

Worked example: 8 steps at rate 18, clip 0.2, noise 15.24, every slot in every step, 512 slots, 1,026 weights, without
decay: 28.8 for gradients, 9.7 x 1.15 = 11.2 for noise, together 40.0. (Measured updates of that plan are 10 long:
people disagree, and not every slot is taken.)
"""

from __future__ import annotations

import math
from typing import Final

from federation.grid import MAX_WEIGHT, WEIGHT_BITS
from federation.plan_parts import TrainingSpec

TAIL: Final = 1e-9
"""Chance that an honest update of one round is longer than `honest_norm`. With 1,000 partners and 1,000 rounds, one
study in 1,000 has one, which is scaled down a little."""
_DIGITS: Final = 3


def honest_norm(training: TrainingSpec, *, slots: int, model_size: int, tail: float = TAIL) -> float:
    """What the norm of an honest update exceeds with probability at most `tail`.

    Args:
        training: public constants; `robust` is not looked at.
        slots: the partner's; as long as no more people train there.
        model_size: how many weights there are.
        tail: above 0 and below 1.

    Raises:
        ValueError: if `tail` is out of range, or weight decay makes a model grow.
    """
    if not (math.isfinite(tail) and 0 < tail < 1):
        raise ValueError(f"tail is {tail}, expected more than 0 and less than 1")
    shrink = training.learning_rate * training.weight_decay
    if shrink > 2:
        raise ValueError(f"learning_rate times weight_decay is {shrink:g}, expected at most 2")
    # Half of the tail for who came up, half for the noise.
    exponent = math.log(2 / tail)
    powers = [abs(1 - shrink) ** k for k in range(training.local_steps)]
    unit = training.learning_rate * training.l2_clip_norm / (training.sampling_probability * slots)
    people = _most_drawn(powers, slots, training.sampling_probability, exponent)
    squares = math.fsum(power**2 for power in powers)
    noise = training.noise_multiplier * math.sqrt(squares) * chi_bound(model_size, exponent)
    rounding = math.sqrt(model_size) * (training.local_steps * 2.0 ** -(WEIGHT_BITS + 1) + MAX_WEIGHT * 2.0**-25)
    return unit * (people + noise) + rounding


def clipping_radius(training: TrainingSpec, *, slots: float, model_size: int) -> float:
    """A radius for centred clipping that an honest federation does not notice.

    Half the norm (root mean square) of the noise in an update, or a tenth of what gradients could do if everybody's
    pointed the same way in every step, if that is longer. Any longer, and liars gain; much shorter than both, and a
    model of few rounds does not get where it would (docs/poisoning.md has the figures).

    Args:
        training: public constants; `robust` is not looked at.
        slots: the partners' mean.
        model_size: how many weights there are.
    """
    shrink = training.learning_rate * training.weight_decay
    powers = [abs(1 - shrink) ** k for k in range(training.local_steps)]
    unit = training.learning_rate * training.l2_clip_norm
    noise = unit * training.noise_multiplier / (training.sampling_probability * slots) * math.sqrt(
        model_size * math.fsum(power**2 for power in powers))
    return max(noise / 2, unit * math.fsum(powers) / 10)


def chi_bound(dimension: int, exponent: float) -> float:
    """What the norm of `dimension` independent subgaussian numbers of scale 1 exceeds with probability `exp(-exponent)`
    at most."""
    return math.sqrt(dimension + 2 * math.sqrt(dimension * exponent) + 2 * exponent)


def _most_drawn(powers: list[float], slots: int, probability: float, exponent: float) -> float:
    """What a sum of binomials, weighted by `powers`, exceeds with probability `exp(-exponent)` at most."""
    total = slots * math.fsum(powers)
    variance = slots * probability * (1 - probability) * math.fsum(power**2 for power in powers)
    excess = exponent / 3 + math.sqrt((exponent / 3) ** 2 + 2 * variance * exponent)
    return min(total, probability * total + excess)


def rounded_up(value: float) -> float:
    """`value`, finite and above 0, rounded up to three digits: what people read and plans state."""
    step = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    return float(f"{math.ceil(value / step) * step:.{_DIGITS}g}")
