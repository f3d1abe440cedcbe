"""The people of one invented partner and their records, drawn from that partner's own stream.

Everything a partner draws comes from a generator seeded by the world's seed and the partner's name alone, so adding,
removing or resizing one partner leaves every other file as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from statistics import NormalDist
from types import MappingProxyType
from uuid import UUID

import numpy as np

from federation.taxonomy import Channel, ConsentBasis, Indicator, LabelValue, PartnerKind, Provenance, RegionRole, Task
from simulations.world import grammar
from simulations.world.drafts import Draft, TextKind
from simulations.world.grammar import MEDIUM, STRENGTH, WEAK, Voice
from simulations.world.parameters import KindParameters, Parameters, PartnerParameters

Effects = Mapping[Task, Mapping[RegionRole, Mapping[str, float]]]

EFFECT_ROLES = (RegionRole.ORIGIN, RegionRole.DESTINATION, RegionRole.OBSERVED)
_WORLD, _PARTNER = 1, 2  # first element of a stream's spawn key
_BAD = ("unknown region", "no retention", "retention expired", "empty text")
_OTHER = (LabelValue.UNRELATED, LabelValue.GENERAL_INFORMATION, LabelValue.UNVERIFIED)
_CONSENT = {PartnerKind.PLATFORM: ConsentBasis.LEGITIMATE_INTEREST, PartnerKind.NGO: ConsentBasis.CONSENT,
            PartnerKind.AGENCY: ConsentBasis.PUBLIC_INTEREST}
_PROVENANCE = {PartnerKind.PLATFORM: (Provenance.USER_REPORT, Provenance.HUMAN_CROWD),
               PartnerKind.NGO: (Provenance.HUMAN_EXPERT, Provenance.CASE_OUTCOME),
               PartnerKind.AGENCY: (Provenance.HUMAN_EXPERT, Provenance.USER_REPORT)}
_KINDS = {Voice.ADVERT: TextKind.JOB_OFFER, Voice.CLASSIFIED: TextKind.EVERYDAY_ADVERT,
          Voice.POST: TextKind.EVERYDAY_POST, Voice.TOLD: TextKind.CASE_NOTE}
_VOICES = {Channel.JOB_ADVERT: Voice.ADVERT, Channel.CLASSIFIED_AD: Voice.ADVERT, Channel.PUBLIC_POST: Voice.POST}


@dataclass(frozen=True, kw_only=True)
class _Person:
    key: str
    actor: str
    language: str
    positive: bool
    places: Mapping[RegionRole, str]


def regional_effects(seed: int, parameters: Parameters) -> Effects:
    """Effect of each region on the logit of the true rate, per task and role.

    The sizes are fixed (normal quantiles times `region_spread`); which region gets which is a permutation drawn from
    the seed, so no place is hard-coded as risky, not even an invented one.
    """
    count = len(parameters.regions)
    ladder = [parameters.region_spread * NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)]
    effects: dict[Task, Mapping[RegionRole, Mapping[str, float]]] = {}
    for t, task in enumerate(Task):
        by_role: dict[RegionRole, Mapping[str, float]] = {}
        for r, role in enumerate(EFFECT_ROLES):
            order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_WORLD, t, r))).permutation(count)
            by_role[role] = {parameters.regions[int(order[i])]: ladder[i] for i in range(count)}
        effects[task] = MappingProxyType(by_role)
    return MappingProxyType(effects)


def covered_regions(parameters: Parameters, partner: PartnerParameters) -> tuple[str, ...]:
    """Declared coverage, in the order of the world's list."""
    first, length = partner.coverage
    ring = len(parameters.regions)
    chosen = {(first + i) % ring for i in range(min(length, ring))}
    return tuple(region for i, region in enumerate(parameters.regions) if i in chosen)


