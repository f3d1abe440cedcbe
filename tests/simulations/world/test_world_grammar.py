"""Every language file has the same shape, so that adding one is copying and translating."""

from __future__ import annotations

import re
import shutil
import string
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from federation.encoders.use import LANGUAGES as COVERED
from federation.errors import InputError
from simulations.world import Parameters, SyntheticWorld, grammar
from simulations.world.draws import Draws
from simulations.world.grammar import KINDS, TAGS, Language, TextKind, Voice, languages, load_language
from simulations.world.parameters import DEFAULT_PARTNERS
from simulations.world.signals import SignalModel
from simulations.world.wording import ZERO_WIDTH, Slots, obfuscate, open_slots, skeleton

SLOTS = {"job", "place", "when", "n", "email", "phone", "handle"}

# Words that no text may hold, in any language of the files: groups of people by descent, faith or passport, and sexual
# services. Stems, matched at the start of a word.
FORBIDDEN = """gypsy roma romani romany arab asian african black white muslim christian jew jewish hindu
  ukrainian russian romanian indian nigerian chinese thai filipin albanian bulgarian
  gitan árab arab african asiátic asiatiq negr noir chinois chino rumano ruman roumain ucranian ukrainien ukrainesc
  russ rusa rusă ruso indio indien ţigan țigan rom rrom musulm judí juif evre
  цыган ром араб африкан азиат мусульман еврей еврейк русск украин румын кита индий
  циган росія росій румун азійськ африканськ мусульман єврей китай індійськ
  मुसलमान हिंदू ईसाई दलित आदिवासी चीनी रूसी यूक्रेनी नेपाली बांग्लादेशी
  sex sexe sexo sexual sexuel sexy escort erotic érotique erótic erotik prostitut puta putain nude naked massage masaj
  masaje brothel bordel hooker
  секс эскорт эротич еротич проститут массаж масаж интим інтим бордел
  सेक्स वेश्या यौन मसाज एस्कॉर्ट""".split()


def _texts(language: Language) -> list[str]:
    plain = [*language.contact, *(text for texts in language.slots.values() for text in texts)]
    plain += [text for kinds in language.frames.values() for texts in kinds.values() for text in texts]
    for by_voice in (language.details, language.feelings):
        plain += [text for texts in by_voice.values() for text in texts]
    return plain + [text for tags in language.tags.values() for texts in tags.values() for text in texts]


def _forbidden(text: str) -> list[str]:
    words = re.findall(r"[^\W\d_][\w\u0900-\u097f]*", unicodedata.normalize("NFC", text.lower()))
    # Short ones only as whole words: `rom` is inside many others.
    return [word for word in words for stem in FORBIDDEN
            if word == stem or (len(stem) > 4 and word.startswith(stem))]


@pytest.mark.parametrize("code", languages())
def test_a_language_is_complete(code: str) -> None:
    language = load_language(code)
    assert language.code == code
    assert {voice: set(kinds) for voice, kinds in language.frames.items()} == {v: set(k) for v, k in KINDS.items()}
    assert {voice: set(tags) for voice, tags in language.tags.items()} == {v: set(t) for v, t in TAGS.items()}
    assert set(language.details) == {Voice.ADVERT, Voice.POST, Voice.TOLD}
    assert set(language.feelings) == {Voice.POST, Voice.TOLD}
    for tags in language.tags.values():
        assert all(len(texts) >= 3 and len(set(texts)) == len(texts) for texts in tags.values())
    for kinds in language.frames.values():
        assert all(len(texts) >= 3 and len(set(texts)) == len(texts) for texts in kinds.values())
    for text in _texts(language):
        assert {field for _, field, _, _ in string.Formatter().parse(text) if field} <= SLOTS


@pytest.mark.parametrize("code", languages())
def test_a_file_says_its_own_language_and_nothing_else(code: str) -> None:
    raw = yaml.safe_load((grammar.FOLDER / f"{code}.yaml").read_text(encoding="utf-8"))
    assert raw["language"] == code
    assert set(raw) == {"language", "jobs", "places", "whens", "frames", "details", "feelings", "contact", "tags"}


