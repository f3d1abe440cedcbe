"""Coordinators' homes with studies that have run, and bundles as a dishonest coordinator would make them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np

from federation.canonical import sha256_hex
from federation.identity import SigningKey
from federation.journal import (
    Facts,
    Journal,
    ReleaseDrafted,
    ReleasePublished,
    ReleaseSigned,
    Side,
    StudyRun,
)
from federation.plan import SignedPlan, StudyPlan
from federation.plan_parts import PrivacyClaim, Signer
from federation.plan_statistics import SeriesSpec
from federation.privacy.guarantee import price, table_variances
from federation.privacy.series import SCALE, encode
from federation.statistics import Measurements, TableLayout
from federation.taxonomy import AreaLevel, Family
from server.coordinator import CoordinatorHome, plan_signed
from server.release.approval import Approval, Signatures, Statement
from server.release.bundle import JOURNAL, PLAN, RELEASE, SIGNATURES, SIGNED, bundle_files, plan_json, release_json
from server.release.content import content_sha256
from server.rounds import StudyOutcome
from tests.server.release.worlds import THREE, TWELVE, make_measurements, make_plan

COORDINATOR = SigningKey.from_bytes(b"c" * 32)
PEOPLE = {name: SigningKey.from_bytes(name.encode().ljust(32, b".")) for name in ("anna", "ben", "cleo")}
SIGNERS = tuple(Signer(name=name, public_key=key.public) for name, key in PEOPLE.items())
LAND: dict[str, Any] = {"protected": (TWELVE[11],), "super_regions": (
    *THREE[:2], THREE[2].model_copy(update={"regions": TWELVE[8:11]}))}
"""Twelve invented regions, of which the last is protected."""
STRANGER = SigningKey.from_bytes(b"s" * 32)
Change = Callable[[dict[str, Any]], None]


def plan_of(release_of_year: int, *, signers: tuple[Signer, ...] = SIGNERS, rehearsal: bool = True,
            **changes: Any) -> StudyPlan:
    """A plan of a series whose true price is stated, cheap to account for: every slot is in every step."""
    plan = make_plan(release_of_year=release_of_year, rehearsal=rehearsal, **{**LAND, **changes})
    scales = plan.statistics.noise_scales
    return stated(plan.model_copy(update={
        "release": plan.release.model_copy(update={"signers": signers}),
        "training": plan.training.model_copy(update={"sampling_probability": 1.0, "noise_multiplier": 20.0}),
        "statistics": plan.statistics.model_copy(update={
            "series": SeriesSpec(name=plan.study, index=release_of_year, level=AreaLevel.SUPER_REGION),
            "noise_scales": {**scales, Family.SERIES: SCALE * scales[Family.SUPER_REGIONS]}})}))


def measured(plan: StudyPlan) -> Measurements:
    """Noisy sums of a drawn world, in which half of those who are counted are new in each release."""
    alone = plan.statistics.model_copy(update={"series": None, "noise_scales": {
        family: scale for family, scale in plan.statistics.noise_scales.items() if family is not Family.SERIES}})
    found = make_measurements(plan.model_copy(update={"statistics": alone}))
    layout = TableLayout(plan)
    values = layout.empty()
    for family in layout.blocks:
        new = found.table(Family.SUPER_REGIONS if family is Family.SERIES else family)
        if family is Family.SERIES and plan.statistics.series is not None:
            new = encode([new // 2] * plan.statistics.series.index)
        layout.table(values, family)[...] = new
    return Measurements(layout=layout, values=values, variances=table_variances(plan, len(found.partners)),
                        partners=found.partners)


def stated(plan: StudyPlan) -> StudyPlan:
    """The plan with its true price."""
    cost = price(plan, partners=())
    return StudyPlan.model_validate(plan.model_dump() | {"privacy": PrivacyClaim(
        delta=plan.privacy.delta, training_epsilon=cost.training, statistics_epsilon=cost.statistics,
        total_epsilon=cost.total).model_dump()})


def first_plan() -> StudyPlan:
    """The first quarter."""
    return plan_of(1)


def second_plan() -> StudyPlan:
    """The second quarter of the same series."""
    return plan_of(2)


def run_study(home: CoordinatorHome, plan: StudyPlan) -> SignedPlan:
    """What a study leaves in the home when it has run."""
    signed = SignedPlan.sign(plan, home.signing_key())
    home.keep_plan(signed)
    home.keep(signed, StudyOutcome(model={"output.weight": np.zeros((2, 3), np.float32)}, stages=(),
                                   measurements=measured(plan)))
    return signed


def new_home(path: Path) -> CoordinatorHome:
    return CoordinatorHome.create(path, key=COORDINATOR)


def two(*names: str) -> dict[str, SigningKey]:
    """Keys of some people; of the first two without a name."""
    return {name: PEOPLE[name] for name in names or ("anna", "ben")}


def plan_in(folder: Path) -> SignedPlan:
    """The plan of a bundle."""
    return SignedPlan.open((folder / "plan.json").read_text(encoding="utf-8"), trusted_key=COORDINATOR.public)


def content_in(folder: Path) -> dict[str, Any]:
    """The content of a bundle, ready to be changed."""
    content: dict[str, Any] = json.loads((folder / RELEASE).read_bytes())["content"]
    return content


def of_plan(content: dict[str, Any], signed: SignedPlan) -> dict[str, Any]:
    """The same content, said to be of another plan."""
    renamed: dict[str, Any] = json.loads(json.dumps(content).replace(content["plan_sha256"], signed.sha256))
    return renamed


def story(signed: SignedPlan, content: dict[str, Any], names: Iterable[str], earlier: Iterable[Facts] = ()
          ) -> list[Facts]:
    """What the journal of an honest coordinator says, after `earlier`."""
    digest = content_sha256(content)
    return [
        *earlier, plan_signed(signed),
        StudyRun(plan_sha256=signed.sha256, partners=tuple(sorted(content["coverage"]["in_sum"])),
                 measurements_sha256=content["measurements_commitment"], model_sha256=content["model_sha256"]),
        ReleaseDrafted(plan_sha256=signed.sha256, content_sha256=digest,
                       previous_release_sha256=content["previous_release_sha256"]),
        *(ReleaseSigned(content_sha256=digest, signer=name, public_key=PEOPLE[name].public) for name in names)]


def published_before(content_sha: str, plan: SignedPlan) -> list[Facts]:
    """What a journal says of a release that is out."""
    return [plan_signed(plan),
            ReleaseDrafted(plan_sha256=plan.sha256, content_sha256=content_sha, previous_release_sha256=None),
            ReleasePublished(content_sha256=content_sha, released_on=date(2026, 4, 29), epsilon=1.0, delta=1e-5)]


def forge(folder: Path, *, content: dict[str, Any], signed: SignedPlan, acts: list[Facts],
          files: Mapping[str, bytes] | None = None, people: Mapping[str, SigningKey] | None = None,
          key: SigningKey = COORDINATOR, drafted: int | None = None, at: date | None = None) -> Path:
    """Write a bundle that holds anything, hashed, journaled and signed with whatever keys there are.

    Args:
        folder: emptied first.
        content: what it says.
        signed: its plan.
        acts: what the journal says after its opening.
        files: instead of those that content and plan give.
        people: who signs.
        key: whoever plays the coordinator.
        drafted: number of the journal's entry that people sign; without it the last about a draft.
        at: day of the journal's entries; without it the day of publication.
    """
    made = {**made_of(content, signed, {path.name: path.read_bytes() for path in folder.iterdir()}), **(files or {})}
    for path in folder.iterdir():
        path.unlink()
    day = at or date.fromisoformat(content["released_on"])
    journal_path = folder.parent / f"{folder.name}.journal"
    journal = Journal.open_or_create(journal_path, key=key, owner="coordinator", side=Side.COORDINATOR,
                                     clock=lambda: datetime.combine(day, time(), UTC))
    entries = [journal.append(facts) for facts in acts]
    anchors = [entry.anchor for entry in entries if isinstance(entry.facts, ReleaseDrafted)]
    anchor = anchors[-1] if drafted is None else entries[drafted - 1].anchor
    text = journal_path.read_bytes()
    statement = Statement(plan_sha256=signed.sha256, content_sha256=content_sha256(content), drafted=anchor,
                          files={name: sha256_hex(data) for name, data in sorted(made.items())})
    approvals = [Approval.sign(statement, name, its) for name, its in (two() if people is None else people).items()]
    signatures = Signatures.seal_with(key, statement, approvals, sha256_hex(text))
    for name, data in {**made, JOURNAL: text, SIGNATURES: signatures.to_text()}.items():
        (folder / name).write_bytes(data)
    return folder


def made_of(content: dict[str, Any], signed: SignedPlan, before: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a content; of one that makes no sense, what was there before and the content itself."""
    try:
        return bundle_files(content, signed)
    except (KeyError, ValueError, StopIteration):
        return {**{name: before[name] for name in SIGNED}, RELEASE: release_json(content), PLAN: plan_json(signed)}


def cheat(folder: Path, change: Change, **how: Any) -> Path:
    """Change what a release says, and make everything else fit with valid keys, as if it had been so from the start."""
    content, signed = content_in(folder), plan_in(folder)
    change(content)
    earlier = [] if content["previous_release_sha256"] is None else published_before(
        content["previous_release_sha256"], SignedPlan.sign(first_plan(), COORDINATOR))
    acts = story(signed, content, two(), earlier)
    return forge(folder, **{"content": content, "signed": signed, "acts": acts, **how})
