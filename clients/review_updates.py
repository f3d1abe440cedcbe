"""What a review says of how the coordinator puts the partners' updates together."""

from __future__ import annotations

from collections.abc import Iterator

from clients.wording import counted
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation, RobustRule, RobustSpec
from federation.update_norm import honest_norm


def how_updates_are_combined(plan: StudyPlan, partner: str) -> Iterator[str]:
    """What bounds a partner's hold on the model, and whether an honest update of `partner` may be cut by it."""
    if plan.training.aggregation is Aggregation.SECURE:
        return
    spec = plan.training.robust
    if spec is None:
        yield ("The coordinator takes the mean of the partners' updates, weighted by slots; nothing bounds what one of "
               "them does to the model.")
        return
    yield (f"So that no partner bends the model far, an update that moves it by more than {spec.norm_bound:g} "
           f"(Euclidean norm) is scaled down to that, and the coordinator then takes {_of(spec)}.")
    entry = plan.partner(partner)
    if entry is None:
        return
    longest = honest_norm(plan.training, slots=entry.slots, model_size=plan.model_size)
    if longest > spec.norm_bound * (1 + 1e-6):
        yield f"Yours may be longer, up to {longest:.3g}, without anything being wrong."


def _of(spec: RobustSpec) -> str:
    if spec.rule is RobustRule.TRIMMED_MEAN:
        left_out = counted(spec.trimmed_each_side or 0, "partner", "partners")
        return f"the mean of each number without the {left_out} at either end, every other partner counting alike"
    if spec.rule is RobustRule.CENTRED_CLIPPING:
        return ("their mean, weighted by slots and with each cut to a distance from the centre (centred clipping: "
                f"{spec.radius:g} for mean slots, {counted(spec.iterations or 0, 'time', 'times')})")
    return "their mean, weighted by slots"
