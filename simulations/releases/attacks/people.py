"""A partner's records, person by person, and the true tables that the partner's own code counts of them.

Every data set goes through a real record store and `clients.counting`. A person is described by what matters to the
tables; the text only carries, for the model of the attack, whether it is flagged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from uuid import UUID

import numpy as np
import torch

from clients.counting import true_tables
from clients.features import Prepared
from clients.node import NodeHome, NodeSettings
from clients.store import RecordStore
from federation.identity import SigningKey
from federation.model import MultiTaskHead, initial_model
from federation.plan import StudyPlan
from federation.records import IndicatorMark, Label, Record, RegionMention
from federation.statistics import IntArray
from federation.taxonomy import (
    ActorKind,
    Channel,
    ConsentBasis,
    Indicator,
    LabelValue,
    PartnerKind,
    Provenance,
    RegionRole,
    Task,
    TextRedaction,
)

FLAGGED, UNFLAGGED = "flagged", "not flagged"
_LOGIT = 8.0


@dataclass(frozen=True, kw_only=True)
class Someone:
    """One person at the partner.

    Attributes:
        number: who; None for records without a person id.
        places: region by role, the same in each record.
        flagged: by the model.
        tags: indicators looked for, with what was seen.
        label: of every task, or None.
        day: of every record.
        records: how many.
        first_record: number of the first record; two people with the same one have a record id in common.
        excluded: somebody objected to the use of the records.
        until: end of their retention.
    """

    number: int | None
    places: dict[RegionRole, str] = field(default_factory=dict)
    flagged: bool = False
    tags: dict[Indicator, int] = field(default_factory=dict)
    label: LabelValue | None = None
    day: date = date(2026, 5, 1)
    records: int = 1
    first_record: int | None = None
    excluded: bool = False
    until: date = date(2099, 1, 1)

    def as_records(self, position: int) -> Iterator[Record]:
        """The person's records; `position` keeps the ids of different people apart."""
        start = (position + 1) * 10_000 if self.first_record is None else self.first_record
        for i in range(self.records):
            yield Record(
                record_id=UUID(int=start + i), actor_key=None if self.number is None else f"{self.number:032x}",
                actor_kind=ActorKind.AUTHOR, partner_kind=PartnerKind.PLATFORM, channel=Channel.PUBLIC_POST,
                text=FLAGGED if self.flagged else UNFLAGGED, text_redaction=TextRedaction.RULES, language="en",
                language_confidence=1.0, observed_at=self.day, consent_basis=ConsentBasis.PUBLIC_INTEREST,
                regions=tuple(RegionMention(code=code, role=role) for role, code in self.places.items()),
                indicators={tag: IndicatorMark(value=1 if seen else 0, source=Provenance.HUMAN_EXPERT)
                            for tag, seen in self.tags.items()},
                labels=tuple(Label(task=task, value=self.label, provenance=Provenance.HUMAN_EXPERT)
                             for task in Task if self.label is not None),
                retention_until=self.until, exclude_training=self.excluded)


@dataclass(frozen=True)
class Counter:
    """A partner's node that counts any data set under any plan, always with the same secrets."""

    home: NodeHome

    def held_out(self, *, wanted: bool, share: float) -> int:
        """Number of a person who is, or is not, held out of training."""
        order = self.home.keyed("holdout")
        return next(n for n in range(10_000, 20_000) if (order.value(f"{n:032x}") < share) is wanted)

    def tables(self, plan: StudyPlan, people: Sequence[Someone]) -> IntArray:
        """True tables of these people, by the partner's own store and code."""
        # Each data set is a node of its own: nobody has counted in its series yet.
        self.home.series_path.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory() as folder, RecordStore(Path(folder) / "records.sqlite") as store:
            store.add([record for position, one in enumerate(people) for record in one.as_records(position)])
            frame = store.frame(plan.period_end)
        features = np.zeros((len(frame), plan.encoder.dimension), dtype=np.float32)
        features[:, 0] = [1.0 if text == FLAGGED else -1.0 for text in frame["text"]]
        prepared = Prepared(frame=frame.drop(columns="text"), features=features,
                            intercept_scale=plan.model.intercept_scale, unreadable=0, unattached=0)
        return true_tables(self.home, plan, plan.roster[0], prepared, _model(plan))


def _model(plan: StudyPlan) -> MultiTaskHead:
    model = initial_model(plan)
    with torch.no_grad():
        model.output.weight[:, 0] = _LOGIT
    return model


@contextmanager
def counter(plan: StudyPlan) -> Iterator[Counter]:
    """A node in a folder of its own, for as long as it is needed."""
    entry = plan.roster[0]
    with tempfile.TemporaryDirectory() as folder:
        settings = NodeSettings(
            name=entry.name, kind=entry.kind, slots=entry.slots, regions=entry.regions, synthetic=True,
            declared_prevalence=entry.declared_prevalence, coordinator_key="0" * 64)
        yield Counter(NodeHome.create(Path(folder) / "node", settings, person_secret=b"s" * 32,
                                      signing_key=SigningKey.from_bytes(b"a" * 32)))
