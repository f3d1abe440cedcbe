"""What the coordinator passes on to partners. It signs none of it, and partners believe none of it unchecked."""

from __future__ import annotations

from dataclasses import dataclass

from federation.secagg.keys import KEYS_BYTES, SIGNATURE_BYTES, SignedKeys
from federation.secagg.messages import pairs_bytes, read_pairs
from federation.secagg.pairs import BOX_BYTES
from federation.secagg.session import SessionSpec
from federation.secagg.wire import NAME_BYTES, Kind, Reader, check_names, count_bytes, header, names_bytes

_OVERHEAD = 64
"""Room for header and counts."""


@dataclass(frozen=True, kw_only=True)
class KeyList:
    """U1: the signed keys of everybody who is in, by name."""

    entries: tuple[SignedKeys, ...]

    def encode(self) -> bytes:
        return (header(Kind.KEY_LIST) + count_bytes(len(self.entries))
                + b"".join(entry.body() for entry in self.entries))

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> KeyList:
        """From bytes.

        Raises:
            ProtocolError: if it is not such a list of this session's partners.
        """
        reader = Reader(data, Kind.KEY_LIST, limit=_OVERHEAD + len(spec.roster) * KEYS_BYTES)
        message = cls(entries=tuple(SignedKeys.read(reader) for _ in range(reader.count())))
        reader.end()
        check_names("key_list", [entry.sender for entry in message.entries], spec)
        return message


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """U2 and what its members sent to one recipient.

    Attributes:
        holders: U2, everybody whose shares arrived, the recipient included.
        boxes: (sender, box) of each but the recipient, by name.
    """

    holders: tuple[str, ...]
    boxes: tuple[tuple[str, bytes], ...]

    def encode(self) -> bytes:
        return header(Kind.DELIVERY) + names_bytes(self.holders) + pairs_bytes(self.boxes)

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> Delivery:
        """From bytes.

        Raises:
            ProtocolError: if it is not such a message about this session's partners.
        """
        reader = Reader(data, Kind.DELIVERY, limit=_OVERHEAD + len(spec.roster) * (2 * NAME_BYTES + BOX_BYTES))
        message = cls(holders=reader.names(), boxes=read_pairs(reader, BOX_BYTES))
        reader.end()
        check_names("delivery", message.holders, spec)
        check_names("delivery", [name for name, _ in message.boxes], spec)
        return message


@dataclass(frozen=True, kw_only=True)
class SurvivorList:
    """U3: everybody whose masked vector arrived."""

    survivors: tuple[str, ...]

    def encode(self) -> bytes:
        return header(Kind.SURVIVOR_LIST) + names_bytes(self.survivors)

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> SurvivorList:
        """From bytes.

        Raises:
            ProtocolError: if it is not such a list of this session's partners.
        """
        reader = Reader(data, Kind.SURVIVOR_LIST, limit=_OVERHEAD + len(spec.roster) * NAME_BYTES)
        message = cls(survivors=reader.names())
        reader.end()
        check_names("survivor_list", message.survivors, spec)
        return message


@dataclass(frozen=True, kw_only=True)
class UnmaskRequest:
    """U3 once more, with the signatures that show enough partners have seen this list and no other.

    There is no list of who vanished: each partner works that out from its own U2.
    """

    survivors: tuple[str, ...]
    signatures: tuple[tuple[str, bytes], ...]

    def encode(self) -> bytes:
        return header(Kind.UNMASK_REQUEST) + names_bytes(self.survivors) + pairs_bytes(self.signatures)

    @classmethod
    def decode(cls, data: bytes, spec: SessionSpec) -> UnmaskRequest:
        """From bytes.

        Raises:
            ProtocolError: if it is not such a request about this session's partners.
        """
        limit = _OVERHEAD + len(spec.roster) * (2 * NAME_BYTES + SIGNATURE_BYTES)
        reader = Reader(data, Kind.UNMASK_REQUEST, limit=limit)
        message = cls(survivors=reader.names(), signatures=read_pairs(reader, SIGNATURE_BYTES))
        reader.end()
        check_names("unmask_request", message.survivors, spec)
        check_names("unmask_request", [name for name, _ in message.signatures], spec)
        return message
