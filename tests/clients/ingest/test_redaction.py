"""Redaction: what must go goes in every disguise, what means something stays, twice is once, and time is linear."""

import re
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.ingest.redaction import PLACEHOLDERS, normalise, redact

ZERO_WIDTH = "\u200b\u200d\u2060\u00ad\u202e\ufeff"
DIGIT_ZEROS = [0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0xFF10, 0x1D7CE]


@pytest.mark.parametrize(("text", "expected"), [
    ("write to jo.smith+x@mail.example.org now", "write to <email> now"),
    ("jo@example.com.", "<email>."),
    ("jo (at) example (dot) com", "<email>"),
    ("jo[at]example[.]com", "<email>"),
    ("jo at example dot com", "<email>"),
    ("ask jo dot van dot smith at example dot org today", "ask <email> today"),
    ("jo (dot) smith (at) example (dot) org", "<email>"),
    ("jo＠example．com", "<email>"),
    ("j\u200bo@exa\u00admple.c\u2060om", "<email>"),
    ("jo&#64;example&#46;com", "<email>"),
    ("see https://example.com/a?b=c now", "see <url> now"),
    ("hxxps://example.com", "<url>"),
    ("www.example.com", "<url>"),
    ("example.com/jobs", "<url>"),
    ("ехаmple.соm", "<url>"),
    ("example (dot) com", "<url>"),
    ("call +40 712 345 678", "call <phone>"),
    ("call (021) 555-01-23", "call <phone>"),
    ("0.7.1.2.3.4.5.6.7.8", "<phone>"),
    ("0️⃣7️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣", "<phone>"),
    ("٠٧١٢٣٤٥٦٧٨", "<phone>"),
    ("०७१२ ३४५ ६७८", "<phone>"),
    ("card 4111 1111 1111 1111", "card <number>"),
    ("id 123456789", "id <number>"),
    ("RO49AAAA1B31007593840000", "<number>"),
    ("pay to RO49 AAAA 1B31 0075 9384 0000, please", "pay to <number>, please"),
    ("DE89370400440532013000.", "<number>."),
    ("de89 3704 0044 0532 0130 00 is mine", "<number> is mine"),
    ("GB29-NWBK-6016-1331-9268-19", "<number>"),
    ("FR14 2004 1010 0505 0001 3M02 606", "<number>"),
    ("MT84 MALT 0110 0001 2345 MTLC AST0 01S", "<number>"),
    ("NO93 8601 1117 947 and BE68 5390 0754 7034", "<number> and <number>"),
    ("NL 91 ABNA 041 71 643 00", "<number>"),
    ("ＤＥ８９３７０４００４４０５３２０１３０００", "<number>"),
    ("UA213223130000026007233566001", "<number>"),
    ("MD24AG000225100013104169", "<number>"),
    ("IR062960000000100324200001", "<number>"),
    ("@jo_99 and u/jo and t.me/jo_99", "<user> and <user> and <user>"),
    ("https://t.me/jo", "<user>"),
    ("telegram: jo_99", "<user>"),
    ("#EMAIL_" + "0f" * 32 + "#", "<email>"),
])
def test_found(text: str, expected: str) -> None:
    result, counts = redact(text)
    assert result == expected
    assert counts.total() == sum(expected.count(p) for p in PLACEHOLDERS)


@pytest.mark.parametrize("text", [
    "on 2024-05-01 or 01/05/2024 we met", "it costs 1,200 or 1,200,000.50 or 35 000 000", "from 2019-2020 to 2024",
    "room 12345, 6 beds, 24/7, at 10:30", "we work.in Dubai. Thanks.me too", "meet at noon", "ages 12, 13, 14, 15, 16",
    "it is no 12 of 30, at 10.30 on 2024-05-01 room 5", "de 20 ani lucrez la 3 firme din Germania acum",
    "AT10 people came and SE20 more of them will go", "no12 some more see", "it is DE20andsomewordsinonepiece",
    "the dot at the end", "a red dot on 12 May", "no dot at all dot",
    "3 items, 10kg@5 euro", "and/or", " ".join(PLACEHOLDERS), "كم عمرك؟ ٢٣ سنة", "ver 3.11.7"])
def test_kept(text: str) -> None:
    assert redact(text) == (normalise(text), {})


def test_keeps_the_script_of_the_text() -> None:
    assert redact("عمري ٢٣ ، اتصل ٠٧١٢٣٤٥٦٧٨")[0] == "عمري ٢٣ ، اتصل <phone>"
    assert redact("мой номер 0712345678")[0] == "мой номер <phone>"


def test_line_breaks_and_controls_go() -> None:
    assert redact("a\r\nb\x00\x07c\td \u2028e")[0] == "a bc d e"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(
    st.text("abcdefghijklmnoprstuvwxyzABCDEFGHIJKLMNOPRSTUVWXYZ", min_size=1, max_size=9),
    st.sampled_from("at no de is es be me it se si in 10 24 7 12 2024 AT RO10 dot, of. no. 5".split())), max_size=12))
def test_ordinary_words_and_small_numbers_stay(words: list[str]) -> None:
    """No digits that could be an account, no host: whatever is around them, nothing is taken out."""
    kept, digits = [], 0
    for word in words:
        digits += sum(map(str.isdigit, word))
        if digits < 7 and word != "dot,":
            kept.append(word)
    text = " , ".join(kept)
    assert redact(text) == (normalise(text), {})


