"""From settings to how updates are combined."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation.errors import InputError
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation, RobustRule, RobustSpec
from federation.update_norm import clipping_radius, honest_norm
from simulations.federation import plan_for
from simulations.launch import compose_settings
from tests.simulations.test_federation_faults import settings


def composed(cache: Path, *overrides: str) -> StudyPlan:
    chosen = settings(cache, "statistics=local", *overrides)
    return plan_for(chosen, chosen.open_world()).plan


def robust(plan: StudyPlan) -> RobustSpec:
    assert plan.training.robust is not None
    return plan.training.robust


def test_what_is_not_set_follows_from_the_other_constants(tmp_path: Path) -> None:
    plan = composed(tmp_path)
    found, slots = robust(plan), [entry.slots for entry in plan.roster]
    assert (found.rule, found.trimmed_each_side, found.iterations) == (RobustRule.CENTRED_CLIPPING, None, 5)
    longest = honest_norm(plan.training, slots=min(slots), model_size=plan.model_size)
    assert longest <= found.norm_bound <= 1.01 * longest
    radius = clipping_radius(plan.training, slots=sum(slots) / len(slots), model_size=plan.model_size)
    assert found.radius is not None
    assert radius <= found.radius <= 1.01 * radius


def test_what_is_set_is_taken(tmp_path: Path) -> None:
    found = robust(composed(tmp_path, "training.robust.norm_bound=12.5", "training.robust.radius=0.25",
                            "training.robust.iterations=2"))
    assert (found.norm_bound, found.radius, found.iterations) == (12.5, 0.25, 2)
    trimmed = robust(composed(tmp_path, "training.robust.rule=trimmed_mean", "training.robust.trimmed_each_side=2"))
    assert (trimmed.trimmed_each_side, trimmed.radius, trimmed.iterations) == (2, None, None)
    mean = robust(composed(tmp_path, "training.robust.rule=mean"))
    assert (mean.rule, mean.trimmed_each_side, mean.radius, mean.iterations) == (RobustRule.MEAN, None, None, None)
    assert composed(tmp_path, "training.robust.rule=none").training.robust is None


@pytest.mark.parametrize("training", ["full_batch", "poisson", "secure"])
def test_every_shipped_training_makes_a_plan(tmp_path: Path, training: str) -> None:
    # Their own steps: one step of secure sums is not two.
    steps = compose_settings([f"training={training}"]).training.local_steps
    plan = composed(tmp_path, f"training={training}", f"training.local_steps={steps}", "privacy.training_epsilon=20")
    assert (plan.training.robust is None) == (plan.training.aggregation is Aggregation.SECURE)


@pytest.mark.parametrize(("overrides", "message"), [
    (["training.robust.rule=krum"], r"training\.robust\.rule"),
    (["training.robust.norm_bound=0"], r"training\.robust\.norm_bound: .*greater than 0"),
    (["training.robust.norm_bound=nan"], r"training\.robust\.norm_bound: .*finite"),
    (["training.robust.radius=inf"], r"training\.robust\.radius: .*finite"),
    (["training.robust.iterations=101"], r"training\.robust\.iterations: .*100"),
    (["training.robust.trimmed_each_side=0"], r"training\.robust\.trimmed_each_side: .*1"),
    (["training.robust.rule=trimmed_mean", "training.robust.trimmed_each_side=3"],
     r"^plan: training\.robust\.trimmed_each_side is 3, expected less than half of the quorum of 6.*trim fewer"),
    (["training=secure", "training.local_steps=1", "training.robust.rule=mean"],
     r"^training\.robust\.rule: is mean with training\.aggregation=secure.*Allowed: none\. What to do: set "
     r"training\.robust\.rule=none, or training=full_batch"),
    (["training.weight_decay=0.2", "training.learning_rate=18"],
     r"^training\.weight_decay: times training\.learning_rate is 3\.6.*Allowed: a product of at most 2"),
])
def test_bad_values_are_refused_by_name_with_a_bound_and_a_remedy(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        composed(tmp_path, *overrides)


def test_an_unknown_key_is_refused_by_its_name() -> None:
    with pytest.raises(InputError, match=r"settings: .*median"):
        compose_settings(["training.robust.median=1"])
