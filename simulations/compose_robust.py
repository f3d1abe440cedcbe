"""From settings to how the coordinator combines updates; what is not set follows from the plan's other constants."""

from __future__ import annotations

from collections.abc import Sequence

from federation.errors import InputError
from federation.plan_parts import Aggregation, RobustRule, RobustSpec, TrainingSpec
from federation.update_norm import clipping_radius, honest_norm, rounded_up
from simulations.settings import RobustSettings


def compose_robust(settings: RobustSettings, training: TrainingSpec, slots: Sequence[int],
                   model_size: int) -> RobustSpec | None:
    """The robust part of a plan.

    Args:
        settings: `norm_bound` and `radius` may be left to be worked out.
        training: the rest of the training part.
        slots: of each partner. The bound is one for all, so it is that of the partner with the fewest.
        model_size: how many weights there are.

    Returns:
        None, if the plan is to take a plain mean or a secure sum.

    Raises:
        InputError: if updates are not seen, or no bound follows from the constants.
    """
    if settings.rule == "none":
        return None
    if training.aggregation is Aggregation.SECURE:
        raise InputError("training.robust.rule", f"is {settings.rule} with training.aggregation=secure, where the "
                         "coordinator sees no update that it could bound", bound="none",
                         remedy="set training.robust.rule=none, or training=full_batch")
    if (shrink := training.learning_rate * training.weight_decay) > 2:
        raise InputError("training.weight_decay", f"times training.learning_rate is {shrink:g}, which makes a model "
                         "grow by itself", bound="a product of at most 2", remedy="lower either")
    bound = settings.norm_bound or rounded_up(honest_norm(training, slots=min(slots), model_size=model_size))
    trimmed = radius = iterations = None
    if settings.rule is RobustRule.TRIMMED_MEAN:
        trimmed = settings.trimmed_each_side
    if settings.rule is RobustRule.CENTRED_CLIPPING:
        mean = sum(slots) / len(slots)
        radius = settings.radius or rounded_up(clipping_radius(training, slots=mean, model_size=model_size))
        iterations = settings.iterations
    return RobustSpec(rule=settings.rule, norm_bound=bound, trimmed_each_side=trimmed, radius=radius,
                      iterations=iterations)
