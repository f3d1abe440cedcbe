"""A partner's side of one session: five answers, each given once and in order.

    begin -> shares -> masked -> survivors -> unmask

Each stage uses up the state that the one before it left. Whatever fails closes the session for good and drops its
secrets, so a coordinator has one try at each question: two answers to one question would undo the masks.

Starting twice for one session would give two sums with two different noises, so a node keeps the session ids that it
has begun, and between exchanges it keeps `to_bytes` on its own disk.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from federation.errors import InputError
from federation.identity import SigningKey
from federation.secagg.errors import Code, ProtocolError
from federation.secagg.keys import KEY_BYTES, SignedKeys, check_key_list, new_seed, private_key, transcript_of
from federation.secagg.masks import add_mask
from federation.secagg.messages import (
    Masked,
    Shares,
    SignedSurvivors,
    UnmaskReply,
    check_signature,
    sign_bytes,
)
from federation.secagg.pairs import Binding, agree
from federation.secagg.relays import Delivery, KeyList, SurvivorList, UnmaskRequest
from federation.secagg.ring import Words
from federation.secagg.session import SessionSpec
from federation.secagg.shamir import SHARE_BYTES, split
from federation.secagg.state import (
    Closed,
    Holding,
    Keyed,
    Shared,
    Signed,
    State,
    state_from_bytes,
    state_to_bytes,
)

_S = TypeVar("_S", Keyed, Shared, Holding, Signed)


class Participant:
    """One partner in one session.

    Args:
        spec: the session, from the partner's own copy of the plan.
        name: which partner of the roster this is.
        key: its lasting Ed25519 key.
        state: where it stands. Use `begin` or `from_bytes`.

    Raises:
        InputError: if the roster does not have this name with this key.
    """

    def __init__(self, spec: SessionSpec, name: str, key: SigningKey, state: State) -> None:
        if spec.public_keys.get(name) != key.public:
            raise InputError("roster", f"does not have {name} with this node's key",
                             remedy="tell the coordinator this node's name and public key")
        self._spec, self._name, self._key, self._state = spec, name, key, state

    @classmethod
    def begin(cls, spec: SessionSpec, name: str, key: SigningKey) -> tuple[Participant, bytes]:
        """Enter a session with fresh keys.

        Returns:
            The participant, and the `SignedKeys` to send.

        Raises:
            InputError: if the roster does not have this name with this key.
        """
        participant = cls(spec, name, key, Closed())
        cipher_seed, mask_seed = new_seed(), new_seed()
        sent = SignedKeys.sign(spec, name, cipher_seed=cipher_seed, mask_seed=mask_seed, key=key)
        participant._state = Keyed(cipher_seed=cipher_seed, mask_seed=mask_seed, sent=sent)
        return participant, sent.encode()

    @classmethod
    def from_bytes(cls, data: bytes, spec: SessionSpec, name: str, key: SigningKey) -> Participant:
        """Go on from a stored state.

        Raises:
            ProtocolError: `state_damaged` or `wrong_session`.
            InputError: if the roster does not have this name with this key.
        """
        return cls(spec, name, key, state_from_bytes(data, spec, name))

    def to_bytes(self) -> bytes:
        """Where it stands. Secret until the session is closed; see `federation.secagg.state`."""
        return state_to_bytes(self._state, self._spec, self._name)

    @property
    def closed(self) -> bool:
        """Whether it has answered in full or given up: it holds no secret and answers nothing."""
        return isinstance(self._state, Closed)

    def shares(self, key_list: bytes) -> bytes:
        """Second exchange: take the list of keys (U1), give `Shares`.

        Raises:
            ProtocolError: if the list is not signed by partners of the roster, misses or alters this partner, or is
                below the quorum.
        """
        state = self._take(Keyed)
        entries = KeyList.decode(key_list, self._spec).entries
        check_key_list(self._spec, entries, own=state.sent)
        binding = Binding(session_id=self._spec.session_id, transcript=transcript_of(self._spec, entries))
        personal_seed = new_seed()
        shares = self._deal(personal_seed, state.mask_seed)
        cipher, others = private_key(state.cipher_seed), [entry for entry in entries if entry != state.sent]
        agreed = {entry.sender: agree(cipher, entry.cipher_key) for entry in others}
        boxes = tuple((name, binding.seal(shares[name], secret, sender=self._name, recipient=name))
                      for name, secret in agreed.items())
        commitment = binding.commitment(personal_seed, self._name)
        body = Shares.body(self._name, boxes, commitment)
        signature = sign_bytes(self._key, Shares.PURPOSE, Shares.statement(binding, body))
        self._state = Shared(
            mask_seed=state.mask_seed, personal_seed=personal_seed, own_shares=shares[self._name],
            transcript=binding.transcript,
            peers=tuple((entry.sender, agreed[entry.sender] + entry.mask_key) for entry in others))
        return Shares(sender=self._name, boxes=boxes, commitment=commitment, signature=signature).encode()

    def check_delivery(self, delivery: bytes) -> None:
        """Look whether a delivery is good, before anything is made for it. A bad one closes the session.

        Raises:
            ProtocolError: if U2 is not from U1, misses this partner, is below the quorum, or a box cannot be opened.
        """
        state = self._take(Shared)
        self._opened(state, delivery)
        self._state = state

    def masked(self, delivery: bytes, vector: npt.NDArray[np.int64]) -> bytes:
        """Third exchange: take the others' shares (U2), give the vector under its masks as `Masked`.

        Args:
            delivery: the coordinator's `Delivery` for this partner.
            vector: int64, shape (length,), its noise already in it, every entry within the session's bound.

        Raises:
            ProtocolError: as `check_delivery`.
            InputError: if the vector has another shape or type, or an entry beyond the bound.
        """
        state = self._take(Shared)
        words = self._encode(vector)
        shares = self._opened(state, delivery)
        peers, holders = dict(state.peers), tuple(sorted(shares))
        binding, mask = self._binding(state.transcript), private_key(state.mask_seed)
        add_mask(words, binding.personal_key(state.personal_seed, self._name))
        for other in holders:
            if other != self._name:
                key = binding.mask_key(mask, peers[other][KEY_BYTES:], between=(self._name, other))
                add_mask(words, key, subtract=self._name > other)
        raw = words.data.cast("B")
        signature = sign_bytes(self._key, Masked.PURPOSE, Masked.statement(binding, holders, raw))
        self._state = Holding(transcript=state.transcript, shares=tuple(sorted(shares.items())))
        return Masked(sender=self._name, words=raw, signature=signature).encode()

    def _opened(self, state: Shared, delivery: bytes) -> dict[str, bytes]:
        """Everybody's shares for this partner, its own included, by name."""
        message = Delivery.decode(delivery, self._spec)
        peers = dict(state.peers)
        self._check_list("delivery", message.holders, within=(self._name, *peers))
        if tuple(name for name, _ in message.boxes) != tuple(n for n in message.holders if n != self._name):
            raise ProtocolError(Code.WRONG_NAMES, "delivery", "does not hold one box of each other partner it names")
        binding = self._binding(state.transcript)
        opened = {sender: binding.open(box, peers[sender][:KEY_BYTES], sender=sender, recipient=self._name)
                  for sender, box in message.boxes}
        return {**opened, self._name: state.own_shares}

    def survivors(self, survivor_list: bytes) -> bytes:
        """Fourth exchange: take the list of survivors (U3), give a signature of it as `SignedSurvivors`.

        Raises:
            ProtocolError: if U3 is not from U2, misses this partner or is below the quorum.
        """
        state = self._take(Holding)
        survivors = SurvivorList.decode(survivor_list, self._spec).survivors
        self._check_list("survivor_list", survivors, within=state.holders)
        statement = SignedSurvivors.statement(self._binding(state.transcript), state.holders, survivors)
        signature = sign_bytes(self._key, SignedSurvivors.PURPOSE, statement)
        self._state = Signed(holding=state, survivors=survivors)
        return SignedSurvivors(sender=self._name, signature=signature).encode()

    def unmask(self, request: bytes) -> bytes:
        """Fifth exchange: once enough partners have signed the same list, give the shares as `UnmaskReply`.

        Of each partner either a share of its personal seed is given or one of its mask key, never both: who vanished is
        worked out here, as U2 without U3. Afterwards no secret is left.

        Raises:
            ProtocolError: if it is another list than the one signed here, or too few of its members signed it.
        """
        state = self._take(Signed)
        message = UnmaskRequest.decode(request, self._spec)
        if message.survivors != state.survivors:
            raise ProtocolError(Code.LIST_CHANGED, "unmask_request", f"is not the list that {self._name} signed")
        holding, survivors = state.holding, set(state.survivors)
        binding = self._binding(holding.transcript)
        if not {name for name, _ in message.signatures} <= survivors:
            raise ProtocolError(Code.NOT_A_MEMBER, "unmask_request", "holds a signature by somebody not in the list")
        if len(message.signatures) < self._spec.threshold:
            raise ProtocolError(Code.TOO_FEW_SIGNATURES, "unmask_request", f"has {len(message.signatures)} signatures",
                                bound=f"at least {self._spec.threshold}")
        statement = SignedSurvivors.statement(binding, holding.holders, state.survivors)
        for name, signature in message.signatures:
            if name != self._name:  # that this partner signed this list, its state says
                check_signature(self._spec, name, SignedSurvivors.PURPOSE, statement, signature)
        personal = tuple((name, both[:SHARE_BYTES]) for name, both in holding.shares if name in survivors)
        vanished = tuple((name, both[SHARE_BYTES:]) for name, both in holding.shares if name not in survivors)
        body = UnmaskReply.body(self._name, personal, vanished)
        signature = sign_bytes(self._key, UnmaskReply.PURPOSE, UnmaskReply.statement(
            binding, holding.holders, state.survivors, body))
        return UnmaskReply(sender=self._name, personal=personal, vanished=vanished, signature=signature).encode()

    def _take(self, wanted: type[_S]) -> _S:
        """Use the state up, so that what fails after this leaves nothing behind.

        A request that is out of turn changes nothing: a network may deliver twice.
        """
        state = self._state
        if not isinstance(state, wanted):
            raise ProtocolError(Code.OUT_OF_ORDER, "session", "is asked for an answer that it has given, has not "
                                "come to, or will not give", bound="each answer once, in order")
        self._state = Closed()
        return state

    def _deal(self, personal_seed: bytes, mask_seed: bytes) -> dict[str, bytes]:
        """Both secrets, shared among the whole roster: each partner's two shares."""
        threshold, holders = self._spec.threshold, len(self._spec.names)
        dealt = zip(split(personal_seed, threshold=threshold, holders=holders),
                    split(mask_seed, threshold=threshold, holders=holders), strict=True)
        return {name: first + second for name, (first, second) in zip(self._spec.names, dealt, strict=True)}

    def _encode(self, vector: npt.NDArray[np.int64]) -> Words:
        words = self._spec.ring.encode(vector, bound=self._spec.bound)
        if words.shape != (self._spec.length,):
            raise InputError("vector", f"has {words.size} entries", bound=f"{self._spec.length}, as the session says")
        return words

    def _check_list(self, what: str, names: tuple[str, ...], *, within: Container[str]) -> None:
        """A list may only lose members from exchange to exchange, never this partner, and not fall below the quorum."""
        if any(name not in within for name in names):
            raise ProtocolError(Code.NOT_A_MEMBER, what, "names a partner that was not in the list before it")
        if self._name not in names:
            raise ProtocolError(Code.OWN_ENTRY, what, f"does not name {self._name}, which has answered")
        if len(names) < self._spec.quorum:
            raise ProtocolError(Code.BELOW_QUORUM, what, f"names {len(names)} partners",
                                bound=f"at least {self._spec.quorum}")

    def _binding(self, transcript: bytes) -> Binding:
        return Binding(session_id=self._spec.session_id, transcript=transcript)
