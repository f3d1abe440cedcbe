"""The invented organisations: who they are, whom they reach and what they declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from federation.errors import InputError
from federation.taxonomy import Channel, PartnerKind, Task

MOST_PARTNERS = 1000


@dataclass(frozen=True, kw_only=True)
class PartnerParameters:
    """One invented organisation. `coverage` is (first region, number of regions) on the ring of regions."""

    name: str
    kind: PartnerKind
    people: int  # at size `small`
    prevalence: float  # reference share of true recruitment positives, before the effect of the region
    channels: Mapping[Channel, float]
    declared_prevalence: Mapping[Task, float]
    coverage: tuple[int, int]
    languages: tuple[str, ...]
    uncovered_languages: tuple[str, ...] = ()  # outside the default encoder, with a small share of the records


def _partner(name: str, kind: PartnerKind, people: int, prevalence: float, channels: Mapping[Channel, float],
             declared: Mapping[Task, float], coverage: tuple[int, int], languages: str,
             uncovered: str = "") -> PartnerParameters:
    return PartnerParameters(name=name, kind=kind, people=people, prevalence=prevalence, channels=channels,
                             declared_prevalence=MappingProxyType(dict(declared)), coverage=coverage,
                             languages=tuple(languages.split()), uncovered_languages=tuple(uncovered.split()))


_R, _D = Task.RECRUITMENT, Task.DISTRESS
_P, _N, _A = PartnerKind.PLATFORM, PartnerKind.NGO, PartnerKind.AGENCY
_CASES = MappingProxyType({Channel.CASE_NARRATIVE: 0.7, Channel.REPORT_FORM: 0.3})
_CALLS = MappingProxyType({Channel.HELPLINE_CALL: 0.6, Channel.HELPLINE_CHAT: 0.4})

DEFAULT_PARTNERS = (
    # Prevalence: platforms 1-5 % assumed (EMSCAD, measured: 4.8 % of job adverts fraudulent, is the upper anchor);
    # agencies 19-26 % measured (2,185 of 11,700 UK helpline contacts, 8,759 of 34,177 US signals); NGOs 60-85 %
    # assumed. Coverage is such that every region has five or more partners of all three kinds.
    _partner("platform-jobs", _P, 400, 0.03, {Channel.JOB_ADVERT: 0.9, Channel.PUBLIC_POST: 0.1},
             {_R: 0.03}, (0, 8), "en es fr pt"),
    _partner("platform-social", _P, 380, 0.02, {Channel.PUBLIC_POST: 0.75, Channel.JOB_ADVERT: 0.25},
             {_R: 0.02, _D: 0.10}, (0, 8), "en es pt", "ro"),
    _partner("platform-classifieds", _P, 230, 0.05, {Channel.CLASSIFIED_AD: 0.8, Channel.PUBLIC_POST: 0.2},
             {_R: 0.05}, (1, 6), "en es fr"),
    _partner("ngo-shelter", _N, 400, 0.75, _CASES, {_R: 0.75, _D: 0.35}, (0, 4), "en fr", "hi"),
    _partner("ngo-outreach", _N, 400, 0.65, _CASES, {_R: 0.65, _D: 0.35}, (3, 4), "en es pt", "ro"),
    _partner("ngo-legal", _N, 500, 0.80, _CASES, {_R: 0.80, _D: 0.35}, (5, 4), "en es fr"),
    _partner("agency-helpline", _A, 850, 0.22, _CALLS, {_R: 0.20, _D: 0.35}, (0, 8), "en es fr pt", "ro uk"),
    _partner("agency-labour", _A, 780, 0.25, _CALLS, {_R: 0.25, _D: 0.35}, (4, 6), "en es ru"),
)
_FEWER = (0, 3, 6, 1, 4, 7, 2, 5)  # which come first where fewer are wanted: a platform, an NGO, an agency, and so on
_COVERED, _UNCOVERED = "en es fr pt ru".split(), "ro uk hi".split()


def some_partners(count: int) -> tuple[PartnerParameters, ...]:
    """`count` organisations: the default ones, or fewer, or more of the same kinds.

    Each further one has a name of its own, and with it its own draws, and covers other regions in other languages.

    Raises:
        InputError: if `count` is not between 3, one of each kind, and `MOST_PARTNERS`.
    """
    if not 3 <= count <= MOST_PARTNERS:
        raise InputError("world.partners", str(count), bound=f"3 to {MOST_PARTNERS}")
    kinds = len(DEFAULT_PARTNERS)
    first = set(_FEWER[:count])
    chosen = [partner for i, partner in enumerate(DEFAULT_PARTNERS) if i in first]
    return (*chosen, *(_another(DEFAULT_PARTNERS[_FEWER[i % kinds]], i // kinds) for i in range(kinds, count)))


def _another(partner: PartnerParameters, turn: int) -> PartnerParameters:
    start, length = partner.coverage
    languages = tuple(_COVERED[(turn + i) % len(_COVERED)] for i in range(len(partner.languages)))
    return replace(
        partner, name=f"{partner.name}-{turn + 1}", coverage=(start + 3 * turn, length), languages=languages,
        uncovered_languages=(_UNCOVERED[turn % len(_UNCOVERED)],) if partner.uncovered_languages else ())
