"""What codes are called on the page, and the sentences that numbers need.

DESIGN 8 says which words to use and which to avoid: signal, reviewed records, partner, region, role.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

Json = Mapping[str, Any]

TASKS: Final = {
    "recruitment": ("Recruitment", "Signals of deceptive or exploitative recruitment."),
    "distress": ("Distress", "Signals that somebody is in distress or asks for help. Distress has many causes; this is "
                             "a separate question from recruitment, and one says nothing about the other."),
}
ROLES: Final = {
    "origin": ("Origin", "where people are reported to be recruited"),
    "transit": ("Transit", "where people are reported to pass through"),
    "destination": ("Destination", "where people are reported to be taken"),
    "observed": ("Observed", "where the record itself was made or posted"),
}
KINDS: Final = {"platform": ("platform", "platforms"), "ngo": ("NGO", "NGOs"), "agency": ("agency", "agencies")}
LEVELS: Final = {"country": ("country", "countries"), "super_region": ("super-region", "super-regions"),
                 "region": ("region", "regions")}
BANDS: Final = {
    "high": ("▲", "high", "clearly above the country’s"),
    "medium": ("◆", "medium", "neither clearly above nor clearly below the country’s"),
    "low": ("▼", "low", "clearly below the country’s"),
    "insufficient": ("○", "insufficient", "cannot be compared with the country’s"),
}
"""Mark on a map, name, and what it says of the rate (`derive.Band`). The mark and the name say it without colour."""
LEANS_HIGH: Final = (
    "A place whose signals are about at the threshold is shown if noise and luck made them look many, and withheld if "
    "they made them look few. So what is shown is more often too high than too low: by much where few places are "
    "shown, hardly where most are.")
"""Winner's curse: a threshold on a noisy number selects for the noise that raised it."""
TRENDS: Final = {"rose": "rose", "fell": "fell", "no_clear_change": "no clear change"}
LIFTS: Final = {"more_often": "more often", "less_often": "less often", "no_clear_difference": "no clear difference"}
REASONS: Final = {
    "too_few_partners": "too few partners, or of too few kinds, cover this place",
    "one_partner_dominates": "most of the records come from one partner",
    "too_few_records": "too few records to publish safely",
    "protects_another": "with it, another place that is withheld for a partner’s sake could be worked out",
    "model_not_good_enough": "the model errs too often on this signal",
    "too_few_signals": "too few signals to publish safely",
    "insufficient": "the interval is too wide to mean anything",
    "too_few_labelled": "too few records with a known answer to tell how often the model errs",
}
SERIES_REASONS: Final = {
    "earlier_release_missing": "what was measured in an earlier release of the series is missing",
    "tables_changed": "places, roles, signals or declared regions are not those of an earlier release of the series",
    "partners_changed": "the partners are not those of an earlier release of the series",
}
EMPTY: Final = {
    "indicators.csv": "the plan counts no indicators",
    "corridors.csv": "the plan lists no pairs of places",
    "totals.csv": "the study is no release of a series",
    "regions.geojson": "no region of the study has a boundary that is known, as is so for invented places",
}
"""Why a file of a release has no row or region at all."""
PROTECTED: Final = "protected, so nobody is counted here"
FAMILIES: Final = {
    "regions": "rates by region", "super_regions": "rates by super-region", "countries": "rates by country",
    "confusion": "how often the model errs", "indicators": "indicator mix", "corridors": "reported movements",
    "dominance": "share of each partner (never published)", "series": "running totals",
    "scores": "what a score means (never published)",
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


def times(factor: float) -> str:
    """A ratio with so many decimals as it needs: `0.56`, `1.84`, `12.3`, `120`."""
    return f"{factor:.2f}" if factor < 9.995 else f"{factor:.1f}" if factor < 99.95 else grouped(round(factor))


def hundredths(share: float) -> str:
    """A share as so many of 100, with a decimal where few are in it or few are not: `78`, `1.5`, `99.2`."""
    return f"{share * 100:.0f}" if 0.0995 <= share <= 0.9005 else f"{share * 100:.1f}"


def others(hundredths: str) -> str:
    """Of 100, those that are not among so many; both add up as they are printed."""
    decimals = len(hundredths.partition(".")[2])
    return f"{100 - float(hundredths):.{decimals}f}"


def band_of_counts(band: Json) -> str:
    """A class of counts: `11 to 50`, `1,000 or more`."""
    low, high = band["from"], band["to"]
    return f"{grouped(low)} or more" if high is None else f"{grouped(low)} to {grouped(high)}"


def rate_sentence(cell: Json) -> str:
    """What a map says of one place when it is read aloud, after the place's name."""
    if cell["status"] != "shown":
        return f"withheld, {REASONS[cell['reason']]}"
    shown = cell["display"]
    said = (f"{grouped(shown['rate'])} signals in 10,000 reviewed records, 95 % interval {grouped(shown['lower'])} to "
            f"{grouped(shown['upper'])}")
    if cell["band"] is None:
        return said
    _, name, meaning = BANDS[cell["band"]]
    return f"{said}; {name}: {meaning}"


def change(trend: Json) -> tuple[str, str]:
    """A trend as its class and its size: `("rose", "by 320 (40 to 600)")`; a fall is told in positive numbers."""
    low, mid, high = (round(trend[name]) for name in ("lower", "difference", "upper"))
    name = TRENDS[trend["class"]]
    if trend["class"] == "fell":
        low, mid, high = -high, -mid, -low
    if trend["class"] == "no_clear_change":
        return name, f"({signed(low)} to {signed(high)})"
    return name, f"by {grouped(mid)} ({grouped(low)} to {grouped(high)})"


def signed(number: int) -> str:
    """With a true minus sign, and a plus where it is above zero."""
    return f"{'−' if number < 0 else '+' if number else ''}{grouped(abs(number))}"


def counts_once(roles: int) -> str:
    """How much of a release one person can change."""
    return ("they change one region in one role by one at most" if roles == 1 else
            f"they change one region by one at most in each of at most {roles} roles")


def counts_in(roles: int) -> str:
    """Why figures of several roles must not be added up."""
    return ("A person’s record counts in one region and one role only." if roles == 1 else
            f"One person may count in up to {roles} roles.")


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
    """What an ε is called by the tiers of Ponomareva et al. 2023, "How to DP-fy ML" (doi 10.1613/jair.1.14649)."""
    name = "strong" if epsilon <= 1.0 else "reasonable" if epsilon <= 10.0 else "weak"
    return ("One published guide to private machine learning (Ponomareva and others, 2023) calls a promise strong up "
            f"to ε = 1 and reasonable up to ε = 10. By it, this one is {name}.")
