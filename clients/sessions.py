"""Secure aggregation's secrets between two messages, on the partner's disk.

Flower keeps a node's state in memory, and a node's process may live for one message alone; so a session is a file in
the home (0600), put in place whole before each answer leaves. It holds the secrets of one sum, and the last answer for
whoever asks the same again: a coordinator may have been killed before it had it on disk. There is one file for each
round of a plan; another attempt at the round takes its place. It is removed, with whatever message comes next, once
each of the session's deadlines has passed twice. Removing a file does not wipe a disk: keep the home on an encrypted
one.

When a session ends, its secrets are gone and the last answer is left: of each partner in the sum a share of its own
mask's seed, or of one that vanished a share of its mask key, never both of one. To the coordinator that is nothing new,
as it had these bytes already and gets no others: another request is refused. Whoever steals the disk gets one share of
each secret, as before, and less than a thief who came before the end, when both kinds of each were there. With the
disks of as many partners as the threshold says, and the masked vectors, it gets the sum that the coordinator has, and
still no vector: the other kind of shares, which that would take, is gone.
"""

from __future__ import annotations

import fcntl
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Never

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation.canonical import canonical_json, sha256_hex
from federation.errors import Refusal, RefusalCode
from federation.identity import SigningKey
from federation.plan_parts import Hex32
from federation.private_files import replace_private
from federation.secagg import Code, Participant, ProtocolError, SessionSpec

_PART_SECONDS = 3600
"""After so long, what a crash left half-written is nobody's any more."""
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class _Kept(BaseModel):
    """A session's file. `asked` is the hash of the last request that may be answered again, `answer` what it got."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    session_version: Literal[1] = 1
    session_id: Hex32
    state: Base64
    asked: str
    answer: Base64


class SessionFiles:
    """The sessions of one partner.

    Args:
        folder: where they lie; made if it is not there.
        name: the partner.
        key: its identity.
        clock: seconds since 1970; replaced in tests.
    """

    def __init__(self, folder: Path, *, name: str, key: SigningKey, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._name, self._key, self._clock = folder, name, key, clock
        folder.mkdir(exist_ok=True, mode=0o700)

    def begin(self, spec: SessionSpec, *, seconds: float) -> bytes:
        """Enter a session and give the first answer, or give it again if nothing has happened since.

        An earlier attempt at the same round is over with this.

        Args:
            spec: the session.
            seconds: how long it is kept for the coordinator to end it.

        Raises:
            Refusal: `session_refused`, if the session has gone further or is over.
        """
        path = self._path(spec)
        with _locked(self._folder):
            kept = self._read(path) if path.exists() else None
            if kept is not None and kept.session_id == spec.session_id.hex():
                return self._answered(kept, b"begin") or _refuse("this session was begun before")
            participant, answer = Participant.begin(spec, self._name, self._key)
            self._keep(spec, participant, b"begin", answer, until=self._clock() + seconds)
            return answer

    def check(self, spec: SessionSpec, look: Callable[[Participant], None]) -> None:
        """Look at where a session stands, without taking it further; one that `look` finds fault with is over.

        Raises:
            Refusal: `session_refused`, if there is no such session here or `look` raises a ProtocolError.
        """
        with _locked(self._folder):
            participant, until = self._open(spec)
            try:
                look(participant)
            except ProtocolError as error:
                self._failed(spec, participant, error, until)

    def advance(self, spec: SessionSpec, step: Callable[[Participant], bytes], *, asked: bytes | None = None) -> bytes:
        """Take a session one step further.

        Args:
            spec: the session.
            step: the step; called at most once for a step of a session, and a session whose step fails is over.
            asked: what makes this request differ from any other of the session; the answer is kept for it and given
                again. None: neither.

        Raises:
            Refusal: `session_refused`, if there is no such session here or it may not take this step.
        """
        with _locked(self._folder):
            participant, until = self._open(spec)
            if asked is not None and (again := self._answered(self._read(self._path(spec)), asked)) is not None:
                return again
            try:
                answer = step(participant)
            except ProtocolError as error:
                self._failed(spec, participant, error, until)
            except BaseException:
                self._keep(spec, participant, b"", b"", until=until)
                raise
            self._keep(spec, participant, asked or b"", answer if asked else b"", until=until)
            return answer

    def _failed(self, spec: SessionSpec, participant: Participant, error: ProtocolError, until: float) -> Never:
        # A request out of turn changes nothing: a network may deliver twice.
        if error.code is not Code.OUT_OF_ORDER:
            self._keep(spec, participant, b"", b"", until=until)
        raise Refusal(RefusalCode.SESSION_REFUSED, str(error)) from None

    def _open(self, spec: SessionSpec) -> tuple[Participant, float]:
        path = self._path(spec)
        if not path.exists() or (kept := self._read(path)).session_id != spec.session_id.hex():
            _refuse("no such session was begun here, or it is over")
        try:
            return (Participant.from_bytes(b64decode(kept.state), spec, self._name, self._key), path.stat().st_mtime)
        except ProtocolError as error:
            raise Refusal(RefusalCode.SESSION_REFUSED, str(error)) from None

    def _path(self, spec: SessionSpec) -> Path:
        round_of = {"plan": spec.plan_sha256, "purpose": spec.purpose, "round": spec.round_number}
        return self._folder / f"{sha256_hex(canonical_json(round_of))}.session"

    def _keep(self, spec: SessionSpec, participant: Participant, asked: bytes, answer: bytes, *, until: float) -> None:
        kept = _Kept(session_id=spec.session_id.hex(), state=b64encode(participant.to_bytes()).decode(),
                     asked=sha256_hex(asked) if asked else "", answer=b64encode(answer).decode())
        path = self._path(spec)
        replace_private(path, canonical_json(kept.model_dump()))
        # The file's time says when it may go.
        os.utime(path, (until, until))

    @staticmethod
    def _read(path: Path) -> _Kept:
        try:
            return _Kept.model_validate_json(path.read_bytes())
        except ValidationError:
            _refuse("the session's file was changed or is damaged")

    @staticmethod
    def _answered(kept: _Kept, asked: bytes) -> bytes | None:
        return b64decode(kept.answer) if kept.answer and kept.asked == sha256_hex(asked) else None


def sweep(folder: Path, *, clock: Callable[[], float] = time.time) -> None:
    """Remove sessions about which no coordinator can still ask, and what crashes left.

    What a session answered stays in the privacy account, which gives no second vector for a round.
    """
    if not folder.is_dir():
        return
    with _locked(folder):
        for pattern, seconds in (("*.session", 0), (".*.part", _PART_SECONDS)):
            for path in folder.glob(pattern):
                if clock() - path.stat().st_mtime > seconds:
                    path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Two messages may be answered by two processes.
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _refuse(detail: str) -> Never:
    raise Refusal(RefusalCode.SESSION_REFUSED, f"{detail}. What to do: nothing; the coordinator has to begin another")
