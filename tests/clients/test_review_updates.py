"""What a partner reads about how updates are combined."""

from __future__ import annotations

from typing import Any

import pytest

from clients.review_updates import how_updates_are_combined
from federation.plan_parts import RobustRule, RobustSpec
from federation.update_norm import honest_norm
from tests.worlds import make_plan


def told(partner: str = "partner-0", **changes: Any) -> list[str]:
    spec = RobustSpec(**{"rule": RobustRule.MEAN, "norm_bound": 400.0, "trimmed_each_side": None, "radius": None,
                         "iterations": None, **changes})
    return list(how_updates_are_combined(make_plan(5, robust=spec), partner))


@pytest.mark.parametrize(("changes", "words"), [
    ({}, "their mean, weighted by slots."),
    ({"rule": RobustRule.TRIMMED_MEAN, "trimmed_each_side": 1},
     "the mean of each number without the 1 partner at either end, every other partner counting alike."),
    ({"rule": RobustRule.TRIMMED_MEAN, "trimmed_each_side": 2}, "without the 2 partners at either end"),
    ({"rule": RobustRule.CENTRED_CLIPPING, "radius": 3.25, "iterations": 5},
     "each cut to a distance from the centre (centred clipping: 3.25 for mean slots, 5 times)."),
])
def test_one_sentence_says_how_far_a_partner_can_go(changes: dict[str, Any], words: str) -> None:
    sentence, = told(**changes)
    assert "an update that moves it by more than 400 (Euclidean norm) is scaled down to that" in sentence
    assert words in sentence


def test_a_bound_that_an_honest_update_of_theirs_may_break_is_said() -> None:
    plan = make_plan()
    longest = honest_norm(plan.training, slots=32, model_size=plan.model_size)
    assert len(told(norm_bound=longest)) == 1
    _, more = told(norm_bound=longest * 0.9)
    assert more == f"Yours may be longer, up to {longest:.3g}, without anything being wrong."
    assert len(told("stranger", norm_bound=longest * 0.9)) == 1


def test_a_plain_mean_is_called_one_and_a_secure_sum_is_told_elsewhere() -> None:
    sentence, = how_updates_are_combined(make_plan(), "partner-0")
    assert "nothing bounds what one of them does to the model" in sentence
    assert not list(how_updates_are_combined(make_plan(4, secure="train", colluders=1, quorum=3), "partner-0"))
