"""From settings to how the coordinator combines updates; what is not set follows from the plan's other constants."""

from __future__ import annotations

from collections.abc import Sequence

from federation.errors import InputError
from federation.plan_parts import Aggregation, RobustRule, RobustSpec, TrainingSpec
from federation.update_norm import honest_norm, noise_norm, rounded_up
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
        InputError: if updates are not seen.
        ValueError: if no bound follows from the constants.
    """
    if settings.rule == "none":
        return None
    if training.aggregation is Aggregation.SECURE:
        raise InputError("training.robust.rule", f"is {settings.rule} with training.aggregation=secure, where the "
                         "coordinator sees no update that it could bound", bound="none",
                         remedy="set training.robust.rule=none, or training=full_batch")
    fewest = min(slots)
    bound = settings.norm_bound or rounded_up(honest_norm(training, slots=fewest, model_size=model_size))
    clipping = settings.rule is RobustRule.CENTRED_CLIPPING
    return RobustSpec(
        rule=settings.rule, norm_bound=bound,
        trimmed_each_side=settings.trimmed_each_side if settings.rule is RobustRule.TRIMMED_MEAN else None,
        radius=(settings.radius or rounded_up(noise_norm(training, slots=fewest, model_size=model_size) / 2)) if clipping else None,
        iterations=settings.iterations if clipping else None)
