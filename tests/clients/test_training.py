"""What makes a step private, property by property; the naive twin is plain autograd, one person at a time."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clients.people import People, Population
from clients.training import StepRule, person_losses, train_round
from federation.model import MultiTaskHead
from federation.randomness import RandomStream
from tests.people import make_people, seed_weights

SILENT = 1e-9
"""A noise multiplier whose noise is below one unit of the integer grid."""


def population(*groups: People) -> Population:
    return Population(groups=groups)


def subset(people: People, rows: list[int]) -> Population:
    return population(people.take(np.array(rows, dtype=np.int64)))


def head(hidden: int | None = None, seed: int = 1) -> MultiTaskHead:
    model = MultiTaskHead(dimension=5, tasks=2, hidden_units=hidden)
    seed_weights(model, seed)
    return model


def other_model(seed: int = 1) -> nn.Module:
    """Something that no plan can name, so that it takes Opacus's hooks."""
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    seed_weights(model, seed)
    return model


def rule(**changes: float) -> StepRule:
    return StepRule(**{"slots": 20, "local_steps": 1, "learning_rate": 1.0, "weight_decay": 0.0,  # type: ignore[arg-type]
                       "sampling_probability": 1.0, "l2_clip_norm": 0.3, "noise_multiplier": SILENT, **changes})


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().double().reshape(-1) for p in model.parameters()])


def naive_clipped_sum(model: nn.Module, people: People, clip: float) -> torch.Tensor:
    model = model.double()
    total = torch.zeros(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    for person in range(len(people)):
        loss = person_losses(model, people.take(slice(person, person + 1))).sum()
        gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])
        total += gradient * min(1.0, clip / max(float(gradient.norm()), 1e-12))
    model.float()
    return total


MODELS = {"linear": head, "hidden": lambda: head(4), "other": other_model}


@settings(max_examples=40)
@given(st.integers(0, 8), st.sampled_from(sorted(MODELS)), st.floats(0.01, 5.0), st.integers(0, 10), st.integers(1, 5))
def test_a_step_is_the_clipped_sum_over_the_public_divisor(count: int, kind: str, clip: float, seed: int,
                                                          records: int) -> None:
    people, model = make_people(count, seed=seed, records=records), MODELS[kind]()
    before, expected = flat(model), naive_clipped_sum(model, people, clip)
    train_round(model, population(people), rule(l2_clip_norm=clip), stream=RandomStream.derived(b"t"))
    # Weights lie on a grid of 2^-22 and hidden units on one of 2^-12.
    torch.testing.assert_close(before - flat(model), expected / 20, atol=8 * clip * 2e-3 / 20 + 1e-6, rtol=2e-3)


