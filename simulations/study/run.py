"""Every model of a study, trained and judged: one row for each world, seed, model, task and kind of truth."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from clients.people import Population
from clients.threads import use_threads
from federation.errors import InputError
from federation.messages import Arrays
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from simulations import baselines
from simulations.federation import plan_for
from simulations.homes import seeded_key
from simulations.launch import compose_settings
from simulations.settings import Settings
from simulations.study.figures import figures_of
from simulations.study.records import Bench

WORLDS: Final = {
    "synthetic": (),
    "dreaddit": ("world=real", "world.parts=[dreaddit]", "privacy=benchmark"),
    # Dealt to five partners of halving size: as few as two, of one size, are no federation.
    "goemotions": ("world=real", "world.parts=[goemotions]", "world.skew=strong", "privacy=benchmark"),
    "sms": ("world=real", "world.parts=[sms_spam]", "world.skew=strong", "privacy=benchmark"),
}
TRAINING: Final = {"local": "full_batch", "secure": "secure"}
"""How noise is added, and the settings of it."""

_MORE_ROUNDS: Final = 4
"""Without privacy, in place of the plan's: enough to come near the pooled model."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a study is to run.

    Attributes:
        worlds: names of `WORLDS`.
        seeds: each of the world, of who is held out and of the noise.
        epsilons: of training.
        data: folder of the public sets.
        overrides: as for `leelight simulate`.
    """

    worlds: tuple[str, ...]
    seeds: tuple[int, ...]
    epsilons: tuple[float, ...]
    data: Path | None = None
    overrides: tuple[str, ...] = ()

    def settings(self, world: str, seed: int, *more: str) -> Settings:
        """Of one world and seed.

        Raises:
            InputError: naming what cannot be used.
        """
        if world not in WORLDS:
            raise InputError("worlds", f"{world} is unknown", bound=", ".join(WORLDS))
        root = [f"data.root={self.data}"] if self.data is not None and world != "synthetic" else []
        return compose_settings([*WORLDS[world], *root, f"world.seed={seed}", f"seed={seed}", *self.overrides, *more])


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model's figures. `epsilon` is None without privacy, `partner` and `kind` are of who is alone."""

    world: str
    seed: int
    method: str
    epsilon: float | None
    task: str
    basis: str
    partner: str
    kind: str
    figures: dict[str, float | None]


def run(asked: Asked, progress: Callable[[str], None]) -> dict[str, Any]:
    """Run a study.

    Args:
        asked: what.
        progress: told what is done now.

    Returns:
        Plain JSON values: `worlds` (label and delta of each), `seeds`, `epsilons`, `overrides` and `rows`.

    Raises:
        InputError: if something that is asked for cannot be used.
    """
    worlds, rows = {}, []
    for name in asked.worlds:
        plans = _plans(asked, name)
        base = next(iter(plans.values()))
        worlds[name] = {"label": base.label, "delta": base.privacy.delta, "partners": len(base.roster),
                        "slots": base.slots, "encoder": base.encoder.name}
        for seed in asked.seeds:
            progress(f"{name}, seed {seed}")
            rows += [asdict(row) for row in _rows(asked.settings(name, seed), name, seed, plans)]
    return {"worlds": worlds, "seeds": list(asked.seeds), "epsilons": list(asked.epsilons),
            "overrides": list(asked.overrides), "rows": rows}


def _plans(asked: Asked, world: str) -> dict[tuple[str, float], StudyPlan]:
    """A plan for each way and epsilon. They are of the first seed: what counts is public, and the same for all."""
    plans = {}
    for way, training in TRAINING.items():
        for epsilon in asked.epsilons:
            settings = asked.settings(world, asked.seeds[0], f"training={training}",
                                      f"privacy.training_epsilon={epsilon}")
            plans[way, epsilon] = plan_for(settings, settings.open_world()).plan
    return plans


def unprotected(plan: StudyPlan, people: Mapping[str, Population]) -> StudyPlan:
    """A plan whose rounds and steps suit these partners without clipping or noise.

    A plan's step is as long as its noise and clip allow, and its rounds are few because each is paid for. Without them
    the classical length is 1 / L (Nesterov 2004, section 1.2.3), where L = (1 + s^2) / 4 times the share of slots that
    are taken bounds the curvature of the logistic loss on unit features with intercept s.
    """
    taken = max((len(own) / entry.slots for entry in plan.roster if (own := people.get(entry.name))), default=1.0)
    changed = {"learning_rate": 4 / ((1 + plan.model.intercept_scale ** 2) * taken),
               "rounds": _MORE_ROUNDS * plan.training.rounds}
    return plan.model_copy(update={"training": plan.training.model_copy(update=changed)})


def _rows(settings: Settings, world: str, seed: int, plans: dict[tuple[str, float], StudyPlan]) -> Iterator[Row]:
    use_threads(settings.simulation.threads)
    base = next(iter(plans.values()))
    kinds = {entry.name: entry.kind.value for entry in base.roster}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.prepare(settings, base, Path(folder))
        for method, epsilon, partner, model in _models(bench, plans, seed):
            scores = bench.lexicon if model is None else bench.scores(base, model)
            chances = None if model is None else 1 / (1 + np.exp(-(scores + bench.priors)))
            for (basis, task), judged in bench.judged.items():
                column = bench.tasks.index(task)
                if partner and not _labels(bench, partner, column):
                    continue
                found = figures_of(scores[:, column], None if chances is None else chances[:, column], judged)
                yield Row(world=world, seed=seed, method=method, epsilon=epsilon, task=task.value, basis=basis,
                          partner=partner, kind=kinds.get(partner, ""), figures=_plain(found))


def _models(bench: Bench, plans: dict[tuple[str, float], StudyPlan], seed: int
            ) -> Iterator[tuple[str, float | None, str, Arrays | None]]:
    """(method, epsilon, who is alone, model), one after the other; no model is the word lists."""
    base = next(iter(plans.values()))
    yield "lexicon", None, "", None
    yield "pooled", None, "", baselines.pooled_without_privacy(base, [*bench.people.values()])
    yield "federated", None, "", _plainly(base, bench.people)
    for partner, own in bench.people.items():
        yield "alone", None, partner, _plainly(base, {partner: own})
    for (way, epsilon), plan in plans.items():
        secure = plan.training.aggregation is Aggregation.SECURE
        train = baselines.federated_in_sums if secure else baselines.federated
        yield way, epsilon, "", train(plan, bench.people, root=seeded_key(seed, "study", way, str(epsilon)))
        # Who is alone has nobody to add noise with: its own is all there is.
        for partner, own in () if secure else bench.people.items():
            root = seeded_key(seed, "study", "alone", partner, str(epsilon))
            yield "alone", epsilon, partner, baselines.alone(plan, partner, own, root=root)


def _plainly(plan: StudyPlan, people: dict[str, Population]) -> Arrays:
    return baselines.federated_without_privacy(unprotected(plan, people), people)


def _labels(bench: Bench, partner: str, column: int) -> bool:
    return any(group.take(slice(None)).weights[:, :, column].any() for group in bench.people[partner].groups)


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else round(value, 6) for name, value in figures.items()}