PIECES = st.one_of(
    st.text(max_size=12), st.sampled_from([
        "@", ".", "at", " dot ", "(at)", "[.]", "/", "://", "http", "www.", "t.me/", "u/", "+", "07", "123", "-", "com",
        ".com", "<", ">", "<email>", "<phone>", "&#64;", "#", "1234",
        "RO49", "AAAA", "1B31007593840000", "DE89 3704 0044 0532 0130 00", ",", "2024-05-01", " ",
        "\u0301", "telegram:", "#URL_", "ab" * 16, "\ufdfa", "\u200d", "٣", "=", "\ud800"]))


@pytest.mark.parametrize("text", ["u/jo@07", "1234567u/jo", "=,u/at@07", "&#64;x@07"])
def test_a_placeholder_may_uncover_another_piece(text: str) -> None:
    """One pass is not enough for these: what stands beside the first piece counts only once that one is gone."""
    once, _ = redact(text)
    assert redact(once) == (once, {})


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_twice_is_once(text: str) -> None:
    once, _ = redact(text)
    assert redact(once) == (once, {})
    assert normalise(normalise(text)) == normalise(text)


WORD = st.text("abcdefghijklmnop", min_size=3, max_size=9)


@st.composite
def disguised(draw: st.DrawFn, text: str) -> str:
    """`text` with invisible characters put in, and width or script changed."""
    out = []
    for character in text:
        if character.isdigit():
            character = chr(draw(st.sampled_from(DIGIT_ZEROS)) + int(character))
        elif draw(st.integers(0, 6)) == 0 and "!" <= character <= "~":
            character = chr(ord(character) + 0xFEE0)
        out.append(character)
        if draw(st.integers(0, 5)) == 0:
            out.append(draw(st.sampled_from(ZERO_WIDTH)))
    return "".join(out)


@st.composite
def secrets(draw: st.DrawFn) -> tuple[str, str, str]:
    """A kind, the plain piece that must not survive, and its disguise."""
    kind = draw(st.sampled_from(["email", "url", "phone", "user"]))
    local, host = "z" + draw(WORD), draw(WORD)  # no placeholder and no word around it holds a z
    if kind == "email":
        at = draw(st.sampled_from(["@", " @ ", "[at]", "(at)", " (at) ", "{at}"]))
        dot = draw(st.sampled_from([".", "[.]", "(dot)", " (dot) ", "[dot]"]))
        disguise = draw(disguised(f"{local}{at}{host}{dot}com"))
        return kind, local, disguise.replace("@", draw(st.sampled_from(["@", "&#64;", "&commat;"])))
    if kind == "url":
        form = draw(st.sampled_from(["https://{0}.{1}/x", "www.{0}.{1}", "{0}.com/{1}", "http://{0}.ro", "{0}[.]com"]))
        return kind, local, draw(disguised(form.format(local, host)))
    if kind == "user":
        return kind, local, draw(disguised(draw(st.sampled_from(["@{}", "u/{}", "t.me/{}"])).format(local)))
    digits = "07" + "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=7, max_size=9)))
    sep = draw(st.sampled_from(["", " ", "-", ".", " - ", "/"]))
    step = draw(st.integers(1, 4))
    grouped = sep.join(digits[i:i + step] for i in range(0, len(digits), step))
    return kind, digits, draw(disguised(draw(st.sampled_from(["", "+4", "(+4) "])) + grouped))


def ascii_digits(text: str) -> str:
    return "".join(str(unicodedata.digit(c)) for c in text if unicodedata.digit(c, None) is not None)


@settings(max_examples=400, deadline=None)
@given(WORD, secrets(), WORD)
def test_no_disguise_survives(before: str, secret: tuple[str, str, str], after: str) -> None:
    kind, plain, disguise = secret
    result, counts = redact(f"{before} qq {disguise} qq {after}")
    if kind == "phone":
        assert len(ascii_digits(result)) < 7
    else:
        assert plain not in result
    assert counts.total() >= 1
    assert result.startswith(before)
    assert result.endswith(after)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_every_count_is_a_placeholder(text: str) -> None:
    result, counts = redact(text)
    present = sum(len(re.findall(re.escape(p), result)) for p in PLACEHOLDERS)
    already = sum(len(re.findall(re.escape(p), normalise(text))) for p in PLACEHOLDERS)
    # A later pass may swallow an earlier placeholder, never invent one.
    assert present <= counts.total() + already


@pytest.mark.parametrize("unit", [
    "a", "a.", "a@", "1", "1 ", ".", "@", "a(dot)", "http:", " at ", "a dot ", "\u0301\u0323", "о", "\ufdfa", "/", "+(",
    "1,234,", "u/", "w#1234", "a-", "[", "&#64;b ", "x.me/ ", "٠١ ", "tg: ", "1(", "www.", "a_.", "@@a",
    "ro49", "at 10 ", "no12 3456 ", "a dot b dot ", "RO49 AAAA "])
def test_a_megabyte_takes_linear_time(unit: str) -> None:
    """Doubling the text must about double the time: a quadratic pattern would take four times as long, and minutes."""
    redact(unit * 10)
    text = (unit * (1_000_000 // len(unit)))[:1_000_000] if unit != "\ufdfa" else unit * 55_000
    start = time.process_time()
    redact(text)
    # One second on an idle machine; the bound leaves room for a slow and shared one.
    assert time.process_time() - start < 3.0
