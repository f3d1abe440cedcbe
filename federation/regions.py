"""Regions: ISO 3166-2 subdivisions, the finest place this system knows.

Codes of the user-assigned range (`XA-01` … `XZ-ZZZ`, ISO 3166-1 clause 8.1.3) name invented places. They are accepted
only where the caller says the world is synthetic, so that no invented place can be mistaken for a real one or the
other way round.
"""

from __future__ import annotations

import re
from functools import cache

import pycountry

from federation.errors import InputError

_SHAPE = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")


def is_user_assigned(code: str) -> bool:
    """Whether `code` lies in the XA–XZ range that ISO leaves to users."""
    return len(code) >= 2 and code[0] == "X" and "A" <= code[1] <= "Z"


@cache
def _names() -> dict[str, str]:
    return {s.code: s.name for s in pycountry.subdivisions}


@cache
def _countries() -> frozenset[str]:
    return frozenset(c.alpha_2 for c in pycountry.countries)


def check_region(code: str, *, synthetic: bool = False) -> str:
    """Return `code` if it is an ISO 3166-2 subdivision (or, in a synthetic world, a user-assigned code).

    Raises:
        InputError: if the shape is wrong, the code is unknown, or an invented code meets a real world.
    """
    if not _SHAPE.fullmatch(code):
        raise InputError("region", "not of the form CC-SSS", bound="an ISO 3166-2 code such as RO-IS",
                         remedy="map place names to ISO 3166-2 codes before ingestion, coarser is fine")
    if is_user_assigned(code):
        if synthetic:
            return code
        raise InputError("region", f"{code} is a user-assigned code, reserved for synthetic worlds",
                         bound="an ISO 3166-2 code", remedy="use the real subdivision code")
    if code not in _names():
        raise InputError("region", f"{code} is not in ISO 3166-2", bound="one of the published subdivision codes",
                         remedy="check the code; leave it empty and set the country if the subdivision is unknown")
    return code


def check_country(code: str, *, synthetic: bool = False) -> str:
    """Return `code` if it is an ISO 3166-1 alpha-2 country (or user-assigned, in a synthetic world).

    Raises:
        InputError: otherwise.
    """
    if code in _countries() or (synthetic and re.fullmatch("X[A-Z]", code) is not None):
        return code
    raise InputError("country", "not an ISO 3166-1 alpha-2 code", bound="two capital letters such as RO",
                     remedy="use the country code, or leave it empty")


def region_name(code: str) -> str:
    """A readable name: the ISO name, or `Invented region 07` for a user-assigned code."""
    if is_user_assigned(code):
        return f"Invented region {code.split('-')[1]}"
    return _names().get(code, code)


@cache
def _country_names() -> dict[str, str]:
    return {c.alpha_2: getattr(c, "common_name", c.name) for c in pycountry.countries}


def country_name(code: str) -> str:
    """A readable name: the ISO name, or `Invented country XA` for a user-assigned code."""
    if is_user_assigned(code):
        return f"Invented country {code}"
    return _country_names().get(code, code)
