"""A draft: all files of a release but the signatures, in the coordinator's home, where people look at it and sign it.

A draft is made of what was kept of the study and of nothing else, and can be made again: before anybody signs and
before it is published, that is done, and every byte compared. A person's signature is a file of its own beside the
draft, so that two who sign at once do not get into each other's way.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from federation.canonical import sha256_hex
from federation.errors import InputError
from federation.journal import Anchor, DraftWithdrawn, ReleaseDrafted
from federation.plan import SignedPlan, read_plan_file
from federation.private_files import sync_folder
from server.coordinator import CoordinatorHome
from server.release.approval import Approval, Statement
from server.release.bundle import PLAN, RELEASE, SIGNED, bundle_files, read_content
from server.release.content import Facts, build_content, content_sha256
from server.release.published import in_series, is_published, published, settle

APPROVALS = "approvals"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A draft as it lies in the home; `files` by name, as they are on disk."""

    path: Path
    signed: SignedPlan
    content: dict[str, Any]
    sha256: str
    files: Mapping[str, bytes]

    @property
    def approvals(self) -> tuple[Approval, ...]:
        """Who has signed, by name.

        Raises:
            InputError: if a file there is no signature.
        """
        found = []
        for path in sorted((self.path / APPROVALS).glob("*.json")):
            try:
                found.append(Approval.model_validate_json(path.read_bytes()))
            except (OSError, ValidationError):
                raise InputError(str(path), "is no signature under a release", remedy="remove it, and sign again") \
                    from None
        return tuple(found)


def make_draft(home: CoordinatorHome, *, released_on: date) -> Draft:
    """Draft the release of the study at hand; making the same again changes nothing.

    A draft of the same plan that is not published is withdrawn for it: of one plan, one draft counts.

    Args:
        home: the coordinator's.
        released_on: the day on which it is to be published. It stands in the release, and the days of the embargo must
            be over then.

    Raises:
        InputError: if there is no study to release, it is too early, or a release of this plan is out.
    """
    with home.locked():
        signed = home.signed_plan()
        settle(home)
        if is_published(home, signed.sha256):
            raise InputError(f"plan {signed.sha256[:16]}…", "its release is published, and what is published stays",
                             remedy="sign a plan for another study; a wrong figure is told where it was published")
        content = _content(home, signed, released_on)
        digest = content_sha256(content)
        path, journal = home.drafts / digest[:16], home.journal(signed.plan)
        home.note_run(signed)
        for other in open_drafts(home):
            if other.signed.sha256 == signed.sha256 and other.sha256 != digest:
                journal.append(DraftWithdrawn(content_sha256=other.sha256))
                shutil.rmtree(other.path)
        if drafted(home, digest) is None:
            # A process may have died before a withdrawn draft was gone; its signatures are under another statement.
            shutil.rmtree(path, ignore_errors=True)
            journal.append(ReleaseDrafted(plan_sha256=signed.sha256, content_sha256=digest,
                                          previous_release_sha256=content["previous_release_sha256"]))
        if not path.exists():
            _write(path, bundle_files(content, signed))
        return read_draft(home, path)


