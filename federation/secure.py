"""Which sums a plan asks for: the public facts of each session of secure aggregation, the same on both sides.

And the one check that every side makes of a plan before it acts on it, `check_plan`.
"""

from __future__ import annotations

import math
from enum import StrEnum

from federation.errors import InputError
from federation.grid import SUM_BITS
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.privacy.guarantee import Price, check_claim, partner_noise
from federation.privacy.series import coefficients
from federation.secagg import SessionSpec, Stage
from federation.statistics import TableLayout

MOST_PEOPLE = 2**26
"""More than any partner has, or has new in one release: four times the largest band of slots. Bounds an entry of a
vector, so that a sum cannot wrap whoever takes part."""
_REACH = 16
"""In noise scales. Values beyond have a probability of 2^-184, and what wraps is wrong but tells no more."""


class Purpose(StrEnum):
    """What is summed."""

    TRAIN = "train"
    """Clipped gradients of one step, in units of `l2_clip_norm * 2^-SUM_BITS`."""
    TABLE = "table"
    """The tables, all of them in one vector."""


def session_of(plan: StudyPlan, purpose: Purpose, round_number: int, attempt: int, model_sha256: str) -> SessionSpec:
    """The session that sums `purpose` in a round of `plan`.

    Args:
        plan: verified.
        purpose: what is summed.
        round_number: from 1; the tables' is 1.
        attempt: the coordinator's number for this try. A session of another number has other keys.
        model_sha256: of the model that everybody is asked about, as `federation.messages.request_sha256` gives it.

    Raises:
        InputError: if the plan sums no such thing in such a round, or its numbers do not fit into 64 bits.
    """
    part = plan.training if purpose is Purpose.TRAIN else plan.statistics
    rounds = plan.training.rounds if purpose is Purpose.TRAIN else 1
    if part.aggregation is not Aggregation.SECURE or plan.secure_aggregation is None or not 1 <= round_number <= rounds:
        raise InputError("session", f"the plan sums no {purpose} in round {round_number}", bound=f"1 to {rounds}")
    noise = partner_noise(plan)
    if purpose is Purpose.TRAIN:
        length, most, scale = plan.model_size, MOST_PEOPLE << SUM_BITS, noise.training
    else:
        length, most, scale = TableLayout(plan).length, _most_in_tables(plan), max(noise.tables.values())
    return SessionSpec(
        plan_sha256=plan.sha256, context_sha256=model_sha256, purpose=purpose.value, round_number=round_number,
        attempt=attempt, length=length,
        bound=most + math.ceil(_REACH * scale), roster=tuple((entry.name, entry.public_key) for entry in plan.roster),
        colluders=plan.secure_aggregation.colluders, quorum=plan.conduct.quorum)


def session_seconds(plan: StudyPlan) -> float:
    """How long partners keep the secrets of a session: as if each of its deadlines passed twice."""
    return 2 * len(Stage) * plan.conduct.stage_deadline_seconds


def _most_in_tables(plan: StudyPlan) -> int:
    """More than people can put into any entry of the tables."""
    series = plan.statistics.series
    return MOST_PEOPLE * (sum(coefficients(series.index)) if series is not None else 1)


def check_plan(plan: StudyPlan) -> Price:
    """Everything about a plan that its own fields cannot tell by themselves, before anything runs.

    Raises:
        InputError: if its price is claimed too low, exact noise cannot vouch for it, or a sum would not fit.
    """
    found = check_claim(plan)
    for purpose, part in ((Purpose.TRAIN, plan.training), (Purpose.TABLE, plan.statistics)):
        if part.aggregation is Aggregation.SECURE:
            session_of(plan, purpose, 1, 0, "0" * 64)
    return found


def parts_in_sums(plan: StudyPlan) -> tuple[str, ...]:
    """`training`, `statistics`, both or neither: what is summed securely."""
    return tuple(name for name, part in (("training", plan.training), ("statistics", plan.statistics))
                 if part.aggregation is Aggregation.SECURE)


def colluders_in_words(plan: StudyPlan) -> str:
    """How many partners may do it, up to the verb: `at most 2 of the 8 partners work`."""
    partners, colluders = len(plan.roster), plan.secure_aggregation.colluders if plan.secure_aggregation else 0
    if colluders == 0:
        return f"none of the {partners} partners works"
    return f"at most {colluders} of the {partners} partners {'works' if colluders == 1 else 'work'}"


def noise_in_words(plan: StudyPlan) -> str:
    """Where a plan's noise is, and on whom the promise then rests."""
    if plan.secure_aggregation is None:
        return ("each partner adds all of it, so the promise holds against the coordinator, other partners and the "
                "public")
    return (f"{' and '.join(parts_in_sums(plan))} summed securely: only the sum carries it, and the promise holds "
            f"while {colluders_in_words(plan)} with the coordinator")
