from __future__ import annotations

import unicodedata
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dataflows.flows.practice.patients.identity import KnownPatient, PatientMatch, match, person
from dataflows.flows.practice.values import normal

MAX = {"vorname": "Max", "nachname": "Mustermann", "email": "max@example.org", "geburtsdatum": date(2000, 1, 1)}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
BORN = st.none() | st.sampled_from([date(2000, 1, 1), date(1950, 2, 3)])


def known(number: int, **changes: Any) -> KnownPatient:
    who = person({**MAX, **changes})
    return KnownPatient(number, who.name_key, who.born)


@given(TEXT)
def test_the_normal_form_is_one(text: str) -> None:
    once = normal(text)
    assert normal(once) == once
    assert normal(unicodedata.normalize("NFD", text)) == once
    assert normal(f"  {text}\t") == once


def test_keys_hold_no_name() -> None:
    who = person(MAX)
    assert all(len(key or "") == 64 for key in (who.email_key, who.name_key, who.identity_key))


def test_parts_do_not_run_into_each_other() -> None:
    assert person({**MAX, "vorname": "a", "nachname": "bc"}) != person({**MAX, "vorname": "ab", "nachname": "c"})


def test_the_same_date_of_birth_counts_most() -> None:
    sharing = [known(1, geburtsdatum=None), known(2), known(3, geburtsdatum=date(1950, 2, 3))]
    assert match(person(MAX), sharing) == PatientMatch(2)
    assert match(person({**MAX, "geburtsdatum": None}), sharing) == PatientMatch(1)
    assert match(person({**MAX, "geburtsdatum": date(1980, 1, 1)}), sharing) == PatientMatch(None, "unclear")


def test_without_an_email_nobody_is_matched() -> None:
    who = person({**MAX, "email": None})
    assert (match(who, [known(1)]), who.identity_key) == (PatientMatch(None, "no_email"), None)


def test_a_date_of_birth_that_one_side_lacks_fits_an_only_namesake_and_is_kept_once_known() -> None:
    without = person({**MAX, "geburtsdatum": None})
    assert match(without, [known(1)]) == match(person(MAX), [known(1, geburtsdatum=None)]) == PatientMatch(1)
    assert match(without, [known(1), known(2, geburtsdatum=date(1950, 2, 3))]) == PatientMatch(None, "unclear")
    assert without.met(date(2000, 1, 1)) == person(MAX) == person(MAX).met(date(1950, 2, 3))


@given(st.lists(st.tuples(st.sampled_from(["Max", "Eva"]), BORN), max_size=4), st.sampled_from(["Max", "Eva"]), BORN)
def test_nobody_is_ever_taken_for_somebody_else(others: list[tuple[str, date | None]], name: str, born: Any) -> None:
    who = person({**MAX, "vorname": name, "geburtsdatum": born})
    sharing = [known(number, vorname=first, geburtsdatum=day) for number, (first, day) in enumerate(others)]
    found = match(who, sharing)
    if found.patient_id is None:
        assert (found.flag is None) == (not sharing)
    else:
        first, day = others[found.patient_id]
        assert first == name
        assert day == born or None in (day, born)


@given(st.lists(st.tuples(st.sampled_from(["Max", "Eva"]), BORN), min_size=1, max_size=6))
def test_whoever_comes_again_is_known(people: list[tuple[str, date | None]]) -> None:
    """After any sequence of registrations each identity key exists once, and a repetition makes nobody new."""
    table: dict[int, Any] = {}

    def register(first: str, born: date | None) -> int:
        who = person({**MAX, "vorname": first, "geburtsdatum": born})
        found = match(who, [KnownPatient(number, one.name_key, one.born) for number, one in table.items()])
        number = len(table) if found.patient_id is None else found.patient_id
        table[number] = table[number].met(born) if number in table else who
        return number

    for first, born in people:
        number = register(first, born)
        assert register(first, born) == number or born is None
    keys = [one.identity_key for one in table.values()]
    assert len(keys) == len(set(keys))
