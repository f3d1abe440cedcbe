"""One drawn record with what only the generator knows about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from federation.taxonomy import Indicator, Task
from simulations.world.grammar import Voice


class TextKind(StrEnum):
    """What a text is about, by its words alone. None of them says whether a record is a true positive."""

    JOB_OFFER = "job_offer"
    MIGRANT_JOB = "migrant_job"
    """Work abroad with travel, permit or lodging: lawful far more often than not. A hard negative where benign."""
    ADULT_SERVICES = "adult_services"
    """An independent adult's own work. A hard negative where benign: being about it proves nothing."""
    EVERYDAY_ADVERT = "everyday_advert"
    EVERYDAY_POST = "everyday_post"
    CASE_NOTE = "case_note"


HARD_NEGATIVES = (TextKind.MIGRANT_JOB, TextKind.ADULT_SERVICES)


@dataclass(frozen=True, slots=True)
class Origin:
    """The campaign that a record is part of.

    Attributes:
        campaign: one burst by a few accounts at one partner; unique in the world and quarter.
        template: the text it repeats, which other campaigns and partners may use too.
        seen: whether records of this template may carry labels; those of a held-out template never do.
    """

    campaign: str
    template: str
    seen: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """One record with the truth about it. Only `row` reaches the file.

    Attributes:
        row: the columns of `simulations.world.synthetic.COLUMNS`, in their order.
        truth: whether it is a positive, by task.
        tags: indicators that its text expresses.
        repeated_distress: whether distress is said twice.
        voice: whose voice it is in.
        kind: what it is about.
        language: that it is written in, also where the row leaves it out.
        origin: the campaign it belongs to, if any.
        obfuscated: whether its spelling was disturbed.
        bad: why ingestion must reject it; empty for a good row.
    """

    row: Mapping[str, str]
    truth: Mapping[Task, bool]
    tags: tuple[Indicator, ...]
    repeated_distress: bool
    voice: Voice
    kind: TextKind
    language: str
    origin: Origin | None
    obfuscated: bool
    bad: str
