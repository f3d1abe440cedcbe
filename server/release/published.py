"""What the coordinator has published, as it lies in the home."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from federation.errors import InputError
from federation.journal import ReleasePublished
from federation.plan import SignedPlan, read_plan_file
from server.coordinator import CoordinatorHome
from server.release.bundle import PLAN, RELEASE, read_content
from server.release.content import content_sha256


@dataclass(frozen=True, kw_only=True)
class Published:
    """One release that is out."""

    path: Path
    signed: SignedPlan
    content: dict[str, Any]
    sha256: str


def folder_name(content: dict[str, Any]) -> str:
    """Where a release lies below `releases/`: the end of its period, and the first digits of its content's hash."""
    return f"{content['period']['end']}-{content_sha256(content)[:16]}"


def published(home: CoordinatorHome) -> list[Published]:
    """Everything that is out, by the end of its period.

    Raises:
        InputError: if a release was changed, or the journal knows of one that is gone.
    """
    found = [_read(home, path) for path in sorted(home.releases.glob("[0-9]*")) if path.is_dir()]
    gone = {entry.facts.content_sha256 for entry in home.entries()
            if isinstance(entry.facts, ReleasePublished)} - {one.sha256 for one in found}
    if gone:
        raise InputError(str(home.releases), f"release {min(gone)[:16]}… was published and is not there",
                         remedy="bring its folder back from a backup, or from where it was published")
    return found


def _read(home: CoordinatorHome, path: Path) -> Published:
    try:
        content = read_content((path / RELEASE).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(str(path / RELEASE), f"is not a release as it was published ({error})",
                         remedy="bring it back from where it was published") from None
    if path.name != folder_name(content):
        raise InputError(str(path), "does not hold the release that its name says",
                         remedy="bring it back from where it was published")
    signed = SignedPlan.open(read_plan_file(path / PLAN), trusted_key=home.signing_key().public)
    return Published(path=path, signed=signed, content=content, sha256=content_sha256(content))


def in_series(home: CoordinatorHome, study: str) -> list[Published]:
    """Published releases of the series that studies of one name make up, oldest first. Raises as `published`."""
    return [one for one in published(home) if one.content["study"] == study]


def is_published(home: CoordinatorHome, plan_sha256: str) -> bool:
    """Whether the release of a plan is out. Raises as `published`."""
    return any(one.signed.sha256 == plan_sha256 for one in published(home))


def settle(home: CoordinatorHome) -> None:
    """Clear away what a process that died left, and note in the journal what is out. The home must be locked."""
    for folder in (home.drafts, home.releases):
        for left in folder.glob(".*.part"):
            shutil.rmtree(left)
    known = {entry.facts.content_sha256 for entry in home.entries() if isinstance(entry.facts, ReleasePublished)}
    for one in published(home):
        if one.sha256 not in known:
            privacy = one.content["privacy"]
            home.journal(one.signed.plan).append(ReleasePublished(
                content_sha256=one.sha256, released_on=date.fromisoformat(one.content["released_on"]),
                epsilon=privacy["total_epsilon"], delta=privacy["delta"]))
        with suppress(FileNotFoundError):
            shutil.rmtree(home.drafts / one.sha256[:16])
