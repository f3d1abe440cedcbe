"""What a text expresses, and how likely that is: the one place where a text depends on whether its record is positive.

Signals are drawn from tables, and the same tables tell a reader who knows them all what a text is worth as evidence
(`simulations.world.bayes`). Within a strength all tags are alike, so a table is over how many tags of each strength.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from math import comb
from typing import NamedTuple, TypeVar

from federation.taxonomy import Channel, Indicator
from simulations.world.draws import Draws, cumulated
from simulations.world.grammar import STRENGTH, TAGS, TextKind, Voice
from simulations.world.parameters import Parameters

Counts = tuple[int, int, int]
"""How many weak, medium and strong tags."""
Own = tuple[tuple[Indicator, int], ...]
"""What the author says of their own state, and how often."""

_WEAK, _MEDIUM, _STRONG = 1, 2, 3
_VOICES = {TextKind.EVERYDAY_POST: Voice.POST, TextKind.EVERYDAY_ADVERT: Voice.CLASSIFIED}
_PUBLIC = (Channel.JOB_ADVERT, Channel.CLASSIFIED_AD, Channel.PUBLIC_POST)
_HELP = Indicator.DISTRESS_HELP
Drawn = TypeVar("Drawn")
_NOTHING: Mapping[Own, float] = {(): 1.0}


class Signals(NamedTuple):
    """What one text expresses.

    Attributes:
        voice: whose voice it is in.
        kind: what it is about.
        tags: recruitment or exploitation, in the advertiser's or the case worker's voice.
        own: distress and what causes it, in the author's or the case worker's voice, and how often each is said.
        feeling: whether an everyday worry or joy is mentioned: the ordinary look-alike of distress.
        obfuscated: whether its spelling is disturbed.
    """

    voice: Voice
    kind: TextKind
    tags: tuple[Indicator, ...]
    own: Own
    feeling: bool
    obfuscated: bool

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        """Everything a careful reader would tick, each once."""
        return tuple(dict.fromkeys((*self.tags, *(tag for tag, _ in self.own))))


def voice_of(channel: Channel, kind: TextKind) -> Voice:
    """Whose voice a text of this kind is in."""
    return _VOICES.get(kind, Voice.ADVERT if channel in _PUBLIC else Voice.TOLD)


@cache
def by_strength(voice: Voice) -> tuple[tuple[Indicator, ...], ...]:
    """The weak, medium and strong tags that a voice can express."""
    return tuple(tuple(tag for tag in TAGS[voice] if STRENGTH.get(tag) == level)
                 for level in (_WEAK, _MEDIUM, _STRONG))


def tag_table(parameters: Parameters, voice: Voice, *, recruits: bool) -> dict[Counts, float]:
    """Probability of each count of weak, medium and strong tags.

    A benign text draws Binomial many tags one after another, light ones likelier; a positive text adds medium or
    strong ones that it does not yet carry. Posts and everyday adverts carry none.
    """
    if voice not in (Voice.ADVERT, Voice.TOLD):
        return {(0, 0, 0): 1.0}
    weak, medium, strong = (len(tags) for tags in by_strength(voice))
    benign = _benign(parameters, (weak, medium, strong))
    if not recruits:
        return benign
    table: dict[Counts, float] = defaultdict(float)
    for (w, m, s), share in benign.items():
        room_m, room_s = medium - m, strong - s
        for extra, chance in enumerate(parameters.added, start=1):
            more = min(extra, room_m + room_s)
            for new in range(max(0, more - room_s), min(more, room_m) + 1):
                ways = comb(room_m, new) * comb(room_s, more - new) / comb(room_m + room_s, more)
                table[w, m + new, s + more - new] += share * chance * ways
    return dict(table)


def _benign(parameters: Parameters, most: Counts) -> dict[Counts, float]:
    trials, chance = parameters.indicator_trials, parameters.indicator_probability
    weights = (1.0, parameters.medium_weight, parameters.strong_weight)
    table: dict[Counts, float] = defaultdict(float)
    now: dict[Counts, float] = {(0, 0, 0): 1.0}
    for count in range(trials + 1):
        share = comb(trials, count) * chance**count * (1 - chance) ** (trials - count)
        if count >= sum(most):  # nothing is left to draw
            now = {most: 1.0}
        for counts, probability in now.items():
            table[counts] += share * probability
        after: dict[Counts, float] = defaultdict(float)
        for counts, probability in now.items():
            left = [(size - drawn) * weight for size, drawn, weight in zip(most, counts, weights, strict=True)]
            for level, part in enumerate(left):
                if part > 0:
                    w, m, s = (drawn + (level == i) for i, drawn in enumerate(counts))
                    after[w, m, s] += probability * part / sum(left)
        now = after
    return dict(table)


def own_table(parameters: Parameters, voice: Voice, *, distressed: bool) -> Mapping[Own, float]:
    """Probability of what is said about the author's own state."""
    if voice not in (Voice.POST, Voice.TOLD):
        return _NOTHING
    says = 1.0 - parameters.distress_silent if distressed else parameters.distress_manner
    twice = parameters.distress_repeated if distressed else parameters.manner_repeated
    said: dict[Own, float] = {(): 1.0 - says, ((_HELP, 1),): says * (1 - twice), ((_HELP, 2),): says * twice}
    if voice is Voice.TOLD:
        return said
    causes = tuple(tag for tag in TAGS[Voice.POST] if tag is not _HELP)
    named = parameters.cause_if_distressed if distressed else parameters.cause_otherwise
    table = {own: share * (1 - named) for own, share in said.items()}
    table |= {(*own, (cause, 1)): share * named / len(causes) for own, share in said.items() for cause in causes}
    return table


