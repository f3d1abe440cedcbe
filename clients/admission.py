"""Whether a plan that checks out may run at this home: the same questions for a message and for a review.

`listed` asks what the plan says of this partner, `admitted` what the partner says of the plan. Both answer with a
`Refusal`, whose detail is for the partner's own eyes.
"""

from __future__ import annotations

from clients.approvals import require_approval
from clients.known import unknown_partners
from clients.node import NodeHome
from clients.policy import Policy
from federation.errors import InputError, Refusal, RefusalCode
from federation.plan import StudyPlan
from federation.plan_parts import RosterEntry


def listed(home: NodeHome, plan: StudyPlan) -> RosterEntry:
    """What the plan's roster says of this partner.

    Raises:
        Refusal: `not_in_roster`, if that is not what the partner has declared; `not_configured`, if this home is for
            rehearsals or for real records and the plan is not.
    """
    entry = plan.partner(home.settings.name)
    if entry is None or not home.agrees_with(entry):
        raise Refusal(RefusalCode.NOT_IN_ROSTER,
                      "the plan does not list this partner as node.yaml declares it (name, kind, slots, regions, "
                      "prevalence, public key). What to do: ask the coordinator for a plan that does")
    if home.settings.reproducible_noise is not None and not plan.rehearsal:
        raise Refusal(RefusalCode.NOT_CONFIGURED, "this home draws repeatable noise and the plan is no rehearsal. What "
                      "to do: take out reproducible_noise in node.yaml, unless this node only ever rehearses")
    if plan.synthetic and not home.settings.synthetic:
        raise Refusal(RefusalCode.NOT_CONFIGURED, "a study of invented records, and node.yaml says that the records "
                      "here are real. What to do: decline")
    return entry


def admitted(home: NodeHome, plan: StudyPlan) -> Policy:
    """The partner's rules, all of which the plan keeps, once the partner has approved the plan.

    Raises:
        Refusal: `not_allowed`, if there are no usable rules, the plan breaks one, or it hides this partner's numbers
            among partners whose keys were not confirmed; `not_approved`, if the partner has not approved this plan at
            this price.
    """
    try:
        policy = home.policy()
        policy.check(plan)
        check_known(home, plan)
    except InputError as error:
        raise Refusal(RefusalCode.NOT_ALLOWED, str(error)) from None
    require_approval(home, plan)
    return policy


def check_known(home: NodeHome, plan: StudyPlan) -> None:
    """Do nothing if every other partner of a plan with secure sums has the key that was confirmed with it.

    Raises:
        InputError: naming those that have not, or if the list of confirmed keys cannot be read.
    """
    unknown = unknown_partners(home.path, home.settings.name, plan)
    if unknown:
        names = ", ".join(entry.name for entry in unknown)
        raise InputError(
            "partners", "the plan hides your numbers among those of other partners, and the keys of these were not "
            f"confirmed here: {names}", bound="keys that you got from those partners themselves",
            remedy="ask each by telephone or in person for its public key, compare it with the plan's, and run "
                   "`leelight partner know NAME KEY`")
