"""Names agree when they name one place, and never because they merely look alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.release.geometry.names import agreeing, spellings


@pytest.mark.parametrize(("one", "other"), [
    ("Iași", "Judetul Iasi"), ("Hlavni mesto Praha", "Hlavní město Praha"), ("Île-de-France", "Ile de France"),
    ("Khyber Pakhtunkhwa Province", "Khyber Pakhtunkhwa"), ("Bolzano", "Bolzano/Bozen"),
    ("Wojewodztwo Lodzkie", "Łódzkie"), ("Wales", "Wales [Cymru GB-CYM]"),
    ("Lower Austria|Niederösterreich", "Niederösterreich"), ("Møre og Romsdal", "More og Romsdal fylke")])
def test_spellings_of_one_place_agree(one: str, other: str) -> None:
    assert agreeing([one], other) == one
    assert agreeing([other], one) == other


@pytest.mark.parametrize(("one", "other"), [
    ("Paktya", "Paktika"), ("Hamgyong-namdo", "Hamgyong-pukdo"), ("East Darfur", "West Darfur"), ("Norte", "Noroeste"),
    ("Punjab", "Punja"), ("Almaty City", "Alma"), ("Kivu", "Nord-Kivu")])
def test_names_of_different_places_do_not(one: str, other: str) -> None:
    assert agreeing([one], other) is None
    assert agreeing([other], one) is None


def test_a_name_of_nothing_but_kinds_stays() -> None:
    assert spellings("Federal District") == {"federaldistrict"}


def test_an_empty_name_agrees_with_nothing() -> None:
    assert spellings("") == frozenset()
    assert agreeing(["", "-"], "Iași") is None
    assert agreeing(["Iași"], "") is None


def test_the_first_that_agrees_is_given() -> None:
    assert agreeing(["Moldova", "Judetul Iasi", "Iași"], "Iași") == "Judetul Iasi"


@given(st.text(max_size=30))
def test_a_name_agrees_with_itself_in_any_case(name: str) -> None:
    if spellings(name):
        assert agreeing([name], name) == name
        assert spellings(name.upper().lower()) == spellings(name.lower().upper().lower())
