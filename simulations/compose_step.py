"""How long a step is, when the settings leave it open: as long as the noise allows.

Every step adds noise to the weights, and what T steps added has norm about

    learning_rate * l2_clip_norm * z * sqrt(T * (dimension + 1)) / (sampling_probability * slots)

in a task's weights, where z is the noise multiplier of what is averaged over all partners and slots are all of theirs.
Longer steps learn more and carry more noise. At epsilon 1 and 3, with noise in each update and in the sum, with 384 and
512 dimensions, validation liked best the step for which this norm was 6 to 13, and lost at most 0.003 of AUC at 9. All
of it is public, so the rule costs nothing and needs no choice made on records.
"""

from __future__ import annotations

import math
from typing import Final

from federation.plan_parts import Aggregation, SecureAggregationSpec
from simulations.settings import TrainingSettings

NOISE_NORM: Final = 9.0
"""Norm of the noise in a task's weights after all steps, if steps are chosen by noise."""
LONGEST_WAY: Final = 480.0
"""Most that `learning_rate * l2_clip_norm * steps` may be: with next to no noise, more gained nothing."""
LONGEST_STEP: Final = 120.0
"""Largest learning rate: in validation, the largest that was tried."""
_DIGITS: Final = 3


def learning_rate(training: TrainingSettings, *, noise_multiplier: float, dimension: int, linear: bool,
                  slots: list[int], quorum: int, secure: SecureAggregationSpec | None) -> float:
    """The plan's learning rate: the settings' own, or by the rule above.

    Args:
        training: the settings.
        noise_multiplier: of a step, as the plan promises it.
        dimension: of the encoder.
        linear: whether the model is a linear head; the rule says nothing about others, which take the longest way.
        slots: of each partner.
        quorum: of the plan.
        secure: what secure sums rest on.
    """
    if training.learning_rate is not None:
        return training.learning_rate
    if not training.l2_clip_norm > 0:
        return LONGEST_STEP  # the plan refuses such a clip norm by its name
    steps = training.rounds * training.local_steps
    longest = min(LONGEST_STEP, LONGEST_WAY / (training.l2_clip_norm * steps))
    if not linear:
        return _rounded(longest)
    # Each of n partners adds all the noise that its people are promised, or so much that `quorum - colluders` do.
    share = 1.0
    if training.aggregation is Aggregation.SECURE and secure is not None:
        share = 1.0 / (quorum - secure.colluders)
    noise = (training.l2_clip_norm * noise_multiplier * math.sqrt(share * len(slots) * steps * (dimension + 1))
             / (training.sampling_probability * sum(slots)))
    return _rounded(min(NOISE_NORM / noise, longest))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
