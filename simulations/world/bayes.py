"""The best that any reader of single texts could do: the Bayes score of a record, and its exact AUC.

The reader knows every number of the world and sees of a record what it expresses (`Signals`), in which language, and
whether it belongs to a campaign. It sees neither the places nor the person's other records, and has not met the
template before: what is learned from labelled records of a seen template is beyond this ceiling. As a text shows no
more than its signals, no score of single texts can rank better on average.

    ceiling(world, Task.RECRUITMENT)   # 0.93: exact, within partners, against the truth and not recorded labels
    reader = BayesReader(world)        # of all partners' records together
    reader.auc(Task.RECRUITMENT)       # 0.96: higher, as partners differ in prevalence and in voice
    reader.score(draft, Task.RECRUITMENT)   # log-odds of one record
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from federation.taxonomy import Channel, Task
from simulations.world import campaigns
from simulations.world.drafts import Draft
from simulations.world.grammar import TextKind, Voice
from simulations.world.profiles import Profile
from simulations.world.signals import Counts, Own, by_strength, own_table, tag_table, voice_of
from simulations.world.synthetic import SyntheticWorld

_Frame = tuple[str, bool, Voice, TextKind]
"""Language, whether in a campaign, voice and kind: all of a text but what it expresses."""
_Truth = tuple[bool, bool]
"""Whether recruitment and whether distress is true."""
_Array = npt.NDArray[np.float64]
_TASKS = tuple(Task)
_TRUTHS: tuple[_Truth, ...] = ((False, False), (False, True), (True, False), (True, True))


def ceiling(world: SyntheticWorld, task: Task) -> float:
    """Bayes AUC within partners: the chance that a positive scores higher than a negative of the same partner.

    The mean over the partners that label the task, weighted by their positives, each read by a reader who knows that
    it is this partner's. No score of single texts has a higher one.
    """
    readers = [BayesReader(world, [p.name]) for p in world.parameters.partners if task in p.declared_prevalence]
    positives = [reader.masses(task)[0].sum() for reader in readers]
    return float(np.average([reader.auc(task) for reader in readers], weights=positives))


class BayesReader:
    """A reader who knows all of a world's numbers.

    Args:
        world: whose records are read: those of the partners that label a task, for that task.
        partners: names of these; of others the reader need not think. All by default.
    """

    def __init__(self, world: SyntheticWorld, partners: Collection[str] | None = None) -> None:
        p = world.parameters
        self._frames: dict[Task, dict[_Frame, dict[_Truth, float]]] = {task: {} for task in Task}
        for partner in p.partners:
            tasks = partner.declared_prevalence if partners is None or partner.name in partners else ()
            for frame, truth, mass in _frames(world.profile(partner.name), partner.people) if tasks else ():
                for task in tasks:
                    masses = self._frames[task].setdefault(frame, dict.fromkeys(_TRUTHS, 0.0))
                    masses[truth] += mass
        self._tags = {(voice, truth): tag_table(p, voice, recruits=truth)
                      for voice in Voice for truth in (False, True)}
        self._own = {(voice, truth): own_table(p, voice, distressed=truth)
                     for voice in Voice for truth in (False, True)}
        self._disturbed = (p.obfuscated_if_negative, p.obfuscated_if_positive)

    def score(self, draft: Draft, task: Task) -> float:
        """Log-odds that a record is a positive of `task`; minus infinity if it cannot be."""
        found = draft.signals
        frame = draft.language, draft.origin is not None, found.voice, found.kind
        weak, medium, strong = (sum(tag in group for tag in found.tags) for group in by_strength(
            found.voice)) if found.tags else (0, 0, 0)
        masses = [0.0, 0.0]
        for truth, mass in self._frames[task].get(frame, {}).items():
            masses[truth[_TASKS.index(task)]] += mass * self._likely(
                found.voice, truth, (weak, medium, strong), found.own, found.obfuscated)
        negative, positive = masses
        if positive == 0.0:
            return -math.inf
        return math.log(positive / negative) if negative else math.inf

    def auc(self, task: Task) -> float:
        """Exact: the chance that a random positive scores higher than a random negative, ties counting half."""
        positives, negatives = self.masses(task)
        shares = np.round(positives / (positives + negatives), 12)
        _, rank = np.unique(shares, return_inverse=True)
        positive, negative = np.bincount(rank, positives), np.bincount(rank, negatives)
        below = np.cumsum(negative) - negative
        return float((positive * (below + negative / 2)).sum() / positive.sum() / negative.sum())

    def masses(self, task: Task) -> tuple[_Array, _Array]:
        """Expected positives and negatives of every look that a record can have, both of shape `(looks,)`."""
        sides: tuple[list[_Array], list[_Array]] = ([], [])
        for frame, masses in self._frames[task].items():
            both = [np.zeros_like(self._table(frame[2])[_TRUTHS[0]]) for _ in range(2)]
            for truth, mass in masses.items():
                both[truth[_TASKS.index(task)]] += mass * self._table(frame[2])[truth]
            for side, found in zip(sides, both, strict=True):
                side.append(found)
        negatives, positives = (np.concatenate(side) for side in sides)
        there = positives + negatives > 0.0
        return positives[there], negatives[there]

    def _likely(self, voice: Voice, truth: _Truth, counts: Counts, own: Own, obfuscated: bool) -> float:
        recruits, distressed = truth
        disturbed = self._disturbed[recruits]
        return (self._tags[voice, recruits].get(counts, 0.0) * self._own[voice, distressed].get(own, 0.0)
                * (disturbed if obfuscated else 1.0 - disturbed))

    @cache  # noqa: B019  a reader is short-lived
    def _table(self, voice: Voice) -> Mapping[_Truth, _Array]:
        """Likelihood of every look in a voice, for each truth."""
        looks = [(counts, own, obfuscated)
                 for counts in sorted(self._tags[voice, False].keys() | self._tags[voice, True].keys())
                 for own in self._own[voice, True] for obfuscated in (False, True)]
        return {truth: np.array([self._likely(voice, truth, *look) for look in looks]) for truth in _TRUTHS}


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
