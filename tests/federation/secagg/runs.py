"""Whole sessions for the tests, with partners that vanish and a hook on every message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from federation.identity import SigningKey
from federation.secagg import Collector, Participant, SessionSpec, Stage, Total

Change = Callable[[Stage, str, bytes], bytes | None]
"""What the network makes of a partner's answer at a stage. None: it is lost."""


@cache
def key_of(name: str) -> SigningKey:
    return SigningKey.from_bytes(name.encode().ljust(32, b"."))


def names(count: int) -> list[str]:
    return [f"p{number:02d}" for number in range(count)]


def make_spec(count: int = 5, *, colluders: int = 0, quorum: int | None = None, length: int = 6, bound: int = 1000,
              attempt: int = 0, purpose: str = "table") -> SessionSpec:
    return SessionSpec(
        plan_sha256="ab" * 32, context_sha256="cd" * 32, purpose=purpose, round_number=1, attempt=attempt,
        length=length, bound=bound,
        roster=tuple((name, key_of(name).public) for name in names(count)), colluders=colluders,
        quorum=(count + colluders) // 2 + 1 if quorum is None else quorum)


def vectors_for(spec: SessionSpec, seed: int = 0) -> dict[str, np.ndarray]:
    """Random vectors over the whole range, with the extremes in them."""
    generator = np.random.default_rng(seed)
    made = {name: generator.integers(-spec.bound, spec.bound, spec.length, endpoint=True) for name in spec.names}
    for number, vector in enumerate(made.values()):
        vector[0] = spec.bound if number % 2 else -spec.bound
        vector[-1] = spec.bound
    return made


@dataclass
class Session:
    """One session, stage by stage, so that a test can step in anywhere."""

    spec: SessionSpec
    vectors: Mapping[str, np.ndarray]
    change: Change = lambda _stage, _name, answer: answer
    reload: bool = False
    """Whether each partner is written to bytes and read back between any two stages."""
    partners: dict[str, Participant] = field(default_factory=dict)
    sent: dict[Stage, dict[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.collector = Collector(self.spec)

    def ask(self, stage: Stage, of: Iterable[str], question: Callable[[str, Participant], bytes]) -> list[bytes]:
        answers = {}
        for name in of:
            if self.reload:
                self.partners[name] = Participant.from_bytes(
                    self.partners[name].to_bytes(), self.spec, name, key_of(name))
            answer = self.change(stage, name, question(name, self.partners[name]))
            if answer is not None:
                answers[name] = answer
        self.sent[stage] = answers
        return list(answers.values())

    def keys(self) -> bytes:
        begun = {name: Participant.begin(self.spec, name, key_of(name)) for name in self.spec.names}
        self.partners = {name: partner for name, (partner, _) in begun.items()}
        answers = {name: self.change(Stage.KEYS, name, message) for name, (_, message) in begun.items()}
        self.sent[Stage.KEYS] = {name: answer for name, answer in answers.items() if answer is not None}
        return self.collector.keys(self.sent[Stage.KEYS].values())

    def shares(self) -> dict[str, bytes]:
        key_list = self.keys()
        return self.collector.shares(self.ask(
            Stage.SHARES, self.collector.present, lambda _name, partner: partner.shares(key_list)))

    def masked(self) -> bytes:
        deliveries = self.shares()
        return self.collector.masked(self.ask(
            Stage.MASKED, deliveries, lambda name, partner: partner.masked(deliveries[name], self.vectors[name])))

    def survivors(self) -> bytes:
        survivor_list = self.masked()
        return self.collector.survivors(self.ask(
            Stage.SURVIVORS, self.collector.present, lambda _name, partner: partner.survivors(survivor_list)))

    def unmask(self) -> Total:
        request = self.survivors()
        return self.collector.unmask(self.ask(
            Stage.UNMASK, self.collector.present, lambda _name, partner: partner.unmask(request)))


def run(spec: SessionSpec, vectors: Mapping[str, np.ndarray], lost: Mapping[str, Stage] | None = None,
        **options: object) -> Total:
    """A whole session in which some partners are silent from a stage on."""
    order, lost = list(Stage), lost or {}

    def change(stage: Stage, name: str, answer: bytes) -> bytes | None:
        return None if name in lost and order.index(stage) >= order.index(lost[name]) else answer

    return Session(spec, vectors, change, **options).unmask()  # type: ignore[arg-type]


def begun(spec: SessionSpec, stage: Stage) -> tuple[Session, object]:
    """A session up to and including a stage, and what the collector says next."""
    session = Session(spec, vectors_for(spec))
    return session, getattr(session, stage.value)()
