"""One drawn record with what only the generator knows about it.

Named tuples, as millions are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from federation.taxonomy import Task
from simulations.world.signals import Signals


class Origin(NamedTuple):
    """The campaign that a record is part of.

    Attributes:
        campaign: one burst by a few accounts at one partner; unique in the world.
        template: the text it repeats, which other campaigns and partners may use too.
        seen: whether records of this template may carry labels; those of a held-out template never do.
    """

    campaign: str
    template: str
    seen: bool


class Draft(NamedTuple):
    """One record with the truth about it. Only `row` reaches the file.

    Attributes:
        row: the columns of `simulations.world.rows.COLUMNS`, in their order.
        truth: whether it is a positive, by task.
        signals: what its text expresses.
        language: that it is written in, also where the row leaves it out.
        origin: the campaign it belongs to, if any.
        bad: why ingestion must reject it; empty for a good row.
    """

    row: Mapping[str, str]
    truth: Mapping[Task, bool]
    signals: Signals
    language: str
    origin: Origin | None
    bad: str