def test_people_may_come_in_groups_of_different_length() -> None:
    groups = [make_people(count, records=records, seed=records) for records, count in ((1, 5), (2, 600), (7, 90))]
    expected = sum(naive_clipped_sum(head(), group, 0.3) for group in groups)
    model = head()
    before = flat(model)
    train_round(model, population(*groups), rule(slots=1000), stream=RandomStream.derived(b"t"))
    torch.testing.assert_close(before - flat(model), expected / 1000, atol=1e-5, rtol=1e-3)
    everybody = population(*groups)
    assert len(everybody) == 695
    drawn = np.flatnonzero(np.random.default_rng(0).random(695) < 0.4)
    blocks = list(everybody.blocks(drawn))
    assert sum(len(block) for block in blocks) == len(drawn) == len(everybody.take(drawn))
    rows = np.concatenate([group.inputs[:, 0] for group in groups])
    assert (np.concatenate([block.inputs[:, 0] for block in blocks]) == rows[drawn]).all()


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_divisor_and_steps_do_not_move_with_the_number_of_people(kind: str) -> None:
    # Stock Opacus derives both from the size of the data: one more person changes the scale of everything.
    steps = []
    for count in (10, 11):
        model, people = MODELS[kind](), make_people(11)
        before = flat(model)
        train_round(model, subset(people, list(range(count))), rule(), stream=RandomStream.derived(b"t"))
        steps.append((before - flat(model)) * 20)
    last = naive_clipped_sum(MODELS[kind](), make_people(11).take(slice(10, 11)), 0.3)
    torch.testing.assert_close(steps[1] - steps[0], last, atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_one_person_moves_the_sum_by_at_most_the_clip_norm(kind: str) -> None:
    plain = make_people(12)
    inputs = plain.inputs.copy()
    inputs[0] *= 2
    people = People.of(inputs=inputs, targets=plain.targets, weights=plain.weights, prior=plain.prior)
    moved = []
    for rows in (list(range(12)), list(range(1, 12))):
        model = MODELS[kind]()
        before = flat(model)
        train_round(model, subset(people, rows), rule(), stream=RandomStream.derived(b"t"))
        moved.append((before - flat(model)) * 20)
    # Weights are rounded to 2^-22 after the step, by public arithmetic.
    assert float((moved[0] - moved[1]).norm()) <= 0.3 * (1 + 1e-4)


def test_a_persons_loss_does_not_depend_on_the_others() -> None:
    people, model = make_people(6), head().double()
    alone = person_losses(model, people.take(slice(2, 3)))
    for others in (1e3, -50.0):
        changed = make_people(6)
        changed.inputs[np.arange(6) != 2] += others
        torch.testing.assert_close(person_losses(model, changed)[2], alone[0])


def test_unlabelled_records_weigh_nothing() -> None:
    people, model = make_people(30), head()
    ignored = people.weights.sum(axis=2) == 0
    assert ignored.any()
    changed = make_people(30)
    changed.inputs[ignored] = -changed.inputs[ignored]
    results = []
    for one in (people, changed):
        model = head()
        train_round(model, population(one), rule(), stream=RandomStream.derived(b"t"))
        results.append(flat(model))
    assert torch.equal(*results)


@pytest.mark.parametrize("kind", sorted(MODELS))
@pytest.mark.parametrize(("count", "probability"), [(0, 1.0), (0, 0.3), (1, 0.05), (3, 0.02)])
def test_empty_batches_add_their_noise_and_count(count: int, probability: float, kind: str) -> None:
    model = MODELS[kind]()
    trail = [flat(model)]
    stream = RandomStream.derived(b"t", str(count), str(probability))
    for _ in range(30):
        train_round(model, population(make_people(count)), rule(sampling_probability=probability, noise_multiplier=2.0),
                    stream=stream)
        trail.append(flat(model))
    moves = torch.stack([b - a for a, b in pairwise(trail)])
    assert (moves.abs().sum(dim=1) > 0).all()
    # Standard deviation of a step: noise_multiplier * clip / (probability * slots); a person moves it far less.
    expected = 2.0 * 0.3 / (probability * 20)
    assert float(moves.std()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("position", ["first", "last", "every"])
def test_a_round_with_empty_batches_is_as_long_as_any(position: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from clients import training

    empty = {"first": {0}, "last": {4}, "every": set(range(5))}[position]
    calls = iter(range(5))
    monkeypatch.setattr(training, "sample_slots", lambda slots, probability, stream: np.arange(
        0 if next(calls) in empty else slots))
    steps: list[int] = []
    model = head()
    monkeypatch.setattr(training, "snap_weights", lambda model: steps.append(1))
    train_round(model, population(make_people(5)), rule(local_steps=5, noise_multiplier=1.0),
                stream=RandomStream.derived(b"t"))
    assert len(steps) == 1 + 5


def test_noise_has_the_stated_scale_and_is_fresh_each_step() -> None:
    model = MultiTaskHead(dimension=4999, tasks=2, hidden_units=None)
    model.output.weight.data.zero_()
    trail = [flat(model)]
    stream = RandomStream.derived(b"scale")
    for _ in range(4):
        train_round(model, population(), rule(noise_multiplier=1.5, l2_clip_norm=0.4), stream=stream)
        trail.append(flat(model))
    noise = torch.stack([b - a for a, b in pairwise(trail)]) * 20 / (1.5 * 0.4)
    samples = noise.numel()
    assert float(noise.square().sum()) == pytest.approx(samples, abs=5 * math.sqrt(2 * samples))
    assert np.abs(np.corrcoef(noise.numpy()) - np.eye(4)).max() < 0.05


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_the_true_sum_does_not_outlive_the_step(kind: str) -> None:
    model = MODELS[kind]()
    train_round(model, population(make_people(5)), rule(), stream=RandomStream.derived(b"t"))
    for weight in model.parameters():
        assert getattr(weight, "grad_sample", None) is None
        assert getattr(weight, "summed_grad", None) is None
        assert weight.grad is None
        assert weight.dtype == torch.float32


@pytest.mark.parametrize("kind", sorted(MODELS))
def test_the_same_stream_gives_the_same_bytes(kind: str) -> None:
    results = []
    for _ in range(2):
        model = MODELS[kind]()
        train_round(model, population(make_people(9)),
                    rule(noise_multiplier=1.0, sampling_probability=0.5, local_steps=4),
                    stream=RandomStream.derived(b"same"))
        results.append(flat(model))
    assert torch.equal(*results)


def test_more_people_than_slots_train_with_the_public_divisor() -> None:
    model, people = head(), make_people(25)
    before, expected = flat(model), naive_clipped_sum(head(), people, 0.3)
    train_round(model, population(people), rule(), stream=RandomStream.derived(b"t"))
    torch.testing.assert_close(before - flat(model), expected / 20, atol=2e-3, rtol=1e-2)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])
def test_a_person_whose_gradient_is_not_finite_contributes_nothing(poison: float) -> None:
    # Otherwise a chosen model could turn one person's presence into a NaN that no noise hides.
    people = make_people(6)
    people.inputs[2] = poison
    people.inputs[2, :, ::2] *= -1
    results = []
    for rows in ([0, 1, 2, 3, 4, 5], [0, 1, 3, 4, 5]):
        model = other_model()
        train_round(model, subset(people, rows), rule(), stream=RandomStream.derived(b"t"))
        assert torch.isfinite(flat(model)).all()
        results.append(flat(model) * 20)
    assert float((results[0] - results[1]).norm()) <= 0.3 * (1 + 1e-3)


def test_the_largest_weights_and_errors_leave_everything_finite() -> None:
    for hidden in (None, 8):
        model = head(hidden)
        for weight in model.parameters():
            weight.data.fill_(1024.0)
        train_round(model, population(make_people(6)), rule(l2_clip_norm=1e-4, noise_multiplier=1.0),
                    stream=RandomStream.derived(b"t"))
        assert torch.isfinite(flat(model)).all()
