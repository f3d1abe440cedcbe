"""Campaigns: one text with a few changing parts, posted by a few accounts in several regions within days.

A template belongs to the world, so that several platforms may see it; a campaign belongs to one partner. Which
templates are in use changes from quarter to quarter. Most are held out: no record of theirs is ever labelled, as if
nobody knew them yet, so that recall on unseen ones can be measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from federation.taxonomy import Channel
from simulations.world import wording
from simulations.world.drafts import Origin
from simulations.world.draws import Draws, cumulated
from simulations.world.grammar import TextKind, load_language
from simulations.world.parameters import Parameters
from simulations.world.profiles import CampaignRates, Places, Profile, account_count
from simulations.world.signals import SignalModel, Signals, voice_of

KINDS: Mapping[bool, Mapping[TextKind, float]] = {
    False: {TextKind.JOB_OFFER: 0.55, TextKind.MIGRANT_JOB: 0.20, TextKind.ADULT_SERVICES: 0.10,
            TextKind.EVERYDAY_ADVERT: 0.15},
    True: {TextKind.JOB_OFFER: 0.55, TextKind.MIGRANT_JOB: 0.33, TextKind.ADULT_SERVICES: 0.12}}
"""What benign and positive templates are about: assumed."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A text that is repeated.

    Attributes:
        name: unique in the world, the same in all languages.
        signals: what it expresses; whether a record of it is obfuscated is drawn for each.
    """

    name: str
    positive: bool
    seen: bool
    signals: Signals


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """One burst of one template at one partner.

    Attributes:
        skeleton: the template's text in the campaign's language, with slots open.
        fixed: what its unchanging slots hold.
        places: one of these for each record.
        first_day: of the quarter, from 0.
        days: how many it lasts.
        sizes: records of each of its accounts.
    """

    template: Template
    origin: Origin
    language: str
    channel: Channel
    skeleton: str
    fixed: Mapping[str, str]
    places: tuple[Places, ...]
    first_day: int
    days: int
    sizes: tuple[int, ...]


class Templates:
    """The templates in use in one quarter.

    Args:
        seed: the world's.
        quarter: 0, 1, ...; each place in the list gets a new template every `lifetime` quarters, not all at once.
    """

    def __init__(self, seed: int, parameters: Parameters, quarter: int, model: SignalModel) -> None:
        self._seed, self._p, self._quarter, self._model = seed, parameters, quarter, model

    def pick(self, draws: Draws, *, positive: bool) -> Template:
        """One of those in use."""
        return draws.pick(self.positive if positive else self.benign)

    @cached_property
    def positive(self) -> tuple[Template, ...]:
        """Those that recruit."""
        return self._all(positive=True)

    @cached_property
    def benign(self) -> tuple[Template, ...]:
        """Those that do not."""
        return self._all(positive=False)

    def _all(self, *, positive: bool) -> tuple[Template, ...]:
        spec, name = self._p.campaigns, "recruiting" if positive else "benign"
        count = spec.positive_templates if positive else spec.benign_templates
        order = Draws(self._seed, "held out", name).some(range(count), count)
        unseen = set(order[:round(count * spec.held_out)])
        return tuple(self._template(f"{name}-{at:02d}-{(self._quarter + at) // spec.lifetime}", positive=positive,
                                    seen=at not in unseen) for at in range(count))

    def _template(self, name: str, *, positive: bool, seen: bool) -> Template:
        draws, kinds = Draws(self._seed, "template", name), KINDS[positive]
        kind = tuple(kinds)[draws.at(cumulated(tuple(kinds.values())))]
        signals = self._model.draw(draws, voice_of(Channel.JOB_ADVERT, kind), kind, recruits=positive, distressed=False)
        return Template(name=name, positive=positive, seen=seen, signals=signals._replace(obfuscated=False))

    def text(self, template: Template, language: str) -> str:
        """The template in a language, with at least a place and a time left open."""
        draws = Draws(self._seed, "template", template.name, language)
        text = wording.skeleton(draws, load_language(language), template.signals, contact=draws.chance(0.5))
        there = wording.open_slots(text)
        return ", ".join([text, *("{" + slot + "}" for slot in ("place", "when") if slot not in there)])


class CampaignMaker:
    """Draws one partner's campaigns, none of more records than `largest`: one must not make up a tiny world."""

    def __init__(self, found: Profile, rates: CampaignRates, templates: Templates, *, name: str, days: int,
                 largest: int) -> None:
        self._profile, self._rates, self._templates = found, rates, templates
        self._name, self._days, self._largest, self._made = name, days, largest, 0
        # The places of a campaign are those of people of its class: likelier where the class is.
        self._places = {positive: cumulated([share * (rate if positive else 1.0 - rate) for share, rate in zip(
            found.place_shares, found.recruiting, strict=True)]) for positive in (True, False)}
        self._languages = cumulated(found.language_shares)
        channels = found.partner.channels
        self._channels, self._channel_shares = tuple(channels), cumulated(tuple(channels.values()))

    def draw(self, draws: Draws, *, positive: bool, room: int) -> Campaign:
        """The partner's next campaign, of at most `room` accounts."""
        spec, profile = self._profile.parameters.campaigns, self._profile
        size = min(self._rates.sizes[draws.at(self._rates.size_shares)], self._largest)
        accounts = min(room, account_count(size, draws.between(*spec.accounts), profile.parameters.records_cap))
        template = self._templates.pick(draws, positive=positive)
        language = profile.languages[draws.at(self._languages)]
        skeleton = self._templates.text(template, language)
        slots = draws.some(wording.open_slots(skeleton), len(skeleton))
        filled, changing = wording.Slots(draws, load_language(language)), draws.between(*spec.slots)
        places = [profile.places[draws.at(self._places[positive])] for _ in range(draws.between(*spec.regions))]
        days = min(draws.between(*spec.days), self._days)
        self._made += 1
        return Campaign(
            template=template, origin=Origin(f"{self._name}-c{self._made:05d}", template.name, template.seen),
            language=language, channel=self._channels[draws.at(self._channel_shares)], skeleton=skeleton,
            fixed={slot: filled[slot] for slot in slots[changing:]}, places=tuple(places),
            first_day=draws.below(self._days - days + 1), days=days,
            sizes=_shared(size, accounts, profile.parameters.records_cap))


def _shared(size: int, accounts: int, cap: int) -> tuple[int, ...]:
    """`size` records shared out evenly, `cap` at most to each account."""
    size = min(size, accounts * cap)
    return tuple(size // accounts + (i < size % accounts) for i in range(accounts))
