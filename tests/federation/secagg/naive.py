"""Secure aggregation in the style of Flower's SecAgg+: the arithmetic is right and nothing is checked.

Keys are relayed unsigned, the coordinator says how many shares it takes and who is active or dead, a partner keeps its
state and answers as often as it is asked, and masks are NumPy's Mersenne Twister under a seed folded to 32 bits.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from federation.secagg.keys import new_seed, private_key, public_bytes
from federation.secagg.pairs import agree
from federation.secagg.shamir import SHARE_BYTES, combine, split, weights_at_zero

Keys = Mapping[str, tuple[bytes, bytes]]
"""By name: the public keys for boxes and for masks."""


def shared_key(seed: bytes, public: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"").derive(agree(private_key(seed), public))


def fold(key: bytes) -> int:
    """Eight words of 32 bits, combined by exclusive or."""
    return int(np.bitwise_xor.reduce(np.frombuffer(key, ">u4")))


def mask_of(folded: int, length: int) -> np.ndarray:
    return np.random.RandomState(folded).randint(0, 2**32, length, dtype=np.uint32)


class NaivePartner:
    def __init__(self, name: str, vector: np.ndarray) -> None:
        self.name, self.vector = name, vector
        self.cipher_seed, self.mask_seed, self.personal_seed = new_seed(), new_seed(), new_seed()
        self.held: dict[str, bytes] = {}

    def public(self) -> tuple[bytes, bytes]:
        return public_bytes(self.cipher_seed), public_bytes(self.mask_seed)

    def shares(self, keys: Keys, threshold: int) -> dict[str, bytes]:
        self.keys, order = dict(keys), sorted(keys)
        dealt = zip(split(self.personal_seed, threshold=threshold, holders=len(order)),
                    split(self.mask_seed, threshold=threshold, holders=len(order)), strict=True)
        boxes = {}
        for name, (personal, mask) in zip(order, dealt, strict=True):
            nonce = secrets.token_bytes(12)
            boxes[name] = nonce + ChaCha20Poly1305(shared_key(self.cipher_seed, keys[name][0])).encrypt(
                nonce, personal + mask, None)
        return boxes

    def masked(self, boxes: Mapping[str, bytes]) -> np.ndarray:
        for name, box in boxes.items():
            self.held[name] = open_box(box, self.cipher_seed, self.keys[name][0])
        total = self.vector.astype(np.uint32) + mask_of(fold(self.personal_seed), self.vector.size)
        return total + pairwise(self.name, self.mask_seed, self.keys, boxes, self.vector.size)

    def unmask(self, active: Iterable[str], dead: Iterable[str]) -> dict[str, bytes]:
        """Shares of personal seeds of the active and of mask keys of the dead, whatever the lists are."""
        return ({f"personal {name}": self.held[name][:SHARE_BYTES] for name in active}
                | {f"mask {name}": self.held[name][SHARE_BYTES:] for name in dead})


def open_box(box: bytes, cipher_seed: bytes, public: bytes) -> bytes:
    return ChaCha20Poly1305(shared_key(cipher_seed, public)).decrypt(box[:12], box[12:], None)


def pairwise(name: str, mask_seed: bytes, keys: Keys, others: Iterable[str], length: int) -> np.ndarray:
    """The sum of the masks that `name` has in common with others."""
    total = np.zeros(length, np.uint32)
    for other in others:
        if other != name:
            mask = mask_of(fold(shared_key(mask_seed, keys[other][1])), length)
            total += mask if name < other else -mask
    return total


def together(answers: Mapping[int, Mapping[str, bytes]], what: str) -> bytes:
    """Put a secret together from the answers of holders 1, 2, …"""
    secret = combine({k: answer[what] for k, answer in answers.items()}, weights_at_zero(list(answers)))
    if secret is None:
        raise ValueError("these shares are not of one secret")
    return secret


def strip(words: np.ndarray, name: str, personal_seed: bytes, mask_seed: bytes, keys: Keys) -> list[int]:
    """A partner's vector from its masked vector and both of its secrets: what every attack is after."""
    words = words - mask_of(fold(personal_seed), words.size) - pairwise(name, mask_seed, keys, keys, words.size)
    return words.view(np.int32).tolist()


class NaiveSession:
    """A session up to the masked vectors, with a coordinator that writes down what it sees."""

    def __init__(self, vectors: Mapping[str, np.ndarray], *, threshold: int) -> None:
        self.partners = {name: NaivePartner(name, vector) for name, vector in sorted(vectors.items())}
        self.keys = {name: partner.public() for name, partner in self.partners.items()}
        boxes = {name: partner.shares(self.keys, threshold) for name, partner in self.partners.items()}
        self.boxes = {name: {sender: boxes[sender][name] for sender in boxes} for name in boxes}
        self.masked = {name: partner.masked(self.boxes[name]) for name, partner in self.partners.items()}

    def ask(self, names: Iterable[str], active: Iterable[str], dead: Iterable[str]) -> dict[int, dict[str, bytes]]:
        """Answers to an unmask question, by number of the holder."""
        order, active, dead = list(self.partners), list(active), list(dead)
        return {order.index(name) + 1: self.partners[name].unmask(active, dead) for name in names}

    def total(self, survivors: Iterable[str], answers: Mapping[int, Mapping[str, bytes]]) -> list[int]:
        """The sum of the survivors' vectors, as an honest coordinator makes it."""
        survivors = list(survivors)
        words = sum(self.masked[name] for name in survivors)
        for name in survivors:
            words = words - mask_of(fold(together(answers, f"personal {name}")), words.size)
        for name in set(self.partners) - set(survivors):
            seed = together(answers, f"mask {name}")
            words = words + pairwise(name, seed, self.keys, survivors, words.size)
        return words.view(np.int32).tolist()
