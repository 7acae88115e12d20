"""Made-up patients and therapists, as the two imports would meet them."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from dataflows.sandbox.synthetic_practice import SyntheticRegistration, again, registration, therapist

OBJECT_NAME = re.compile(r"(.+_)+(\d{4}-\d{2}-\d{2}|\d{8})_[0-9a-fA-F]{8,64}\.json")


def registrations(count: int, seed: int = 0) -> list[SyntheticRegistration]:
    rng = Random(seed)
    return [registration(rng, n) for n in range(1, count + 1)]


def test_registrations_have_names_and_bodies_of_the_real_form() -> None:
    made = registrations(200)

    assert len({one.name for one in made}) == 200
    assert all(OBJECT_NAME.fullmatch(one.name) for one in made)
    assert {"patient_data", "consent_metadata", "registration_timestamp", "registration_token"} == {
        key for one in made for key in one.document
    }
    assert all(one.document["registration_token"] in one.name.lower() for one in made)


def test_people_are_marked_as_synthetic_and_reach_nobody() -> None:
    for one in registrations(50):
        patient = one.document["patient_data"]
        assert "Synthetisch" in patient["nachname"]
        assert patient["email"].endswith("@example.org")
        assert patient["telefon"].startswith("030 23125 ")
        assert patient["plz"].startswith("00")


def test_names_have_what_names_can_have() -> None:
    names = [one.name for one in registrations(40)]

    assert any("ü" in name for name in names)
    assert any("Ü" in name for name in names)
    assert any(" " in name for name in names)
    assert any(name.count("_") > 3 for name in names)
    assert any("null" in name.lower() for name in names)


def test_the_same_seed_gives_the_same_people() -> None:
    assert registrations(5, seed=3) == registrations(5, seed=3)
    assert registrations(5, seed=3) != registrations(5, seed=4)


def test_fields_can_be_changed_and_left_out() -> None:
    patient = registration(Random(1), 1, email=None, extra_field="x").document["patient_data"]

    assert "email" not in patient
    assert patient["extra_field"] == "x"


def test_somebody_can_register_again() -> None:
    first = registration(Random(1), 1)
    later = again(first, 2, ort="Neustadt")

    assert later.name != first.name
    assert later.document["consent_metadata"]["timestamp_utc"] > first.document["consent_metadata"]["timestamp_utc"]
    assert later.document["patient_data"] == first.document["patient_data"] | {"ort": "Neustadt"}


@pytest.mark.parametrize("edition", [2, 3, 7])
def test_the_status_of_a_later_edition_is_true(edition: int) -> None:
    before, now = ([therapist(n, edition=one) for n in range(1000)] for one in (edition - 1, edition))
    differ = {n for n in range(1000) if before[n]["contact"]["phone"] != now[n]["contact"]["phone"]}
    statuses = Counter(one["status"] for one in now)

    assert {n for n in range(1000) if now[n]["status"] == "modified"} <= differ
    assert all(now[n]["status"] != "unchanged" for n in differ)
    assert statuses["deleted"] == 20
    assert 40 <= statuses["modified"] <= 50


def test_nobody_is_there_twice() -> None:
    people = [therapist(n)["basic_info"] for n in range(5000)]

    assert len({(one["first_name"], one["last_name"]) for one in people}) == 5000
