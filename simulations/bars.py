"""`python -m simulations.bars DATA`: the accuracy bars on real texts, with the figures behind them.

Five partners (dreaddit), distress, person-level privacy at delta 1e-4, mean of three seeds on the test split, with
local noise (`training=full_batch`) and with the noise in secure sums (`training=secure`): the same epsilon by the same
accounting, and a promise that rests on more; beside them the pooled model without privacy. Bars are set for local
noise. What a federation gains over its partners alone is measured where all start from zero: a public start helps most
whoever knows least, and so those who are alone. Exit code 1 if a bar is missed.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from hydra import compose, initialize_config_module
from rich.console import Console
from rich.table import Table

from federation.taxonomy import Task
from simulations.command import run_command
from simulations.display import TerminalDisplay
from simulations.federation import run_federation
from simulations.settings import Settings

SEEDS = (1, 2, 3)
LEAST_AUC = {1: 0.82, 3: 0.84}
LEAST_GAIN = 0.04
"""At epsilon 3, over the mean partner training alone at the same price."""


def benchmark_settings(data: Path, *overrides: str) -> Settings:
    """The benchmark of five partners on real texts."""
    with initialize_config_module("conf", version_base="1.3"):
        return Settings.from_hydra(compose("config", overrides=[
            "world=real", f"data.root={data}", "world.parts=[dreaddit]", "privacy=benchmark", *overrides]))


WAYS = (("full_batch", "sentences"), ("secure", "sentences"), ("full_batch", "zero"))
"""Training and start; the first has the bars of quality, the last that of what is gained."""


def _bar(value: float | None) -> str:
    return "" if value is None else f"≥ {value}"


def mean(values: list[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def figures(data: Path, training: str, start: str, epsilon: int, seed: int) -> tuple[float, float, float]:
    """AUC of the federation, of its mean partner alone, and of the pooled model without privacy, for one run."""
    settings = benchmark_settings(data, f"training={training}", f"model.start={start}",
                                  f"privacy.training_epsilon={epsilon}", f"seed={seed}")
    with tempfile.TemporaryDirectory() as folder, TerminalDisplay(Console(quiet=True)) as display:
        quality = run_federation(settings, Path(folder), display).quality[Task.DISTRESS]
    return (quality["federated"]["auc"], mean([one["auc"] for one in quality["alone"].values()]),
            quality["pooled_without_privacy"]["auc"])


def main(data: Annotated[Path, typer.Argument(help="Folder of the public sets.")]) -> None:
    """Run the benchmark and compare it with its bars."""
    table = Table("Noise", "Start", "ε", "Federated AUC, by seed", "Mean", "Bar", "Alone", "Gain", "Bar",
                  "Pooled, no privacy", box=None)
    met = True
    for (training, start), (epsilon, least) in itertools.product(WAYS, LEAST_AUC.items()):
        runs = [figures(data, training, start, epsilon, seed) for seed in SEEDS]
        federated, alone, pooled = (mean(list(values)) for values in zip(*runs, strict=True))
        bar = least if (training, start) == WAYS[0] else None
        gain_bar = LEAST_GAIN if (training, start, epsilon) == (*WAYS[-1], 3) else None
        met = met and (bar is None or federated >= bar) and (gain_bar is None or federated - alone >= gain_bar)
        table.add_row("local" if training == "full_batch" else "in the sum", start, str(epsilon),
                      " ".join(f"{run[0]:.4f}" for run in runs), f"{federated:.4f}", _bar(bar), f"{alone:.4f}",
                      f"{federated - alone:.4f}", _bar(gain_bar), f"{pooled:.4f}")
    Console().print(table)
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    run_command(main)
