"""Who an entry is: the id, confirmed by the person; else the natural key; two candidates are nobody (therapists.md)."""

from __future__ import annotations

import unicodedata
from typing import Any

from tests.flows.therapists.world import World, scrape, therapist

FIRST, LATER, LAST = "2025-07-01T03:00", "2025-07-08T03:00", "2025-07-15T03:00"


def test_the_id_confirmed_by_first_and_last_name_finds_somebody_who_moved(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    ran = world.bring(therapist(postal_code="52066", street="Neuweg"), date=LATER)
    assert ran.counts == {"updated": 1}
    assert [(one.postal_code, one.street) for one in world.therapists] == [("52066", "Neuweg")]


def test_a_changed_last_name_is_one_person_at_the_same_place_and_reported(world: World) -> None:
    world.bring(therapist("Anna", "Muster"), date=FIRST)
    ran = world.bring(therapist("Anna", "Beispiel", email=None), date=LATER)
    assert ran.counts == {"updated": 1}
    assert ran["remarks"]["name_changed"] == 1
    assert world.names == ["Anna Beispiel"]
    assert ("last_name", "Muster", "Beispiel") in world.changes


def test_another_last_name_is_another_person_where_anything_speaks_against_it(world: World) -> None:
    against: list[dict[str, Any]] = [
        {"street": "Anderweg"}, {"house_number": "8"}, {"title": None}, {"email": "other@example.org"},
    ]  # fmt: skip
    world.bring(*(therapist("Anna", f"Muster{n}", source_id=f"praxis{n}") for n in range(4)), date=FIRST)
    ran = world.bring(
        *(
            therapist("Anna", f"Beispiel{n}", source_id=f"praxis{n}", **{"email": None, **one})
            for n, one in enumerate(against)
        ),
        date=LATER,
    )
    assert (ran.counts, ran["remarks"]) == ({"new": 4}, {"id_reassigned": 4})
    assert len(world.names) == 8


def test_another_last_name_without_an_address_is_another_person(world: World) -> None:
    nowhere = {"street": None, "house_number": None, "email": None}
    world.bring(therapist("Anna", "Muster", **nowhere), date=FIRST)
    ran = world.bring(therapist("Anna", "Beispiel", **nowhere), date=LATER)
    assert ran.counts == {"new": 1}


def test_an_id_that_is_given_to_another_person_of_the_practice_is_reported(world: World) -> None:
    world.bring(therapist("Thomas", "Muster"), date=FIRST)
    ran = world.bring(therapist("Bernd", "Anders"), date=LATER)
    assert (ran.counts, ran["remarks"]) == ({"new": 1}, {"id_reassigned": 1})
    assert world.names == ["Bernd Anders", "Thomas Muster"]


def test_an_id_that_is_given_to_a_relative_is_reported(world: World) -> None:
    world.bring(therapist("Thomas", "Muster"), date=FIRST)
    ran = world.bring(therapist("Bernd", "Muster"), date=LATER)
    assert (ran.counts, ran["remarks"]) == ({"new": 1}, {"id_reassigned": 1})


def test_a_reassigned_id_finds_its_new_holder_and_the_former_one_by_name(world: World) -> None:
    world.bring(therapist("Thomas", "Muster"), date=FIRST)
    world.bring(therapist("Bernd", "Anders"), date=LATER)
    ran = world.bring(
        therapist("Bernd", "Anders", phone="030 23125 102"),
        therapist("Thomas", "Muster", source_id="praxis68", phone="030 23125 103"),
        date=LAST,
    )
    assert (ran.counts, ran["remarks"]) == ({"updated": 2}, {})
    assert [(one.last_name, one.source_id) for one in world.therapists] == [
        ("Muster", "praxis68"),
        ("Anders", "praxis67"),
    ]


def test_an_id_counts_within_its_area_only(world: World) -> None:
    world.bring(therapist("Anna", "Muster"), date=FIRST)
    ran = world.bring(therapist("Anna", "Beispiel", email=None), file="80331.json", area="80XXX", date=LATER)
    assert (ran.counts, ran["remarks"]) == ({"new": 1}, {})


def test_without_an_id_the_name_and_the_postcode_decide(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    same = therapist(" THOMAS", "muster ", source_id=None, status=None, phone="030 23125 102")
    assert world.bring(same, date=LATER).counts == {"updated": 1}
    elsewhere = therapist(source_id=None, status=None, postal_code="52066")
    assert world.bring(same, elsewhere, date=LAST).counts == {"new": 1, "unchanged": 1}


def test_another_id_and_the_same_person_is_one_therapist(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    ran = world.bring(therapist(source_id="praxis5"), date=LATER)
    assert (ran.counts, world.changes) == ({"unchanged": 1}, [])
    assert [one.source_id for one in world.therapists] == ["praxis5"]


def test_umlauts_composed_and_decomposed_are_the_same(world: World) -> None:
    name = unicodedata.normalize("NFC", "Jürgen Größer")
    first, last = name.split()
    world.bring(therapist(first, last, city="Köln"), date=FIRST)
    decomposed = [unicodedata.normalize("NFD", text) for text in (first, last, "Köln")]
    ran = world.bring(
        therapist(decomposed[0], decomposed[1], source_id=None, city=decomposed[2], email=None), date=LATER
    )
    assert ran.counts == {"unchanged": 1}
    [stored] = world.therapists
    assert (stored.first_name, stored.last_name, stored.city) == (first, last, "Köln")


def test_null_is_a_name(world: World) -> None:
    assert world.bring(therapist("Anna", "Null"), date=FIRST).counts == {"new": 1}
    assert world.bring(therapist("Anna", "Null", source_id=None), date=LATER).counts == {"unchanged": 1}
    assert world.names == ["Anna Null"]


def test_two_candidates_are_reported_and_nothing_is_written(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    world.double(source_id="praxis5")
    before = world.therapists
    ran = world.bring(therapist(source_id=None, phone="030 23125 109"), date=LATER)
    assert (ran.code, ran.counts) == (3, {"refused": 1})
    assert [one["refused"] for one in ran["items"]] == [[{"entry": 0, "code": "ambiguous", "path": ""}]]
    assert world.therapists == before
    assert world.tracked[-1] == ("52074.json", "partial", "1 ambiguous")


def test_the_id_decides_between_two_of_a_name(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    world.double(source_id="praxis5")
    ran = world.bring(therapist(source_id="praxis5", phone="030 23125 109"), date=LATER)
    assert ran.counts == {"updated": 1}
    assert [one.phone for one in world.therapists] == ["030 23125 101", "030 23125 109"]


def test_somebody_who_moves_to_where_another_one_of_the_name_is_may_be_either(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    world.bring(therapist(source_id="praxis5", postal_code="52066"), file="52066.json", date=FIRST)
    ran = world.bring(therapist(source_id="praxis5"), file="52066.json", date=LATER)
    assert ran.counts == {"refused": 1}


def test_two_entries_of_a_file_that_mean_the_same_person_are_both_refused(world: World) -> None:
    twins = therapist(phone="030 23125 101"), therapist(source_id="praxis5", phone="030 23125 102")
    ran = world.bring(*twins, therapist("Anna", source_id="praxis6"))
    assert (ran.code, ran.counts) == (3, {"new": 1, "refused": 2})
    assert world.names == ["Anna Muster"]
    assert world.events == ["therapist.created"]


def test_an_entry_that_stands_twice_in_a_file_counts_once(world: World) -> None:
    ran = world.bring(therapist(), therapist(source_id="praxis5"))
    assert (ran.code, ran.counts, ran["remarks"]) == (0, {"new": 1, "unchanged": 1}, {"duplicate_entry": 1})


def test_one_therapist_in_two_zip_files_is_one(world: World) -> None:
    world.put("52074.json", scrape(therapist(), date=FIRST))
    world.put("52066.json", scrape(therapist(source_id="praxis5", phone="030 23125 102"), date=LATER))
    ran = world.bring_in()
    assert ran.counts == {"new": 1, "updated": 1}
    assert [one.phone for one in world.therapists] == ["030 23125 102"]


def test_an_entry_without_a_postcode_is_found_by_its_id_alone(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    nowhere = therapist(postal_code=None, phone="030 23125 102")
    stranger = therapist("Anna", "Muster", source_id="praxis5", postal_code=None)
    ran = world.bring(nowhere, stranger, date=LATER)
    assert ran.counts == {"updated": 1, "refused": 1}
    assert [(one.postal_code, one.phone) for one in world.therapists] == [("52074", "030 23125 102")]
