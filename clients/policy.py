"""The partner's own rules: `policy.yaml` in the node's home, and whether a study plan keeps them.

Every rule is mandatory and none has a default: a rule that is missing, unknown, repeated, of the wrong type or not a
number stops the node. The file is read from the partner's disk alone, so nothing that a coordinator sends, in a plan
or in a run config, can widen it. Epsilon ceilings hold at `ceilings.delta`, whatever delta a plan states its own at.

    policy = Policy.load(home.path)
    policy.check(plan)      # InputError with every broken rule
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from clients.findings import Finding, findings
from federation.errors import InputError
from federation.identity import write_secret
from federation.plan import StudyPlan
from federation.plan_parts import Hex32, Positive, Slug
from federation.taxonomy import Task

POLICY_FILE = "policy.yaml"
_RESTORE = "correct the file; `leelight partner init` in an empty folder writes one with every rule explained"


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """The most that may be spent on one person, in epsilon at `delta`, over four spans.

    Attributes:
        delta: the delta at which the account is kept, inside (0, 1).
        round: one request: a round of training, or all tables.
        study: one study, training and statistics together.
        year: everything in a calendar year.
        total: everything, ever.

    Raises:
        ValueError: if a ceiling is not a finite number above 0 or delta not inside (0, 1).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    delta: float
    round: float
    study: float
    year: float
    total: float

    def __post_init__(self) -> None:
        for name in ("round", "study", "year", "total"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"ceiling {name} is {value}, expected a finite number above 0")
        if not (math.isfinite(self.delta) and 0 < self.delta < 1):
            raise ValueError(f"delta is {self.delta}, expected a number inside (0, 1)")


class Policy(BaseModel):
    """Contents of `policy.yaml`.

    Attributes:
        plans: `approved`, or the only plans that may ever run, by SHA-256. Each needs an approval either way.
        tasks: what may be learned.
        encoders: names of the encoders that may be used.
        statistics: which tables may leave; empty means none.
        records_without_person_id: whether such a record stays out or is a privacy unit of its own.
        minimum_partners: least quorum of a plan.
        least_noise_multiplier: least noise of a training step, over the clip norm.
        least_l2_clip_norm: least clip norm. Noise is a multiple of it and must stay far above the rounding of weights.
        least_table_noise_scale: least noise in each entry of the table that has least.
        distributed_noise: parts of a study whose noise may be in the sum of all partners alone.
        least_colluders: of such a plan, the least number of partners that may work with the coordinator without its
            promise failing.
        ceilings: the most that may be spent on one person.
        rehearsal: whether plans may run whose noise can be repeated and so protects nobody.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    plans: Literal["approved"] | tuple[Hex32, ...]
    tasks: tuple[Task, ...]
    encoders: tuple[Slug, ...]
    statistics: tuple[Literal["regional_table", "indicators", "corridors", "series", "scores"], ...]
    records_without_person_id: Literal["refuse", "own_unit"]
    minimum_partners: Annotated[int, Field(ge=1)]
    least_noise_multiplier: Positive
    least_l2_clip_norm: Positive
    least_table_noise_scale: Positive
    distributed_noise: tuple[Literal["statistics", "training"], ...]
    least_colluders: Annotated[int, Field(ge=0)]
    ceilings: Ceilings
    rehearsal: Literal["allow", "refuse"]

    @field_validator("plans", "tasks", "encoders", "statistics", "distributed_noise")
    @classmethod
    def _distinct(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(value, str) and len(set(value)) != len(value):
            raise ValueError("listed twice")
        return value

    @classmethod
    def load(cls, home: Path) -> Policy:
        """Read `policy.yaml` in the folder `home`.

        Raises:
            InputError: if it is missing, others could change it, it is not YAML, or a rule is missing, unknown,
                repeated or not a value that the rule can have. All such rules are named.
        """
        path = home / POLICY_FILE
        if not path.is_file():
            raise InputError(
                str(path), "this node has no rules, so it takes part in nothing",
                remedy="bring it back from a backup; or make a home elsewhere with `leelight partner init` and copy "
                       f"its {POLICY_FILE} here, which has every rule explained and is careful")
        if path.stat().st_mode & 0o022:
            raise InputError(str(path), "others on this machine can change it", bound="mode 0600",
                             remedy=f"look through it, then chmod 600 {path}")
        return cls.parse(path.read_bytes(), name=str(path))

    @classmethod
    @lru_cache(maxsize=64)  # of the bytes: a node reads its rules with every message, and they seldom change
    def parse(cls, text: bytes, *, name: str = POLICY_FILE) -> Policy:
        """Read rules from YAML.

        Raises:
            InputError: as `load`.
        """
        try:
            # Through JSON, so that strict types hold and lists and names still arrive as what they stand for.
            return cls.model_validate_json(json.dumps(yaml.load(text, Loader=_StrictLoader)))  # noqa: S506  a SafeLoader
        except ValidationError as error:
            raise InputError(name, "; ".join(_problems(error)), remedy=_RESTORE) from None
        except (yaml.YAMLError, UnicodeError, TypeError, ValueError) as error:
            detail = error.problem if isinstance(error, yaml.constructor.ConstructorError) else None
            raise InputError(name, detail or "is not YAML of plain names, numbers and lists",
                             remedy=_RESTORE) from None

    @staticmethod
    def write_default(path: Path) -> None:
        """Create `path` (0600) with careful rules and an explanation of each.

        Raises:
            FileExistsError: if something is there already.
        """
        write_secret(path, files("clients").joinpath("policy_template.yaml").read_bytes())

    def write(self, path: Path) -> None:
        """Create `path` (0600) with these rules.

        Raises:
            FileExistsError: if something is there already.
        """
        write_secret(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False).encode())

    def findings(self, plan: StudyPlan) -> tuple[Finding, ...]:
        """Every rule that speaks about plans, held against `plan`, in the order of the file."""
        return findings(self, plan)

    def check(self, plan: StudyPlan) -> None:
        """Do nothing if `plan` keeps every rule.

        Raises:
            InputError: listing each broken rule with what the plan asks, what is allowed and what to do.
        """
        broken = [str(finding) for finding in self.findings(plan) if not finding.met]
        if broken:
            raise InputError(POLICY_FILE, f"the plan breaks {len(broken)} of this node's rules. " + ". ".join(broken))


def _problems(error: ValidationError) -> Iterator[str]:
    for item in error.errors(include_input=False, include_url=False):
        # Of a rule with alternatives only the rule's own name is shown, not the alternative's.
        rule = ".".join(str(part) for part in item["loc"][:2] if not str(part).startswith(("literal[", "tuple[")))
        match item["type"]:
            case "missing":
                yield f"rule {rule} is missing"
            case "extra_forbidden" | "unexpected_keyword_argument":
                yield f"rule {rule} is unknown"
            case "model_type" | "model_attributes_type":
                yield "holds no rules"
            case _:
                yield f"rule {rule or '(all)'}: {item['msg']}"


class _StrictLoader(yaml.SafeLoader):
    """YAML in which no key may come twice (the last would win in silence) and `1e-5` is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(problem=f"rule {key.value} is written twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+"),
                                    list("-+0123456789"))
