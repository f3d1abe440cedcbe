"""A partner leaves: from then on its node takes part in nothing that was approved before."""

from __future__ import annotations

from dataclasses import dataclass

from clients.decisions import decisions, take_back
from clients.node import NodeHome
from federation.errors import InputError
from federation.journal import Left


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """What leaving did: the studies that were declined, and what could not be done, in words for the partner."""

    declined: tuple[str, ...]
    problems: tuple[str, ...]


def open_studies(home: NodeHome) -> tuple[str, ...]:
    """The studies that were approved here and have not come to their end."""
    return tuple(one.study for one in decisions(home) if one.open)


def leave(home: NodeHome) -> Leaving:
    """Decline every plan that was approved and has not come to its end, and write down that the partner left.

    A plan that cannot be declined does not keep the others from it.
    """
    was_open, problems = [one for one in decisions(home) if one.open], list[str]()
    for one in was_open:
        try:
            take_back(home, one)
        except (InputError, OSError) as error:
            problems.append(str(error))
    still_open = {one.plan_sha256 for one in decisions(home) if one.open}
    try:
        home.journal().append(Left())
    except InputError as error:
        problems.append(str(error))
    declined = tuple(one.study for one in was_open if one.plan_sha256 not in still_open)
    return Leaving(declined=declined, problems=tuple(problems))
