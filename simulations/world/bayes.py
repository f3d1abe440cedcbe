"""The best that any reader of single texts could do: the Bayes score of a record, and its exact AUC.

The reader knows every number of the world and sees of a record what it expresses (`Signals`), in which language, and
whether it belongs to a campaign. It sees neither the partner nor the places nor the person's other records, and has
not met the template before: what is learned from labelled records of a seen template is beyond this ceiling. As a text
shows no more than its signals, no score of single texts can rank better on average.

    reader = BayesReader(SyntheticWorld(seed=1))
    reader.auc(Task.RECRUITMENT)          # 0.93: exact, against the truth and not against recorded labels
    reader.score(draft, Task.RECRUITMENT) # log-odds of one record
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache

from federation.taxonomy import Channel, PartnerKind, Task
from simulations.world import campaigns
from simulations.world.drafts import Draft
from simulations.world.grammar import TextKind, Voice
from simulations.world.profiles import Profile
from simulations.world.signals import Counts, Own, by_strength, own_table, tag_table, voice_of
from simulations.world.synthetic import SyntheticWorld

_Frame = tuple[str, bool, Voice, TextKind]
"""Language, whether in a campaign, voice and kind: all of a text but what it expresses."""
_State = tuple[_Frame, Counts, Own, bool]
_Truth = tuple[bool, bool]
"""Whether recruitment and whether distress is true."""
_TASKS = tuple(Task)


class BayesReader:
    """A reader who knows all of a world's numbers.

    Args:
        world: whose records are read: those of the partners that label a task, for that task.
        kinds: of these partners; of others the reader need not think.
    """

    def __init__(self, world: SyntheticWorld, kinds: Collection[PartnerKind] = tuple(PartnerKind)) -> None:
        self._p = world.parameters
        self._frames: dict[Task, dict[_Frame, dict[_Truth, float]]] = {task: {} for task in Task}
        for partner in self._p.partners:
            tasks = partner.declared_prevalence if partner.kind in kinds else ()
            for frame, truth, mass in _frames(world.profile(partner.name), partner.people) if tasks else ():
                for task in tasks:
                    masses = self._frames[task].setdefault(frame, {})
                    masses[truth] = masses.get(truth, 0.0) + mass
        self._tags = {(voice, truth): tag_table(self._p, voice, recruits=truth)
                      for voice in Voice for truth in (False, True)}
        self._own = {(voice, truth): own_table(self._p, voice, distressed=truth)
                     for voice in Voice for truth in (False, True)}

    def score(self, draft: Draft, task: Task) -> float:
        """Log-odds that a record is a positive of `task`; minus infinity if it cannot be."""
        found = draft.signals
        groups = by_strength(found.voice) if found.tags else ((), (), ())
        weak, medium, strong = (sum(tag in group for tag in found.tags) for group in groups)
        frame = draft.language, draft.origin is not None, found.voice, found.kind
        positive, negative = self._split(task, (frame, (weak, medium, strong), found.own, found.obfuscated))
        if positive == 0.0:
            return -math.inf
        return math.log(positive / negative) if negative else math.inf

    def auc(self, task: Task) -> float:
        """Exact: the chance that a random positive scores higher than a random negative, ties counting half."""
        at: dict[float, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for state in self._states(task):
            positive, negative = self._split(task, state)
            if positive + negative > 0.0:
                ends = at[round(positive / (positive + negative), 12)]
                ends[0] += positive
                ends[1] += negative
        below = won = 0.0
        for _, (positive, negative) in sorted(at.items()):
            won += positive * (below + negative / 2)
            below += negative
        return won / (below * sum(positive for positive, _ in at.values()))

    def _states(self, task: Task) -> Iterator[_State]:
        for frame in self._frames[task]:
            voice = frame[2]
            for counts in self._tags[voice, False].keys() | self._tags[voice, True].keys():
                for own in self._own[voice, True]:
                    for obfuscated in (False, True):
                        yield frame, counts, own, obfuscated

    def _split(self, task: Task, state: _State) -> tuple[float, float]:
        """Mass of the positives and of the negatives of `task` that look like this."""
        (frame, counts, own, obfuscated), voice = state, state[0][2]
        masses = [0.0, 0.0]
        for truth, mass in self._frames[task].get(frame, {}).items():
            recruits, distressed = truth
            disturbed = self._p.obfuscated_if_positive if recruits else self._p.obfuscated_if_negative
            likely = (self._tags[voice, recruits].get(counts, 0.0) * self._own[voice, distressed].get(own, 0.0)
                      * (disturbed if obfuscated else 1.0 - disturbed))
            masses[truth[_TASKS.index(task)]] += mass * likely
        return masses[True], masses[False]


def _frames(found: Profile, people: int) -> Iterator[tuple[_Frame, _Truth, float]]:
    """Expected records of each frame and truth at one partner."""
    for language, share in zip(found.languages, found.language_shares, strict=True):
        for (campaign, recruits), mass in found.masses.items():
            kinds = _template_kinds(recruits) if campaign else _own_kinds(found, recruits)
            for (voice, kind), part in kinds.items():
                frame = (language, campaign, voice, kind)
                distress = 0.0 if campaign else _distress(found, recruits) if voice in (Voice.POST, Voice.TOLD) else 0.0
                yield frame, (recruits, True), people * share * mass * part * distress
                yield frame, (recruits, False), people * share * mass * part * (1.0 - distress)


@cache
def _template_kinds(recruits: bool) -> Mapping[tuple[Voice, TextKind], float]:
    return {(voice_of(Channel.JOB_ADVERT, kind), kind): share for kind, share in campaigns.KINDS[recruits].items()}


def _own_kinds(found: Profile, recruits: bool) -> Mapping[tuple[Voice, TextKind], float]:
    kinds: dict[tuple[Voice, TextKind], float] = defaultdict(float)
    for channel, share in found.partner.channels.items():
        for kind, part in found.parameters.text_kinds(channel, recruits=recruits).items():
            kinds[voice_of(channel, kind), kind] += share * part
    return kinds


def _distress(found: Profile, recruits: bool) -> float:
    """Mean rate of distress among records that recruit, or do not, of people who act alone."""
    weights = [share * (found.advertises * rate if recruits else 1.0 - found.advertises * rate)
               for share, rate in zip(found.place_shares, found.recruiting, strict=True)]
    return sum(w * rate for w, rate in zip(weights, found.distress[recruits], strict=True)) / sum(weights)
