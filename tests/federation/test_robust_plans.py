"""What a plan may say of robust aggregation."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from federation.errors import InputError
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import ModelSpec, RobustRule, RobustSpec
from tests.worlds import COORDINATOR, make_plan, sign

OWN: dict[str, dict[str, Any]] = {"mean": {}, "trimmed_mean": {"trimmed_each_side": 1},
                                  "centred_clipping": {"radius": 1.5, "iterations": 3}}


def spec(rule: str = "mean", **changes: Any) -> RobustSpec:
    return RobustSpec(**{"rule": RobustRule(rule), "norm_bound": 4.0, "trimmed_each_side": None, "radius": None,
                         "iterations": None, **OWN[rule], **changes})


def rebuilt(plan: StudyPlan, **changes: Any) -> StudyPlan:
    """The plan with other training constants, checked as when it is read."""
    tree = plan.model_dump(mode="json")
    tree["training"] |= changes
    return StudyPlan.model_validate_json(json.dumps(tree))


@pytest.mark.parametrize("rule", OWN)
def test_each_rule_travels_under_the_signature(rule: str) -> None:
    plan = make_plan(robust=spec(rule))
    signed = sign(plan)
    again = SignedPlan.open(signed.to_json(), trusted_key=COORDINATOR.public)
    assert again.plan.training.robust == spec(rule)
    assert plan.sha256 != make_plan().sha256
    tree = json.loads(signed.to_json())
    tree["plan"]["training"]["robust"]["norm_bound"] = 1000.0
    with pytest.raises(InputError, match="sha256"):
        SignedPlan.open(json.dumps(tree), trusted_key=COORDINATOR.public)


@pytest.mark.parametrize("name", ["norm_bound", "radius"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_lengths_are_finite_and_above_zero(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        spec("centred_clipping", **{name: value})


@pytest.mark.parametrize(("rule", "changes"), [
    ("mean", {"trimmed_each_side": 1}), ("mean", {"radius": 1.0}), ("mean", {"iterations": 1}),
    ("trimmed_mean", {"radius": 1.0}), ("trimmed_mean", {"trimmed_each_side": None}),
    ("trimmed_mean", {"trimmed_each_side": 0}), ("centred_clipping", {"trimmed_each_side": 1}),
    ("centred_clipping", {"radius": None}), ("centred_clipping", {"iterations": None}),
    ("centred_clipping", {"iterations": 0}), ("centred_clipping", {"iterations": 101}),
])
def test_a_rule_has_its_own_constants_and_no_others(rule: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(changes))):
        spec(rule, **changes)


@pytest.mark.parametrize("rule", OWN)
def test_updates_that_nobody_sees_cannot_be_bounded(rule: str) -> None:
    secure = make_plan(4, secure="train", colluders=1, quorum=3)
    with pytest.raises(ValidationError, match=rf"robust: asks for {rule}, expected none with secure aggregation.*"
                                              "leave it out, or train with aggregation local"):
        rebuilt(secure, robust=spec(rule).model_dump(mode="json"))


def test_sums_of_tables_are_no_obstacle() -> None:
    assert make_plan(4, secure="table", colluders=1, quorum=3, robust=spec()).training.robust == spec()


@pytest.mark.parametrize(("quorum", "trimmed", "fits"), [(5, 2, True), (4, 2, False), (3, 1, True), (2, 1, False),
                                                         (5, 3, False)])
def test_trimming_leaves_somebody_of_every_quorum(quorum: int, trimmed: int, fits: bool) -> None:
    chosen = spec("trimmed_mean", trimmed_each_side=trimmed).model_dump(mode="json")
    plan = make_plan(6, quorum=quorum)
    if fits:
        assert rebuilt(plan, robust=chosen).training.robust is not None
    else:
        with pytest.raises(ValidationError, match=f"trimmed_each_side is {trimmed}, expected less than half of the "
                                                  f"quorum of {quorum}"):
            rebuilt(plan, robust=chosen)


def test_a_model_that_grows_by_itself_cannot_be_bounded() -> None:
    robust = spec().model_dump(mode="json")
    assert rebuilt(make_plan(), robust=robust, learning_rate=4.0, weight_decay=0.5).training.kept_of_model == 1.0
    with pytest.raises(ValidationError, match=r"learning_rate times weight_decay is 2\.4, expected at most 2"):
        rebuilt(make_plan(), robust=robust, learning_rate=4.0, weight_decay=0.6)
    assert rebuilt(make_plan(), learning_rate=4.0, weight_decay=0.6).training.robust is None


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"training\.robust\.rule"):
        rebuilt(make_plan(), robust=spec().model_dump(mode="json") | {"rule": "krum"})


@pytest.mark.parametrize(("hidden", "size"), [(None, 65 * 2), (7, 65 * 7 + 7 * 2)])
def test_the_size_of_a_model_is_that_of_its_arrays(hidden: int | None, size: int) -> None:
    model = ModelSpec(hidden_units=hidden, intercept_scale=0.1, initial_seed=0, start=None)
    assert model.size(dimension=64, tasks=2) == size
    assert make_plan().model_copy(update={"model": model}).model_size == size
