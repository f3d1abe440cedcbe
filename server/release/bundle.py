"""The files of a release, and how anybody checks them.

    release.json   the public content, its SHA-256, the SHA-256 of the two other files, and the coordinator's signature
    regions.csv    one row a cell, for spreadsheets
    index.html     the same for people

Equal input gives equal bytes. The signature covers the hashes, the hashes cover everything else, and the page prints
the content's hash, so a page on paper can be traced to its files.
"""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.identity import SigningKey, verify
from federation.plan import StudyPlan
from federation.statistics import SummedTables
from server.release.content import build_content
from server.release.page import render_page

RELEASE_VERSION = 1
RELEASE_FILE: Final = "release.json"
REGIONS_FILE: Final = "regions.csv"
PAGE_FILE: Final = "index.html"
_PURPOSE = "release"
_KEYS = {"release_version", "content", "content_sha256", "files", "public_key", "signature"}
_COLUMNS = ("label", "regions_drawn", "rehearsal", "study", "period_end", "region", "region_name", "role", "task",
            "status", "reason", "rate_per_10000", "lower_95", "upper_95", "band",
            "rate_per_10000_unclipped", "lower_95_unclipped", "upper_95_unclipped")


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release whose hashes and signature fit.

    Attributes:
        content: the public content (`content.build_content`), JSON values.
        sha256: SHA-256 of the canonical JSON of `content`.
        files: file name to SHA-256 of its bytes.
        public_key, signature: the coordinator's, in hexadecimal.
    """

    content: dict[str, Any]
    sha256: str
    files: dict[str, str]
    public_key: str
    signature: str


def _signed_part(content_sha256: str, files: dict[str, str]) -> bytes:
    return canonical_json({"release_version": RELEASE_VERSION, "content_sha256": content_sha256, "files": files})


def regions_csv(content: dict[str, Any]) -> bytes:
    """One row a cell, withheld ones with a reason and empty number columns. UTF-8, comma, first row the header."""
    names = {region["code"]: region["name"] for region in content["regions"]}
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for cell in content["cells"]:
        row = {name: content[name] for name in ("label", "study", "period_end")}
        row["regions_drawn"] = "yes" if content["regions_drawn"] else "no"
        row["rehearsal"] = "yes" if content["privacy"]["rehearsal"] else "no"
        row |= {name: cell[name] for name in ("region", "role", "task", "status")}
        row["region_name"] = names[cell["region"]]
        if cell["status"] == "shown":
            shown, raw = cell["display"], cell["unclipped"]
            row |= {"band": cell["band"], "rate_per_10000": shown["rate"], "lower_95": shown["lower"],
                    "upper_95": shown["upper"], "rate_per_10000_unclipped": raw["rate"],
                    "lower_95_unclipped": raw["lower"], "upper_95_unclipped": raw["upper"]}
        else:
            row["reason"] = cell["reason"]
        writer.writerow(row)
    return out.getvalue().encode()


def _write(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step, on disk when this returns."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def write_release(
    directory: Path, *, plan: StudyPlan, plan_sha256: str, tables: SummedTables, model_sha256: str, released_on: date,
    key: SigningKey,
) -> Release:
    """Estimate, gate, render, sign, and write the three files into `directory` (made if missing).

    `release.json` is written last: a directory without it holds no release. What is once published never changes;
    writing the same release again is harmless.

    Args:
        plan: the study plan; the privacy figures stated are those of `plan.privacy`, which every node recomputed.
        plan_sha256: its hash as signed.
        tables: the noisy sums.
        model_sha256: hash of the published model.
        released_on: day of publication, not before the period ends.
        key: the coordinator's signing key.

    Raises:
        InputError: if the parts do not belong together, or `directory` already holds another release.
    """
    content = build_content(plan=plan, plan_sha256=plan_sha256, tables=tables, model_sha256=model_sha256,
                            released_on=released_on)
    digest = sha256_hex(canonical_json(content))
    bodies = {REGIONS_FILE: regions_csv(content), PAGE_FILE: render_page(content, release_sha256=digest)}
    files = {name: sha256_hex(body) for name, body in bodies.items()}
    signature = key.sign(_PURPOSE, _signed_part(digest, files))
    document = {"release_version": RELEASE_VERSION, "content": content, "content_sha256": digest, "files": files,
                "public_key": key.public, "signature": signature}
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    target = directory / RELEASE_FILE
    if target.exists() and target.read_bytes() != text:
        raise InputError(str(target), "another release is here already", bound="an empty directory",
                         remedy="publish a correction as a release of its own, in its own directory")
    directory.mkdir(parents=True, exist_ok=True)
    for name, body in bodies.items():
        _write(directory / name, body)
    _write(target, text)
    return Release(content=content, sha256=digest, files=files, public_key=key.public, signature=signature)


def verify_release(directory: Path, public_key: str) -> Release:
    """Recompute every hash of a release and check the signature, trusting nothing in it.

    Args:
        directory: where the three files lie.
        public_key: the coordinator's, known from elsewhere; the one in the file is not believed.

    Raises:
        InputError: naming the first thing that does not fit.
    """
    path = directory / RELEASE_FILE
    try:
        document = json.loads(path.read_bytes())
        if set(document) != _KEYS or document["release_version"] != RELEASE_VERSION:
            raise ValueError("unexpected keys or version")
        digest = sha256_hex(canonical_json(document["content"]))
        files = {name: str(document["files"][name]) for name in (PAGE_FILE, REGIONS_FILE)}
        if files != document["files"] or not isinstance(document["signature"], str):
            raise ValueError("unexpected files or signature")
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise InputError(str(path), "missing, or not a release of this version", remedy="fetch it again") from None
    if digest != document["content_sha256"]:
        raise InputError(str(path), "its content does not have the hash that it states", remedy="fetch it again")
    if document["public_key"] != public_key:
        raise InputError(str(path), "was signed by another key than the one given",
                         remedy="check the coordinator's key by another channel")
    if not verify(public_key, _PURPOSE, _signed_part(digest, files), document["signature"]):
        raise InputError(str(path), "the signature does not fit", remedy="do not use this copy")
    for name, expected in files.items():
        file = directory / name
        if not file.is_file() or sha256_hex(file.read_bytes()) != expected:
            raise InputError(str(file), "missing, or not the file that was signed", remedy="fetch it again")
    return Release(content=document["content"], sha256=digest, files=files, public_key=public_key,
                   signature=document["signature"])
