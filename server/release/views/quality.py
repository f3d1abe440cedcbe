"""What a reader must know to weigh a rate: how often the model errs, who took part, and what is withheld."""

from __future__ import annotations

from dataclasses import dataclass

from federation.taxonomy import PartnerKind
from server.release import words
from server.release.scales import Bar
from server.release.views.index import MANY, Index, Json


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of 100 with its interval, in words and on an axis from 0 to 100; `rest` are the others of 100."""

    value: str
    rest: str
    interval: str
    bar: Bar


@dataclass(frozen=True, kw_only=True)
class Errors:
    """How often the model errs on one signal; a share is None where too little is known."""

    heading: str
    found: Share | None
    alarms: Share | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Covered:
    """Places with the same number of partners of each kind."""

    codes: tuple[str, ...]
    counts: tuple[int, ...]
    partners: int
    kinds: int
    enough: bool
    fold: bool


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """How many rates are shown and how many withheld, by reason; `width` of each bar in hundredths."""

    cells: int
    shown: int
    width: float
    reasons: tuple[tuple[str, int, float], ...]


def errors(index: Index) -> tuple[Errors, ...]:
    """By signal."""
    return tuple(Errors(
        heading=words.TASKS[each["task"]][0], found=_share(each["sensitivity"]),
        alarms=_share(each["false_alarm_rate"]),
        reason=None if each["usable"] else words.REASONS[each["reason"]]) for each in index.content["calibration"])


def _share(known: Json) -> Share | None:
    if any(known[name] is None for name in ("value", "lower", "upper")):
        return None
    at, start, end = (round(100 * min(max(known[name], 0.0), 1.0), 1) for name in ("value", "lower", "upper"))
    value = words.hundredths(known["value"])
    return Share(value=value, rest=words.others(value), bar=Bar(at=at, start=start, end=end),
                 interval=f"{words.hundredths(known['lower'])} to {words.hundredths(known['upper'])}")


def coverage(index: Index) -> tuple[Covered, ...]:
    """Regions with the same declared coverage in one row, best covered first."""
    rule, known = index.content["gate"], index.content["coverage"]["areas"]
    groups: dict[tuple[int, ...], list[str]] = {}
    for country in index.countries:
        for code in index.measured(country, "region"):
            groups.setdefault(tuple(known[code].get(kind.value, 0) for kind in PartnerKind), []).append(code)
    rows = []
    for counts, codes in groups.items():
        partners, kinds = sum(counts), sum(n > 0 for n in counts)
        rows.append(Covered(codes=tuple(codes), counts=counts, partners=partners, kinds=kinds, fold=len(codes) > MANY,
                            enough=partners >= rule["minimum_partners"] and kinds >= rule["minimum_kinds"]))
    return tuple(sorted(rows, key=lambda row: (-row.partners, -row.kinds, row.codes)))


def suppression(index: Index) -> Suppression:
    """Of all rates at all levels, what is shown and what is withheld."""
    known = index.content["suppression"]
    cells = known["cells"]
    return Suppression(
        cells=cells, shown=known["shown"], width=round(100 * known["shown"] / max(cells, 1), 1),
        reasons=tuple((words.REASONS[reason], n, round(100 * n / max(cells, 1), 1))
                      for reason, n in known["withheld"].items() if n))
