"""Signing a draft, and publishing it when enough people have: nothing is out that two did not agree to.

A bundle is put together in a hidden folder, `signatures.json` last, and moved into place in one step. So a process that
dies leaves no half release; the next one clears away what it left, and notes in the journal what was out already.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.identity import SigningKey
from federation.journal import ReleaseSigned
from federation.plan import StudyPlan
from federation.private_files import sync_folder
from server.coordinator import CoordinatorHome
from server.release.approval import Approval, Signatures, Statement
from server.release.bundle import JOURNAL, SIGNATURES
from server.release.drafts import APPROVALS, Draft, check_draft, find_draft, statement_of, write_synced
from server.release.published import folder_name, settle


class NotYet(InputError):
    """What is asked for will be possible, but is not now."""

    exit_code = 1


def sign_draft(home: CoordinatorHome, wanted: str | None = None, *, name: str, key: SigningKey) -> Draft:
    """Sign a draft as one of the people whom its plan names, after making it again and comparing every byte.

    Args:
        home: the coordinator's.
        wanted: which draft, as for `find_draft`.
        name, key: the person's.

    Raises:
        InputError: if that person may not sign, has signed, or the draft is not what the study gives.
    """
    with home.locked():
        settle(home)
        draft = find_draft(home, wanted)
        _check_signer(home, draft.signed.plan, name, key)
        if name in {approval.name for approval in draft.approvals}:
            raise InputError(name, "has signed this draft already", bound="each person once",
                             remedy="ask another of the people whom the plan names")
        check_draft(home, draft)
        approval = Approval.sign(statement_of(home, draft), name, key)
        _create(draft.path / APPROVALS / f"{name}.json", canonical_json(approval.model_dump(mode="json")))
        _note_signatures(home, draft, draft.approvals)
    return draft


def _check_signer(home: CoordinatorHome, plan: StudyPlan, name: str, key: SigningKey) -> None:
    known = {signer.name: signer.public_key for signer in plan.release.signers}
    if name not in known:
        raise InputError(name, "is not one of the people who may sign this release", bound=", ".join(known),
                         remedy="give your name as it stands in the plan")
    if key.public != known[name]:
        raise InputError(name, "has another key in the plan than the one given", bound=f"the key {known[name]}",
                         remedy="give your own key, and your own name")
    if key.public == home.signing_key().public:
        raise InputError(name, "signs with the coordinator's own key, which vouches for nothing more",
                         remedy="sign a plan that names other people's keys")


def _create(path: Path, data: bytes) -> None:
    """Put a whole file where none is, in one step."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(path).hardlink_to(part)
    finally:
        Path(part).unlink()
    sync_folder(path.parent)


def _note_signatures(home: CoordinatorHome, draft: Draft, approvals: Iterable[Approval]) -> None:
    """Have signatures in the journal, after the entry about the draft; a process may have died before they were."""
    begun = statement_of(home, draft).drafted.sequence
    known = {(entry.facts.content_sha256, entry.facts.signer) for entry in home.entries()
             if entry.sequence > begun and isinstance(entry.facts, ReleaseSigned)}
    for one in approvals:
        if (draft.sha256, one.name) not in known:
            home.journal(draft.signed.plan).append(ReleaseSigned(
                content_sha256=draft.sha256, signer=one.name, public_key=one.public_key))


def valid_approvals(home: CoordinatorHome, draft: Draft) -> tuple[Approval, ...]:
    """Who has validly signed a draft as it is now.

    Raises:
        InputError: if a signature there is not valid.
    """
    statement, signers = statement_of(home, draft), draft.signed.plan.release.signers
    for approval in draft.approvals:
        if not (approval.fits(statement) and approval.of(signers)):
            raise InputError(approval.name, "has a signature there that does not fit this draft or this plan",
                             remedy="remove it, and have that person sign again")
    return draft.approvals


def earliest_day(plan: StudyPlan) -> date:
    """The first day on which a release of a plan may be out."""
    return plan.period_end + timedelta(days=plan.release.embargo_days)


def publish(home: CoordinatorHome, wanted: str | None = None, *, today: date, pretended: date | None = None) -> Path:
    """Publish a draft that enough people have signed, and return its folder.

    Args:
        home: the coordinator's.
        wanted: which draft, as for `find_draft`.
        today: the day, which must be the one that stands in the release.
        pretended: in a rehearsal, the day to take for today.

    Raises:
        NotYet: if signatures are missing, or its day has not come.
        InputError: if it is not to be published at all.
    """
    with home.locked():
        settle(home)
        draft = find_draft(home, wanted)
        if pretended is not None and not draft.signed.plan.rehearsal:
            raise InputError("released_on", "is for rehearsals, and this study is none",
                             remedy=f"publish it on {draft.content['released_on']}")
        _check_day(draft, pretended or today)
        approvals, enough = valid_approvals(home, draft), draft.signed.plan.release.signatures
        if len(approvals) < enough:
            raise NotYet(draft.path.name, f"{len(approvals)} of {enough} people have signed",
                         remedy="have others sign with `leelight release sign`")
        check_draft(home, draft)
        _note_signatures(home, draft, approvals)
        path = home.releases / folder_name(draft.content)
        _put_together(home, path, draft, statement_of(home, draft), approvals)
        settle(home)
    return path


def _check_day(draft: Draft, today: date) -> None:
    earliest, planned = earliest_day(draft.signed.plan), date.fromisoformat(draft.content["released_on"])
    if today < earliest:
        raise NotYet(draft.path.name, f"must not be out before {earliest}", remedy="publish it then")
    if today < planned:
        raise NotYet(draft.path.name, f"is to be published on {planned}, and that day stands in it",
                     remedy="publish it then, or draft it for an earlier day")
    if today > planned:
        raise InputError(draft.path.name, f"was to be published on {planned}, and that day stands in it",
                         remedy="draft it again for the day on which it will be published, and have it signed")


def _put_together(home: CoordinatorHome, path: Path, draft: Draft, statement: Statement,
                  approvals: tuple[Approval, ...]) -> None:
    journal = home.journal_text()
    signatures = Signatures.seal_with(home.signing_key(), statement, approvals, sha256_hex(journal))
    # In this order: without its signatures, a folder is no release.
    files: Mapping[str, bytes] = {**draft.files, JOURNAL: journal, SIGNATURES: signatures.to_text()}
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=".", suffix=".part"))
    try:
        for name, data in files.items():
            write_synced(part / name, data)
        part.chmod(0o755)
        sync_folder(part)
        part.rename(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_folder(path.parent)
