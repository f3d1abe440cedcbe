"""What a new partner says of itself, setting by setting: what is asked, what it may be, and how it is written.

Each answer is checked by itself when it is given, against the same rules that `node.yaml` is read by, so that a mistake
costs one answer and not all of them. Capitals and separators that mean nothing are put right.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from clients.node import NodeSettings
from federation.errors import InputError
from federation.regions import check_region


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of `node.yaml` that only the partner knows.

    Attributes:
        field: its name in `NodeSettings`.
        option: the option that gives it.
        question: what somebody at the terminal is asked.
        bound: what is accepted, in words.
        read: from what was typed to what the field holds; a ValueError if it cannot be that.
        optional: whether it may be left out.
    """

    field: str
    option: str
    question: str
    bound: str
    read: Callable[[str], Any]
    optional: bool = False

    def check(self, text: str, *, synthetic: bool) -> Any:
        """The setting's value from what was typed.

        Raises:
            InputError: if it cannot be used.
        """
        try:
            value = _adapter(self.field).validate_python(self.read(text))
        except InputError:
            raise
        except (ValidationError, ValueError):
            raise InputError(self.option, f"{text.strip()!r} cannot be used", bound=self.bound,
                             remedy="give another value") from None
        if self.field == "regions":
            for code in value:
                check_region(code, synthetic=synthetic)
        return value


@cache
def _adapter(field: str) -> TypeAdapter[Any]:
    known = NodeSettings.model_fields[field]
    kind: Any = Annotated[known.annotation, *known.metadata] if known.metadata else known.annotation
    return TypeAdapter(kind)


def _plain(text: str) -> str:
    return text.strip().lower()


def _number(text: str) -> int:
    return int(text.strip().replace(",", "").replace("_", ""))


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,;]+", text) if word]


def _regions(text: str) -> tuple[str, ...]:
    codes = tuple(dict.fromkeys(word.upper() for word in _words(text)))
    if not codes:
        raise ValueError("none given")
    return codes


def _shares(text: str) -> dict[str, float]:
    found = {}
    # An equals sign may stand between spaces; then the words around it belong together.
    for word in _words(re.sub(r"\s*=\s*", "=", text)):
        task, _, share = word.partition("=")
        if task.lower() in found:
            raise ValueError("named twice")
        found[task.lower()] = float(share)
    return found


SETTINGS = (
    Setting(field="name", option="--name", read=_plain, question="Your name in studies, such as shelter-north",
            bound="letters a to z, digits and -, at most 63, no spaces"),
    Setting(field="kind", option="--kind", read=_plain, question="What you are: platform, ngo or agency",
            bound="platform, ngo or agency"),
    Setting(field="slots", option="--slots", read=_number, bound="a whole number from 2 to 16777216",
            question="Slots: a public round number that your people fit into, told instead of how many they are "
                     "(512, 4096, 65536)"),
    Setting(field="regions", option="--region", read=_regions, bound="ISO 3166-2 codes such as RO-IS",
            question="Regions: every one that may stand in your records, where people come from and where they are "
                     "taken; others are not counted (ISO 3166-2 codes, such as RO-IS RO-VS IT-25)"),
    Setting(field="coordinator_key", option="--coordinator-key", read=_plain, bound="64 hexadecimal digits",
            question="The coordinator's public key, 64 hexadecimal digits, checked with them by another channel"),
    Setting(field="declared_prevalence", option="--prevalence", read=_shares, optional=True,
            bound="recruitment and distress, each with a number between 0 and 1, such as distress=0.3",
            question="Share of positives that your kind of work is known to meet, by task, such as recruitment=0.2 "
                     "distress=0.3. Public, and not counted from your records; empty for none"),
)