class PartnerStream:
    """Draws one partner's records in order, holding one person at a time.

    Args:
        seed: the world's seed.
        people: how many people the partner holds.
        effects: from `regional_effects`.
    """

    def __init__(self, seed: int, parameters: Parameters, partner: PartnerParameters, people: int,
                 effects: Effects) -> None:
        self._p, self._partner, self._people, self._effects = parameters, partner, people, effects
        self._kind: KindParameters = parameters.kinds[partner.kind]
        key = np.random.SeedSequence(seed, spawn_key=(_PARTNER, *partner.name.encode("ascii")))
        self._rng = rng = np.random.default_rng(key)
        self._regions = covered_regions(parameters, partner)
        self._region_cdf = np.cumsum(rng.dirichlet([parameters.region_concentration] * len(self._regions)))
        self._language_cdf = self._languages()
        self._channels = tuple(partner.channels)
        self._channel_cdf = np.cumsum([partner.channels[c] for c in self._channels])
        sizes = np.arange(1, parameters.records_cap + 1, dtype=np.float64) ** -parameters.zipf_exponent
        self._zipf_cdf = np.cumsum(sizes / sizes.sum())

    def __iter__(self) -> Iterator[Draft]:
        for index in range(self._people):
            person = self._person(index)
            for _ in range(self._records_of_one()):
                yield self._record(person)

    def _chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def _at(self, cdf: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> int:
        return min(int(np.searchsorted(cdf, self._rng.random(), side="right")), len(cdf) - 1)

    def _languages(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        p, covered, uncovered = self._p, self._partner.languages, self._partner.uncovered_languages
        drawn = self._rng.dirichlet([p.language_concentration] * len(covered))
        shares = p.language_floor / len(covered) + (1 - p.language_floor) * drawn
        rest = p.uncovered_share if uncovered else 0.0
        return np.cumsum([*(shares * (1 - rest)), *[rest / len(uncovered) for _ in uncovered]])

    def _records_of_one(self) -> int:
        if self._partner.kind is PartnerKind.PLATFORM:
            return 1 + self._at(self._zipf_cdf)
        mean = self._p.ngo_records if self._partner.kind is PartnerKind.NGO else self._p.agency_records
        return min(1 + int(self._rng.poisson(mean - 1.0)), self._p.records_cap)

    def _rate(self, reference: float, task: Task, places: Mapping[RegionRole, str]) -> float:
        """The reference rate moved by the regions on the logit scale; 0 and 1 stay."""
        odds = reference / (1.0 - reference) if reference < 1.0 else np.inf
        shift = sum(self._effects[task][role][places[role]] for role in EFFECT_ROLES)
        odds *= np.exp(shift)
        return float(odds / (1.0 + odds)) if np.isfinite(odds) else 1.0

    def _person(self, index: int) -> _Person:
        kind, partner = self._kind, self._partner
        destination = self._regions[self._at(self._region_cdf)]
        origin = destination if self._chance(self._p.same_region) else self._regions[self._at(self._region_cdf)]
        if self._chance(self._p.outside_coverage):
            origin = grammar.pick(self._rng, self._p.regions)
        transit = self._regions[self._at(self._region_cdf)]
        places = {RegionRole.ORIGIN: origin, RegionRole.DESTINATION: destination, RegionRole.TRANSIT: transit,
                  RegionRole.OBSERVED: destination if self._chance(kind.observed_at_destination) else origin}
        reporter = partner.kind is PartnerKind.AGENCY and self._chance(0.4)
        actor = "author" if partner.kind is PartnerKind.PLATFORM else "reporter" if reporter else "subject"
        return _Person(
            key=f"{partner.name}-{index:07d}", actor=actor, places=places,
            language=(*partner.languages, *partner.uncovered_languages)[self._at(self._language_cdf)],
            positive=self._chance(self._rate(partner.prevalence, Task.RECRUITMENT, places)))

    def _record(self, person: _Person) -> Draft:
        kind, p, platform = self._kind, self._p, self._partner.kind is PartnerKind.PLATFORM
        channel = self._channels[self._at(self._channel_cdf)]
        recruits = person.positive and (not platform or self._chance(p.advertises))
        voice = _VOICES.get(channel, Voice.TOLD)
        if recruits and platform:
            voice = Voice.ADVERT
        elif channel is Channel.CLASSIFIED_AD and self._chance(p.everyday_classified):
            voice = Voice.CLASSIFIED
        reference = kind.distress_if_positive if recruits else kind.distress_if_negative
        distressed = (voice in (Voice.POST, Voice.TOLD)
                      and self._chance(self._rate(reference, Task.DISTRESS, person.places)))
        truth = {Task.RECRUITMENT: recruits, Task.DISTRESS: distressed}
        tags, text = self._text(grammar.load_language(person.language), voice, recruits, distressed)
        row = {"record_id": str(UUID(bytes=self._rng.bytes(16), version=4)), "person": person.key,
               "actor_kind": person.actor, "channel": channel.value, "text": text,
               "language": person.language if self._chance(kind.language_given) else "",
               **self._dates(), **self._places(person), **self._labels(truth),
               "consent_basis": _CONSENT[self._partner.kind].value, "synthetic": "SYNTHETIC", "weak_labels": ""}
        row |= self._marks(row, tags)
        bad = self._spoil(row) if self._chance(p.bad_rows) else ""
        return Draft(row=row, truth=truth, tags=tags, repeated_distress=False, voice=voice, kind=_KINDS[voice],
                     language=person.language, origin=None, obfuscated=False, bad=bad)

    def _text(self, language: grammar.Language, voice: Voice, recruits: bool,
              distressed: bool) -> tuple[tuple[Indicator, ...], str]:
        rng, p = self._rng, self._p
        tags: tuple[Indicator, ...] = ()
        if voice in (Voice.ADVERT, Voice.TOLD):
            tags = self._tags(grammar.recruitment_tags(language, voice), recruits)
        own: list[Indicator] = []
        if voice in (Voice.POST, Voice.TOLD):
            if self._chance(1.0 - p.distress_silent if distressed else p.distress_manner):
                own.append(Indicator.DISTRESS_HELP)
                if distressed and self._chance(p.distress_repeated):
                    own.append(Indicator.DISTRESS_HELP)
            if voice is Voice.POST and self._chance(0.4 if distressed else 0.03):
                spoken = [tag for tag in language.tags[Voice.POST] if tag is not Indicator.DISTRESS_HELP]
                own.append(spoken[int(rng.integers(len(spoken)))])
        feeling = voice in (Voice.POST, Voice.TOLD) and self._chance(0.3 if own else 0.6)
        text = grammar.compose(rng, language, voice, tags=tags, distress=own, feeling=feeling,
                               contact=self._chance(p.contact_share))
        if self._chance(p.obfuscated_if_positive if recruits else p.obfuscated_if_negative):
            text = grammar.obfuscate(rng, text)
        return tuple(dict.fromkeys([*tags, *own])), text

    def _tags(self, candidates: tuple[Indicator, ...], recruits: bool) -> tuple[Indicator, ...]:
        """A benign draw, light tags likelier; a positive text adds medium or strong ones it does not yet carry."""
        rng, p = self._rng, self._p
        weights = np.array([{WEAK: 1.0, MEDIUM: p.medium_weight}.get(STRENGTH[tag], p.strong_weight)
                            for tag in candidates])
        count = min(int(rng.binomial(p.indicator_trials, p.indicator_probability)), len(candidates))
        # Exponential races draw without replacement in proportion to the weights.
        chosen = [candidates[i] for i in np.argsort(rng.exponential(size=len(candidates)) / weights)[:count]]
        if recruits:
            heavier = [tag for tag in candidates if STRENGTH[tag] >= MEDIUM and tag not in chosen]
            extra = p.added_in_positive[int(rng.integers(len(p.added_in_positive)))]
            chosen += [heavier[i] for i in rng.permutation(len(heavier))[:extra]]
        return tuple(chosen)

    def _dates(self) -> dict[str, str]:
        day = self._p.start + timedelta(days=int(self._rng.integers(self._p.days)))
        return {"observed_at": day.isoformat(),
                "retention_until": (day + timedelta(days=self._p.retention_days)).isoformat()}

    def _places(self, person: _Person) -> dict[str, str]:
        kind = self._kind
        known = {RegionRole.ORIGIN: kind.knows_origin, RegionRole.TRANSIT: kind.knows_transit,
                 RegionRole.DESTINATION: kind.knows_destination, RegionRole.OBSERVED: kind.knows_observed}
        places = {f"region_{role.value}": person.places[role] if self._chance(share) else ""
                  for role, share in known.items()}
        country = "" if any(places.values()) else person.places[RegionRole.OBSERVED][:2]
        return {**places, "country_only": country}

    def _labels(self, truth: Mapping[Task, bool]) -> dict[str, str]:
        kind, labels = self._kind, dict[str, str]()
        missing = self._chance(kind.unlabelled)
        sources = _PROVENANCE[self._partner.kind]
        provenance = sources[int(self._rng.integers(len(sources)))].value
        for task in Task:
            value = self._label(truth[task], missing) if task in self._partner.declared_prevalence else ""
            labels[f"label_{task.value}"] = value
            labels[f"label_{task.value}_provenance"] = provenance if value else ""
        return labels

    def _label(self, truth: bool, missing: bool) -> str:
        kind = self._kind
        if missing:  # where a call could not be verified, some call-takers say so and others leave it empty
            return LabelValue.UNVERIFIED.value if self._chance(kind.other_answers) else ""
        if self._chance(1.0 - kind.missed if truth else kind.false_alarm):
            return LabelValue.POSITIVE.value
        if not truth and self._chance(kind.other_answers):
            return _OTHER[int(self._rng.integers(len(_OTHER)))].value
        return LabelValue.NEGATIVE.value

    def _marks(self, row: Mapping[str, str], tags: tuple[Indicator, ...]) -> dict[str, str]:
        """Whoever labels a record also notes what it shows; nobody looks for repetition, which no single text shows."""
        labelled = any(row[f"label_{task.value}"] for task in Task)
        return {f"indicator_{tag.value}": str(int(tag in tags)) if labelled else ""
                for tag in Indicator if tag is not Indicator.TEMPLATED_CAMPAIGN}

    def _spoil(self, row: dict[str, str]) -> str:
        reason = grammar.pick(self._rng, _BAD)
        if reason == "unknown region":
            row["region_observed"] = "ZY-99"  # neither in ISO 3166-2 nor in the user-assigned range
        elif reason == "no retention":
            row["retention_until"] = ""
        elif reason == "retention expired":
            row["retention_until"] = row["observed_at"]
        else:
            row["text"] = ""
        return reason
