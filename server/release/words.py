"""What codes are called on the page, and the sentences that numbers need.

DESIGN 8 says which words to use and which to avoid: signal, reviewed records, partner, region, role.
"""

from __future__ import annotations

import math
from datetime import date
from typing import Any

TASKS = {
    "recruitment": ("Recruitment", "Signals of deceptive or exploitative recruitment."),
    "distress": ("Distress", "Signals that somebody is in distress or asks for help. Distress has many causes; this is "
                             "a separate question from recruitment, and one says nothing about the other."),
}
ROLES = {
    "origin": ("Origin", "where people are reported to be recruited"),
    "transit": ("Transit", "where people are reported to pass through"),
    "destination": ("Destination", "where people are reported to be taken"),
    "observed": ("Observed", "where the record itself was made or posted"),
}
KINDS = {"platform": "Platforms", "ngo": "NGOs", "agency": "Agencies"}
BANDS = {"higher": "higher than overall", "lower": "lower than overall",
         "not_distinguishable": "not distinguishable from overall"}
REASONS = {
    "too_few_partners": "too few partners, or of too few kinds, cover this region",
    "too_few_records": "too few records to publish safely",
    "too_few_signals": "too few signals to publish safely",
    "insufficient": "insufficient: the noise leaves the rate too uncertain to mean anything",
}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")


def counted(number: int, one: str, many: str) -> str:
    """`1 partner`, `7 partners`."""
    return f"{grouped(number)} {one if number == 1 else many}"


def grouped(number: float) -> str:
    """`12,345`; a fraction keeps up to four significant digits."""
    if float(number).is_integer():
        return f"{int(number):,}"
    return f"{number:,.4g}" if abs(number) < 1000 else f"{number:,.0f}"


def day(value: date) -> str:
    """`30 June 2026`, in no locale but English."""
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def cell_sentence(cell: dict[str, Any], name: str) -> str:
    """What a tile says when it is read aloud."""
    place = f"{name} ({cell['region']})"
    if cell["status"] != "shown":
        return f"{place}: withheld, {REASONS[cell['reason']]}"
    shown = cell["display"]
    return (f"{place}: {grouped(shown['rate'])} per 10,000 reviewed records, 95 % interval {grouped(shown['lower'])} "
            f"to {grouped(shown['upper'])}, {BANDS[cell['band']]}")


def _percent(share: float) -> str:
    """Rounded up, so that a bound stays one; never `100 %` short of certainty."""
    return "more than 99.9 %" if share > 0.999 else f"{math.ceil(share * 1000) / 10:g} %"


def beliefs(epsilon: float) -> list[tuple[str, str]]:
    """Worst-case beliefs that a person is in a partner's records: before and after seeing the release.

    Bayes with the largest likelihood ratio that ε allows: q = p eᵋ / (1 - p + p eᵋ) (Wasserman & Zhou 2010, up to δ).
    """
    return [(f"{prior * 100:g} %", _percent(prior / (prior + (1 - prior) * math.exp(-epsilon))))
            for prior in (0.01, 0.10, 0.50)]


def odds(epsilon: float) -> str:
    """The factor e^ε in words, rounded up in its second digit so that it stays a bound."""
    factor = math.exp(min(epsilon, 600.0))
    if factor >= 1e6:
        return "more than a million"
    digits = max(0, 1 - math.floor(math.log10(factor)))
    return grouped(math.ceil(factor * 10**digits) / 10**digits)


def strength(epsilon: float) -> str:
    """What an ε of this size is called: the three tiers of Ponomareva et al. 2023, "How to DP-fy ML", section 5.2."""
    name = "strong" if epsilon <= 1.0 else "reasonable" if epsilon <= 10.0 else "weak"
    return f"By the usual yardstick (up to 1 strong, up to 10 reasonable, above that weak) this is a {name} promise."
