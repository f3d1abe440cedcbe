"""Who vouches for a release, and whether the coordinator's journal tells the same story."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from federation.journal import (
    DraftWithdrawn,
    Entry,
    Facts,
    PlanSigned,
    ReleaseDrafted,
    ReleasePublished,
    ReleaseSigned,
    StudyRun,
)
from server.coordinator import plan_signed
from server.release.audit.opened import Opened
from server.release.audit.report import Finding, NotCheckable
from server.release.bundle import JOURNAL, RELEASE, SIGNATURES
from server.release.content import content_sha256


def check_key(opened: Opened, coordinator_key: str | None) -> Iterator[Finding]:
    """The coordinator's key is the one that the auditor knows."""
    stated = opened.signatures.public_key
    if coordinator_key is None:
        raise NotCheckable(SIGNATURES, f"names the coordinator's key {stated}; no key was given to compare it with, so "
                           "ask the coordinator or a partner for theirs by another channel")
    if stated != coordinator_key:
        yield Finding(file=SIGNATURES, words=f"were sealed by the key {stated}, not by the one that was given")


def check_seal(opened: Opened) -> Iterator[Finding]:
    """The coordinator sealed the bundle."""
    if not opened.signatures.sealed:
        yield Finding(file=SIGNATURES, words="have a seal that does not fit")


def check_approvals(opened: Opened) -> Iterator[Finding]:
    """Enough different people signed, of those whom the plan names, and none of them is the coordinator."""
    signatures, rule, valid = opened.signatures, opened.plan.release, set()
    names = [one.name for one in signatures.approvals]
    for one in signatures.approvals:
        words = None
        if not one.of(rule.signers):
            words = f"hold a signature of {one.name}, whom the plan does not name with this key"
        elif one.public_key == signatures.public_key:
            words = f"hold a signature of {one.name} that was made with the coordinator's own key"
        elif not one.fits(signatures.statement):
            words = f"hold a signature of {one.name} that does not fit"
        elif names.count(one.name) > 1:
            words = f"hold more than one signature of {one.name}"
        if words is None:
            valid.add((one.name, one.public_key))
        else:
            yield Finding(file=SIGNATURES, words=words)
    if len(valid) < rule.signatures:
        yield Finding(file=SIGNATURES, words=f"hold {len(valid)} valid signatures of different people; the plan asks "
                      f"for {rule.signatures}")


def check_journal(opened: Opened) -> Iterator[Finding]:
    """The journal is whole, signed by the coordinator, and holds the entry that people signed."""
    problem = opened.journal.problem
    if problem is not None:
        yield Finding(file=JOURNAL, words=f"line {problem.line} {problem.words}")


def check_acts(opened: Opened) -> Iterator[Finding]:
    """The journal says that this plan was signed, run, drafted and signed by these people, once and in this order."""
    entries = _sound(opened)
    content, digest = opened.content, content_sha256(opened.content)
    plan_sha256, anchor = opened.signed.sha256, opened.signatures.statement.drafted
    expected: list[Facts] = [
        plan_signed(opened.signed),
        StudyRun(plan_sha256=plan_sha256, partners=tuple(sorted(content["coverage"]["in_sum"])),
                 measurements_sha256=content["measurements_commitment"], model_sha256=content["model_sha256"]),
        ReleaseDrafted(plan_sha256=plan_sha256, content_sha256=digest,
                       previous_release_sha256=content["previous_release_sha256"])]
    drafted = next((entry for entry in entries if entry.anchor == anchor), None)
    if drafted is None or drafted.facts != expected[2]:
        yield Finding(file=JOURNAL, words="does not hold, where the signatures point, the drafting of this release")
        return
    yield from _in_order(entries, expected[:2], drafted)
    yield from _signed_after(opened, entries, drafted, digest)
    yield from _only_once(entries, expected[1], digest)
    yield from _no_other_draw(entries, opened)


def _sound(opened: Opened) -> tuple[Entry, ...]:
    if not opened.journal.sound:
        raise NotCheckable(JOURNAL, "does not check out")
    return opened.journal.entries


def _in_order(entries: tuple[Entry, ...], expected: list[Facts], drafted: Entry) -> Iterator[Finding]:
    start = 0
    for facts in expected:
        found = next((entry.sequence for entry in entries[start:drafted.sequence] if entry.facts == facts), None)
        if found is None:
            yield Finding(file=JOURNAL, words=f"has no entry {facts.act} of this plan, with these figures, before the "
                          f"drafting in line {drafted.sequence + 1}")
        else:
            start = found