@pytest.mark.parametrize("code", languages())
def test_no_text_names_a_group_of_people_or_a_sexual_service(code: str) -> None:
    assert {text: found for text in _texts(load_language(code)) if (found := _forbidden(text))} == {}


@pytest.mark.parametrize("text", ["For Romani people", "mujeres asiáticas", "массаж", "секс", "Rom", "масаж {place}"])
def test_the_list_of_forbidden_words_bites(text: str) -> None:
    assert _forbidden(text)


def test_the_languages_are_there_and_the_default_world_uses_them_all() -> None:
    assert {"en", "es", "fr", "pt", "ro", "ru", "uk", "hi"} <= set(languages())
    used = {code for p in DEFAULT_PARTNERS for code in (*p.languages, *p.uncovered_languages)}
    assert used == set(languages())


def test_what_a_partner_declares_as_covered_is_covered_by_the_default_encoder() -> None:
    for partner in DEFAULT_PARTNERS:
        assert set(partner.languages) <= COVERED
        assert not set(partner.uncovered_languages) & COVERED


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the language files in which more can be put."""
    copy = tmp_path / "languages"
    shutil.copytree(str(grammar.FOLDER), copy)
    monkeypatch.setattr(grammar, "FOLDER", copy)
    load_language.cache_clear()
    yield copy
    load_language.cache_clear()


def test_adding_a_file_is_all_it_takes(folder: Path) -> None:
    text = (folder / "en.yaml").read_text(encoding="utf-8")
    (folder / "zz.yaml").write_text(text.replace("language: en", "language: zz"), encoding="utf-8")
    partner = replace(DEFAULT_PARTNERS[3], languages=("zz",), uncovered_languages=())
    world = SyntheticWorld(seed=1, size="tiny", parameters=Parameters(partners=(partner,)))
    assert {draft.row["language"] for draft in world.stream(partner.name)} == {"zz"}


def test_a_file_that_lacks_a_part_is_refused(folder: Path) -> None:
    raw = yaml.safe_load((folder / "en.yaml").read_text(encoding="utf-8"))
    del raw["frames"]["told"]["migrant_job"]
    (folder / "zz.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(InputError, match=r"zz\.yaml: lacks 'migrant_job'"):
        load_language("zz")


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(InputError, match="no grammar"):
        load_language("../en")


@pytest.mark.parametrize("code", languages())
@pytest.mark.parametrize("voice", list(Voice))
def test_composed_texts_have_no_open_slot(code: str, voice: Voice) -> None:
    draws, language, model = Draws(1, code, voice.value), load_language(code), SignalModel(Parameters())
    for i in range(40):
        signals = model.draw(draws, voice, KINDS[voice][i % len(KINDS[voice])], recruits=i % 2 == 0,
                             distressed=i % 3 == 0)
        text = skeleton(draws, language, signals, contact=True)
        filled = text.format_map(Slots(draws, language))
        assert filled.strip()
        assert not set(filled) & set("{}")
        assert set(open_slots(text)) <= SLOTS


def test_a_slot_given_is_kept_and_the_same_slot_is_filled_alike() -> None:
    draws, language = Draws(1, "slots"), load_language("en")
    texts = {"{n} {n} {place}".format_map(Slots(draws, language, {"place": "here"})) for _ in range(50)}
    assert all(text.endswith(" here") and len(set(text.split()[:2])) == 1 for text in texts)
    assert len(texts) > 10


def test_obfuscation_keeps_the_letters() -> None:
    draws = Draws(2, "obfuscation")
    text = "please message us privately at anna@example.org or +1 202 555 0101"
    changed = [obfuscate(draws, text) for _ in range(100)]
    assert any(ZERO_WIDTH in other for other in changed)
    assert all("anna@example.org" in other and "+1 202 555 0101" in other for other in changed)
    letters = set(text) | {ZERO_WIDTH}
    assert all(set(other) <= letters for other in changed)


def test_every_kind_of_text_has_a_voice() -> None:
    assert {kind for kinds in KINDS.values() for kind in kinds} == set(TextKind)
