"""Where stock Opacus departs from what its accounting assumes, and this does not. Each test shows both.

The issues named are meta-pytorch/opacus's.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from opacus import GradSampleModule, PrivacyEngine
from opacus.optimizers import DPOptimizer
from torch.utils.data import DataLoader, TensorDataset

from clients.people import People, Population
from clients.training import StepRule, person_losses, train_round
from federation.grid import SUM_BITS
from federation.model import MultiTaskHead
from federation.privacy.clipping import PersonDPOptimizer
from federation.privacy.noise import discrete_gaussian
from federation.randomness import RandomStream
from tests.people import make_people, seed_weights

RULE = StepRule(slots=512, local_steps=1, learning_rate=1.0, weight_decay=0.0, sampling_probability=1.0,
                l2_clip_norm=0.3, noise_multiplier=1.0)


def model() -> MultiTaskHead:
    head = MultiTaskHead(dimension=5, tasks=2, hidden_units=None)
    seed_weights(head, 0)
    return head


@pytest.mark.filterwarnings("ignore")
def test_one_more_person_changes_neither_steps_nor_divisor() -> None:
    # Issues 571 and 819: the normaliser and the number of steps come from the size of the private data.
    def stock(people: int) -> tuple[int, float]:
        net = torch.nn.Linear(4, 1)
        data = TensorDataset(torch.zeros(people, 4), torch.zeros(people, 1))
        _, optimizer, loader = PrivacyEngine().make_private(
            module=net, optimizer=torch.optim.SGD(net.parameters(), lr=1.0), noise_multiplier=1.0, max_grad_norm=1.0,
            data_loader=DataLoader(data, batch_size=20))
        return len(loader), optimizer.expected_batch_size

    assert stock(400) == (20, 20)
    assert stock(401) == (21, 19)

    def ours(people: int) -> torch.Tensor:
        head = model()
        everybody = make_people(401).take(slice(0, people))
        train_round(head, Population(groups=(everybody,)), RULE, stream=RandomStream.derived(b"same"))
        return head.output.weight.detach().double()

    # The same noise, so the two differ by that person's clipped contribution over the public divisor and nothing else.
    assert float((ours(401) - ours(400)).norm()) <= 0.3 / 512 * (1 + 1e-4)


def _patterns(sums: np.ndarray, spacing: float) -> float:
    """Share of values below a quarter that are not multiples of `spacing`."""
    small = np.abs(sums) < 0.25
    return float(np.mean(small & (sums != np.round(sums / spacing) * spacing)))


def _noised(optimizer: DPOptimizer, parameter: torch.nn.Parameter, value: float) -> np.ndarray:
    parameter.grad_sample = torch.full((1, len(parameter)), value, dtype=parameter.dtype)
    optimizer.clip_and_accumulate()
    optimizer.add_noise()
    parameter.grad_sample = parameter.summed_grad = None
    assert parameter.grad is not None
    return parameter.grad.detach().double().numpy()


def test_no_bit_pattern_tells_whether_somebody_was_there() -> None:
    # Mironov 2012: added to zero, floating-point noise keeps its last digits; added to one, it loses them.
    entries = 40_000

    def sums(kind: str, value: float) -> np.ndarray:
        kind_of = torch.float32 if kind == "stock" else torch.float64
        parameter = torch.nn.Parameter(torch.zeros(entries, dtype=kind_of))
        plain = torch.optim.SGD([parameter], lr=1.0)
        clip = 1.0 * entries**0.5
        if kind == "stock":
            return _noised(DPOptimizer(plain, noise_multiplier=1 / clip, max_grad_norm=clip, expected_batch_size=None,
                                       loss_reduction="sum"), parameter, value)
        noise = discrete_gaussian(2.0**SUM_BITS / clip).source(RandomStream.from_os())
        return _noised(PersonDPOptimizer(plain, noise_multiplier=1 / clip, l2_clip_norm=clip, divisor=1.0, noise=noise),
                       parameter, value)

    spacing = 2.0**-24
    assert _patterns(sums("stock", 0.0), spacing) > 0.05
    assert _patterns(sums("stock", 1.0), spacing) == 0.0
    # Ours: both on one fixed grid, so that every value that occurs with somebody occurs without.
    unit = 200.0 * 2.0**-SUM_BITS
    for value in (0.0, 1.0):
        drawn = sums("ours", value)
        assert np.abs(drawn / unit - np.round(drawn / unit)).max() < 1e-6
    absent, present = (_patterns(sums("ours", value), spacing) for value in (0.0, 1.0))
    # The event that proves somebody's absence with stock Opacus happens to both here, at the rates of their distance.
    assert absent > 0.05
    assert present > 0.02


class Spy(PersonDPOptimizer):
    """Keeps the integer sum of the last step before its noise."""

    seen: np.ndarray

    def add_noise(self) -> None:
        Spy.seen = np.array(self.params[0].summed_grad)
        super().add_noise()


def test_a_persons_contribution_stands_whatever_the_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    people = make_people(300, records=1)
    others_changed = make_people(300, records=1)
    others_changed.inputs[1:] = make_people(300, records=1, seed=9).inputs[1:]

    monkeypatch.setattr("clients.training.PersonDPOptimizer", Spy)

    def ours(rows: slice, data: People) -> np.ndarray:
        train_round(model(), Population(groups=(data.take(rows),)), RULE, stream=RandomStream.derived(b"t"))
        return Spy.seen

    first = ours(slice(0, 1), people)
    for data in (people, others_changed):
        assert (ours(slice(0, 300), data) - ours(slice(1, 300), data) == first).all()

    def stock(rows: slice) -> torch.Tensor:
        wrapped = GradSampleModule(model(), loss_reduction="sum")
        optimizer = DPOptimizer(torch.optim.SGD(wrapped.parameters(), lr=1.0), noise_multiplier=1.0, max_grad_norm=0.3,
                                expected_batch_size=None, loss_reduction="sum")
        person_losses(wrapped, people.take(rows)).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.clip_and_accumulate()
        return next(wrapped.parameters()).summed_grad

    assert not torch.equal(stock(slice(0, 300)) - stock(slice(1, 300)), stock(slice(0, 1)))


def test_a_step_without_a_batch_is_noised_and_not_an_error() -> None:
    # Issues 522 and 676. Whether a batch came out empty must not show.
    parameter = torch.nn.Parameter(torch.zeros(50))
    parameter.grad_sample = None
    stock = DPOptimizer(torch.optim.SGD([parameter], lr=1.0), noise_multiplier=1.0, max_grad_norm=1.0,
                        expected_batch_size=None, loss_reduction="sum")
    with pytest.raises(ValueError, match="not initialized"):
        stock.step()
    noise = discrete_gaussian(2.0**SUM_BITS).source(RandomStream.from_os())
    ours = PersonDPOptimizer(torch.optim.SGD([parameter], lr=1.0), noise_multiplier=1.0, l2_clip_norm=1.0, divisor=1.0,
                             noise=noise)
    ours.step()
    assert 0.5 < float(parameter.detach().std()) < 1.6
