"""What a partner has to remember between two exchanges, and its bytes.

Each state holds what the rest of the session needs and nothing more: once the masked vector is out, the partner's own
keys and seed are gone and only the shares it holds are left; after unmasking nothing is. The bytes are secret. Keep
them with mode 0600, replace them at each stage before the answer leaves, and never go back to an earlier file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from federation.secagg.errors import Code, ProtocolError
from federation.secagg.keys import KEY_BYTES, SignedKeys
from federation.secagg.messages import HASH_BYTES, pairs_bytes, read_pairs
from federation.secagg.session import SessionSpec
from federation.secagg.shamir import SHARE_BYTES
from federation.secagg.wire import NAME_BYTES, Kind, Reader, check_names, header, name_bytes, names_bytes

BOTH = 2 * SHARE_BYTES
"""A holder's shares of one partner's two secrets: personal seed first, then mask key."""


class _Tag(IntEnum):
    CLOSED = 0
    KEYED = 1
    SHARED = 2
    MASKED = 3
    SIGNED = 4


@dataclass(frozen=True, kw_only=True, repr=False)
class Keyed:
    """Keys are sent. Holds both private keys, and what was sent."""

    cipher_seed: bytes
    mask_seed: bytes
    sent: SignedKeys


@dataclass(frozen=True, kw_only=True, repr=False)
class Shared:
    """Shares are sent. Holds the partner's secrets and its shares of them, and of each other partner in U1 (`peers`)
    the secret that both agreed on for boxes, and its public mask key. The private key for boxes is gone.
    """

    mask_seed: bytes
    personal_seed: bytes
    own_shares: bytes
    transcript: bytes
    peers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Holding:
    """The masked vector is sent. Holds the shares of everybody in U2, the partner itself included."""

    transcript: bytes
    shares: tuple[tuple[str, bytes], ...]

    @property
    def holders(self) -> tuple[str, ...]:
        """U2."""
        return tuple(name for name, _ in self.shares)


@dataclass(frozen=True, kw_only=True, repr=False)
class Signed:
    """A list of survivors is signed, and no other ever will be."""

    holding: Holding
    survivors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Closed:
    """Answered in full, or given up. Holds nothing."""


State = Keyed | Shared | Holding | Signed | Closed


def state_to_bytes(state: State, spec: SessionSpec, name: str) -> bytes:
    """The state of partner `name` in this session, with a checksum. Secret."""
    match state:
        case Keyed():
            tag, body = _Tag.KEYED, state.cipher_seed + state.mask_seed + state.sent.body()
        case Shared():
            tag = _Tag.SHARED
            body = (state.mask_seed + state.personal_seed + state.own_shares + state.transcript
                    + pairs_bytes(state.peers))
        case Holding():
            tag, body = _Tag.MASKED, state.transcript + pairs_bytes(state.shares)
        case Signed():
            tag = _Tag.SIGNED
            body = state.holding.transcript + pairs_bytes(state.holding.shares) + names_bytes(state.survivors)
        case Closed():
            tag, body = _Tag.CLOSED, b""
    data = header(Kind.STATE) + spec.session_id + name_bytes(name) + bytes([tag]) + body
    return data + hashlib.sha256(data).digest()


def state_from_bytes(data: bytes, spec: SessionSpec, name: str) -> State:
    """Read a state back. The checksum finds damage; it is no proof of who wrote the file.

    Raises:
        ProtocolError: `state_damaged` if a bit is wrong, `wrong_session` if it is another session's or partner's.
    """
    content, checksum = data[:-HASH_BYTES], data[-HASH_BYTES:]
    if not isinstance(data, bytes) or hashlib.sha256(content).digest() != checksum:
        raise ProtocolError(Code.STATE_DAMAGED, "state", "does not fit its checksum")
    limit = 1024 + len(spec.roster) * (2 * NAME_BYTES + BOTH)
    reader = Reader(content, Kind.STATE, limit=limit)
    if reader.take(HASH_BYTES) != spec.session_id or reader.name() != name:
        raise ProtocolError(Code.WRONG_SESSION, "state", "belongs to another session or partner")
    try:
        state = _read(_Tag(reader.take(1)[0]), reader, spec)
        reader.end()
    except (ProtocolError, ValueError):
        raise ProtocolError(Code.STATE_DAMAGED, "state", "is not what this protocol writes") from None
    return state


def _read(tag: _Tag, reader: Reader, spec: SessionSpec) -> State:
    match tag:
        case _Tag.KEYED:
            keyed = Keyed(cipher_seed=reader.take(KEY_BYTES), mask_seed=reader.take(KEY_BYTES),
                          sent=SignedKeys.read(reader))
            check_names("state", [keyed.sent.sender], spec)
            return keyed
        case _Tag.SHARED:
            shared = Shared(mask_seed=reader.take(KEY_BYTES), personal_seed=reader.take(KEY_BYTES),
                            own_shares=reader.take(BOTH), transcript=reader.take(HASH_BYTES),
                            peers=read_pairs(reader, 2 * KEY_BYTES))
            check_names("state", [name for name, _ in shared.peers], spec)
            return shared
        case _Tag.MASKED:
            return _read_holding(reader, spec)
        case _Tag.SIGNED:
            signed = Signed(holding=_read_holding(reader, spec), survivors=reader.names())
            check_names("state", signed.survivors, spec)
            return signed
        case _Tag.CLOSED:
            return Closed()


def _read_holding(reader: Reader, spec: SessionSpec) -> Holding:
    holding = Holding(transcript=reader.take(HASH_BYTES), shares=read_pairs(reader, BOTH))
    check_names("state", holding.holders, spec)
    return holding
