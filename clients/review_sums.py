"""What a review says of secure sums: what leaves, on whom the promise rests, which keys are to be confirmed first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote

from clients.known import UnknownPartner
from federation.plan import StudyPlan
from federation.plan_parts import Aggregation
from federation.secure import colluders_in_words, parts_in_sums


def how_it_leaves(aggregation: Aggregation, what: str) -> str:
    """What is done to `what` before it leaves."""
    if aggregation is Aggregation.LOCAL:
        return f"All the noise is added on this machine before {what} leaves."
    return (f"A share of the noise is added on this machine, and {what} leaves under a mask: the coordinator learns "
            "the sum over the partners, and not yours.")


def condition(plan: StudyPlan) -> Iterator[str]:
    """Of which figures of the price something must be added."""
    if plan.secure_aggregation is not None:
        parts = parts_in_sums(plan)
        what = "These figures" if len(parts) == 2 else (
            f"The figures with {'learning' if 'training' in parts else 'counting'} in them")
        yield f"{what} hold while {colluders_in_words(plan)} with the coordinator; see below, what leaves."


def what_sums_rest_on(plan: StudyPlan) -> str:
    """The difference in trust, in a few sentences."""
    bare = ("" if plan.noise_shares > 1 else " Should as many as that do so, the sum may show them yours alone, with "
            "all of the noise in it.")
    return ("The difference: noise of your own protects people whatever anybody does; noise in the sum protects them "
            f"as long as {colluders_in_words(plan)} with the coordinator (partners that it controls count as such), "
            "and protects a person with records at several partners less; in return the results are sharper. At least "
            f"{plan.conduct.quorum} partners are in every sum.{bare}")


def keys_to_confirm(unknown: Sequence[UnknownPartner], home_path: str) -> Iterator[str]:
    """What stands in the way as long as other partners' keys were not confirmed; a line beginning with $ is a command.

    The commands hold no key: one that is copied from the plan has confirmed nothing.
    """
    for partner in unknown:
        if partner.confirmed:
            yield (f"BROKEN  the plan gives another key for {partner.name} than the one you confirmed: "
                   f"{partner.in_plan}, not {partner.confirmed}. Somebody may be standing in its place. What to do: do "
                   f"not approve, and ask {partner.name} by telephone or in person.")
    new = [partner for partner in unknown if not partner.confirmed]
    if new:
        yield ("BROKEN  the plan hides your numbers among those of other partners, and you have not confirmed the keys "
               "of these. What to do: ask each of them, by telephone or in person, for its public key, compare it with "
               "the plan's, and run the command with the key that you were told:")
    for partner in new:
        yield f"{partner.name}: the plan's key is {partner.in_plan}"
        yield f"$ leelight partner know {partner.name} KEY --home {quote(home_path)}"
