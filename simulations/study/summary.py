"""From rows to what tables, plots and bars show: mean and standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any, Final

from federation.taxonomy import PartnerKind

METHODS: Final = {
    "lexicon": "Word lists", "alone": "Alone, mean partner", "alone_ngo": "Alone, median NGO",
    "local": "Federated, local noise", "secure": "Federated, secure sums", "federated": "Federated",
    "pooled": "Pooled"}
"""By the name of a method, in the order of the tables. Those alone are put together over partners."""
BAR_EPSILON: Final = 3.0
LARGEST_COST: Final = 0.05
"""Of PR-AUC, that privacy may cost at the bars' epsilon in secure sums."""
LEAST_GAIN: Final = 0.10
"""Of PR-AUC, over the median NGO alone at the same epsilon."""


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and standard deviation where there are two or more."""

    mean: float
    deviation: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.deviation is None else f" ± {self.deviation:.3f}")


@dataclass(frozen=True)
class Cell:
    """Which rows belong together."""

    world: str
    task: str
    basis: str
    method: str
    epsilon: float | None


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[Cell, dict[str, Spread]]:
    """Every figure of every cell, in the order of `METHODS` and then by epsilon, no privacy last."""
    found: dict[Cell, dict[str, dict[int, list[float]]]] = {}
    for row in rows:
        names = [row["method"], *(["alone_ngo"] if row["kind"] == PartnerKind.NGO.value else [])]
        for method in names:
            cell = Cell(row["world"], row["task"], row["basis"], method, row["epsilon"])
            for name, value in row["figures"].items():
                if value is not None:
                    found.setdefault(cell, {}).setdefault(name, {}).setdefault(row["seed"], []).append(value)
    order = sorted(found, key=lambda cell: (list(METHODS).index(cell.method), cell.epsilon is None, cell.epsilon or 0))
    return {cell: {name: _spread(cell.method, list(by_seed.values())) for name, by_seed in found[cell].items()}
            for cell in order}


def _spread(method: str, by_seed: Sequence[Sequence[float]]) -> Spread:
    """Several values of one seed are of several partners alone."""
    values = [median(own) if method == "alone_ngo" else fmean(own) for own in by_seed]
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar and what was found; mean PR-AUC over seeds, against the truth."""

    task: str
    name: str
    value: float
    bound: str
    met: bool


def bars(rows: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """The bars of the invented world; none where the study did not run what they need."""
    found = {cell: figures["pr_auc"].mean for cell, figures in summary(rows).items()
             if (cell.world, cell.basis) == ("synthetic", "truth") and "pr_auc" in figures}
    result = []
    for task in sorted({cell.task for cell in found}):
        def value(method: str, epsilon: float | None, task: str = task) -> float | None:
            return found.get(Cell("synthetic", task, "truth", method, epsilon))

        secure, plain = value("secure", BAR_EPSILON), value("federated", None)
        alone = value("alone_ngo", BAR_EPSILON)
        if secure is None or plain is None or alone is None:
            continue
        result += [
            Bar(task=task, name="what privacy costs", value=plain - secure, bound=f"≤ {LARGEST_COST}",
                met=plain - secure <= LARGEST_COST),
            Bar(task=task, name="gain over the median NGO alone", value=secure - alone, bound=f"≥ {LEAST_GAIN}",
                met=secure - alone >= LEAST_GAIN)]
    return result


def epsilon_text(epsilon: float | None) -> str:
    """As tables show it."""
    return "∞" if epsilon is None else f"{epsilon:g}"
