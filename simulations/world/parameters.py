"""Every number of the synthetic world, with its source: measured elsewhere, or assumed.

"Measured" means a published figure about real data; "assumed" is our choice. Nothing here is fitted to a partner.
`docs/world.md` has the sources in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from federation.errors import InputError
from federation.taxonomy import Channel, PartnerKind
from simulations.world.grammar import TextKind
from simulations.world.kinds import DEFAULT_KINDS, KindParameters
from simulations.world.partners import DEFAULT_PARTNERS, PartnerParameters

SIZES: Mapping[str, float] = MappingProxyType({"tiny": 0.1, "small": 1.0, "medium": 10.0})
"""People per partner relative to `small`, whose federation of about 7,000 records runs in a minute on two cores."""
MOST_RECORDS = 10_000_000

_Kinds = Mapping[TextKind, float]
_JOB, _MIGRANT, _ADULT = TextKind.JOB_OFFER, TextKind.MIGRANT_JOB, TextKind.ADULT_SERVICES
_TOLD = {False: {TextKind.CASE_NOTE: 0.65, _MIGRANT: 0.25, _ADULT: 0.10},
         True: {TextKind.CASE_NOTE: 0.50, _MIGRANT: 0.38, _ADULT: 0.12}}
_TEXT_KINDS: Mapping[Channel, Mapping[bool, _Kinds]] = MappingProxyType({
    # What benign (False) and positive (True) texts are about: assumed. Positive ones are likelier to be about work
    # abroad or adult services, which is what makes benign ones about the same hard to tell from them.
    **dict.fromkeys(Channel, _TOLD),
    Channel.JOB_ADVERT: {False: {_JOB: 0.75, _MIGRANT: 0.25}, True: {_JOB: 0.55, _MIGRANT: 0.45}},
    Channel.CLASSIFIED_AD: {False: {TextKind.EVERYDAY_ADVERT: 0.30, _ADULT: 0.12, _JOB: 0.43, _MIGRANT: 0.15},
                            True: {_ADULT: 0.18, _JOB: 0.50, _MIGRANT: 0.32}},
    Channel.PUBLIC_POST: {False: {TextKind.EVERYDAY_POST: 0.82, _JOB: 0.13, _MIGRANT: 0.05},
                          True: {_JOB: 0.60, _MIGRANT: 0.40}},
})


@dataclass(frozen=True, kw_only=True)
class CampaignParameters:
    """Texts repeated by a few accounts. Only platforms see them."""

    share_of_positives: float = 0.30  # of a platform's, from templates; assumed (measured nearby: 22-29 % of web pages)
    share_of_negatives: float = 0.08  # assumed
    smallest: int = 3
    largest: int = 200
    exponent: float = 2.0  # Zipf between the two: mean 11.5. Measured nearby: 16.7 adverts per vendor (IDTraffickers)
    slots: tuple[int, int] = (2, 5)  # how many parts of the text change from record to record
    regions: tuple[int, int] = (2, 6)  # recycled posts across cities (measured), how many: assumed
    accounts: tuple[int, int] = (2, 5)
    days: tuple[int, int] = (3, 10)
    positive_templates: int = 27  # in use at a time. Measured: 27 recruitment types, of which experts knew 3
    benign_templates: int = 60  # assumed
    held_out: float = 0.60  # of the templates: none of their records is labelled; assumed, milder than 24 of 27
    lifetime: int = 4  # quarters until a template is retired and another takes its place; assumed


@dataclass(frozen=True, kw_only=True)
class TimeParameters:
    """What changes from quarter to quarter. Nothing does in quarter 0, the default."""

    persistence: float = 0.5  # of the AR(1) season on the logit of the true rates; assumed
    season_spread: float = 0.2  # sd of a quarter's innovation; assumed
    shock_quarter: int | None = None  # from this quarter on
    shock_factor: float = 1.8  # on the odds of recruitment; measured nearby: crises go with suspicious job posts
    shock_regions: int = 2  # as origin
    definition_quarter: int | None = None  # from this quarter on
    # Measured: UK referrals decided positive fell from 86 % to 50-55 % with the rules of January 2023; 0.525 / 0.86.
    definition_factor: float = 0.61  # on the chance that a true positive is labelled positive
    returning: float = 0.3  # share of a partner's people who are there in every quarter; assumed


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The synthetic world's parameters. Change one by `dataclasses.replace`."""

    partners: tuple[PartnerParameters, ...] = DEFAULT_PARTNERS  # 3 platforms, 3 NGOs, 2 agencies: assumed
    kinds: Mapping[PartnerKind, KindParameters] = field(default_factory=lambda: DEFAULT_KINDS)
    campaigns: CampaignParameters = field(default_factory=CampaignParameters)
    time: TimeParameters = field(default_factory=TimeParameters)
    regions: tuple[str, ...] = tuple(f"XA-{i:02d}" for i in range(1, 9))  # user-assigned: no real place can be meant

    # How much positive and benign texts overlap, from 0 (a Bayes AUC of 0.94) to 1 (0.91): `simulations.world.bayes`.
    # The range is assumed; published classifiers reach F1 0.67-0.84. The pairs below are values at 0 and at 1.
    overlap: float = 0.0

    # Indicators. Measured: of 430 real job adverts 98.4 % had at least one indicator and 15 % five or more.
    # Binomial(9, 0.34) fits that: P(0) = 2.4 %, mean 3.1, P(5 or more) = 15.5 %.
    indicator_trials: int = 9
    indicator_probability: float = 0.34
    # How often a benign text draws a medium or strong tag relative to a weak one; assumed.
    medium_weights: tuple[float, float] = (0.30, 0.48)
    strong_weights: tuple[float, float] = (0.06, 0.13)
    # Shares of positive texts that carry 1, 2 and 3 medium or strong tags on top; assumed.
    added_shares: tuple[tuple[float, float, float], ...] = ((0.30, 0.35, 0.35), (0.40, 0.32, 0.28))
    # A person in distress who does not say so, and one not in distress who writes as if; assumed.
    silent_shares: tuple[float, float] = (0.11, 0.155)
    manner_shares: tuple[float, float] = (0.07, 0.125)
    distress_repeated: float = 0.6  # a person in distress who says so says it twice; assumed
    manner_repeated: float = 0.1
    cause_if_distressed: float = 0.4  # a post that also names what causes it; assumed
    cause_otherwise: float = 0.03
    feeling: float = 0.6  # everyday worries and joys where nothing else is said, and beside distress; assumed
    feeling_beside_own: float = 0.3

    # Regions.
    region_spread: float = 0.45  # sd of the regional effect on the logit, per task and role; assumed
    # Assumed 0.3 in the design note. Softened: at this size 0.3 leaves most cells with fewer than ten people.
    region_concentration: float = 2.0
    same_region: float = 0.30  # origin equals destination; measured nearby: 37 % EU, 23-27 % UK nationals
    outside_coverage: float = 0.01  # an origin outside the declared coverage; assumed
    # Corridors, which lawful migrants and trafficked people both take. Their number and volumes: assumed.
    corridors: int = 15
    corridor_spread: float = 1.0  # sd of the logarithm of a corridor's volume
    corridor_share: float = 0.4  # of those whose origin is another region; the rest come from anywhere

    # People. Measured nearby: 16.7 adverts per vendor (IDTraffickers). Zipf with exponent 2 cut at 50 has mean 2.8.
    zipf_exponent: float = 2.0
    records_cap: int = 50
    advertises: float = 0.85  # share of a recruiting author's records that recruit; assumed

    # Languages.
    language_concentration: float = 0.5  # Dirichlet, assumed
    language_floor: float = 0.4  # share spread evenly first, so that no declared language is empty in a small world
    uncovered_share: float = 0.05  # of a partner that has such languages; assumed

    # Weak labels, on unlabelled records of platforms. Precision measured: 0.84 (InfoShield); the rest assumed.
    weak_precision: tuple[float, float] = (0.60, 0.84)  # of a partner's positive votes, drawn by seed
    weak_coverage: float = 0.40
    weak_recall: float = 0.60

    # Things redaction and validation must cope with.
    contact_share: float = 0.06  # invented contact details, from ranges reserved for fiction and documentation
    obfuscated_if_positive: float = 0.15  # zero-width characters, spaced letters; assumed from the literature
    obfuscated_if_negative: float = 0.02
    bad_rows: float = 0.004  # rows ingestion must quarantine, at most 0.5 %
    # Name and number of regions, in the order of the regions: assumed.
    super_regions: tuple[tuple[str, str, int], ...] = (
        ("west", "West", 3), ("middle", "Middle", 2), ("east", "East", 3))
    start: date = date(2024, 10, 1)  # of quarter 0: a past one, so that no clock finds its records in the future
    days: int = 92  # of each quarter, at most
    retention_days: int = 3653

    def __post_init__(self) -> None:
        if sum(count for _, _, count in self.super_regions) != len(self.regions):
            raise InputError("super_regions", "do not take in every region once", bound="counts that add up to the "
                             "number of regions")
        if not self.partners or len({p.name for p in self.partners}) != len(self.partners):
            raise InputError("partners", "there are none, or two share a name", bound="one or more, named differently")
        if not 0.0 <= self.bad_rows <= 0.005:
            raise InputError("bad_rows", str(self.bad_rows), bound="0 to 0.005")
        if not 0.0 < self.indicator_probability < 1.0 or self.indicator_trials < 1:
            raise InputError("indicators", "the binomial is not proper",
                             bound="trials of 1 or more, probability in (0, 1)")
        if not 0.0 <= self.overlap <= 1.0:
            raise InputError("world.overlap", str(self.overlap), bound="0 (a Bayes AUC of 0.94) to 1 (0.91)")

    @property
    def medium_weight(self) -> float:
        """Of a medium tag in a benign text, relative to a weak one."""
        return self._between(*self.medium_weights)

    @property
    def strong_weight(self) -> float:
        """Of a strong tag in a benign text, relative to a weak one."""
        return self._between(*self.strong_weights)

    @property
    def added(self) -> tuple[float, ...]:
        """Shares of positive texts that carry 1, 2 and 3 tags on top."""
        return tuple(self._between(*ends) for ends in zip(*self.added_shares, strict=True))

    @property
    def distress_silent(self) -> float:
        """Share of those in distress who do not say so."""
        return self._between(*self.silent_shares)

    @property
    def distress_manner(self) -> float:
        """Share of those not in distress who write as if."""
        return self._between(*self.manner_shares)

    def text_kinds(self, channel: Channel, *, recruits: bool) -> Mapping[TextKind, float]:
        """Shares of what the texts of a channel are about."""
        return _TEXT_KINDS[channel][recruits]

    def _between(self, clear: float, blurred: float) -> float:
        return clear + self.overlap * (blurred - clear)
