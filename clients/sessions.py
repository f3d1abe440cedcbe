"""Secure aggregation's secrets between two messages, on the partner's disk.

Flower keeps a node's state in memory, and a node's process may live for one message alone; so a session is a file in
the home (0600), put in place whole before each answer leaves. It holds the secrets of one sum, and the last answer for
whoever asks the same again. When a session ends, a file without any secret takes its place; one that the coordinator
never ended is removed once each of its deadlines has passed twice. Removing a file does not wipe a disk: keep the home
on an encrypted one.
"""

from __future__ import annotations

import fcntl
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Never

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.private_files import replace_private
from federation.canonical import canonical_json, sha256_hex
from federation.errors import Refusal, RefusalCode
from federation.identity import SigningKey
from federation.secagg import Participant, ProtocolError, SessionSpec

_EXCHANGES = 5
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class _Kept(BaseModel):
    """A session's file. `asked` is the hash of the last request that was answered, `answer` what it got."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    session_version: Literal[1] = 1
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

    def begin(self, spec: SessionSpec) -> bytes:
        """Enter a session and give the first answer, or give it again if nothing has happened since.

        Raises:
            Refusal: `session_refused`, if the session has gone further or is over.
        """
        path = self._path(spec)
        with self._locked():
            if path.exists():
                return self._answered(self._read(path), b"begin") or _refuse("this session was begun before")
            participant, answer = Participant.begin(spec, self._name, self._key)
            self._keep(path, participant, b"begin", answer)
            return answer

    def advance(self, spec: SessionSpec, asked: bytes, step: Callable[[Participant], bytes], *,
                repeat: bool = True) -> bytes:
        """Take a session one step further.

        Args:
            spec: the session.
            asked: what makes this request differ from another for the same step.
            step: the step; called at most once for a step of a session, and a session whose step fails is over.
            repeat: whether the answer is kept, and given again to the same request.

        Raises:
            Refusal: `session_refused`, if there is no such session here or it may not take this step.
        """
        path = self._path(spec)
        with self._locked():
            if not path.exists():
                _refuse("no such session was begun here, or it is over")
            kept = self._read(path)
            if (again := self._answered(kept, asked)) is not None:
                return again
            try:
                participant = Participant.from_bytes(b64decode(kept.state), spec, self._name, self._key)
            except ProtocolError as error:
                raise Refusal(RefusalCode.SESSION_REFUSED, str(error)) from None
            try:
                answer = step(participant)
            except ProtocolError as error:
                self._keep(path, participant, b"", b"")
                raise Refusal(RefusalCode.SESSION_REFUSED, str(error)) from None
            except BaseException:
                self._keep(path, participant, b"", b"")
                raise
            self._keep(path, participant, asked if repeat else b"", answer if repeat else b"")
            return answer

    def sweep(self, deadline_seconds: float) -> None:
        """Remove sessions about which no coordinator can still ask: each of their deadlines has passed twice.

        What they answered stays in the privacy account, which gives no second masked vector for a round.
        """
        for path in self._folder.glob("*.session"):
            if self._clock() - path.stat().st_mtime > 2 * _EXCHANGES * deadline_seconds:
                path.unlink(missing_ok=True)

    def _path(self, spec: SessionSpec) -> Path:
        return self._folder / f"{spec.session_id.hex()}.session"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Two messages may be answered by two processes.
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _keep(self, path: Path, participant: Participant, asked: bytes, answer: bytes) -> None:
        kept = _Kept(state=b64encode(participant.to_bytes()).decode(), asked=sha256_hex(asked) if asked else "",
                     answer=b64encode(answer).decode())
        replace_private(path, canonical_json(kept.model_dump()))

    @staticmethod
    def _read(path: Path) -> _Kept:
        try:
            return _Kept.model_validate_json(path.read_bytes())
        except ValidationError:
            _refuse("the session's file was changed or is damaged")

    @staticmethod
    def _answered(kept: _Kept, asked: bytes) -> bytes | None:
        return b64decode(kept.answer) if kept.answer and kept.asked == sha256_hex(asked) else None


def _refuse(detail: str) -> Never:
    raise Refusal(RefusalCode.SESSION_REFUSED, f"{detail}. What to do: nothing; the coordinator has to begin another")
