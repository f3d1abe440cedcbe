import hashlib
import hmac
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest

from clients.pseudonyms import actor_key, check_secret, content_id, load_or_create_secret, record_id
from federation.errors import InputError

SECRET = bytes(range(32))


def test_naive_twin() -> None:
    expected = hmac.new(SECRET, b"person\0anna", hashlib.sha256).hexdigest()[:32]
    assert actor_key(SECRET, "anna") == expected


def test_spellings_of_one_id_are_one_person() -> None:
    for spelling in ("Anna", " anna ", "ＡＮＮＡ", "an\u200bna"):
        assert actor_key(SECRET, spelling) == actor_key(SECRET, "anna")
    assert actor_key(SECRET, "anna2") != actor_key(SECRET, "anna")
    assert actor_key(bytes(32), "anna") != actor_key(SECRET, "anna")


def test_nothing_left_of_an_id() -> None:
    with pytest.raises(ValueError, match="empty"):
        actor_key(SECRET, " \u200b")


def test_record_ids() -> None:
    made = record_id(SECRET, "17", namespace="a")
    assert made.version == 8
    assert made.variant == "specified in RFC 4122"
    assert made == record_id(SECRET, " 17 ", namespace="a")
    # Case counts here: two rows must never become one.
    assert len({made, record_id(SECRET, "17", namespace="b"), record_id(SECRET, "17x", namespace="a"),
                record_id(SECRET, "17X", namespace="a")}) == 4
    assert made.hex != actor_key(SECRET, "17")


def test_ids_from_content() -> None:
    """Equal in all three parts, or another record; the parts cannot run into each other; and only with the secret."""
    def made(text: str = "a", person: str | None = "b", day: int = 1, secret: bytes = SECRET) -> str:
        return content_id(secret, text=text, actor_key=person, observed_at=date(2025, 3, day)).hex

    assert made() == made()
    assert UUID(made()).version == 8
    expected = hmac.new(SECRET, b'content\0["2025-03-01", "b", "a"]', hashlib.sha256).hexdigest()
    assert made()[:12] == expected[:12]
    others = [made(text="A"), made(text="a "), made(person=None), made(person="c"), made(day=2), made(secret=bytes(32)),
              made(text='a", "b', person=None), made(text="\ud800"), record_id(SECRET, "a", namespace="b").hex]
    assert len({made(), *others}) == 10


def test_a_lone_surrogate_gives_a_key() -> None:
    assert len(actor_key(SECRET, "a\ud800")) == 32


def test_secret_file(tmp_path: Path) -> None:
    path = tmp_path / "person.secret"
    secret = load_or_create_secret(path)
    assert len(secret) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_secret(path) == secret
    path.chmod(0o640)
    with pytest.raises(InputError, match="0640"):
        load_or_create_secret(path)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(InputError, match="32"):
        check_secret(b"short")
