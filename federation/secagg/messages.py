"""What a partner sends after its keys: shares, the masked vector, a signed list of survivors, and shares back.

Each is signed for the session, the transcript and what the partner has seen so far. None has a field for a count, a
weight, a metric or a text. Checking a signature is for the receiver, by `signed_by`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from federation.identity import SigningKey, verify
from federation.secagg.errors import Code, ProtocolError
from federation.secagg.keys import SIGNATURE_BYTES
from federation.secagg.pairs import BOX_BYTES, Binding
from federation.secagg.ring import Words
from federation.secagg.session import SessionSpec
from federation.secagg.shamir import SHARE_BYTES
from federation.secagg.wire import (
    NAME_BYTES,
    Kind,
    Reader,
    check_names,
    count_bytes,
    frame,
    header,
    name_bytes,
    names_bytes,
)

HASH_BYTES = 32
_OVERHEAD = 512
"""Room for header, sender, counts, hash and signature."""


def names_hash(names: Iterable[str]) -> bytes:
    """SHA-256 of a list of names: how a signature refers to one."""
    return hashlib.sha256(names_bytes(names)).digest()


def sign_bytes(key: SigningKey, purpose: str, statement: bytes) -> bytes:
    """An Ed25519 signature of 64 bytes."""
    return bytes.fromhex(key.sign(purpose, statement))


def check_signature(spec: SessionSpec, sender: str, purpose: str, statement: bytes, signature: bytes) -> None:
    """The roster's key of `sender` must have made this signature.

    Raises:
        ProtocolError: `bad_signature`.
    """
    if not verify(spec.public_keys[sender], purpose, statement, signature.hex()):
        raise ProtocolError(Code.BAD_SIGNATURE, purpose, f"is not signed by {sender} for what this side has seen")


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Second message: for each other partner a box with its shares of both secrets.

    Attributes:
        sender: whose secrets they are.
        boxes: (recipient, box of 94 bytes), by name.
        commitment: by which the personal seed is recognised when it is put together, 32 bytes.
        signature: over session, transcript and all of the above.
    """

    sender: str
    boxes: tuple[tuple[str, bytes], ...]
    commitment: bytes
    signature: bytes
    PURPOSE = "secagg-shares"

    @staticmethod
    def statement(binding: Binding, body: bytes) -> bytes:
        return frame(binding.session_id, binding.transcript, hashlib.sha256(body).digest())

    @staticmethod
    def body(sender: str, boxes: tuple[tuple[str, bytes], ...], commitment: bytes) -> bytes:
        return name_bytes(sender) + pairs_bytes(boxes) + commitment

    def encode(self) -> bytes:
        return header(Kind.SHARES) + self.body(self.sender, self.boxes, self.commitment) + self.signature

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> Shares:
        """From bytes.

        Raises:
            ProtocolError: if it is not such a message of this session's partners.
        """
        reader = Reader(data, Kind.SHARES, limit=_OVERHEAD + len(spec.roster) * (NAME_BYTES + BOX_BYTES))
        sender = reader.name()
        message = cls(sender=sender, boxes=read_pairs(reader, BOX_BYTES), commitment=reader.take(HASH_BYTES),
                      signature=reader.take(SIGNATURE_BYTES))
        reader.end()
        check_names("shares", [sender], spec)
        check_names("shares", [name for name, _ in message.boxes], spec)
        return message

    def check(self, spec: SessionSpec, binding: Binding) -> None:
        """Raises `ProtocolError` (`bad_signature`) unless the sender signed it."""
        body = self.body(self.sender, self.boxes, self.commitment)
        check_signature(spec, self.sender, self.PURPOSE, self.statement(binding, body), self.signature)


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Third message: the vector under its masks.

    Attributes:
        sender: whose vector it is.
        words: its words, little-endian, as many bytes as the session says. A view: a copy costs as much as a mask.
        signature: over session, transcript, the holders of shares and the words.
    """

    sender: str
    words: bytes | memoryview
    signature: bytes
    PURPOSE = "secagg-masked"

    @staticmethod
    def statement(binding: Binding, holders: Iterable[str], words: bytes | memoryview) -> bytes:
        return frame(binding.session_id, binding.transcript, names_hash(holders), hashlib.sha256(words).digest())

    def encode(self) -> bytes:
        return b"".join((header(Kind.MASKED), name_bytes(self.sender), self.words, self.signature))

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> Masked:
        """From bytes.

        Raises:
            ProtocolError: if it is not such a message of this session's partners, or of another length.
        """
        size = spec.length * spec.ring.word_bytes
        reader = Reader(data, Kind.MASKED, limit=_OVERHEAD + size)
        message = cls(sender=reader.name(), words=reader.view(size), signature=reader.take(SIGNATURE_BYTES))
        reader.end()
        check_names("masked", [message.sender], spec)
        return message

    def check(self, spec: SessionSpec, binding: Binding, holders: Iterable[str]) -> None:
        """Raises `ProtocolError` (`bad_signature`) unless the sender signed it."""
        check_signature(spec, self.sender, self.PURPOSE, self.statement(binding, holders, self.words), self.signature)

    def vector(self, spec: SessionSpec) -> Words:
        """The words as numbers of the ring, read-only, shape (length,)."""
        return np.frombuffer(self.words, dtype=spec.ring.dtype)


@dataclass(frozen=True, kw_only=True)
class SignedSurvivors:
    """Fourth message: a partner's one signature of one list of survivors. The list itself does not travel back."""

    sender: str
    signature: bytes
    PURPOSE = "secagg-survivors"

    @staticmethod
    def statement(binding: Binding, holders: Iterable[str], survivors: Iterable[str]) -> bytes:
        return frame(binding.session_id, binding.transcript, names_hash(holders), names_hash(survivors))

    def encode(self) -> bytes:
        return header(Kind.SIGNED_SURVIVORS) + name_bytes(self.sender) + self.signature

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> SignedSurvivors:
        """From bytes.

        Raises:
            ProtocolError: if it is not such a message of this session's partners.
        """
        reader = Reader(data, Kind.SIGNED_SURVIVORS, limit=_OVERHEAD)
        message = cls(sender=reader.name(), signature=reader.take(SIGNATURE_BYTES))
        reader.end()
        check_names("signed_survivors", [message.sender], spec)
        return message

    def check(self, spec: SessionSpec, binding: Binding, holders: Iterable[str], survivors: Iterable[str]) -> None:
        """Raises `ProtocolError` (`bad_signature`) unless the sender signed exactly this list."""
        check_signature(spec, self.sender, self.PURPOSE, self.statement(binding, holders, survivors), self.signature)


