"""The partners whose keys this partner has confirmed: `partners.yaml` in the node's home, one `name: key` a line.

A secure sum hides this partner's numbers among those of the others in the plan's roster. A coordinator that could put
its own keys in their place would be all of them at once. So the keys in a plan are held against keys that this partner
got from the others themselves, by another channel than the coordinator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from federation.errors import InputError
from federation.plan import StudyPlan
from federation.private_files import replace_private

KNOWN_FILE = "partners.yaml"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY = re.compile(r"[0-9a-f]{64}")


def known_partners(home: Path) -> dict[str, str]:
    """Confirmed public keys by partner; none if there is no file.

    Raises:
        InputError: if the file is no list of names with keys, or others on this machine could change it.
    """
    path = home / KNOWN_FILE
    if not path.is_file():
        return {}
    if path.stat().st_mode & 0o022:
        raise InputError(str(path), "others on this machine can change it", bound="mode 0600",
                         remedy=f"look through it, then chmod 600 {path}")
    found = _parsed(path.read_bytes())
    if found is None:
        raise InputError(str(path), "is not a list of partners with their keys", bound="lines of `name: key`",
                         remedy="correct it, or remove it and confirm the keys again with `leelight partner know`")
    return dict(found)


@lru_cache(maxsize=64)
def _parsed(text: bytes) -> tuple[tuple[str, str], ...] | None:
    # Kept by content: a node reads its list with every message, and it seldom changes.
    try:
        found = yaml.safe_load(text) or {}
    except (yaml.YAMLError, UnicodeError):
        return None
    if not isinstance(found, dict) or not all(
            isinstance(name, str) and isinstance(key, str) and _NAME.fullmatch(name) and _KEY.fullmatch(key)
            for name, key in found.items()):
        return None
    return tuple(found.items())


def know(home: Path, keys: Mapping[str, str]) -> None:
    """Note that each of `keys` was confirmed with the partner of that name.

    Raises:
        InputError: if a name or key is no such thing, or another key was confirmed for that name before.
    """
    known = known_partners(home)
    for name, key in keys.items():
        if not _NAME.fullmatch(name):
            raise InputError("NAME", f"{name} is not a partner's name", bound="lower-case letters, digits and hyphens",
                             remedy="copy it from the plan's review")
        if not _KEY.fullmatch(key):
            raise InputError("KEY", "is not a public key", bound="64 hexadecimal digits",
                             remedy=f"ask {name} for the key that `leelight partner init` printed")
        if known.get(name, key) != key:
            raise InputError(str(home / KNOWN_FILE), f"has another key for {name}",
                             remedy=f"find out from {name} why it changed; then take the old line out and try again")
        others = sorted(other for other, held in {**known, **keys}.items() if held == key and other != name)
        if others:
            raise InputError("KEY", f"is that of {others[0]} already", bound="one key for each partner",
                             remedy=f"ask {name} again, and {others[0]}: two partners never have one key")
    replace_private(home / KNOWN_FILE, yaml.safe_dump({**known, **keys}).encode())


@dataclass(frozen=True, kw_only=True)
class UnknownPartner:
    """Another partner of a plan whose key was not confirmed; `confirmed` is a different key that was, or empty."""

    name: str
    in_plan: str
    confirmed: str


def unknown_partners(home: Path, own_name: str, plan: StudyPlan) -> tuple[UnknownPartner, ...]:
    """The other partners of a plan with secure sums whose keys were not confirmed; none for any other plan.

    Raises:
        InputError: as `known_partners`.
    """
    if plan.secure_aggregation is None:
        return ()
    known = known_partners(home)
    return tuple(UnknownPartner(name=entry.name, in_plan=entry.public_key, confirmed=known.get(entry.name, ""))
                 for entry in plan.roster
                 if entry.name != own_name and known.get(entry.name) != entry.public_key)
