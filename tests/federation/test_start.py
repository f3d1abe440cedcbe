"""Where a model starts: public sentences, and what a plan takes for weights."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from pydantic import ValidationError

from federation.encoders import load_encoder
from federation.encoders.base import Encoder
from federation.model import initial_model
from federation.plan import StudyPlan
from federation.plan_parts import ModelSpec
from federation.start import START_NORM, sentences, start_weights
from federation.taxonomy import Task
from tests.worlds import make_plan

DIMENSION = 8


def _spec(weights: np.ndarray) -> ModelSpec:
    return ModelSpec(hidden_units=None, intercept_scale=0.1, initial_seed=0,
                     start=base64.b64encode(weights.astype("<f2").tobytes()).decode())


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("hashed-ngrams", dimension=4096)


@pytest.mark.parametrize("task", Task)
def test_lists_are_of_different_sentences(task: Task) -> None:
    signal, other = sentences(task)
    assert min(len(signal), len(other)) >= 25
    assert len({*signal, *other}) == len(signal) + len(other)


def test_a_start_is_the_difference_of_mean_vectors(encoder: Encoder) -> None:
    """A naive twin: sentence by sentence."""
    weights = start_weights(encoder, (Task.DISTRESS, Task.RECRUITMENT))
    assert weights.shape == (2, 4097)
    assert (weights[:, -1] == 0).all()
    for row, task in enumerate((Task.DISTRESS, Task.RECRUITMENT)):
        total = np.zeros(4096)
        for sign, texts in zip((1, -1), sentences(task), strict=True):
            for text in texts:
                total += sign * encoder.encode([text])[0] / len(texts)
        assert np.linalg.norm(weights[row].astype(float)) == pytest.approx(START_NORM, rel=1e-3)
        assert weights[row, :-1] == pytest.approx(START_NORM * total / np.linalg.norm(total), abs=2e-3)


def test_a_start_tells_new_sentences_apart(encoder: Encoder) -> None:
    """Words of the lists in sentences that are in none."""
    weights = start_weights(encoder, (Task.DISTRESS,))[0, :-1].astype(float)
    afraid, calm = encoder.encode(["I am scared and crying and cannot sleep",
                                   "The office is open, thank you for the advice"])
    assert afraid @ weights > calm @ weights


def test_a_linear_head_starts_there() -> None:
    plan = make_plan()
    weights = np.arange(plan.model_size, dtype=np.float16).reshape(len(plan.tasks), -1) / 8
    started = plan.model_copy(update={"model": _spec(weights)})
    again = StudyPlan.model_validate_json(started.to_json())
    assert np.array_equal(initial_model(again).output.weight.detach().numpy(), weights.astype(np.float32))
    assert not initial_model(plan).output.weight.detach().numpy().any()


@pytest.mark.parametrize(("start", "told"), [
    ("%%%", "not base64"),
    (base64.b64encode(b"abc").decode(), "not base64 of 16-bit"),
    (base64.b64encode(bytes(2 * DIMENSION)).decode(), "holds 8 weights, expected 9"),
    (base64.b64encode(np.full(9, np.nan, "<f2").tobytes()).decode(), "not finite"),
    (base64.b64encode(np.full(9, -np.inf, "<f2").tobytes()).decode(), "not finite"),
    (base64.b64encode(np.full(9, 2000, "<f2").tobytes()).decode(), "above 1024"),
])
def test_bad_weights_make_no_plan(start: str, told: str) -> None:
    spec = ModelSpec(hidden_units=None, intercept_scale=0.1, initial_seed=0, start=start)
    with pytest.raises(ValueError, match=told):
        spec.start_weights(dimension=DIMENSION, tasks=1)
    plan = make_plan()
    with pytest.raises(ValidationError, match=r"model\.start"):
        StudyPlan.model_validate_json(plan.model_copy(update={"model": spec}).to_json())


def test_a_hidden_layer_has_no_start() -> None:
    with pytest.raises(ValidationError, match="only a linear head"):
        ModelSpec(hidden_units=4, intercept_scale=0.1, initial_seed=0, start="AAAA")
