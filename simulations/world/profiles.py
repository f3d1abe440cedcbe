"""What is fixed about one partner before its first record: whom it reaches, in which languages, and how often what.

Shares that follow from others are worked out here, so that the records keep to the declared parameters on average: the
positives in campaigns, for one, are taken from the partner's prevalence and not added to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from federation.taxonomy import PartnerKind, RegionRole, Task
from simulations.world.climate import EFFECT_ROLES, Climate
from simulations.world.corridors import Corridor, origins_into
from simulations.world.draws import Draws, cumulated
from simulations.world.kinds import KindParameters
from simulations.world.parameters import Parameters
from simulations.world.partners import PartnerParameters

Places = Mapping[RegionRole, str]
"""Origin, destination and place of observation of a person."""


@dataclass(frozen=True, kw_only=True)
class CampaignRates:
    """How often the next account of a partner opens a campaign, and how large campaigns are."""

    positive: float
    benign: float
    sizes: tuple[int, ...]
    size_shares: tuple[float, ...]  # cumulated


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One partner in one quarter.

    Attributes:
        places: the combinations of places a person can have.
        place_shares: how likely each is.
        recruiting: true rate of recruitment among people who act alone, for each of `places`.
        distress: true rate of distress of a record in a voice that can express it, by whether it recruits, for each.
        languages: covered ones first.
        language_shares: of the records.
        records: how many records a person has, with `record_shares`.
        weak_precision: of the positive votes of the partner's labelling function.
    """

    partner: PartnerParameters
    parameters: Parameters
    places: tuple[Places, ...]
    place_shares: tuple[float, ...]
    recruiting: tuple[float, ...]
    distress: Mapping[bool, tuple[float, ...]]
    languages: tuple[str, ...]
    language_shares: tuple[float, ...]
    records: tuple[int, ...]
    record_shares: tuple[float, ...]
    weak_precision: float

    @property
    def kind(self) -> KindParameters:
        """The habits of the partner's kind."""
        return self.parameters.kinds[self.partner.kind]

    @property
    def platform(self) -> bool:
        """Whether records are of authors, most of whose posts recruit nobody."""
        return self.partner.kind is PartnerKind.PLATFORM

    @property
    def advertises(self) -> float:
        """Share of a recruiting person's records that recruit."""
        return self.parameters.advertises if self.platform else 1.0

    @cached_property
    def alone(self) -> tuple[float, float]:
        """Expected positive and negative records of a person who acts alone."""
        mean = sum(count * share for count, share in zip(self.records, self.record_shares, strict=True))
        rate = sum(p * r for p, r in zip(self.place_shares, self.recruiting, strict=True)) * self.advertises
        return mean * rate, mean * (1.0 - rate)

    @cached_property
    def campaigns(self) -> CampaignRates | None:
        """None where there are no campaigns."""
        per_person, size, accounts = self._campaigns_per_person, self._mean_size, self._mean_accounts
        if size == 0.0:
            return None
        together = sum(per_person)
        # People who are there in every quarter act alone, so the others open the campaigns for all of them.
        others = 1.0 - self.parameters.time.returning * (1.0 + accounts * together)
        return CampaignRates(
            positive=per_person[0] / (others + together), benign=per_person[1] / (others + together),
            sizes=tuple(self._sizes), size_shares=cumulated(tuple(self._sizes.values())))

    @cached_property
    def masses(self) -> Mapping[tuple[bool, bool], float]:
        """Expected records of an account, by (in a campaign, positive)."""
        people = 1.0 / (1.0 + self._mean_accounts * sum(self._campaigns_per_person))
        found = {(False, True): people * self.alone[0], (False, False): people * self.alone[1]}
        for positive, rate in zip((True, False), self._campaigns_per_person, strict=True):
            found[True, positive] = people * rate * self._mean_size
        return found

    @cached_property
    def records_per_account(self) -> float:
        """Expected."""
        return sum(self.masses.values())

    @cached_property
    def weak_false(self) -> float:
        """Chance that an unlabelled negative gets a positive vote: that which gives `weak_precision`."""
        p, spec = self.parameters, self.parameters.campaigns
        shown = 1.0 - spec.held_out  # records of held-out templates get no vote
        positive, negative = (sum(mass * (shown if campaign else 1.0) for (campaign, true), mass in self.masses.items()
                                  if true is wanted) for wanted in (True, False))
        return min(1.0, positive * p.weak_recall * (1.0 / self.weak_precision - 1.0) / negative) if negative else 0.0

    @cached_property
    def _campaigns_per_person(self) -> tuple[float, float]:
        """Positive and benign campaigns for each person who acts alone."""
        spec, size = self.parameters.campaigns, self._mean_size
        if size == 0.0:
            return 0.0, 0.0
        return (_ratio(spec.share_of_positives) * self.alone[0] / size,
                _ratio(spec.share_of_negatives) * self.alone[1] / size)

    @cached_property
    def _mean_size(self) -> float:
        return sum(size * share for size, share in self._sizes.items())

    @cached_property
    def _mean_accounts(self) -> float:
        low, high = self.parameters.campaigns.accounts
        return sum(share * account_count(size, drawn, self.parameters.records_cap) / (high - low + 1)
                   for size, share in self._sizes.items() for drawn in range(low, high + 1))

    @cached_property
    def _sizes(self) -> Mapping[int, float]:
        """Share of each size of a campaign; empty for a partner without campaigns."""
        spec = self.parameters.campaigns
        if not self.platform:
            return {}
        weights = {size: size ** -spec.exponent for size in range(spec.smallest, spec.largest + 1)}
        return {size: weight / sum(weights.values()) for size, weight in weights.items()}


