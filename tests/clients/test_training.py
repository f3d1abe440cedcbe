"""What makes a step private, property by property; the naive twin is plain autograd, one person at a time."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.people import People
from clients.training import StepRule, person_losses, train_round
from federation.model import MultiTaskHead
from federation.privacy.clipping import PersonDPOptimizer
from federation.randomness import RandomStream


def make_people(count: int, *, records: int = 3, dimension: int = 5, tasks: int = 2, seed: int = 0) -> People:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, records, dimension + 1, generator=generator)
    targets = torch.randint(0, 2, (count, records, tasks), generator=generator).float()
    known = torch.rand(count, records, tasks, generator=generator) < 0.7
    weights = known / known.sum(1, keepdim=True).clamp(min=1)
    return People(features=features, targets=targets, weights=weights, prior=torch.zeros(count, 1, tasks))


def subset(people: People, rows: list[int]) -> People:
    return people.take(torch.tensor(rows, dtype=torch.long))


def head(hidden: int | None = None, seed: int = 1) -> MultiTaskHead:
    torch.manual_seed(seed)
    return MultiTaskHead(dimension=5, tasks=2, hidden_units=hidden)


def rule(**changes: float) -> StepRule:
    return StepRule(**{"slots": 20, "local_steps": 1, "learning_rate": 1.0, "weight_decay": 0.0,  # type: ignore[arg-type]
                       "sampling_probability": 1.0, "l2_clip_norm": 0.3, "noise_multiplier": 0.0, **changes})


def flat(model: MultiTaskHead) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def naive_clipped_sum(model: MultiTaskHead, people: People, clip: float) -> torch.Tensor:
    total = torch.zeros(sum(p.numel() for p in model.parameters()))
    for person in range(len(people)):
        loss = person_losses(model, people, torch.tensor([person])).sum()
        gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(model.parameters()))])
        total += gradient * min(1.0, clip / max(float(gradient.norm()), 1e-12))
    return total


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 8), st.sampled_from([None, 4]), st.floats(0.01, 5.0), st.integers(0, 10))
def test_a_step_is_the_clipped_sum_over_the_public_divisor(count: int, hidden: int | None, clip: float,
                                                          seed: int) -> None:
    people, model = make_people(count, seed=seed), head(hidden)
    before, expected = flat(model), naive_clipped_sum(model, people, clip)
    train_round(model, people, rule(l2_clip_norm=clip), stream=RandomStream.derived(b"t"))
    torch.testing.assert_close(before - flat(model), expected / 20, atol=2e-5, rtol=1e-4)


def test_divisor_and_steps_do_not_move_with_the_number_of_people() -> None:
    # Stock Opacus derives both from the size of the data: one more person changes the scale of everything.
    steps = []
    for count in (10, 11):
        model, people = head(), make_people(11)
        before = flat(model)
        train_round(model, subset(people, list(range(count))), rule(), stream=RandomStream.derived(b"t"))
        steps.append((before - flat(model)) * 20)
    last = naive_clipped_sum(head(), subset(make_people(11), [10]), 0.3)
    torch.testing.assert_close(steps[1] - steps[0], last, atol=2e-5, rtol=1e-3)


def test_one_person_moves_the_sum_by_at_most_the_clip_norm() -> None:
    people = make_people(12)
    people.features[0] *= 1e4
    moved = []
    for rows in (list(range(12)), list(range(1, 12))):
        model = head()
        before = flat(model)
        train_round(model, subset(people, rows), rule(), stream=RandomStream.derived(b"t"))
        moved.append((before - flat(model)) * 20)
    assert float((moved[0] - moved[1]).norm()) <= 0.3 * (1 + 1e-4)


def test_a_persons_loss_does_not_depend_on_the_others() -> None:
    people, model = make_people(6), head()
    alone = person_losses(model, people, torch.tensor([2]))
    for others in (1e3, -50.0):
        changed = make_people(6)
        mask = torch.arange(6) != 2
        changed.features[mask] += others
        torch.testing.assert_close(person_losses(model, changed, torch.arange(6))[2], alone[0])


def test_unlabelled_records_and_padding_weigh_nothing() -> None:
    people, model = make_people(30), head()
    before = person_losses(model, people, torch.arange(30))
    changed = make_people(30)
    ignored = (people.weights.sum(dim=2) == 0)
    assert ignored.any()
    changed.features[ignored] = 1e3
    torch.testing.assert_close(person_losses(model, changed, torch.arange(30)), before)


@pytest.mark.parametrize("hidden", [None, 4])
@pytest.mark.parametrize(("count", "probability"), [(0, 1.0), (0, 0.3), (1, 0.05), (3, 0.02)])
def test_empty_batches_add_their_noise_and_count(count: int, probability: float, hidden: int | None) -> None:
    model = head(hidden)
    trail = [flat(model)]
    stream = RandomStream.derived(b"t", str(count), str(probability))
    for _ in range(30):
        train_round(model, make_people(count), rule(sampling_probability=probability, noise_multiplier=2.0),
                    stream=stream)
        trail.append(flat(model))
    moves = torch.stack([b - a for a, b in pairwise(trail)])
    assert (moves.abs().sum(dim=1) > 0).all()
    # Standard deviation of a step: noise_multiplier * clip / (probability * slots); a person moves it far less.
    expected = 2.0 * 0.3 / (probability * 20)
    assert float(moves.std()) == pytest.approx(expected, rel=0.1)


def test_noise_has_the_stated_scale_and_is_fresh_each_step() -> None:
    model = MultiTaskHead(dimension=4999, tasks=2, hidden_units=None)
    model.output.weight.data.zero_()
    nobody = make_people(0, dimension=4999)
    trail = [flat(model)]
    stream = RandomStream.derived(b"scale")
    for _ in range(4):
        train_round(model, nobody, rule(noise_multiplier=1.5, l2_clip_norm=0.4), stream=stream)
        trail.append(flat(model))
    noise = torch.stack([b - a for a, b in pairwise(trail)]).double() * 20 / (1.5 * 0.4)
    samples = noise.numel()
    assert float(noise.square().sum()) == pytest.approx(samples, abs=5 * math.sqrt(2 * samples))
    correlation = np.corrcoef(noise.numpy())
    assert np.abs(correlation - np.eye(4)).max() < 0.05


def test_noised_sums_lie_on_a_fixed_grid() -> None:
    # The spacing of floating-point noise tells whether the true value was zero; a fixed grid does not.
    for shift in (0.0, 0.1):
        optimizer, parameter = _bare_optimizer()
        parameter.summed_grad = torch.full((1000,), shift)
        optimizer.add_noise()
        cells = parameter.grad.double() / (0.5 * 2.0**-20)
        small = cells.abs() < 2**22
        assert small.any()
        assert torch.equal(cells[small], cells[small].round())


def _bare_optimizer() -> tuple[PersonDPOptimizer, torch.nn.Parameter]:
    parameter = torch.nn.Parameter(torch.zeros(1000))
    optimizer = PersonDPOptimizer(torch.optim.SGD([parameter], lr=1.0), noise_multiplier=1.0, l2_clip_norm=0.5,
                                  divisor=1.0, normal=RandomStream.derived(b"g").normal)
    return optimizer, parameter


def test_the_true_sum_does_not_outlive_the_step() -> None:
    optimizer, parameter = _bare_optimizer()
    parameter.summed_grad = torch.ones(1000)
    optimizer.add_noise()
    assert parameter.summed_grad is None
    model = head()
    train_round(model, make_people(5), rule(), stream=RandomStream.derived(b"t"))
    for weight in model.parameters():
        assert getattr(weight, "grad_sample", None) is None
        assert getattr(weight, "summed_grad", None) is None
        assert weight.grad is None


def test_the_same_stream_gives_the_same_bytes() -> None:
    results = []
    for _ in range(2):
        model = head()
        train_round(model, make_people(9), rule(noise_multiplier=1.0, sampling_probability=0.5, local_steps=4),
                    stream=RandomStream.derived(b"same"))
        results.append(flat(model))
    assert torch.equal(*results)


def test_more_people_than_slots_train_with_the_public_divisor() -> None:
    model, people = head(), make_people(25)
    before, expected = flat(model), naive_clipped_sum(head(), people, 0.3)
    train_round(model, people, rule(), stream=RandomStream.derived(b"t"))
    torch.testing.assert_close(before - flat(model), expected / 20, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("hidden", [None, 4])
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])
def test_a_person_whose_gradient_is_not_finite_contributes_nothing(hidden: int | None, poison: float) -> None:
    # Otherwise a chosen model could turn one person's presence into a NaN that no noise hides.
    people = make_people(6)
    people.features[2] = poison
    people.features[2, :, ::2] *= -1
    results = []
    for rows in ([0, 1, 2, 3, 4, 5], [0, 1, 3, 4, 5]):
        model = head(hidden)
        train_round(model, people.take(torch.tensor(rows)), rule(), stream=RandomStream.derived(b"t"))
        assert torch.isfinite(flat(model)).all()
        results.append(flat(model) * 20)
    assert float((results[0] - results[1]).norm()) <= 0.3 * (1 + 1e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-4, 1e3), st.sampled_from([1e-3, 1.0, 1e4]), st.integers(0, 50))
def test_every_legal_clip_norm_bounds_a_contribution_in_float32(clip: float, weight: float, seed: int) -> None:
    parameter = torch.nn.Parameter(torch.zeros(50))
    optimizer = PersonDPOptimizer(torch.optim.SGD([parameter], lr=1.0), noise_multiplier=0.0, l2_clip_norm=clip,
                                  divisor=1.0, normal=RandomStream.derived(b"g").normal)
    generator = torch.Generator().manual_seed(seed)
    parameter.grad_sample = torch.randn(1, 50, generator=generator) * weight
    optimizer.clip_and_accumulate()
    assert float(parameter.summed_grad.double().norm()) <= clip * (1 + 1e-5)


@pytest.mark.parametrize(("field", "value"), [
    ("noise_multiplier", -1.0), ("noise_multiplier", math.nan), ("noise_multiplier", math.inf),
    ("l2_clip_norm", 0.0), ("l2_clip_norm", math.nan), ("l2_clip_norm", math.inf), ("divisor", 0.0),
    ("divisor", math.nan),
])
def test_numbers_that_void_the_step_are_refused(field: str, value: float) -> None:
    good = {"noise_multiplier": 1.0, "l2_clip_norm": 1.0, "divisor": 1.0}
    with pytest.raises(ValueError, match=field):
        PersonDPOptimizer(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0),
                          normal=RandomStream.derived(b"g").normal, **{**good, field: value})  # type: ignore[arg-type]
