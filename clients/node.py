"""A node's home: one folder on the partner's disk that holds everything the node knows.

```
node.yaml        settings: who the partner is and whom it trusts      person.secret   key of the pseudonyms (0600)
policy.yaml      the partner's rules: what a study may ask (0600)      approvals/      plans that were decided on (0700)
identity.key     the partner's signing key (0600)                      records.sqlite  the record store
partners.yaml    keys of other partners, confirmed with them (0600)
quarantine/      rows that could not be taken in                       cache/          features (0700)
ledger.sqlite    the privacy account, with ledger.head and ledger.lock (0600)
journal.jsonl    what was decided here and what left, with journal.jsonl.head (0600)
series.sqlite    who has counted in which release of a running total (0600)
prices/          what plans cost, worked out here before (0700)
network/, logs/, run/   how the coordinator is reached, and what runs (`clients.deployment`)
sessions/        secrets of sums under way (0700)                      records.lock    held by what adds or erases
```

Nothing in it comes from the coordinator, and nothing that the coordinator sends can change it.
"""

from __future__ import annotations

import hmac
import secrets
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clients.policy import POLICY_FILE, Policy
from federation.errors import InputError
from federation.identity import SigningKey, read_secret, write_secret
from federation.journal import Journal, Side
from federation.plan_parts import Hex32, OpenShare, RosterEntry, Slug
from federation.privacy.accounting import FIGURES
from federation.private_files import replace_private
from federation.randomness import RandomStream
from federation.taxonomy import PartnerKind, Task

_LOST_IDENTITY = ("bring it back from a backup. Without one this home's account and approvals cannot be continued: "
                  "make a new home with `leelight partner init`, and have the coordinator enrol it as a new partner")
_LOST_PERSONS = ("bring it back from a backup. Without one nobody's next records can be joined to those that are here: "
                "make a new home with `leelight partner init` and take all records in again there")