def profile(seed: int, parameters: Parameters, partner: PartnerParameters, now: Climate,
            routes: tuple[Corridor, ...]) -> Profile:
    """The profile of a partner: drawn from the seed and its name, the same in every quarter but for `now`."""
    draws, kind = Draws(seed, "partner", partner.name), parameters.kinds[partner.kind]
    regions = covered_regions(parameters, partner)
    shares = dict(zip(regions, draws.dirichlet(parameters.region_concentration, len(regions)), strict=True))
    languages, language_shares = _languages(draws, parameters, partner)
    combined = _places(parameters, kind, shares, routes)
    counts, count_shares = _record_counts(parameters, kind)
    places = tuple({RegionRole.ORIGIN: o, RegionRole.DESTINATION: d, RegionRole.OBSERVED: at} for o, d, at in combined)
    # What campaigns take of the positives and of the negatives, people who act alone must not have as well.
    spec = parameters.campaigns
    campaigns = partner.kind is PartnerKind.PLATFORM
    moved = (1.0 - spec.share_of_positives) / (1.0 - spec.share_of_negatives) if campaigns else 1.0

    def rates(task: Task, reference: float, factor: float = 1.0) -> tuple[float, ...]:
        return tuple(_rate(reference, factor, now, task, place) for place in places)

    low, high = parameters.weak_precision
    return Profile(
        partner=partner, parameters=parameters, places=places, place_shares=tuple(combined.values()),
        recruiting=rates(Task.RECRUITMENT, partner.prevalence, moved),
        distress={True: rates(Task.DISTRESS, kind.distress_if_positive),
                  False: rates(Task.DISTRESS, kind.distress_if_negative)},
        languages=languages, language_shares=language_shares, records=counts, record_shares=count_shares,
        weak_precision=low + (high - low) * draws.random())


def covered_regions(parameters: Parameters, partner: PartnerParameters) -> tuple[str, ...]:
    """Declared coverage, in the order of the world's list."""
    first, length = partner.coverage
    ring = len(parameters.regions)
    chosen = {(first + i) % ring for i in range(min(length, ring))}
    return tuple(region for i, region in enumerate(parameters.regions) if i in chosen)


def account_count(size: int, drawn: int, cap: int) -> int:
    """How many accounts share the records of a campaign: as drawn, but none with more than `cap` or without any."""
    return min(size, max(drawn, math.ceil(size / cap)))


def _ratio(share: float) -> float:
    return share / (1.0 - share)


def _rate(reference: float, factor: float, now: Climate, task: Task, places: Places) -> float:
    """The reference rate moved by season and regions on the logit scale; 0 and 1 stay."""
    if reference >= 1.0:
        return 1.0
    shift = now.season[task] + sum(now.effects[task][role][places[role]] for role in EFFECT_ROLES)
    odds = factor * reference / (1.0 - reference) * math.exp(shift)
    return odds / (1.0 + odds)


def _languages(draws: Draws, parameters: Parameters, partner: PartnerParameters
               ) -> tuple[tuple[str, ...], tuple[float, ...]]:
    covered, uncovered = partner.languages, partner.uncovered_languages
    rest, floor = parameters.uncovered_share if uncovered else 0.0, parameters.language_floor
    drawn = draws.dirichlet(parameters.language_concentration, len(covered))
    shares = [(1.0 - rest) * (floor / len(covered) + (1.0 - floor) * share) for share in drawn]
    return (*covered, *uncovered), (*shares, *(rest / len(uncovered) for _ in uncovered))


def _places(parameters: Parameters, kind: KindParameters, shares: Mapping[str, float],
            routes: tuple[Corridor, ...]) -> dict[tuple[str, str, str], float]:
    """Probability of each (origin, destination, place of observation)."""
    found: dict[tuple[str, str, str], float] = {}
    same, outside = parameters.same_region, parameters.outside_coverage
    for destination, reach in shares.items():
        into = origins_into(destination, routes, tuple(shares))
        routed = parameters.corridor_share if into else 0.0
        for origin in parameters.regions:
            moved = routed * into.get(origin, 0.0) + (1.0 - routed) * shares.get(origin, 0.0)
            inside = same * (origin == destination) + (1.0 - same) * moved
            chance = reach * ((1.0 - outside) * inside + outside / len(parameters.regions))
            for observed, share in ((destination, kind.observed_at_destination),
                                    (origin, 1.0 - kind.observed_at_destination)):
                if chance * share > 0.0:
                    key = (origin, destination, observed)
                    found[key] = found.get(key, 0.0) + chance * share
    return found


def _record_counts(parameters: Parameters, kind: KindParameters) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """How many records one person has: Zipf for authors, one and a Poisson number of further contacts for others."""
    counts = tuple(range(1, parameters.records_cap + 1))
    if kind.records is None:
        weights = [count ** -parameters.zipf_exponent for count in counts]
    else:
        more = kind.records - 1.0
        weights = [math.exp(-more) * more ** (count - 1) / math.factorial(count - 1) for count in counts]
    return counts, tuple(weight / sum(weights) for weight in weights)