class SignalModel:
    """Draws signals. Tables are worked out once for each voice and truth."""

    def __init__(self, parameters: Parameters) -> None:
        self._p = parameters
        self._disturbed = (parameters.obfuscated_if_negative, parameters.obfuscated_if_positive)
        self._tags = {(voice, recruits): _drawable(tag_table(parameters, voice, recruits=recruits))
                      for voice in (Voice.ADVERT, Voice.TOLD) for recruits in (False, True)}
        self._own = {(voice, distressed): _drawable(own_table(parameters, voice, distressed=distressed))
                     for voice in (Voice.POST, Voice.TOLD) for distressed in (False, True)}
        self._kinds = {(channel, recruits): _drawable(parameters.text_kinds(channel, recruits=recruits))
                       for channel in Channel for recruits in (False, True)}

    def kind(self, draws: Draws, channel: Channel, *, recruits: bool) -> TextKind:
        """What a text in `channel` is about."""
        kinds, shares = self._kinds[channel, recruits]
        return kinds[draws.at(shares)]

    def draw(self, draws: Draws, voice: Voice, kind: TextKind, *, recruits: bool, distressed: bool) -> Signals:
        """What a text expresses, given the truth about its record."""
        tags: tuple[Indicator, ...] = ()
        own: Own = ()
        feeling = False
        if (voice, recruits) in self._tags:
            table, shares = self._tags[voice, recruits]
            counts = table[draws.at(shares)]
            tags = tuple([tag for group, count in zip(by_strength(voice), counts, strict=True) if count
                          for tag in draws.some(group, count)])
        if (voice, distressed) in self._own:
            said, shares = self._own[voice, distressed]
            own = said[draws.at(shares)]
            feeling = draws.chance(self._p.feeling_beside_own if own else self._p.feeling)
        return Signals(voice, kind, tags, own, feeling, draws.chance(self._disturbed[recruits]))

    def respelt(self, draws: Draws, signals: Signals, *, recruits: bool) -> Signals:
        """The same signals with another draw of whether the spelling is disturbed."""
        return signals._replace(obfuscated=draws.chance(self._disturbed[recruits]))


def _drawable(table: Mapping[Drawn, float]) -> tuple[tuple[Drawn, ...], tuple[float, ...]]:
    return tuple(table), cumulated(tuple(table.values()))