class NodeSettings(BaseModel):
    """Contents of `node.yaml`.

    Attributes:
        coordinator_key: the coordinator's public key, pinned; a plan signed by any other is refused.
        reproducible_noise: only for a simulation on synthetic or public records: a seed that makes this node's noise
            repeat, and so protect nobody. Leave it out anywhere else; the operating system is used then.
        threads: CPU threads for training and encoding. A matter of speed alone.
        encoder_folder: where a `local-folder` encoder lies on this machine.
        ledger_head: where the head of the privacy account is kept, if not in the home. On a disk that is not copied
            back together with the home, it shows that an older account was.
        cache: where features are kept, if not in the home.
        metrics_port: on this machine alone, for Prometheus; 0 for none.
        quarantine_days: for how many days rows that could not be taken in are kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Slug
    kind: PartnerKind
    slots: Annotated[int, Field(ge=2, le=2**24)]
    regions: tuple[str, ...]
    declared_prevalence: dict[Task, OpenShare]
    coordinator_key: Hex32
    synthetic: bool = False
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    reproducible_noise: Hex32 | None = None
    encoder_folder: Path | None = None
    ledger_head: Path | None = None
    cache: Path | None = None
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    quarantine_days: Annotated[int, Field(ge=1, le=3650)] = 30


class NodeHome:
    """An opened node home."""

    def __init__(self, path: Path, settings: NodeSettings) -> None:
        self.path, self.settings = path, settings

    @classmethod
    def create(cls, path: Path, settings: NodeSettings, *, person_secret: bytes | None = None,
               signing_key: SigningKey | None = None, policy: Policy | None = None) -> NodeHome:
        """Make a new home with fresh secrets and careful rules.

        Args:
            path: its folder, made if it is not there.
            settings: contents of `node.yaml`.
            person_secret: only for a simulation.
            signing_key: only for a simulation.
            policy: other rules than the explained ones that a new partner starts from.

        Raises:
            FileExistsError: if there is a home at `path` already.
        """
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_secret(path / "person.secret", person_secret or secrets.token_bytes(32))
        (signing_key or SigningKey.generate()).save(path / "identity.key")
        if policy is None:
            Policy.write_default(path / POLICY_FILE)
        else:
            policy.write(path / POLICY_FILE)
        body = settings.model_dump(mode="json", exclude_none=True)
        replace_private(path / "node.yaml", yaml.safe_dump(body, sort_keys=False).encode())
        return cls(path, settings)

    @classmethod
    def load(cls, path: Path) -> NodeHome:
        """Open a home.

        Raises:
            InputError: if `node.yaml` is missing, is not YAML, lacks a setting or has one that is unknown.
        """
        file = path / "node.yaml"
        if not file.is_file():
            raise InputError(str(file), "there is no node home here", remedy="give the folder that holds node.yaml")
        try:
            return cls(path, _settings(file.read_bytes()))
        except yaml.YAMLError:
            raise InputError(str(file), "is not valid YAML", remedy="restore it from a backup or correct it") from None
        except ValidationError as error:
            raise InputError(str(file), _in_words(error), remedy="correct it, or bring it back from a backup") from None

    @property
    def store_path(self) -> Path:
        return self.path / "records.sqlite"

    @property
    def series_path(self) -> Path:
        return self.path / "series.sqlite"

    @property
    def quarantine_dir(self) -> Path:
        return self.path / "quarantine"

    @property
    def cache_dir(self) -> Path:
        return self.settings.cache or self.path / "cache"

    @property
    def sessions_dir(self) -> Path:
        return self.path / "sessions"

    @property
    def approvals_dir(self) -> Path:
        return self.path / "approvals"

    def remember_prices(self) -> None:
        """Have this process keep in the home what it works out of privacy, and use what is kept there."""
        FIGURES.keep_in(self.path / "prices")

    def policy(self) -> Policy:
        """The partner's rules, read anew: a change holds from the next message on.

        Raises:
            InputError: if they are missing or cannot be used.
        """
        return Policy.load(self.path)

    def person_secret(self) -> bytes:
        """The key of the pseudonyms.

        Raises:
            InputError: if it is missing or others can read it.
        """
        return read_secret(self.path / "person.secret", lost=_LOST_PERSONS)

    def signing_key(self) -> SigningKey:
        """The partner's identity.

        Raises:
            InputError: if it is missing, others can read it, or it is no key.
        """
        return SigningKey.load(self.path / "identity.key", lost=_LOST_IDENTITY)

    def journal(self) -> Journal:
        """The partner's journal, begun if there is none.

        Raises:
            InputError: as `Journal.open_or_create`.
        """
        return Journal.open_or_create(self.path / "journal.jsonl", key=self.signing_key(), owner=self.settings.name,
                                      side=Side.PARTNER)

    def keyed(self, purpose: str) -> KeyedOrder:
        """Choices among this partner's people that come out the same each time and that nobody else can foresee."""
        return KeyedOrder(hmac.new(self.person_secret(), f"leelight-choice/{purpose}".encode(), sha256).digest())

    def noise_stream(self, *context: str) -> RandomStream | None:
        """The simulation's reproducible stream for `context`; None means: the operating system."""
        if self.settings.reproducible_noise is None:
            return None
        return RandomStream.derived(bytes.fromhex(self.settings.reproducible_noise), self.settings.name, *context)

    def agrees_with(self, entry: RosterEntry) -> bool:
        """Whether a plan says of this partner exactly what the partner has declared."""
        mine = self.settings
        return (entry.name, entry.kind, entry.slots, entry.declared_prevalence, set(entry.regions)) == (
            mine.name, mine.kind, mine.slots, mine.declared_prevalence, set(mine.regions)
        ) and entry.public_key == self.signing_key().public


_EXPECTED = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "string_type": "a word", "bool_parsing": "true or false",
    "bool_type": "true or false", "tuple_type": "a list", "dict_type": "names with a value each",
    "path_type": "the path of a file or folder"}


def _in_words(error: ValidationError) -> str:
    """What the first wrong setting is and should be."""
    first = error.errors(include_url=False)[0]
    name, kind = ".".join(str(part) for part in first["loc"] if part != "[key]"), first["type"]
    if not name:
        return "holds no settings: the file is empty, or not a list of names with a value each"
    if kind == "missing":
        return f"setting {name} is missing"
    if kind == "extra_forbidden":
        return f"setting {name} is unknown"
    expected = _EXPECTED.get(kind)
    return f"setting {name} is {first['input']!r}" + (f", expected {expected}" if expected else f": {first['msg']}")


@lru_cache(maxsize=64)
def _settings(text: bytes) -> NodeSettings:
    # Kept by content: a node reads its settings with every message, and they seldom change.
    return NodeSettings.model_validate(yaml.safe_load(text))


class KeyedOrder:
    """A secret, fixed, uniform value for each name, by HMAC-SHA-256."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def value(self, *names: str) -> float:
        """Uniform in [0, 1) as far as anybody without the key can tell."""
        framed = b"".join(len(name).to_bytes(4, "big") + name for name in map(str.encode, names))
        digest = hmac.digest(self._key, framed, "sha256")
        return float(int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53
