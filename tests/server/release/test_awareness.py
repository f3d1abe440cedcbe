"""The texts about the indicators: complete, plain, harmless, and in the script and spelling of their language."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from federation.errors import InputError
from federation.taxonomy import Indicator
from server.release import awareness
from server.release.awareness import LANGUAGES, AwarenessTexts, load_awareness, parse_awareness

FOLDER = Path(awareness.__file__).parent / "awareness"
TRANSLATIONS = LANGUAGES[1:]
LABELS = {
    "en": """
        Offer too good to fit · Unclear job · Fee or debt first · Travel and lodging controlled · ID demanded or kept ·
        Moved to private chat · Pressure and secrecy · Personal profile demanded · Plays on hardship · Control and
        isolation · Threats or violence · Unpaid or excessive work · Distress, call for help · Repeated campaign
    """,
    "es": """
        Oferta engañosa · Trabajo impreciso · Pago o deuda previa · Viaje y alojamiento controlados · Retención de
        documentos · Paso a chat privado · Presión y secreto · Exigencia de perfil personal · Aprovecha la necesidad ·
        Control y aislamiento · Amenazas o violencia · Impago o exceso de trabajo · Angustia, petición de ayuda ·
        Campaña repetida
    """,
    "fr": """
        Offre trompeuse · Emploi imprécis · Frais ou dette au départ · Voyage et logement contrôlés · Documents retenus
        · Passage en messagerie privée · Pression et secret · Profil personnel exigé · Exploite la précarité · Contrôle
        et isolement · Menaces ou violences · Travail impayé ou excessif · Détresse, appel à l’aide · Campagne répétée
    """,
    "ro": """
        Ofertă înșelătoare · Post neclar · Taxă sau datorie inițială · Transport și cazare controlate · Acte reținute ·
        Mutare pe chat privat · Presiune și secret · Profil personal cerut · Profită de nevoi · Control și izolare ·
        Amenințări sau violență · Muncă neplătită sau excesivă · Suferință, cerere de ajutor · Campanie repetată
    """,
    "uk": """
        Оманлива пропозиція · Нечітка робота · Плата або борг наперед · Контрольований переїзд і житло · Утримання
        документів · Перехід у приватний чат · Тиск і таємність · Вимоги до зовнішності чи віку · Використання скрути ·
        Контроль та ізоляція · Погрози чи насильство · Неоплачена чи надмірна праця · Страждання, прохання про допомогу
        · Повторювана кампанія
    """,
    "hi": """
        भ्रामक प्रस्ताव · अस्पष्ट काम · पहले शुल्क या कर्ज़ · यात्रा व आवास पर नियंत्रण · पहचान पत्र रोकना · निजी चैट पर
        बुलाना · दबाव और गोपनीयता · निजी विवरण की माँग · मजबूरी का लाभ · नियंत्रण और अलगाव · धमकी या हिंसा · अवैतनिक या
        अत्यधिक काम · व्यथा, मदद की पुकार · दोहराया गया अभियान
    """,
}
"""In the order of the taxonomy: the drafts of the domain dossier, section 3.3."""
REVIEW = "This translation is a draft and still needs review by native speakers and practitioners."
DRAFT = {"es": "borrador", "fr": "brouillon", "ro": "schiță", "uk": "чернеткою", "hi": "मसौदा"}
EMERGENCY = {"en": "local emergency number", "es": "número de emergencias local", "fr": "numéro d’urgence local",
             "ro": "numărul local de urgență", "uk": "місцевим номером екстреної допомоги",
             "hi": "स्थानीय आपातकालीन नंबर"}
PROVES_NOTHING = {"en": "proves nothing", "es": "no prueba nada", "fr": "ne prouve rien", "ro": "nu dovedește nimic",
                  "uk": "нічого не доводить", "hi": "कुछ साबित नहीं करता"}
WORDS_TO_AVOID = """
victim suspect suspicious hot-?spot predict target surveill traffick perpetrator offender criminal rescue slave
sex prostitut escort brothel massage erotic porn nude pimp hostess strip
race racial ethnic nationalit foreign migrant immigrant gypsy tribe caste religio african asian arab indian latin
european american black white
girl boy woman women female male child teen
code coded slang emoji keyword hashtag
""".split()
PLATFORMS = """
facebook instagram whatsapp telegram tiktok snapchat twitter youtube discord wechat viber linkedin craigslist google
reddit tinder onlyfans backpage vkontakte
""".split()
SENTENCE_END = re.compile(r"[.!?।](?=\s|$)")


def everything(texts: AwarenessTexts) -> list[str]:
    """All that is shown in one language, without the sentence in English."""
    own = texts.draft_notice.removesuffix(REVIEW).strip()
    return [texts.language_name, texts.title, texts.intro, own,
            *(text for each in texts.indicators.values() for text in (each.label, each.sign, each.advice))]


def letters(lang: str) -> str:
    return "".join(c for text in everything(load_awareness(lang)) for c in text if unicodedata.category(c)[0] in "LM")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_indicator_has_its_texts(lang: str) -> None:
    texts = load_awareness(lang)
    assert set(texts.indicators) == set(Indicator)
    assert (texts.lang, texts.direction) == (lang, "ltr")
    assert load_awareness(lang) is texts, "read once"


def test_no_file_is_left_out_and_no_key_is_written_twice() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(LANGUAGES)
    for path in FOLDER.iterdir():
        assert re.findall(r"(?m)^  (\w+):$", path.read_text(encoding="utf-8")) == list(Indicator), path.stem


@pytest.mark.parametrize("lang", LANGUAGES)
def test_labels_are_the_agreed_drafts(lang: str) -> None:
    agreed = " ".join(LABELS[lang].split()).split(" · ")
    assert [load_awareness(lang).indicators[each].label for each in Indicator] == agreed


@pytest.mark.parametrize("lang", LANGUAGES)
def test_texts_are_short_and_whole_sentences(lang: str) -> None:
    texts = load_awareness(lang)
    assert 20 <= len(texts.title) <= 60
    assert 120 <= len(texts.intro) <= 320
    for indicator, each in texts.indicators.items():
        assert 4 <= len(each.label) <= 40, indicator
        assert 60 <= len(each.sign) <= 180, indicator
        assert 90 <= len(each.advice) <= 300, indicator
        assert len(SENTENCE_END.findall(each.sign)) == 1, indicator
        assert 1 <= len(SENTENCE_END.findall(each.advice)) <= 2, indicator
    for text in everything(texts)[2:]:
        assert text in [each.label for each in texts.indicators.values()] or SENTENCE_END.search(text[-1]), text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_texts_of_a_language_differ_from_each_other_and_from_other_languages(lang: str) -> None:
    own = everything(load_awareness(lang))
    assert len(set(own)) == len(own)
    for other in set(LANGUAGES) - {lang}:
        assert not set(own) & set(everything(load_awareness(other)))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_sign_proves_nothing_and_danger_has_a_number(lang: str) -> None:
    texts = load_awareness(lang)
    assert PROVES_NOTHING[lang] in texts.intro
    assert EMERGENCY[lang] in texts.intro
    assert EMERGENCY[lang] in texts.indicators[Indicator.THREAT_VIOLENCE].advice


@pytest.mark.parametrize("lang", TRANSLATIONS)
def test_a_translation_says_in_both_languages_that_it_is_a_draft(lang: str) -> None:
    notice = load_awareness(lang).draft_notice
    assert notice.endswith(" " + REVIEW)
    assert DRAFT[lang] in notice


def test_the_english_texts_say_that_they_are_a_draft() -> None:
    assert load_awareness("en").draft_notice == "These texts are a draft and still need review by practitioners."


def test_no_word_to_avoid() -> None:
    found = [match for text in everything(load_awareness("en"))
             for match in re.findall(rf"\b(?:{'|'.join(WORDS_TO_AVOID)})\w*", text, re.IGNORECASE)]
    assert found == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_platform_link_number_or_emoji(lang: str) -> None:
    for text in everything(load_awareness(lang)):
        assert not any(platform in text.lower() for platform in PLATFORMS), text
        assert not re.search(r"[\d@#/<>{}*_&]|www|http", text), text
        assert all(unicodedata.category(c) != "So" for c in text), text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_letters_are_of_the_script(lang: str) -> None:
    script = {"uk": "CYRILLIC", "hi": "DEVANAGARI"}.get(lang, "LATIN")
    assert {c for c in letters(lang) if not unicodedata.name(c).startswith(script)} == set()
    assert all(unicodedata.is_normalized("NFC", text) for text in everything(load_awareness(lang)))


@pytest.mark.parametrize(("lang", "own", "foreign"), [
    ("es", "áéíóúñ", "àèêçãõ"), ("fr", "àâçéèêôû", "áíóúñ"), ("ro", "ăâîșț", "şţǎ"), ("uk", "іїєґ", "ыэёъ"),
    ("hi", "ंँ़्", ""), ("en", "", "áéíóúñàâçèêăîșț")])
def test_letters_are_of_the_language(lang: str, own: str, foreign: str) -> None:
    used = set(letters(lang).lower())
    assert set(own) - used <= {"ґ"}, "which is rare"
    assert not used & set(foreign)


@pytest.mark.parametrize("lang", TRANSLATIONS)
def test_punctuation_is_of_the_language(lang: str) -> None:
    for text in everything(load_awareness(lang)):
        assert not re.search("[\"'`´]|  |\\.\\.| ,|\u00a0,", text), f"straight quotes or a slip: {text}"
        assert ("." not in text) if lang == "hi" else ("।" not in text), text
        if lang == "es":
            assert (text.count("¿"), text.count("¡")) == (text.count("?"), text.count("!")), text
        if lang == "fr":
            assert not re.search("[^\u00a0\u202f][:;?!»]", text), f"no-break space before high punctuation: {text}"
        else:
            assert not re.search(r"\s[:;?!]", text), text


def broken(**changes: object) -> str:
    content = yaml.safe_load((FOLDER / "es.yaml").read_text(encoding="utf-8"))
    for path, value in changes.items():
        *parents, key = path.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[key]
        else:
            place[key] = value
    return yaml.safe_dump(content, allow_unicode=True)


def test_an_unbroken_copy_is_taken() -> None:
    assert parse_awareness(broken(), lang="es") == load_awareness("es")


@pytest.mark.parametrize(("changes", "problem"), [
    ({"indicators__wage_overwork": None}, "indicators: Value error, wage_overwork missing"),
    ({"indicators__lucky_charm": {"label": "a", "sign": "b", "advice": "c"}}, "indicators.lucky_charm"),
    ({"indicators__vague_role__advice": None}, r"indicators\.vague_role\.advice: Field required"),
    ({"indicators__vague_role__sign": "  "}, r"indicators\.vague_role\.sign"),
    ({"indicators__vague_role__label": 5}, r"indicators\.vague_role\.label"),
    ({"indicators__vague_role__motto": "x"}, r"indicators\.vague_role\.motto: Extra inputs"),
    ({"motto": "x"}, "motto: Extra inputs"),
    ({"title": None}, "title: Field required"),
    ({"draft_notice": ""}, "draft_notice"),
    ({"direction": "up"}, "direction"),
    ({"lang": "fr"}, "lang is fr"),
])
def test_a_file_that_is_not_whole_is_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError, match=rf"awareness text es\.yaml: .*{problem}"):
        parse_awareness(broken(**changes), lang="es")


@pytest.mark.parametrize(("text", "problem"), [("a: [", "is not valid YAML"), ("", "file: Input should be"),
                                               ("- 1", "file: Input should be")])
def test_a_file_that_is_none_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parse_awareness(text, lang="es")


@pytest.mark.parametrize("lang", ["de", "../es", "", "EN"])
def test_a_language_that_there_is_not(lang: str) -> None:
    with pytest.raises(InputError, match="en, es, fr, ro, uk, hi"):
        load_awareness(lang)


def test_texts_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_awareness("en").title = "Proof"  # type: ignore[misc]
