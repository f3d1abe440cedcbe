"""Redaction by rules: links, addresses, handles and long numbers become placeholders before a text is stored.

    "write me: john (at) mail (dot) com or +40 712 345 678"  ->  "write me: <email> or <phone>"

Placeholders: `<url> <email> <user> <phone> <number>`; an account number (IBAN) is a `<number>`, and a document number
in groups or with a 0 in front counts as a `<phone>`. A text that holds nothing to redact is returned as it is (apart
from normalisation), and redacting twice changes nothing. Dates (2024-05-01), prices (1,200), years and numbers of up to
six digits stay, since they carry meaning.

What hides from a plain pattern is undone first: compatibility forms (fullwidth `＠`), invisible and direction
characters, keycaps, entities (`&#64;`). Matching then runs over a *shadow*, the same text with digits of every script
as 0-9 and look-alike letters and signs as ASCII. It has the same length, so the text itself keeps its
script.

Not found: names of people, numbers written in words, letters standing for digits. Free text stays sensitive.

Every pattern is linear: quantifiers are possessive or bounded, and a long run is entered only at its start.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache

PLACEHOLDERS = ("<url>", "<email>", "<user>", "<phone>", "<number>")
_MAX_PASSES = 8

_ENTITIES = re.compile(r"&(?:#0*64|#x0*40|commat|(#0*46|#x0*2e|period));", re.I)
_HASHED = re.compile(r"#(URL|EMAIL|PHONE)_[0-9a-f]{16,64}#?", re.I)  # EMSCAD's own marks hold a hash of the value
# C0 and C1 controls, the format characters a text can do without, variation selectors, keycaps, invisible letters.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20e0\u20e3"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]+")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u2800]+")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@cache
def _stacked_marks(end: int) -> re.Pattern[str]:
    """More than eight combining marks in a row, of those below `end`."""
    marks = "".join(chr(c) for c in range(0x300, end) if unicodedata.combining(chr(c)))
    return re.compile(f"([{marks}]{{8}})[{marks}]+")


def _unstack(text: str) -> str:
    # Normalising a long pile of combining marks takes quadratic time; nobody writes more than eight. The pattern with
    # marks beyond the basic plane is ten times slower, so it runs only where such characters are.
    return _stacked_marks(0x20000 if _ASTRAL.search(text) else 0x10000).sub(r"\1", text)


@cache
def _shadow_table() -> dict[int, str]:
    """One character to one ASCII character: digits of every script, look-alike signs and letters."""
    table: dict[int, str] = {}
    for code in range(0x80, 0x20000):
        digit = unicodedata.digit(chr(code), None)
        if digit is not None:
            table[code] = str(digit)
    alike = {".": "\u2024\u2027\u2022\u00b7\u30fb\u3002\u06d4\u0701\uff61\u0387\ua4f8", "/": "\u2044\u2215\u29f8\u2571",
             ":": "\u2236\u02d0\ua789\u05c3\u0589", "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30fc\u02d7",
             "+": "\u2795\u02d6", "a": "аαɑ", "b": "Ьƅ", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡ", "h": "һ", "i": "іιı",
             "j": "ј", "k": "кκ", "m": "м", "n": "ո", "o": "оοօ", "p": "рρ", "q": "ԛ", "r": "г", "s": "ѕ", "t": "тτ",
             "u": "υս", "v": "νѵ", "w": "ԝѡ", "x": "хχ", "y": "уү", "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ",
             "H": "НΗ", "I": "ІΙ", "K": "КΚ", "M": "МΜ", "N": "Ν", "O": "ОΟ", "P": "РΡ", "T": "ТΤ", "X": "ХΧ",
             "Y": "УΥ"}
    for ascii_character, others in alike.items():
        table.update({ord(other): ascii_character for other in others})
    return table


def normalise(text: str) -> str:
    """One form for what looks alike: NFKC, nothing invisible, one space between words. Normalising twice is once."""
    for _ in range(_MAX_PASSES):
        again = _normal_once(text)
        if again == text:
            break
        text = again
    return text


def _normal_once(text: str) -> str:
    if not text.isascii():
        text = _unstack(_SURROGATE.sub("\ufffd", text))
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    text = _CONTROL.sub("", text)
    if "&" in text:
        text = _ENTITIES.sub(lambda m: "." if m[1] else "@", text)
    # split and join: the same as replacing \s+ and stripping, several times faster.
    return " ".join(text.split())


# Domains that are accepted without a path. Endings that are also words ("in", "me", "so", "it") need one.
_ENDINGS = frozenset((
    "com|net|org|info|biz|edu|gov|xyz|online|site|shop|store|club|top|click|link|app|dev|jobs|work|life|live|icu|ru|ua|"
    "by|kz|ro|md|bg|pl|cz|sk|hu|rs|hr|si|mk|gr|tr|de|fr|es|pt|nl|uk|ie|se|dk|fi|ee|lv|lt|ch|eu|us|ca|mx|br|ar|cl|pe|"
    "ve|cn|jp|kr|tw|hk|sg|ph|vn|th|kh|mm|bd|lk|np|pk|ir|iq|sy|lb|jo|il|ae|sa|qa|kw|eg|ma|tn|ng|gh|ke|et|za|au|nz|io|"
    "gg|tk|рф|укр|pф|yкp").split("|"))
_AT = r"(?:\s?@\s?|\s?[\[({<]\s?(?:at|@|arroba|ет)\s?[\])}>]\s?)"
_DOT = r"(?:\.|\s?[\[({<]\s?(?:dot|\.|punkt|punto|ponto|point)\s?[\])}>]\s?|\s(?:dot|punkt|punto)\s)"
_LABEL = r"[^\W_](?:[\w-]*+)"

_URL = re.compile(
    rf"(?:[a-z][a-z0-9+.-]{{1,20}}+\s?:\s?/\s?/\s?[^\s<>\"]++|\bwww\d?{_DOT}[^\s<>\"]++)", re.I)
_SPELLED_DOT = r"(?:\sdot\s|\s?[\[({<]\s?(?:dot|\.|punkt|punto|ponto|point)\s?[\])}>]\s?)"
_EMAIL = re.compile(
    rf"(?<![\w.%+-])(?:[\w%+-]++{_SPELLED_DOT}){{0,3}}+[\w.%+-]++(?:{_AT}(?:{_LABEL}(?:{_DOT}[\w-]++)++)|@[^\W\d_][\w-]*+|\sat\s[\w-]++(?:\sdot\s[\w-]++)++)"
    r"(?:@[\w.-]*+)*+",
    re.I)
_SITE = re.compile(rf"(?<![\w-])[\w-]++(?:{_DOT}[\w-]++)++(?P<rest>[/?#:][^\s<>\"]++)?", re.I)
_DOTS = re.compile(_DOT, re.I)
_AT_HINT = re.compile(r"[@\[({<]\s?(?:at|@|arroba|ет)\s?[\])}>]|\sat\s[\w-]++\sdot\s", re.I)
_DOT_HINT = re.compile(r"\.(?=[\w-])|[\[({<]\s?(?:dot|\.|punkt|punto|ponto|point)|\s(?:dot|punkt|punto)\s", re.I)

_CHAT_LINK = re.compile(r"(?:https?://)?(?<![\w.])(?:t|telegram|wa)\.me\s?/\s?[^\s<>\"]++", re.I)
_HANDLE = re.compile(r"(?<!@)@++(?<!\w@)\w[\w.-]*+", re.I)
_REDDIT = re.compile(r"(?<![\w/])/?u/\w[\w/-]*+", re.I)
_TAGGED = re.compile(r"(?<![\w.])[\w.]{2,32}+#\d{4}(?!\w)")
_LABELLED = re.compile(
    r"\b(?:telegram|tg|whatsapp|insta|instagram|ig|snap|snapchat|skype|viber|wechat|kik|discord)\s?[:=]\s?@?\w[\w.-]{2,}+",
    re.I)

_DATE = (r"(?<!\d)(?:(?:19|20)\d\d(?P<d1>[-./])(?:0?[1-9]|1[0-2])(?P=d1)(?:0?[1-9]|[12]\d|3[01])"
         r"|(?:0?[1-9]|[12]\d|3[01])(?P<d2>[-./])(?:0?[1-9]|[12]\d|3[01])(?P=d2)(?:19|20)\d\d)(?!\d|[-./]\d)")
_PRICE = r"(?<![\d.])[1-9]\d{0,2}(?:,\d{3}){1,2}(?:\.\d{1,2})?(?!\d|[-./,]\d)"
_DIGITS = re.compile(rf"(?P<keep>{_DATE}|{_PRICE})|\+?\(?\d(?:[ .\-()/*_~|\u0300-\u036f]{{0,3}}+\d)*+")
_RUN = re.compile(r"[\d+(][\d .,\-()/*_~|+\u0300-\u036f]{6,}+")
_GROUPS = re.compile(r"\d+")
_YEAR = re.compile(r"(?:19|20)\d\d")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:([. ])\d{3})?(?:\1\d{3})*[. ]000")


# Countries by the length of their account numbers: SWIFT's IBAN registry (ISO 13616).
_IBAN_LENGTHS = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU"}
_GROUPED_IBANS = "|".join(rf"(?:{countries.replace(' ', '|')})[ .-]?\d\d(?:[ .-]?[0-9a-z]){{{length - 4}}}(?!\w)"
                          for length, countries in _IBAN_LENGTHS.items())
# In one piece it is an account number in any country; with gaps it could be words, so its length has to fit.
_IBAN = re.compile(rf"(?<!\w)(?=[a-z]{{2}}[ .-]?\d\d[ .-]?[0-9a-z])"
                   rf"(?:[a-z]{{2}}\d\d[0-9a-z]{{11,30}}(?!\w)|{_GROUPED_IBANS})", re.I | re.A)
_IBAN_HINT = re.compile(r"\d(?:(?<=[a-z]{2}\d)|(?<=[a-z]{2}[ .-]\d))\d[ .-]?[0-9a-z]", re.I | re.A)  # digit first: fast
_IN_FOURS = re.compile(r"[a-z]{2}\d\d(?:[ .-][0-9a-z]{4})+(?:[ .-][0-9a-z]{1,3})?", re.I | re.A)
_GAP = re.compile(r"[ .-]")


def _iban_kind(match: re.Match[str]) -> str | None:
    """`<number>` for what is an account number by its form or its check digits (ISO 7064, mod 97-10), else None."""
    compact = _GAP.sub("", match[0])
    if sum(map(str.isdigit, compact)) < 10:
        return None
    if len(compact) == len(match[0]) or _IN_FOURS.fullmatch(match[0]):
        return "<number>"
    # With gaps anywhere, "at 10.30 on 2024-05-01 room 5" has the right length too.
    return "<number>" if int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1 else None


def _site_kind(match: re.Match[str]) -> str | None:
    """A dotted word is a site if it ends like one, or if a path follows; "work.in Dubai" is a missing space."""
    labels = [label.lower() for label in _DOTS.split(match[0].removesuffix(match["rest"] or ""))[1:]]
    path = match["rest"] is not None and match["rest"][0] == "/" and labels[-1].isalpha() and len(labels[-1]) > 1
    return "<url>" if path or not _ENDINGS.isdisjoint(labels) else None


def _number_kind(match: re.Match[str]) -> str | None:
    """The placeholder for a run of digits, or None where it stays."""
    if match["keep"] is not None:
        return None
    run = match[0]
    groups = _GROUPS.findall(run)
    digits = "".join(groups)
    if len(digits) < 7 or all(_YEAR.fullmatch(group) for group in groups) or _THOUSANDS.fullmatch(run):
        return None
    if len(groups) == 1 and run[0] not in "+(0":
        return None if len(digits) == 7 and digits.endswith("000") else "<number>"
    return "<phone>" if len(digits) <= 15 else "<number>"


def redact(text: str) -> tuple[str, Counter[str]]:
    """`text` normalised and redacted, and how many pieces of each kind (`url`, `email`, ...) were replaced.

    Placeholders already present are left alone and not counted.
    """
    counts: Counter[str] = Counter()
    for _ in range(_MAX_PASSES):
        # A placeholder can bring two pieces together that look like something new, so go on until nothing is found.
        before = counts.total()
        text = _one_pass(normalise(text), counts)
        if counts.total() == before:
            break
    return text, counts


def _one_pass(text: str, counts: Counter[str]) -> str:
    if "#" in text:
        text = _replace_hashed(text, counts)
    pair = _Pair(text, counts)
    if "/" in pair.shadow or "www" in pair.shadow.lower():
        pair.replace(_CHAT_LINK, "<user>")
        pair.replace(_URL, "<url>")
    if "@" in pair.shadow or _AT_HINT.search(pair.shadow):
        pair.replace(_EMAIL, "<email>")
    if _IBAN_HINT.search(pair.shadow):
        pair.replace(_IBAN, _iban_kind)
    if _DOT_HINT.search(pair.shadow):
        pair.replace(_SITE, _site_kind)
    for sign, pattern in (("@", _HANDLE), ("/", _REDDIT), ("#", _TAGGED), (":", _LABELLED), ("=", _LABELLED)):
        if sign in pair.shadow:
            pair.replace(pattern, "<user>")
    pair.replace(_DIGITS, _number_kind, within=_RUN)
    return pair.text


def _replace_hashed(text: str, counts: Counter[str]) -> str:
    def placeholder(match: re.Match[str]) -> str:
        kind = match[1].lower()
        counts[kind] += 1
        return f"<{kind}>"

    return _HASHED.sub(placeholder, text)


class _Pair:
    """A text and its shadow, kept in step while pieces of both are replaced."""

    def __init__(self, text: str, counts: Counter[str]) -> None:
        self.text, self._counts = text, counts
        self.shadow = text if text.isascii() else text.translate(_shadow_table())

    def replace(self, pattern: re.Pattern[str], kind: str | Callable[[re.Match[str]], str | None],
                *, within: re.Pattern[str] | None = None) -> None:
        """Replace what `pattern` finds in the shadow; `within` narrows the search to the stretches that it finds."""
        text, shadow = self.text, self.shadow
        new_text: list[str] = []
        new_shadow: list[str] = []
        end = 0
        found = pattern.finditer(shadow) if within is None else (
            match for area in within.finditer(shadow) for match in pattern.finditer(shadow, *area.span()))
        for match in found:
            placeholder = kind if isinstance(kind, str) else kind(match)
            if placeholder is None:
                continue
            self._counts[placeholder[1:-1]] += 1
            new_text += (text[end:match.start()], placeholder)
            new_shadow += (shadow[end:match.start()], placeholder)
            end = match.end()
        if end:
            self.text = "".join(new_text) + text[end:]
            self.shadow = "".join(new_shadow) + shadow[end:]
