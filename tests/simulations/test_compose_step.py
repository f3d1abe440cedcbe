"""How long a step is: as long as the noise allows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from federation.plan_parts import Aggregation, SecureAggregationSpec
from simulations.compose_step import LONGEST_STEP, LONGEST_WAY, NOISE_NORM, learning_rate
from simulations.settings import RobustSettings, TrainingSettings


def _training(*, rate: float | None = None, secure: bool = True, rounds: int = 20,
              probability: float = 1.0) -> TrainingSettings:
    return TrainingSettings(
        aggregation=Aggregation.SECURE if secure else Aggregation.LOCAL, rounds=rounds, local_steps=1,
        learning_rate=rate, weight_decay=0.0, averaged_share=0.5, sampling_probability=probability, l2_clip_norm=0.2,
        max_records_per_person=8, robust=RobustSettings(rule="none", norm_bound=None, trimmed_each_side=1, radius=None,
                                                        iterations=5))


SLOTS = [512, 256, 1024, 512]


def _rate(training: TrainingSettings, *, noise: float = 14.0, dimension: int = 384, linear: bool = True,
          colluders: int = 1) -> float:
    return learning_rate(training, noise_multiplier=noise, dimension=dimension, linear=linear, slots=SLOTS, quorum=3,
                         secure=SecureAggregationSpec(colluders=colluders))


@pytest.mark.parametrize("probability", [1.0, 0.25])
@pytest.mark.parametrize("secure", [True, False])
def test_noise_in_the_weights_has_the_norm_that_is_asked_for(secure: bool, probability: float) -> None:
    """A naive twin: draw each partner's noise, average as the coordinator does, add up the steps."""
    rate, noise, dimension, rounds = _rate(_training(secure=secure, probability=probability)), 14.0, 384, 20
    rng, clip, norms = np.random.default_rng(1), 0.2, []
    for _ in range(30):
        weights = np.zeros(dimension + 1)
        for _ in range(rounds):
            if secure:
                parts = [rng.normal(0, noise * clip / math.sqrt(3 - 1), dimension + 1) for _ in SLOTS]
                weights -= rate * np.sum(parts, axis=0) / (probability * sum(SLOTS))
            else:
                own = [rng.normal(0, noise * clip, dimension + 1) / (probability * slots) for slots in SLOTS]
                weights -= rate * np.average(own, axis=0, weights=SLOTS)
        norms.append(np.linalg.norm(weights))
    assert np.mean(norms) == pytest.approx(NOISE_NORM, rel=0.05)


def test_with_little_noise_the_way_is_bounded() -> None:
    assert _rate(_training(), noise=0.5) * 0.2 * 20 == pytest.approx(LONGEST_WAY, rel=1e-3)
    assert _rate(_training(rounds=40), noise=0.5) * 0.2 * 40 == pytest.approx(LONGEST_WAY, rel=1e-3)


def test_with_few_steps_a_step_is_bounded() -> None:
    assert _rate(_training(rounds=1), noise=0.5) == LONGEST_STEP


def test_a_given_rate_is_kept() -> None:
    assert _rate(_training(rate=3.25)) == 3.25


def test_a_hidden_layer_takes_the_longest_way() -> None:
    assert _rate(_training(), linear=False) * 0.2 * 20 == pytest.approx(LONGEST_WAY, rel=1e-3)


def test_more_noise_makes_shorter_steps() -> None:
    assert _rate(_training(), noise=28.0) == pytest.approx(_rate(_training()) / 2, rel=1e-2)
