"""A bundle's files in memory, and what can be read out of them. Nothing here is believed yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from federation.canonical import sha256_hex
from federation.errors import InputError
from federation.journal import JournalReport, verify_journal
from federation.plan import SignedPlan, StudyPlan
from server.release.approval import Signatures
from server.release.audit.report import Finding, NotCheckable
from server.release.bundle import (
    ALL,
    JOURNAL,
    MAX_FILE_BYTES,
    PLAN,
    RELEASE,
    SIGNATURES,
    SIGNED,
    plan_json,
    read_content,
)
from server.release.content import content_sha256


@dataclass(frozen=True)
class Opened:
    """A bundle.

    Attributes:
        files: what could be read, by name; only names that a bundle has.
        problems: what could not.
    """

    files: Mapping[str, bytes]
    problems: tuple[Finding, ...]

    @classmethod
    def read(cls, folder: Path) -> Opened:
        """Read every file that belongs to a bundle.

        Raises:
            InputError: if there is no such folder, or it holds nothing of a release.
        """
        try:
            names = {path.name: path for path in folder.iterdir()}
        except OSError as error:
            raise InputError(str(folder), f"cannot be read as a folder ({error.strerror})",
                             remedy="give the folder of a release") from None
        if not names.keys() & set(ALL):
            raise InputError(str(folder), "is not the folder of a release: no file of one is in it",
                             remedy="give the folder that holds release.json")
        files: dict[str, bytes] = {}
        problems = [Finding(file=name, words="does not belong to a release") for name in sorted(set(names) - set(ALL))]
        for name in ALL:
            path = names.get(name)
            if path is None:
                problems.append(Finding(file=name, words="is missing"))
            elif path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
                problems.append(Finding(file=name, words=f"is not a plain file of at most {MAX_FILE_BYTES:,} bytes"))
            else:
                try:
                    files[name] = path.read_bytes()
                except OSError as error:
                    problems.append(Finding(file=name, words=f"cannot be read ({error.strerror})"))
        return cls(files, tuple(problems))

    def file(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            NotCheckable: if it is not there.
        """
        if name not in self.files:
            raise NotCheckable(name, "is missing or cannot be read")
        return self.files[name]

    @cached_property
    def signatures(self) -> Signatures:
        """Who signed what. Raises NotCheckable if that cannot be read."""
        try:
            return Signatures.read(self.file(SIGNATURES))
        except ValueError:
            raise NotCheckable(SIGNATURES, "cannot be read as the signatures of a release, to the letter") from None

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the release says. Raises NotCheckable if it is not of the form of a release."""
        try:
            return read_content(self.file(RELEASE))
        except ValueError as error:
            raise NotCheckable(RELEASE, str(error)) from None

    @cached_property
    def signed(self) -> SignedPlan:
        """The plan, as the key that sealed the bundle signed it. Raises NotCheckable if that key did not."""
        text = self.file(PLAN)
        try:
            signed = SignedPlan.open(text.decode("utf-8"), trusted_key=self.signatures.public_key)
        except (InputError, UnicodeError, RecursionError) as error:
            raise NotCheckable(PLAN, "is not a plan that the key which sealed this release signed "
                               f"({error if isinstance(error, InputError) else 'not JSON'})") from None
        if plan_json(signed) != text:
            raise NotCheckable(PLAN, "is not laid out as a plan is written")
        return signed

    @property
    def plan(self) -> StudyPlan:
        return self.signed.plan

    @cached_property
    def journal(self) -> JournalReport:
        """The journal, checked under the key that sealed the bundle and against the entry that people signed."""
        return verify_journal(self.file(JOURNAL), public_key=self.signatures.public_key,
                              head=self.signatures.statement.drafted)


def check_files(opened: Opened) -> Iterator[Finding]:
    """Every file is there and unaltered, and there is no other."""
    yield from opened.problems
    manifest = opened.signatures.manifest(JOURNAL)
    if set(manifest) != {*SIGNED, JOURNAL}:
        yield Finding(file=SIGNATURES, words="does not name the files of a release")
    for name, data in opened.files.items():
        if name in manifest and sha256_hex(data) != manifest[name]:
            yield Finding(file=name, words="is not the file that was signed: it was changed")


def check_form(opened: Opened) -> Iterator[Finding]:
    """Signatures, content and plan are of their one form, and about each other."""
    for part in ("signatures", "content", "signed"):
        try:
            getattr(opened, part)
        except NotCheckable as broken:
            yield broken.finding
            return
    statement, content = opened.signatures.statement, opened.content
    if statement.plan_sha256 != opened.signed.sha256 or content["plan_sha256"] != opened.signed.sha256:
        yield Finding(file=PLAN, words="is another plan than the one that the release and its signatures name")
    if statement.content_sha256 != content_sha256(content):
        yield Finding(file=SIGNATURES, words="are under another content than that of release.json")
