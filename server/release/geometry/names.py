"""When two names of a region count as the same name.

Sources spell one place in many ways: with or without accents, with or without "Province of", in one language or
another. Two names agree here when nothing is left to tell them apart once accents, punctuation and the common words
for "region" are gone. There is no fuzzy matching: `Paktya` and `Paktika`, or `Hamgyong-namdo` and `Hamgyong-pukdo`,
differ by a letter or two and are different places.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_LETTERS = str.maketrans({
    "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ß": "ss", "æ": "ae", "œ": "oe", "ı": "i", "ə": "a", "ǝ": "a",
    "ħ": "h", "†": "",
})
"""Letters that Unicode does not take apart into a base letter and a mark."""

_KINDS = frozenset("""
    province provincia provincie provinsi propinsi provincial region regiao regione regions reg oblast oblasty oblysy
    oblasti oblys voblasc voblast voblasts county counties judet judetul megye apskritis zupanija kraj kray krai
    district distrikt distrito districts department departement departamento governorate gouvernorat muhafazat
    muhafazah mohafazat state estado etat land canton kanton city municipality municipio municipal municipalite
    raionul raion rayon rayonu rajons parish prefecture division wilaya wilayat mintaqat baladiyat shabiyat komuna
    concelho mestna khett changwat dzongkhag qarku marz gobolka quarter chartered island islands isla islas ile iles
    isle territory autonomous republic respublika federal capital qalasy shahri viloyati voivodeship voivodship
    wojewodztwo lan laen fylke council area metropolitan borough unitary authority rural urban comunidad principado
    opstina obcina novads okrug avtonomnyy sheng shi zizhiqu tinh thanh pho ostan administrative town ili il aymag
    aimag castello gwangyeoksi teukbyeolsi teukbyeoljachisi teukbyeoljachido wilayah persekutuan
    the of de da do del des du di d la le l el al ad an ash as ar at az and und et e y i
""".split())
"""Words for kinds of regions, and articles: they say what a region is, not which."""


def _fold(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS))
    return re.sub(r"['’`ʻʼ‘ʿʾ´]", "", "".join(c for c in letters if not unicodedata.combining(c)))


def spellings(name: str) -> frozenset[str]:
    """What is left of `name`, and of each part between brackets, slashes or semicolons."""
    found = set()
    for part in re.split(r"[/;|\[\]()]", name):
        words = re.findall(r"[^\W_]+", _fold(part))
        if words:
            found.add("".join(word for word in words if word not in _KINDS) or "".join(words))
    return frozenset(found)


def agreeing(names: Iterable[str], name: str) -> str | None:
    """The first of `names` that agrees with `name`, if any."""
    wanted = spellings(name)
    return next((each for each in names if spellings(each) & wanted), None)
