"""Columns whose name says that they identify somebody. A file that has one is refused before any row is read.

Unmapped columns are dropped anyway; the refusal is there because such a file should not lie about at all, and because
a careless mapping could point at one. Names are split into words (camelCase, snake_case, dots, dashes), freed of
accents and compared in about a dozen languages.

Decided on purpose: `company_name`, `product_name`, `filename` pass (they name no person), and so do measures such as
`n_emails`, `has_phone`, `image_count`. `location` and `city` pass, since they may hold a coarse code; anything finer is
caught by its own name. `author` and `user` pass: they are usually ids, which the mapping turns into pseudonyms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_WORDS = frozenset((
    # contact
    "phone telephone telefon telefono telefone telephon tel mobile mobil handy cellphone cell msisdn fax whatsapp "
    "email mail correo courriel handle username nickname nick screenname login skype telegram instagram facebook "
    "imei ip iban "
    # names
    "surname forename firstname lastname fullname middlename vorname nachname familienname nombre nombres apellido "
    "apellidos nom prenom nume prenume cognome sobrenome imie nazwisko jmeno prijmeni ime prezime "
    # pictures
    "image img photo photograph foto fotografie picture avatar imagen bild selfie portrait "
    # place
    "lat lng lon latitude longitude latitud longitud gps coordinate coord coordinates coordenada geolocation "
    "geopoint geohash street address addr adresse adresa direccion indirizzo endereco strasse calle rue ulica ulice "
    "zip zipcode postcode postalcode plz "
    # civil status
    "dob birth birthday birthdate birthplace geburtsdatum geburtstag nacimiento naissance nascita nastere urodzenia "
    "nationality citizenship nacionalidad nationalite nationalitat nationalitate staatsangehorigkeit obywatelstwo "
    "passport pasaporte passeport reisepass pasaport paszport ssn cnp pesel dni nif "
    # other scripts
    "имя фамилия отчество телефон почта емейл адрес улица паспорт гражданство рождения фото имейл ім'я ім прізвище "
    "пошта адреса вулиця الاسم اسم هاتف الهاتف عنوان العنوان جواز الجنسية ονομα επωνυμο τηλεφωνο διευθυνση नाम फोन "
    "पता 姓名 电话 電話 手机 邮箱 地址 护照 照片 이름 전화 주소").split())
# Found anywhere in the name written as one word: "phonenumber", "homeaddress", "dateofbirth".
_STEMS = (
    "telefon", "telephone", "phonenum", "phoneno", "mobilephone", "mobilenum", "cellphone", "email", "username",
    "nickname", "screenname", "firstname", "lastname", "fullname", "surname", "givenname", "familyname", "middlename",
    "maidenname", "realname", "latitude", "longitude", "geolocation", "coordinat", "koordinat", "coordenad",
    "homeaddress", "streetaddress", "ipaddress", "birthd", "birthy", "dateofbirth", "placeofbirth", "geburts",
    "nationalit", "nacionalid", "citizenship", "ciudadania", "passport", "passeport", "pasaporte", "paszport",
    "idnumber", "nationalid", "identitynumber", "idcard", "socialsecurity", "driverlicense", "driverslicense",
    "licenseplate", "profilepic", "телефон", "паспорт", "фамили", "姓名", "电话", "手机", "邮箱")
# Words beside which "name" names a thing, not a person.
_THINGS = frozenset((
    "company employer organisation organization org agency business brand firm product item file dataset table column "
    "field model region country city state county province district site website domain host channel platform source "
    "job position event campaign project task class category label group tag forum subreddit industry department "
    "sector service language code indicator version month day school university hotel page app").split())
_MEASURES = frozenset("n num nb nr count counts has is total share ratio rate len length any contains".split())
_IDENTIFIERS = frozenset("national personal identity passport tax insurance social license licence".split())


def _words(name: str) -> list[str]:
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", split).casefold())
    plain = "".join(c for c in folded if unicodedata.category(c) != "Mn" or ord(c) > 0x5FF)
    return re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)?(?:[\u0900-\u0dff][\u0900-\u0dff]*)?|\d+", plain)


def looks_like_identity(name: str) -> bool:
    """Whether a column (or a path of nested keys, with dots) is named like something that identifies a person."""
    words = _words(name)
    if not words or (len(words) > 1 and not _MEASURES.isdisjoint(words[:1] + words[-1:])):
        return len(words) > 1 and words[-1] == "number" and not _IDENTIFIERS.isdisjoint(words)
    singular = {word for w in words for word in (w, w.removesuffix("s"), w.removesuffix("es"))}
    joined = "".join(words)
    if not singular.isdisjoint(_WORDS) or any(stem in joined for stem in _STEMS):
        return True
    if "name" in singular:
        return singular.isdisjoint(_THINGS)
    return "id" in words and not _IDENTIFIERS.isdisjoint(words)


def identity_columns(columns: Iterable[str], *, allowed: frozenset[str], excluded: frozenset[str]) -> tuple[str, ...]:
    """Those of `columns` that look like identity and are neither `allowed` by the mapping nor `excluded` by the user.

    Excluding `contact` also excludes `contact.phone`.
    """
    def spared(column: str) -> bool:
        parts = column.split(".")
        paths = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
        return column in allowed or not paths.isdisjoint(excluded)

    return tuple(column for column in columns if not spared(column) and looks_like_identity(column))
