"""Small federations for tests: a few made-up records, a 64-bucket encoder, keys from fixed bytes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from clients.approvals import Decision, decide
from clients.known import know
from clients.node import NodeHome, NodeSettings
from clients.policy import Ceilings, Policy
from clients.store import RecordStore
from federation.encoders.hashing import HashedNgrams
from federation.identity import SigningKey
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import (
    Aggregation,
    ConductSpec,
    ModelSpec,
    PrivacyClaim,
    ReleaseSpec,
    RosterEntry,
    SecureAggregationSpec,
    Signer,
    TrainingSpec,
)
from federation.plan_statistics import (
    AppearancesSpec,
    Corridor,
    IndicatorsSpec,
    StatisticsSpec,
    SuperRegion,
    counted_families,
)
from federation.privacy.guarantee import price
from federation.records import IndicatorMark, Label, Record, RegionMention
from federation.statistics import shift_of
from federation.taxonomy import (
    ActorKind,
    AreaLevel,
    Channel,
    ConsentBasis,
    Family,
    Indicator,
    LabelValue,
    PartnerKind,
    Provenance,
    RegionRole,
    Task,
    TextRedaction,
)

DAY = date(2026, 6, 30)
COORDINATOR = SigningKey.from_bytes(b"c" * 32)
DIMENSION = 64
REGIONS = ("XA-01", "XA-02", "XA-03")
SUPER_REGIONS = (SuperRegion(code="XA:north", name="North", regions=("XA-01", "XA-02")),
                 SuperRegion(code="XA:south", name="South", regions=("XA-03",)))
CORRIDORS = tuple(Corridor(origin=start.code, destination=end.code) for start in SUPER_REGIONS for end in SUPER_REGIONS)
TAGS = (Indicator.DECEPTIVE_OFFER, Indicator.DOCUMENT_CONTROL, Indicator.WAGE_OVERWORK)
COARSE = {Family.SUPER_REGIONS: 1.5, Family.COUNTRIES: 1.5, Family.DOMINANCE: 1.5}
"""Families with so many times the noise of the others, so that no test takes one's noise for another's. Two different
scales: each more would have to be composed in every price."""
KINDS = (PartnerKind.PLATFORM, PartnerKind.NGO, PartnerKind.AGENCY)
WORDS = "bread rain bus job offer passport help tired travel visa debt market phone room pay night".split()


def partner_key(number: int) -> SigningKey:
    return SigningKey.from_bytes(bytes([number + 1]) * 32)


def roster(partners: int, slots: int = 32) -> tuple[RosterEntry, ...]:
    return tuple(
        RosterEntry(name=f"partner-{i}", kind=KINDS[i % 3], slots=slots, regions=REGIONS,
                    declared_prevalence={Task.RECRUITMENT: 0.2 + 0.1 * (i % 3), Task.DISTRESS: 0.5},
                    public_key=partner_key(i).public)
        for i in range(partners))


RELEASE = ReleaseSpec(
    minimum_count=11, false_publication=0.01, minimum_partners=3, minimum_kinds=2, most_of_one_partner=0.7,
    least_youden=0.3, band_factor=2.0, embargo_days=30, signatures=2,
    signers=tuple(Signer(name=name, public_key=SigningKey.from_bytes(name.encode() * 4).public)
                  for name in ("officer1", "officer2", "officer3")))


def make_statistics(*, noise_scale: float = 6.0, **changes: Any) -> StatisticsSpec:
    """All families of tables but a series and scores over three regions of one invented country.

    `noise_scale` is that of every family that is counted but those in `COARSE`, in people.
    """
    parts: dict[str, Any] = {
        "period_start": date(2026, 4, 1), "regions": REGIONS, "roles": (RegionRole.ORIGIN, RegionRole.OBSERVED),
        "protected": (), "super_regions": SUPER_REGIONS, "corridors": CORRIDORS,
        "indicators": IndicatorsSpec(level=AreaLevel.COUNTRY, tags=TAGS), "series": None, "scores": None,
        "aggregation": Aggregation.LOCAL,
        "max_roles_per_person": 1, "flag_threshold": 0.5,
        "appearances": AppearancesSpec(releases_a_year=4, releases_per_person=4, release_of_year=2), **changes}
    families = counted_families(super_regions=bool(parts["super_regions"]), indicators=parts["indicators"] is not None,
                                corridors=bool(parts["corridors"]), series=parts["series"] is not None,
                                scores=parts["scores"] is not None)
    scales = {family: noise_scale * COARSE.get(family, 1.0) * shift_of(family) for family in families}
    return StatisticsSpec(**{"noise_scales": scales, **parts})


def make_plan(partners: int = 3, *, slots: int = 32, quorum: int | None = None, deadline: float = 20.0,
              secure: str = "", colluders: int = 0, noise_scale: float = 6.0,
              statistics: Mapping[str, Any] | None = None, **training: Any) -> StudyPlan:
    """A valid plan with its true price; keyword arguments change the training part, `statistics` those of the tables.

    `secure` names the parts that are summed securely: "", "table", "train" or "both".
    """
    summed = {"": (), "both": ("table", "train")}.get(secure, (secure,))
    how = {part: Aggregation.SECURE if part in summed else Aggregation.LOCAL for part in ("table", "train")}
    if "train" in summed:
        training = {"local_steps": 1, **training}
    spec = TrainingSpec(**{"aggregation": how["train"], "robust": None, "rounds": 2, "local_steps": 2,
                           "learning_rate": 1.0, "weight_decay": 0.01, "averaged_share": 0.5,
                           "sampling_probability": 1.0, "l2_clip_norm": 0.5, "noise_multiplier": 5.0,
                           "max_records_per_person": 4, **training})
    draft = StudyPlan(
        study="test", purpose="Check that the parts fit together.", label="SYNTHETIC", synthetic=True,
        regions_drawn=False, rehearsal=True,
        period_end=DAY,
        tasks=(Task.RECRUITMENT, Task.DISTRESS), roster=roster(partners, slots),
        encoder=HashedNgrams(dimension=DIMENSION).spec,
        model=ModelSpec(hidden_units=None, intercept_scale=0.1, initial_seed=0, start=None), training=spec,
        statistics=make_statistics(aggregation=how["table"], noise_scale=noise_scale, **(statistics or {})),
        release=RELEASE,
        privacy=PrivacyClaim(delta=1e-5, training_epsilon=1e6, statistics_epsilon=1e6, total_epsilon=1e6),
        secure_aggregation=SecureAggregationSpec(colluders=colluders) if summed else None,
        conduct=ConductSpec(quorum=quorum or partners, stage_deadline_seconds=deadline), holdout_share=0.2)
    cost = price(draft, partners=())
    return draft.model_copy(update={"privacy": PrivacyClaim(
        delta=1e-5, training_epsilon=cost.training, statistics_epsilon=cost.statistics, total_epsilon=cost.total)})


def sign(plan: StudyPlan) -> SignedPlan:
    return SignedPlan.sign(plan, COORDINATOR)


def make_records(count: int, *, seed: int = 0, people: int | None = None) -> list[Record]:
    """Made-up records; `people` persons share them, or each record is its own. One in eight has no indicators."""
    rng, more = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    records = []
    for i in range(count):
        values = {task: rng.choice([LabelValue.POSITIVE, LabelValue.NEGATIVE, LabelValue.UNVERIFIED]) for task in Task}
        text = " ".join(rng.choice(WORDS, size=6))
        person = i if people is None else int(rng.integers(people))
        regions = [RegionMention(code=str(rng.choice(REGIONS)), role=role)
                   for role in (RegionRole.OBSERVED, RegionRole.ORIGIN)]
        regions.append(RegionMention(code=str(more.choice(REGIONS)), role=RegionRole.DESTINATION))
        marks = {tag: IndicatorMark(value=int(more.integers(2)), source=Provenance.HUMAN_EXPERT) for tag in TAGS}
        records.append(Record(
            record_id=UUID(int=(seed << 64) + i + 1), actor_key=f"{seed:08x}{person:024x}",
            actor_kind=ActorKind.AUTHOR, partner_kind=PartnerKind.PLATFORM, channel=Channel.PUBLIC_POST, text=text,
            text_redaction=TextRedaction.RULES, language="en", language_confidence=1.0, observed_at=date(2026, 5, 1),
            regions=tuple(regions), indicators=marks if more.random() > 0.125 else {},
            labels=tuple(Label(task=task, value=LabelValue(value), provenance=Provenance.HUMAN_EXPERT)
                         for task, value in values.items()),
            consent_basis=ConsentBasis.PUBLIC_INTEREST, retention_until=date(2099, 1, 1)))
    return records


POLICY = Policy(
    plans="approved", tasks=tuple(Task), encoders=("hashed-ngrams",),
    statistics=("regional_table", "indicators", "corridors", "series", "scores"),
    records_without_person_id="own_unit", minimum_partners=1, least_noise_multiplier=1.0, least_l2_clip_norm=0.1,
    least_table_noise_scale=1.0, distributed_noise=("statistics", "training"), least_colluders=0, rehearsal="allow",
    ceilings=Ceilings(delta=1e-5, round=20.0, study=50.0, year=100.0, total=200.0))


def approve(home: NodeHome, plan: StudyPlan) -> None:
    """What a partner does before a node runs a plan."""
    decide(home, sign(plan), Decision.APPROVED)


def make_home(root: Path, number: int, *, slots: int = 32, records: list[Record] | None = None,
              noise_seed: int | None = 7, policy: Policy = POLICY, **settings: Any) -> NodeHome:
    """A node home of `partner-<number>`; with `records=None` nothing was ever ingested."""
    entry = roster(number + 1, slots)[number]
    home = NodeHome.create(
        root / f"{number:03d}", NodeSettings(**{
            "name": entry.name, "kind": entry.kind, "slots": slots, "regions": entry.regions, "synthetic": True,
            "declared_prevalence": entry.declared_prevalence, "coordinator_key": COORDINATOR.public,
            "reproducible_noise": None if noise_seed is None else bytes([noise_seed]).hex() * 32, **settings}),
        person_secret=bytes([100 + number]) * 32, signing_key=partner_key(number), policy=policy)
    know(home.path, {other.name: other.public_key for other in roster(30)})
    if records is not None:
        with RecordStore(home.store_path) as store:
            store.add(records)
    return home
