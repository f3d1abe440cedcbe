"""Keyed pseudonyms: who a record belongs to, in a form that only this partner can make.

    key = HMAC-SHA-256(secret, b"person\\0" + normalised id), first 128 bits in hexadecimal

The key is the privacy unit. Without the secret nobody can test a guessed id against it, which a bare hash would allow.
The secret is 32 random bytes in a file of mode 0600; deleting it unlinks every stored record from its person for good.

Two ids that differ only in case, width or invisible characters give one person. That direction is chosen on purpose:
joining two people into one unit costs a little accuracy, splitting one person into two units halves their protection.
"""

from __future__ import annotations

import hmac
import json
import secrets
import unicodedata
from contextlib import suppress
from datetime import date
from pathlib import Path
from uuid import UUID

from federation.errors import InputError
from federation.identity import read_secret, write_secret

SECRET_BYTES = 32


def load_or_create_secret(path: Path) -> bytes:
    """The person secret in `path`, made on first use.

    Raises:
        InputError: if others can read the file, or it does not hold 32 bytes.
    """
    if not path.exists():
        # Another process may create it between the two calls; then theirs is the secret.
        with suppress(FileExistsError):
            write_secret(path, secrets.token_bytes(SECRET_BYTES))
    secret = read_secret(path)
    check_secret(secret, str(path))
    return secret


def check_secret(secret: bytes, name: str = "person secret") -> None:
    """Raise InputError unless `secret` holds 32 bytes."""
    if len(secret) != SECRET_BYTES:
        raise InputError(name, f"holds {len(secret)} bytes", bound=f"exactly {SECRET_BYTES} random bytes",
                         remedy="restore the file from backup; a new secret would give every person a new key")


def actor_key(secret: bytes, person: str) -> str:
    """The pseudonym of a person: 32 hexadecimal digits.

    Raises:
        ValueError: if nothing is left of `person` after normalisation.
    """
    normal = _without_invisible(unicodedata.normalize("NFKC", person)).casefold().strip()
    if not normal:
        raise ValueError("person id is empty")
    return _digest(secret, b"person\0" + _bytes(normal)).hex()


def record_id(secret: bytes, source_id: str, *, namespace: str = "") -> UUID:
    """A stable record id (RFC 9562 version 8) for one row of a source, so that ingesting twice adds nothing.

    `namespace` (the mapping's name) keeps row 17 of one export apart from row 17 of another system. Unlike people, ids
    of records are compared exactly: joining two records would lose one.
    """
    return _uuid(_digest(secret, b"record\0" + _bytes(namespace) + b"\0" + _bytes(source_id.strip())))


def content_id(secret: bytes, *, text: str, actor_key: str | None, observed_at: date) -> UUID:
    """A record id for a row whose source has none: rows alike in text, person and day are one record.

    Keyed, so that nobody else can test a guessed text against it.
    """
    # JSON keeps the parts apart, whatever a text holds, and escapes what is no valid UTF-8.
    return _uuid(_digest(secret, b"content\0" + json.dumps([observed_at.isoformat(), actor_key, text]).encode()))


def _uuid(key: bytes) -> UUID:
    digest = bytearray(key)
    digest[6] = (digest[6] & 0x0F) | 0x80
    digest[8] = (digest[8] & 0x3F) | 0x80
    return UUID(bytes=bytes(digest))


def _digest(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, "sha256")[:16]


def _bytes(text: str) -> bytes:
    # A lone surrogate can come out of a JSON escape; it must still give a key rather than a crash.
    return text.encode("utf-8", "surrogatepass")


def _without_invisible(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c) not in {"Cf", "Cc"})
