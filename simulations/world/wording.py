"""From signals to a text: a skeleton with open slots, then its slots filled, then perhaps its spelling disturbed."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

from simulations.world.draws import Draws
from simulations.world.grammar import Language, Voice
from simulations.world.signals import Signals

_NOTHING: Mapping[str, str] = {}
ZERO_WIDTH = "\u200b"
_ROOMY = 4  # a text of fewer parts has room for small talk


def skeleton(draws: Draws, language: Language, signals: Signals, *, contact: bool) -> str:
    """A text with open slots.

    Args:
        contact: whether invented contact details are given.
    """
    voice = signals.voice
    told = voice is Voice.TOLD
    own = Voice.TOLD if told else Voice.POST
    parts = [draws.pick(language.tags[voice][tag]) for tag in signals.tags]
    # A distress said twice is said in two ways, so that a reader can tell it from one said once.
    for tag, count in signals.own:
        parts += draws.some(language.tags[own][tag], count)
    if signals.feeling:
        parts.append(draws.pick(language.feelings[own]))
    if len(parts) < _ROOMY:
        parts += draws.some(language.details[own if voice is Voice.CLASSIFIED else voice], draws.below(3))
    sentence = [draws.pick(language.frames[voice][signals.kind]), *draws.some(parts, len(parts))]
    if contact:
        sentence.append(draws.pick(language.contact))
    if told or draws.chance(0.3):
        return ". ".join([part[:1].upper() + part[1:] for part in sentence])
    return ", ".join(sentence)


def open_slots(text: str) -> tuple[str, ...]:
    """The open slots of a text, each once, in order."""
    return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(text) if name))


class Slots(dict[str, str]):
    """What fills the slots of one text; each is drawn when it is first asked for."""

    def __init__(self, draws: Draws, language: Language, fixed: Mapping[str, str] = _NOTHING) -> None:
        super().__init__(fixed)
        self._draws, self._language = draws, language

    def __missing__(self, slot: str) -> str:
        self[slot] = found = self._drawn(slot)
        return found

    def _drawn(self, slot: str) -> str:
        draws = self._draws
        if slot in self._language.slots:
            return draws.pick(self._language.slots[slot])
        if slot == "n":
            return str(draws.between(2, 39))
        number = draws.between(1000, 9999)
        # example.org is reserved by RFC 2606; 555-01xx and 07700 900xxx are kept for fiction by the authorities.
        if slot == "email":
            return f"contact{number}@example.org"
        if slot == "handle":
            return f"@invented_{number}"
        return f"+1 202 555 01{number % 100:02d}" if draws.chance(0.5) else f"+44 7700 9001{number % 100:02d}"


def obfuscate(draws: Draws, text: str) -> str:
    """Disturb one to three words by a zero-width space, spaced letters or a doubled letter.

    Random noise in the place of any real evasion habit: it tests normalisation and teaches nothing.
    """
    words = text.split(" ")
    for _ in range(draws.between(1, 3)):
        at = draws.below(len(words))
        word = words[at]
        if len(word) < 4 or "@" in word or word[0] == "+" or word.isdigit():
            continue
        cut = draws.between(1, len(word) - 2)
        way = draws.below(3)
        words[at] = (word[:cut] + ZERO_WIDTH + word[cut:], " ".join(word), word[:cut] + word[cut - 1] + word[cut:])[way]
    return " ".join(words)
