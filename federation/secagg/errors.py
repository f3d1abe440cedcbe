"""How this package says no: one error for what arrived wrong, one for a session that cannot end.

`ProtocolError` is one message, list or state that cannot be accepted, with a fixed code. `Aborted` is for the
coordinator: too few good answers are left, so there is no sum. Neither ever holds a vector, a share or a key.
"""

from __future__ import annotations

from enum import StrEnum

from federation.errors import InputError


class Stage(StrEnum):
    """The five exchanges, in their order."""

    KEYS = "keys"
    SHARES = "shares"
    MASKED = "masked"
    SURVIVORS = "survivors"
    UNMASK = "unmask"


class Code(StrEnum):
    """Every reason for which something is not accepted. Fixed words."""

    MALFORMED = "malformed"
    WRONG_KIND = "wrong_kind"
    WRONG_TYPE = "wrong_type"
    TOO_LONG = "too_long"
    TRAILING_DATA = "trailing_data"
    DUPLICATE_NAME = "duplicate_name"
    UNKNOWN_NAME = "unknown_name"
    DUPLICATE_KEY = "duplicate_key"
    WEAK_KEY = "weak_key"
    BAD_SIGNATURE = "bad_signature"
    OWN_ENTRY = "own_entry"
    NOT_A_MEMBER = "not_a_member"
    WRONG_NAMES = "wrong_names"
    BELOW_QUORUM = "below_quorum"
    LIST_CHANGED = "list_changed"
    TOO_FEW_SIGNATURES = "too_few_signatures"
    UNREADABLE_BOX = "unreadable_box"
    OUT_OF_ORDER = "out_of_order"
    STATE_DAMAGED = "state_damaged"
    WRONG_SESSION = "wrong_session"


class ProtocolError(InputError):
    """A message, a list or a stored state that cannot be accepted.

    Args:
        code: the reason, in a fixed word.
        name, problem, bound, remedy: as in `InputError`.
    """

    def __init__(self, code: Code, name: str, problem: str, *, bound: str = "", remedy: str = "") -> None:
        self.code = code
        super().__init__(name, problem, bound=bound,
                         remedy=remedy or "run the aggregation again as a new attempt, with fresh keys")


class Aborted(Exception):
    """There is no sum, and nothing of one.

    Args:
        stage: the exchange that could not be completed.
        answered: how many good answers it had.
        needed: how many it needs.
        problem: what happened, in words.
        remedy: what to do now.
    """

    def __init__(self, stage: Stage, *, answered: int, needed: int, problem: str = "too few partners answered",
                 remedy: str = "") -> None:
        # Once vectors are out, nobody gives a second one: two sums of one round would differ by somebody's numbers.
        remedy = remedy or ("start a new attempt once enough partners are reachable"
                            if stage in (Stage.KEYS, Stage.SHARES) else
                            "ask those who are missing again in this very session; if they do not come back, compose "
                            "another plan, as partners that have sent a vector give no other one for this round")
        self.stage, self.answered, self.needed, self.problem, self.remedy = stage, answered, needed, problem, remedy
        super().__init__(f"secure aggregation stopped at stage {stage}: {problem} ({answered} good answers, {needed} "
                         f"needed). What to do: {remedy}.")