@dataclass(frozen=True, kw_only=True)
class UnmaskReply:
    """Fifth message: of each survivor a share of its personal seed, of each that vanished a share of its mask key.

    Attributes:
        sender: the holder of the shares.
        personal: (survivor, share of 33 bytes), by name.
        vanished: (partner whose vector did not arrive, share of 33 bytes), by name; nobody is in both.
        signature: over session, transcript, holders, survivors and all of the above.
    """

    sender: str
    personal: tuple[tuple[str, bytes], ...]
    vanished: tuple[tuple[str, bytes], ...]
    signature: bytes
    PURPOSE = "secagg-unmask"

    @staticmethod
    def body(sender: str, personal: tuple[tuple[str, bytes], ...], vanished: tuple[tuple[str, bytes], ...]) -> bytes:
        return name_bytes(sender) + pairs_bytes(personal) + pairs_bytes(vanished)

    @staticmethod
    def statement(binding: Binding, holders: Iterable[str], survivors: Iterable[str], body: bytes) -> bytes:
        return frame(SignedSurvivors.statement(binding, holders, survivors), hashlib.sha256(body).digest())

    def encode(self) -> bytes:
        return header(Kind.UNMASK_REPLY) + self.body(self.sender, self.personal, self.vanished) + self.signature

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> UnmaskReply:
        """From bytes.

        Raises:
            ProtocolError: if it is not such a message of this session's partners.
        """
        reader = Reader(data, Kind.UNMASK_REPLY, limit=_OVERHEAD + len(spec.roster) * (NAME_BYTES + SHARE_BYTES))
        sender = reader.name()
        message = cls(sender=sender, personal=read_pairs(reader, SHARE_BYTES), vanished=read_pairs(reader, SHARE_BYTES),
                      signature=reader.take(SIGNATURE_BYTES))
        reader.end()
        check_names("unmask_reply", [sender], spec)
        for pairs in (message.personal, message.vanished):
            check_names("unmask_reply", [name for name, _ in pairs], spec)
        return message

    def check(self, spec: SessionSpec, binding: Binding, holders: Iterable[str], survivors: Iterable[str]) -> None:
        """Raises `ProtocolError` (`bad_signature`) unless the sender signed it."""
        body = self.body(self.sender, self.personal, self.vanished)
        statement = self.statement(binding, holders, survivors, body)
        check_signature(spec, self.sender, self.PURPOSE, statement, self.signature)


def pairs_bytes(pairs: tuple[tuple[str, bytes], ...]) -> bytes:
    """A list of (name, bytes of a known size)."""
    return count_bytes(len(pairs)) + b"".join(name_bytes(name) + value for name, value in pairs)


def read_pairs(reader: Reader, size: int) -> tuple[tuple[str, bytes], ...]:
    """The next such list of a message."""
    return tuple((reader.name(), reader.take(size)) for _ in range(reader.count()))


