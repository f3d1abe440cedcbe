"""The people of one invented partner and their records.

Everything a partner draws comes from streams named after it, so adding, removing or resizing one partner leaves every
other file as it was. Its regular people, who are there in every quarter, come first and from a stream that no quarter
changes; the others and all records are drawn anew each quarter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from federation.taxonomy import PartnerKind, RegionRole, Task
from simulations.world import wording
from simulations.world.campaigns import Campaign, CampaignMaker, Templates
from simulations.world.climate import Climate
from simulations.world.drafts import Draft
from simulations.world.draws import Draws, cumulated
from simulations.world.grammar import Voice, load_language
from simulations.world.profiles import Places, Profile
from simulations.world.rows import RowMaker
from simulations.world.signals import SignalModel, voice_of

_REPORTS = 0.4  # share of an agency's contacts that are not by the person concerned; assumed
_OWN_VOICES = (Voice.POST, Voice.TOLD)
_BENIGN: Mapping[Task, bool] = {Task.RECRUITMENT: False, Task.DISTRESS: False}
_RECRUITS: Mapping[Task, bool] = {Task.RECRUITMENT: True, Task.DISTRESS: False}


@dataclass(frozen=True, slots=True)
class _Person:
    key: str
    actor: str
    language: str
    positive: bool
    at: int  # which of the profile's places
    transit: str


class PartnerStream:
    """Draws one partner's records in order, holding one person at a time.

    Args:
        seed: the world's seed.
        found: the partner's profile.
        people: how many people it holds.
        now: the quarter's climate.
        start: first day of the quarter.
        days: in it.
        templates: in use.
    """

    def __init__(self, seed: int, found: Profile, people: int, now: Climate, *, start: date, days: int,
                 templates: Templates, model: SignalModel) -> None:
        name, quarter = found.partner.name, now.quarter
        self._profile, self._p, self._people, self._days = found, found.parameters, people, days
        self._name = name if quarter == 0 else f"{name}-q{quarter}"
        self._regular = Draws(seed, "regular people", name)
        self._draws = Draws(seed, "records", name, quarter)
        self._model = model
        self._rows = RowMaker(found, self._draws, start=start, days=days, redefined=now.redefined)
        self._place_shares = cumulated(found.place_shares)
        self._language_shares = cumulated(found.language_shares)
        self._record_shares = cumulated(found.record_shares)
        self._channels = tuple(found.partner.channels)
        self._channel_shares = cumulated(tuple(found.partner.channels.values()))
        self._reached = tuple(sorted({places[RegionRole.DESTINATION] for places in found.places}))
        rates = found.campaigns
        self._rates = rates
        self._campaigns = None if rates is None else CampaignMaker(
            found, rates, templates, name=self._name, days=days, largest=people)

    def __iter__(self) -> Iterator[Draft]:
        regular = round(self._people * self._p.time.returning)
        for index in range(regular):
            yield from self._alone(self._person(self._regular, f"{self._profile.partner.name}-{index:07d}"))
        index = regular
        while index < self._people:
            campaign = self._next_campaign(self._people - index)
            if campaign is None:
                yield from self._alone(self._person(self._draws, f"{self._name}-{index:07d}"))
                index += 1
                continue
            for size in campaign.sizes:
                yield from self._repeated(campaign, f"{self._name}-{index:07d}", size)
                index += 1

    def _next_campaign(self, room: int) -> Campaign | None:
        if self._campaigns is None or self._rates is None:
            return None
        drawn = self._draws.random()
        if drawn >= self._rates.positive + self._rates.benign:
            return None
        return self._campaigns.draw(self._draws, positive=drawn < self._rates.positive, room=room)

    def _person(self, draws: Draws, key: str) -> _Person:
        found, at = self._profile, draws.at(self._place_shares)
        reports = draws.chance(_REPORTS) and found.partner.kind is PartnerKind.AGENCY
        actor = "author" if found.platform else "reporter" if reports else "subject"
        # As many draws for everybody, so that a regular person is the same one in every quarter.
        return _Person(key, actor, found.languages[draws.at(self._language_shares)],
                       draws.chance(found.recruiting[at]), at, draws.pick(self._reached))

    def _alone(self, person: _Person) -> Iterator[Draft]:
        draws, found = self._draws, self._profile
        for _ in range(found.records[draws.at(self._record_shares)]):
            recruits = person.positive and draws.random() < found.advertises
            channel = self._channels[draws.at(self._channel_shares)]
            kind = self._model.kind(draws, channel, recruits=recruits)
            voice = voice_of(channel, kind)
            distressed = voice in _OWN_VOICES and draws.random() < found.distress[recruits][person.at]
            signals = self._model.draw(draws, voice, kind, recruits=recruits, distressed=distressed)
            language = load_language(person.language)
            skeleton = wording.skeleton(draws, language, signals, contact=draws.random() < self._p.contact_share)
            text = skeleton.format_map(wording.Slots(draws, language))
            truth = {Task.RECRUITMENT: recruits, Task.DISTRESS: distressed}
            if signals.obfuscated:
                text = wording.obfuscate(draws, text)
            row = self._rows.make(
                person=person.key, actor=person.actor, channel=channel.value, text=text, language=person.language,
                day=draws.below(self._days), places=found.places[person.at], transit=person.transit, truth=truth,
                signals=signals, held_out=False)
            yield Draft(row, truth, signals, person.language, None, self._spoilt(row))

    def _repeated(self, campaign: Campaign, account: str, size: int) -> Iterator[Draft]:
        draws, template, language = self._draws, campaign.template, load_language(campaign.language)
        truth = _RECRUITS if template.positive else _BENIGN
        for _ in range(size):
            text = campaign.skeleton.format_map(wording.Slots(draws, language, campaign.fixed))
            signals = self._model.respelt(draws, template.signals, recruits=template.positive)
            if signals.obfuscated:
                text = wording.obfuscate(draws, text)
            places: Places = draws.pick(campaign.places)
            row = self._rows.make(
                person=account, actor="author", channel=campaign.channel.value, text=text, language=campaign.language,
                day=campaign.first_day + draws.below(campaign.days), places=places, transit=draws.pick(self._reached),
                truth=truth, signals=signals, held_out=not template.seen)
            yield Draft(row, truth, signals, campaign.language, campaign.origin, self._spoilt(row))

    def _spoilt(self, row: dict[str, str]) -> str:
        return self._rows.spoil(row) if self._draws.random() < self._p.bad_rows else ""
