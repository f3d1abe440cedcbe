"""The public facts of one aggregation, and the one hash that stands for all of them.

Each side builds the `SessionSpec` from the signed plan on its own disk. No message carries any of it, so there is
nothing that a coordinator could lower: not the threshold, not the quorum, not who takes part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from federation.canonical import canonical_json, sha256_hex
from federation.errors import InputError
from federation.secagg.ring import Ring, ring_for

PROTOCOL = "leelight-secagg-v1"
MAX_PARTNERS = 1_000
MAX_LENGTH = 2**24
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_HEX32 = re.compile(r"[0-9a-f]{64}")
_REMEDY = "correct it in the plan"


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """One aggregation: of what, for which plan and round, by whom, and how many must stay.

    Attributes:
        plan_sha256: hash of the signed study plan, 64 hexadecimal digits.
        purpose: what is summed, a short slug such as `table` or `train`.
        context_sha256: hash of what all vectors are made from (the model asked about), 64 hexadecimal digits. Partners
            that were told different things are in different sessions, whose masks do not cancel: a sum in which one
            partner answers another question than the rest would show that partner's numbers.
        round_number: the study's round, from 0.
        attempt: number of the attempt within the round, from 0. Each attempt is a session of its own.
        length: entries in each vector.
        bound: largest magnitude of one entry.
        roster: (name, Ed25519 public key as 64 hexadecimal digits) of each partner that may take part.
        colluders: how many partners may work with the coordinator without the promise failing.
        quorum: the least number of partners whose vectors are in a sum.

    Raises:
        InputError: if a rule of `threshold_for` or a size is violated, naming it.
    """

    plan_sha256: str
    context_sha256: str
    purpose: str
    round_number: int
    attempt: int
    length: int
    bound: int
    roster: tuple[tuple[str, str], ...]
    colluders: int
    quorum: int

    def __post_init__(self) -> None:
        for name in ("plan_sha256", "context_sha256"):
            if not _HEX32.fullmatch(getattr(self, name)):
                raise InputError(name, "is not a SHA-256", bound="64 hexadecimal digits", remedy=_REMEDY)
        if not _SLUG.fullmatch(self.purpose):
            raise InputError("purpose", f"is {self.purpose!r}", bound="a short slug such as table", remedy=_REMEDY)
        for name, least, most in (("round_number", 0, 10**9), ("attempt", 0, 10**9), ("length", 1, MAX_LENGTH),
                                  ("bound", 1, 2**63 - 1)):
            _check_range(name, getattr(self, name), least, most)
        self._check_roster()
        self._check_numbers()

    def _check_roster(self) -> None:
        _check_range("roster", len(self.roster), 3, MAX_PARTNERS, what="partners")
        for name, key in self.roster:
            if not _SLUG.fullmatch(name) or not _HEX32.fullmatch(key):
                raise InputError("roster", f"entry {name!r} is not a slug with a public key of 64 hexadecimal digits",
                                 remedy=_REMEDY)
        for what, values in (("name", [name for name, _ in self.roster]), ("public key", [k for _, k in self.roster])):
            if len(set(values)) != len(values):
                raise InputError("roster", f"a {what} is listed twice", bound="each partner once", remedy=_REMEDY)

    def _check_numbers(self) -> None:
        partners = len(self.roster)
        _check_range("quorum", self.quorum, 1, partners)
        # At least one vector in the sum must be nobody's who would tell.
        _check_range("colluders", self.colluders, 0, self.quorum - 1)
        if self.quorum < self.threshold:
            raise InputError("quorum", f"is {self.quorum} of {partners} partners with {self.colluders} colluders",
                             bound=f"at least {self.threshold}, so that two quorums share an honest partner",
                             remedy="raise the quorum, or name fewer colluders, in the plan")
        _ = self.ring  # raises if the sum could wrap

    @cached_property
    def ring(self) -> Ring:
        """Where the sum is taken."""
        return ring_for(len(self.roster), self.bound)

    @property
    def threshold(self) -> int:
        """Holders who can rebuild a secret, and signatures that a list of survivors needs: `threshold_for`."""
        return threshold_for(len(self.roster), self.colluders)

    @cached_property
    def session_id(self) -> bytes:
        """SHA-256 over all of it (32 bytes). Signatures and keys are bound to this."""
        facts = {"protocol": PROTOCOL, "plan_sha256": self.plan_sha256,
                 "context_sha256": self.context_sha256, "purpose": self.purpose,
                 "round_number": self.round_number, "attempt": self.attempt, "length": self.length,
                 "bound": str(self.bound), "roster": dict(self.roster), "colluders": self.colluders,
                 "quorum": self.quorum}  # the bound as text: JSON numbers end at 2^53
        return bytes.fromhex(sha256_hex(canonical_json(facts)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The partners in the order that all use."""
        return tuple(sorted(name for name, _ in self.roster))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Each partner's number as a holder of shares: 1 for the first name."""
        return {name: number for number, name in enumerate(self.names, start=1)}

    @cached_property
    def public_keys(self) -> dict[str, str]:
        """Each partner's Ed25519 public key."""
        return dict(self.roster)


def threshold_for(partners: int, colluders: int) -> int:
    """The least number of partners of whom any two sets share an honest one: `2 * threshold > partners + colluders`.

    An honest partner signs one list of survivors, so no two lists can have so many signers. For a third of the partners
    colluding this is the 2n/3 of the active-adversary version of Bonawitz et al. 2017 (eprint 2017/281).
    """
    return (partners + colluders) // 2 + 1


def _check_range(name: str, value: int, least: int, most: int, *, what: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(name, f"is {value}{' ' + what if what else ''}", bound=f"{least} to {most}", remedy=_REMEDY)
