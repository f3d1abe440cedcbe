"""`python -m simulations.bench dpsgd`: what protection costs in time, on the same batches.

Three steps take turns, so that whatever else the machine does falls on all of them alike: the plain step (float32
autograd and SGD), ours (`clients.training`, exact sums, discrete noise), and stock Opacus (hooks, float32 noise). The
figure is the ratio of medians.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import torch
import typer
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from rich.console import Console
from rich.table import Table
from torch.nn.functional import binary_cross_entropy_with_logits

from clients.people import People, Population
from clients.threads import use_threads
from clients.training import StepRule, train_round
from federation.grid import INPUT_BITS
from federation.model import MultiTaskHead
from federation.randomness import RandomStream

DIMENSION = 512
CLIP, NOISE = 0.3, 10.0
LEAST_SECONDS = 0.02
"""A turn takes so many steps that it lasts at least this long."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A batch and a model. `bar` is the largest ratio to the plain step that we accept, if one was set."""

    name: str
    people: int
    records: int
    tasks: int
    hidden_units: int | None
    bar: float | None


SETTINGS = (
    Setting(name="linear, 256 people of 1 record, 1 task", people=256, records=1, tasks=1, hidden_units=None, bar=1.5),
    Setting(name="linear, 512 people of 1 record, 2 tasks", people=512, records=1, tasks=2, hidden_units=None, bar=1.5),
    Setting(name="linear, 512 people of 8 records, 2 tasks", people=512, records=8, tasks=2, hidden_units=None,
            bar=1.5),
    Setting(name="MLP-64, 256 people of 1 record, 1 task", people=256, records=1, tasks=1, hidden_units=64, bar=2.5),
    Setting(name="MLP-64, 512 people of 1 record, 2 tasks", people=512, records=1, tasks=2, hidden_units=64, bar=2.5),
    Setting(name="MLP-64, 512 people of 8 records, 2 tasks", people=512, records=8, tasks=2, hidden_units=64, bar=2.5),
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """Milliseconds a step, medians."""

    setting: Setting
    plain: float
    ours: float
    stock: float

    @property
    def ratio(self) -> float:
        """Ours over plain."""
        return self.ours / self.plain


def make_people(setting: Setting) -> People:
    """Random unit features and labels from a fixed generator; the values do not matter for time."""
    generator = np.random.default_rng(0)
    shape = (setting.people, setting.records)
    inputs = generator.normal(size=(*shape, DIMENSION + 1))
    inputs /= np.linalg.norm(inputs, axis=2, keepdims=True)
    return People.of(
        inputs=np.round(inputs * 2**INPUT_BITS) / 2**INPUT_BITS,
        targets=generator.integers(0, 2, (*shape, setting.tasks)).astype(float),
        weights=np.full((*shape, setting.tasks), 1 / setting.records),
        prior=np.zeros((setting.people, 1, setting.tasks)))


Loss = Callable[[torch.nn.Module], torch.Tensor]


def _float32_loss(people: People) -> Loss:
    """The same loss on tensors that are ready in float32, as a plain training loop would hold them."""
    inputs, targets, weights = (torch.from_numpy(values).float()
                                for values in (people.inputs, people.targets, people.weights))

    def loss(model: torch.nn.Module) -> torch.Tensor:
        return (binary_cross_entropy_with_logits(model(inputs), targets, reduction="none") * weights).sum()

    return loss


def _plain_round(model: MultiTaskHead, loss: Loss, rule: StepRule) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=rule.learning_rate)
    for _ in range(rule.local_steps):
        optimizer.zero_grad()
        (loss(model) / rule.slots).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _stock_round(model: MultiTaskHead, loss: Loss, rule: StepRule) -> None:
    wrapped = GradSampleModule(model, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(wrapped.parameters(), lr=rule.learning_rate), noise_multiplier=rule.noise_multiplier,
        max_grad_norm=rule.l2_clip_norm, expected_batch_size=None, loss_reduction="sum")
    for _ in range(rule.local_steps):
        optimizer.zero_grad()
        loss(wrapped).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    wrapped.to_standard_module()


def _milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def measure(setting: Setting, turns: int) -> Result:
    """Let the three steps take `turns` turns each."""
    people, stream = make_people(setting), RandomStream.from_os()
    everybody, loss = Population(groups=(people,)), _float32_loss(people)
    model = MultiTaskHead(dimension=DIMENSION, tasks=setting.tasks, hidden_units=setting.hidden_units)

    def rule(steps: int) -> StepRule:
        return StepRule(slots=setting.people, local_steps=steps, learning_rate=0.1, weight_decay=0.0,
                        sampling_probability=1.0, l2_clip_norm=CLIP, noise_multiplier=NOISE)

    ways: dict[str, Callable[[StepRule], None]] = {
        "plain": lambda r: _plain_round(model, loss, r),
        "ours": lambda r: train_round(model, everybody, r, stream=stream),
        "stock": lambda r: _stock_round(model, loss, r),
    }
    for way in ways.values():
        way(rule(3))
    steps = max(3, int(LEAST_SECONDS * 1e3 / (_milliseconds(lambda: ways["plain"](rule(3))) / 3)))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            times[name].append(_milliseconds(lambda way=way: way(rule(steps))) / steps)  # type: ignore[misc]
    medians = {name: statistics.median(values) for name, values in times.items()}
    return Result(setting=setting, **medians)


def dpsgd(
    turns: Annotated[int, typer.Option(help="Turns of each step.", min=3)] = 25,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Our person-level step against a plain one and against stock Opacus."""
    use_threads(threads)
    results = [measure(setting, turns) for setting in SETTINGS]
    if as_json:
        typer.echo(json.dumps([asdict(result) | {"ratio": result.ratio} for result in results], indent=1))
        return
    table = Table("Batch", "Plain, ms", "Ours, ms", "Ours / plain", "Bar", "Opacus / plain", "Ours / Opacus", box=None)
    for result in results:
        table.add_row(result.setting.name, f"{result.plain:.3f}", f"{result.ours:.3f}", f"{result.ratio:.2f}",
                      f"≤ {result.setting.bar}", f"{result.stock / result.plain:.2f}",
                      f"{result.ours / result.stock:.2f}")
    Console().print(table)
