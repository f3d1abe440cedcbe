"""The coordinator's side of one session: who is still in, and in the end the sum.

    keys -> shares, delivery -> masked -> survivors -> unmask

Each method takes all answers to one exchange as they arrived and says what to send next. An answer that is malformed,
not signed, of another session or from somebody who is already out counts as no answer. The coordinator goes on as long
as enough partners are left, and otherwise raises `Aborted`; it never gives a sum of which it is not sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federation.secagg.errors import Aborted, Code, ProtocolError, Stage
from federation.secagg.intake import Fault, Intake
from federation.secagg.keys import SignedKeys, private_key, public_bytes, transcript_of
from federation.secagg.masks import add_mask
from federation.secagg.messages import Masked, Shares, SignedSurvivors, UnmaskReply
from federation.secagg.pairs import Binding
from federation.secagg.recovery import Recovery
from federation.secagg.relays import Delivery, KeyList, SurvivorList, UnmaskRequest
from federation.secagg.ring import Words
from federation.secagg.session import SessionSpec


@dataclass(frozen=True, kw_only=True)
class Total:
    """What comes out.

    Attributes:
        values: int64, shape (length,), the exact sum of the survivors' vectors.
        survivors: U3, whose vectors are in it, by name.
    """

    values: npt.NDArray[np.int64]
    survivors: tuple[str, ...]


_AFTER = {Stage.KEYS: Stage.SHARES, Stage.SHARES: Stage.MASKED, Stage.MASKED: Stage.SURVIVORS,
          Stage.SURVIVORS: Stage.UNMASK, Stage.UNMASK: None}


class Collector:
    """One session. Methods are called in the order above, each once."""

    def __init__(self, spec: SessionSpec) -> None:
        self._spec = spec
        self._next: Stage | None = Stage.KEYS
        self._intake = Intake(spec)
        self._keys: dict[str, SignedKeys] = {}
        self._shares: dict[str, Shares] = {}
        self._masked: dict[str, Masked] = {}

    def keys(self, answers: Iterable[bytes]) -> bytes:
        """First exchange: `SignedKeys` from partners.

        Returns:
            `KeyList`, to be sent to everybody in it (`present`).

        Raises:
            Aborted: if fewer than the quorum sent good keys.
        """
        self._enter(Stage.KEYS)
        used: set[bytes] = set()

        def check(entry: SignedKeys) -> None:
            entry.check(self._spec)
            if used & {entry.cipher_key, entry.mask_key}:
                raise ProtocolError(Code.DUPLICATE_KEY, "signed_keys", f"{entry.sender} sent a key of somebody else")
            used.update((entry.cipher_key, entry.mask_key))

        self._keys = self._intake.accept(Stage.KEYS, answers, SignedKeys.decode, check, self._spec.numbers)
        self._need(Stage.KEYS, len(self._keys), self._spec.quorum)
        entries = tuple(self._keys.values())
        self._binding = Binding(session_id=self._spec.session_id, transcript=transcript_of(self._spec, entries))
        return KeyList(entries=entries).encode()

    def shares(self, answers: Iterable[bytes]) -> dict[str, bytes]:
        """Second exchange: `Shares` from those in the list.

        Returns:
            A `Delivery` for each of U2, by name.

        Raises:
            Aborted: if fewer than the quorum sent good shares.
        """
        self._enter(Stage.SHARES)

        def check(message: Shares) -> None:
            message.check(self._spec, self._binding)
            if [name for name, _ in message.boxes] != [name for name in self._keys if name != message.sender]:
                raise ProtocolError(Code.WRONG_NAMES, "shares", "does not hold one box for each other partner")

        self._shares = self._intake.accept(Stage.SHARES, answers, Shares.decode, check, self._keys)
        self._need(Stage.SHARES, len(self._shares), self._spec.quorum)
        boxes = {sender: dict(message.boxes) for sender, message in self._shares.items()}
        return {name: Delivery(holders=self._holders, boxes=tuple(
            (sender, boxes[sender][name]) for sender in boxes if sender != name)).encode() for name in boxes}

    def masked(self, answers: Iterable[bytes]) -> bytes:
        """Third exchange: `Masked` from U2.

        Returns:
            `SurvivorList`, to be sent to everybody in it (U3).

        Raises:
            Aborted: if fewer than the quorum sent a good vector.
        """
        self._enter(Stage.MASKED)
        self._masked = self._intake.accept(Stage.MASKED, answers, Masked.decode, lambda message: message.check(
            self._spec, self._binding, self._holders), self._shares)
        self._need(Stage.MASKED, len(self._masked), self._spec.quorum)
        return SurvivorList(survivors=self._survivors).encode()

    def survivors(self, answers: Iterable[bytes]) -> bytes:
        """Fourth exchange: `SignedSurvivors` from U3.

        Returns:
            `UnmaskRequest`, to be sent to all of U3. It holds as many signatures as are needed.

        Raises:
            Aborted: if fewer than the threshold signed.
        """
        self._enter(Stage.SURVIVORS)
        signed = self._intake.accept(Stage.SURVIVORS, answers, SignedSurvivors.decode, lambda message: message.check(
            self._spec, self._binding, self._holders, self._survivors), self._masked)
        self._need(Stage.SURVIVORS, len(signed), self._spec.threshold)
        signatures = tuple((name, message.signature) for name, message in signed.items())
        return UnmaskRequest(survivors=self._survivors, signatures=signatures[:self._spec.threshold]).encode()

    def unmask(self, answers: Iterable[bytes]) -> Total:
        """Fifth exchange: `UnmaskReply` from U3, and the sum.

        Raises:
            Aborted: if fewer than the threshold answered well, or their shares do not give a secret that is needed, or
                the sum is beyond what so many vectors within the bound can give.
        """
        self._enter(Stage.UNMASK)
        vanished = tuple(name for name in self._holders if name not in self._masked)

        def check(message: UnmaskReply) -> None:
            message.check(self._spec, self._binding, self._holders, self._survivors)
            if (tuple(name for name, _ in message.personal) != self._survivors
                    or tuple(name for name, _ in message.vanished) != vanished):
                raise ProtocolError(Code.WRONG_NAMES, "unmask_reply", "does not hold the shares that were asked for")

        replies = self._intake.accept(Stage.UNMASK, answers, UnmaskReply.decode, check, self._masked)
        self._need(Stage.UNMASK, len(replies), self._spec.threshold)
        return self._checked(self._spec.ring.decode(self._without_masks(replies, vanished)))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Answers that were not accepted so far."""
        return tuple(self._intake.faults)

    @property
    def present(self) -> tuple[str, ...]:
        """Who is still in after the last exchange: to them the next message goes."""
        match self._next:
            case Stage.KEYS:
                return self._spec.names
            case Stage.SHARES:
                return tuple(self._keys)
            case Stage.MASKED:
                return self._holders
            case _:
                return self._survivors

    @property
    def _holders(self) -> tuple[str, ...]:
        return tuple(self._shares)

    @property
    def _survivors(self) -> tuple[str, ...]:
        return tuple(self._masked)

    def _without_masks(self, replies: dict[str, UnmaskReply], vanished: tuple[str, ...]) -> Words:
        """The sum of the masked vectors, less every mask that does not cancel in it."""
        numbers, binding = self._spec.numbers, self._binding
        recovery = Recovery(tuple(numbers[name] for name in replies), threshold=self._spec.threshold)
        personal = {numbers[name]: dict(reply.personal) for name, reply in replies.items()}
        mask = {numbers[name]: dict(reply.vanished) for name, reply in replies.items()}

        def recover(kind: dict[int, dict[str, bytes]], name: str, fits: Callable[[bytes], bool]) -> bytes:
            seed = recovery.secret({number: shares[name] for number, shares in kind.items()}, fits)
            if seed is None:
                raise Aborted(Stage.UNMASK, answered=len(replies), needed=self._spec.threshold,
                              problem=f"wrong shares: a secret of {name} cannot be put together",
                              remedy=f"talk to {name}, and compose another plan, without it if need be")
            return seed

        total = np.zeros(self._spec.length, dtype=self._spec.ring.dtype)
        for name, message in self._masked.items():
            total += message.vector(self._spec)
            commitment = self._shares[name].commitment
            seed = recover(personal, name, lambda seed: binding.commitment(seed, name) == commitment)  # noqa: B023
            add_mask(total, binding.personal_key(seed, name), subtract=True)
        for name in vanished:
            public = self._keys[name].mask_key
            private = private_key(recover(mask, name, lambda seed: public_bytes(seed) == public))  # noqa: B023
            for other in self._masked:
                key = binding.mask_key(private, self._keys[other].mask_key, between=(name, other))
                # What the survivor added is taken away, and what it took away is added.
                add_mask(total, key, subtract=other < name)
        return total

    def _checked(self, values: npt.NDArray[np.int64]) -> Total:
        most = len(self._masked) * self._spec.bound
        if max(int(values.max()), -int(values.min())) > most:
            raise Aborted(Stage.UNMASK, answered=len(self._masked), needed=self._spec.quorum,
                          problem=f"an entry of the sum is beyond {most}, so a partner went beyond the bound",
                          remedy="have each partner check its version and its plan, then compose another one")
        return Total(values=values, survivors=self._survivors)

    def _enter(self, stage: Stage) -> None:
        if self._next is not stage:
            raise RuntimeError(f"a collector that is at {self._next or 'its end'} was asked for {stage}")
        # Only a stage that ends well has a next one.
        self._next = None

    def _need(self, stage: Stage, answered: int, needed: int) -> None:
        if answered < needed:
            raise Aborted(stage, answered=answered, needed=needed)
        self._next = _AFTER[stage]