def _signed_after(opened: Opened, entries: tuple[Entry, ...], drafted: Entry, digest: str) -> Iterator[Finding]:
    later = entries[drafted.sequence + 1:]
    noted = {(facts.signer, facts.public_key) for facts in (entry.facts for entry in later)
             if isinstance(facts, ReleaseSigned) and facts.content_sha256 == digest}
    for one in opened.signatures.approvals:
        if (one.name, one.public_key) not in noted:
            yield Finding(file=JOURNAL, words=f"does not say, after the drafting, that {one.name} signed")
    for name, _ in sorted(noted - {(one.name, one.public_key) for one in opened.signatures.approvals}):
        yield Finding(file=JOURNAL, words=f"says that {name} signed, and that signature is not in {SIGNATURES}")


def _only_once(entries: tuple[Entry, ...], run: Facts, digest: str) -> Iterator[Finding]:
    """Measured once, not withdrawn, and no other release of this plan is out."""
    plan_of = {entry.facts.content_sha256: entry.facts.plan_sha256 for entry in entries
               if isinstance(entry.facts, ReleaseDrafted)}
    for entry in entries:
        facts, words = entry.facts, None
        if isinstance(facts, StudyRun) and isinstance(run, StudyRun) and (
                facts.plan_sha256 == run.plan_sha256 and facts != run):
            words = "says that this study was run another time, with other results"
        elif isinstance(facts, DraftWithdrawn) and facts.content_sha256 == digest and entry.sequence > max(
                other.sequence for other in entries if isinstance(other.facts, ReleaseDrafted)
                and other.facts.content_sha256 == digest):
            words = "says that this draft was withdrawn"
        elif isinstance(facts, ReleasePublished) and isinstance(run, StudyRun) and (
                plan_of.get(facts.content_sha256) == run.plan_sha256):
            words = "says that a release of this plan was out already"
        if words is not None:
            yield Finding(file=JOURNAL, words=f"line {entry.sequence + 1} {words}")


def _no_other_draw(entries: tuple[Entry, ...], opened: Opened) -> Iterator[Finding]:
    """Nobody measured the same days under other plans of the study, to publish the draw that they liked best."""
    plan = opened.plan
    known = [entry.facts for entry in entries]
    drafts = {facts.content_sha256: facts.plan_sha256 for facts in known if isinstance(facts, ReleaseDrafted)}
    out = {drafts.get(facts.content_sha256) for facts in known if isinstance(facts, ReleasePublished)}
    same = {facts.plan_sha256 for facts in known if isinstance(facts, PlanSigned) and facts.study == plan.study
            and facts.period_start <= plan.period_end and plan.statistics.period_start <= facts.period_end}
    for entry in entries:
        if isinstance(entry.facts, StudyRun) and entry.facts.plan_sha256 in same - out - {opened.signed.sha256}:
            yield Finding(file=JOURNAL, words=f"line {entry.sequence + 1} says that this study was run over the same "
                          "days under another plan, whose release is not out")


def check_day(opened: Opened) -> Iterator[Finding]:
    """The embargo was over, and nothing was done after the day of publication. A rehearsal's journal tells no time."""
    plan, released_on = opened.plan, date.fromisoformat(opened.content["released_on"])
    earliest = plan.period_end + timedelta(days=plan.release.embargo_days)
    if released_on < earliest:
        yield Finding(file=RELEASE, words=f"was released on {released_on}, and its embargo ended on {earliest}")
    late = next((entry for entry in opened.journal.entries if entry.at.date() > released_on), None)
    if late is not None and not plan.rehearsal:
        yield Finding(file=JOURNAL, words=f"line {late.sequence + 1} is of {late.at.date()}, after the publication")


def check_series(opened: Opened) -> Iterator[Finding]:
    """By the journal, the release before this one in the series is the one that it names."""
    entries, study = _sound(opened), opened.plan.study
    plans = {entry.facts.plan_sha256 for entry in entries
             if isinstance(entry.facts, PlanSigned) and entry.facts.study == study}
    contents = {entry.facts.content_sha256 for entry in entries
                if isinstance(entry.facts, ReleaseDrafted) and entry.facts.plan_sha256 in plans}
    out = [entry.facts.content_sha256 for entry in entries
           if isinstance(entry.facts, ReleasePublished) and entry.facts.content_sha256 in contents]
    named, last = opened.content["previous_release_sha256"], out[-1] if out else None
    if named != last:
        yield Finding(file=RELEASE, words=f"names {named or 'no release'} as the one before it, and by {JOURNAL} that "
                      f"was {last or 'none'}")