def _content(home: CoordinatorHome, signed: SignedPlan, released_on: date) -> dict[str, Any]:
    study = home.study(signed.sha256)
    if not study.path.is_dir():
        raise InputError(str(study.path), "nothing has been measured under this plan",
                         remedy="run the study before its release is drafted")
    measurements, earlier = study.measurements(signed.plan), in_series(home, signed.plan.study)
    return build_content(Facts(
        plan=signed.plan, partners=measurements.partners, model_sha256=study.model_sha256, released_on=released_on,
        previous=earlier[-1].content if earlier else None, commitment=study.commitment,
        series=home.series.earlier(signed.plan.statistics.series)), measurements)


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=".", suffix=".part"))
    try:
        for name, data in files.items():
            write_synced(part / name, data)
        (part / APPROVALS).mkdir(mode=0o700)
        sync_folder(part)
        part.rename(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync_folder(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, for everybody to read, on disk when this returns."""
    with path.open("xb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_draft(home: CoordinatorHome, path: Path) -> Draft:
    """Read a draft as it is. Whether it is still what was drafted, `check_draft` says.

    Raises:
        InputError: if there is none there, or a file is missing or cannot be read as what it should be.
    """
    if not path.is_dir():
        raise InputError(str(path), "there is no such draft", remedy="make one with `leelight release draft`")
    try:
        files = {name: (path / name).read_bytes() for name in SIGNED}
        content = read_content(files[RELEASE])
    except OSError as error:
        raise InputError(str(error.filename), "is missing from the draft, or cannot be read", remedy=_AGAIN) from None
    except ValueError as error:
        raise InputError(str(path / RELEASE), str(error), remedy=_AGAIN) from None
    signed = SignedPlan.open(read_plan_file(path / PLAN), trusted_key=home.signing_key().public)
    return Draft(path=path, signed=signed, content=content, sha256=content_sha256(content), files=files)


_AGAIN = "remove the draft's folder and draft again; who has signed it must sign anew"


def open_drafts(home: CoordinatorHome) -> list[Draft]:
    """Drafts that are neither withdrawn nor published.

    Raises:
        InputError: if one of them cannot be read.
    """
    drafts = [read_draft(home, path) for path in sorted(home.drafts.glob("[0-9a-f]*")) if path.is_dir()]
    out = {one.sha256 for one in published(home)}
    return [draft for draft in drafts if draft.sha256 not in out and drafted(home, draft.sha256) is not None]


def find_draft(home: CoordinatorHome, name: str | None = None) -> Draft:
    """The draft whose folder is `name`; without a name, the only open one.

    Raises:
        InputError: if there is none, or several and no name.
    """
    drafts = open_drafts(home)
    chosen = [draft for draft in drafts if name in (None, draft.path.name)]
    if len(chosen) == 1:
        return chosen[0]
    known = ", ".join(draft.path.name for draft in drafts) or "none"
    if name is None and drafts:
        raise InputError("draft", "there are several", bound=known, remedy="name one of them")
    out = published(home)
    raise InputError("draft" if name is None else name, "there is no such draft that could be published",
                     bound=f"drafts that are neither published nor withdrawn: {known}",
                     remedy=f"nothing, if it is what was published last: {out[-1].path}. A release of another study is "
                            "made with `leelight release draft`" if out else "make one with `leelight release draft`")


def check_draft(home: CoordinatorHome, draft: Draft) -> None:
    """Make the draft again from what was kept of the study, and compare every byte.

    Raises:
        InputError: naming the first file that is not what the study gives.
    """
    content = _content(home, draft.signed, date.fromisoformat(draft.content["released_on"]))
    if content["previous_release_sha256"] != draft.content["previous_release_sha256"]:
        raise InputError(draft.path.name, "another release of this series was published since it was drafted",
                         remedy="draft again")
    for name, data in bundle_files(content, draft.signed).items():
        if draft.files[name] != data:
            raise InputError(str(draft.path / name), "is not what the plan and the measurements that were kept give",
                             remedy=f"find out who changed it; {_AGAIN}")
    extra = {path.name for path in draft.path.iterdir()} - {*SIGNED, APPROVALS}
    if extra:
        raise InputError(str(draft.path / min(extra)), "does not belong to a draft", remedy="move it elsewhere")


def statement_of(home: CoordinatorHome, draft: Draft) -> Statement:
    """What people sign of a draft.

    Raises:
        InputError: if the journal does not say that it was drafted.
    """
    anchor = drafted(home, draft.sha256)
    if anchor is None:
        raise InputError(draft.path.name, "the journal does not say that it was drafted", remedy="draft again")
    return Statement(plan_sha256=draft.signed.sha256, content_sha256=draft.sha256, drafted=anchor,
                     files={name: sha256_hex(data) for name, data in sorted(draft.files.items())})


def drafted(home: CoordinatorHome, digest: str) -> Anchor | None:
    """The journal's entry about a draft; None if there is none, or it was withdrawn since."""
    found = None
    for entry in home.entries():
        if isinstance(entry.facts, ReleaseDrafted | DraftWithdrawn) and entry.facts.content_sha256 == digest:
            found = entry.anchor if isinstance(entry.facts, ReleaseDrafted) else None
    return found
