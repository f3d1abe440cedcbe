"""All checks of a release, one after the other. A check that needs something broken says so, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federation.errors import InputError
from federation.statistics import Measurements
from server.release.audit import figures, people
from server.release.audit.opened import Opened, check_files, check_form
from server.release.audit.report import Finding, NotCheckable, Report, outcome_of
from server.release.bundle import JOURNAL, RELEASE, SIGNATURES
from server.release.content import content_sha256
from server.studies import SALT_BYTES, commitment_to, read_measurements

_MAX_EVIDENCE = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the coordinator keeps of the study, shown to an auditor."""

    measurements: Path
    salt: Path


def audit_release(folder: Path, *, coordinator_key: str | None = None, previous: Path | None = None,
                  evidence: Evidence | None = None) -> Report:
    """Check a release from its files.

    Args:
        folder: of the release.
        coordinator_key: the coordinator's public key, known from elsewhere.
        previous: folder of the release before it in the series.
        evidence: the noisy sums and their salt.

    Raises:
        InputError: if something given cannot be read at all.
    """
    opened = Opened.read(folder)
    before = None if previous is None else Opened.read(previous)
    earlier = None if before is None else _earlier(opened, before)
    shown = None if evidence is None else _shown(opened, evidence)
    checks: tuple[tuple[str, str, Callable[[], Iterator[Finding]]], ...] = (
        ("files", "Every file is there, none was changed, and there is no other.", lambda: check_files(opened)),
        ("form", "Signatures, release and plan have their one form and are about each other.",
         lambda: check_form(opened)),
        ("key", "The coordinator's key is the one that you know.",
         lambda: people.check_key(opened, coordinator_key)),
        ("seal", "The coordinator sealed these files.", lambda: people.check_seal(opened)),
        ("approvals", "Enough different people signed, of those whom the plan names.",
         lambda: people.check_approvals(opened)),
        ("journal", "The coordinator's journal is whole up to the last signature.",
         lambda: people.check_journal(opened)),
        ("acts", "The journal tells the same: plan, one run, draft, these signatures.",
         lambda: people.check_acts(opened)),
        ("embargo", "It was released after the days of the embargo.", lambda: people.check_day(opened)),
        ("series", "It names the release before it that the journal knows.", lambda: people.check_series(opened)),
        ("previous", "That release is the one that you have, and its journal is the beginning of this one.",
         lambda: _check_previous(opened, before)),
        ("places", "Nothing is finer than a region, and no protected region has a figure.",
         lambda: figures.check_places(opened)),
        ("privacy", "The price stated is the one that the plan comes to.", lambda: figures.check_privacy(opened)),
        ("figures", "Every figure follows from the measured numbers that are shown, and from the plan.",
         lambda: figures.check_figures(opened, earlier)),
        ("gate", "Everything that is shown may be shown by the plan's rules.", lambda: figures.check_gate(opened)),
        ("derived", "Tables, map, page, card, guide and registry entry are what release and plan give.",
         lambda: figures.check_files_made_again(opened)),
        ("measurements", "The numbers shown are those that were measured, and what is withheld had to be.",
         lambda: figures.check_measurements(opened, shown, earlier)),
    )
    return Report(checks=tuple(outcome_of(name, holds, look()) for name, holds, look in checks), about=_about(opened))


def _about(opened: Opened) -> str:
    """Which release this is, by its own account, and whether it describes the world."""
    try:
        content = opened.content
    except NotCheckable:
        return ""
    marks = [word for word, holds in ((content["label"], True), ("a rehearsal", content["privacy"]["rehearsal"]),
                                      ("regions drawn at random", content["regions_drawn"])) if holds]
    return (f"{content['study']}, {content['period']['start']} to {content['period']['end']}, released on "
            f"{content['released_on']} ({', '.join(marks)})")


def _check_previous(opened: Opened, before: Opened | None) -> Iterator[Finding]:
    named, history = opened.content["previous_release_sha256"], _measured_in(opened)[:-1]
    if before is None and (named is not None or history):
        raise NotCheckable(RELEASE, f"follows release {named or 'that it does not name'}, which was not given: what it "
                           f"says of trends{' and of earlier releases in its running totals' if history else ''} was "
                           "not checked")
    if before is None:
        raise NotCheckable(RELEASE, "names no release before it: it says that it is the first of its kind")
    if named != content_sha256(before.content):
        yield Finding(file=RELEASE, words=f"names {named or 'no release'} as the one before it, and the one given is "
                      f"{content_sha256(before.content)}")
        return
    if before.signatures.public_key != opened.signatures.public_key:
        yield Finding(file=SIGNATURES, words="were sealed by another key than those of the release before it")
    if not opened.file(JOURNAL).startswith(before.file(JOURNAL)):
        yield Finding(file=JOURNAL, words="does not begin with the journal of the release before it: it was rewritten")
    if history and _measured_in(before) != history:
        raise NotCheckable(RELEASE, "has running totals over releases of which the one before it shows nothing: what "
                           "it says of them was not checked")


def _measured_in(opened: Opened) -> list[str]:
    """Plans of all releases that are in running totals; none where there are no totals, or they are withheld."""
    series = opened.content["series"]
    return [] if series is None else [one["plan_sha256"] for one in series["releases"]]


def _earlier(opened: Opened, before: Opened) -> dict[str, Any] | None:
    """The earlier content, if it is the one that trends are over; otherwise a check of its own says so."""
    try:
        wanted = opened.content["previous_release_sha256"]
    except NotCheckable:
        return None
    try:
        return before.content if content_sha256(before.content) == wanted else None
    except NotCheckable as broken:
        raise InputError(f"--previous: {broken.finding.file}", broken.finding.words,
                         remedy="give the folder of the release before this one") from None


def _shown(opened: Opened, evidence: Evidence) -> tuple[Measurements, str] | None:
    """The noisy sums and what a commitment to them is; None if there is no plan to read them by."""
    try:
        if evidence.measurements.stat().st_size > _MAX_EVIDENCE:
            raise InputError(str(evidence.measurements), "is too large for the noisy sums of a study",
                             bound=f"{_MAX_EVIDENCE:,} bytes", remedy="give the measurements.json of the study")
        data, salt = evidence.measurements.read_bytes(), evidence.salt.read_bytes()
    except OSError as error:
        raise InputError(str(error.filename), f"cannot be read ({error.strerror})",
                         remedy="give the files that the coordinator keeps of the study") from None
    if len(salt) != SALT_BYTES:
        raise InputError(str(evidence.salt), f"holds {len(salt)} bytes", bound=f"exactly {SALT_BYTES}",
                         remedy="give the measurements.salt of the study")
    try:
        plan = opened.plan
    except NotCheckable:
        return None
    return read_measurements(data, plan, name=str(evidence.measurements)), commitment_to(data, salt)
