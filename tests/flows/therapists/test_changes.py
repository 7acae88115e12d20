"""What counts as a change, what an empty value must not take away, and what is the operator's own."""

from __future__ import annotations

from typing import Any

from tests.flows.therapists.world import World, older_scrape, therapist

FIRST, LATER, LAST = "2025-07-01T03:00", "2025-07-08T03:00", "2025-07-15T03:00"


def test_old_and_new_value_of_each_field_are_kept(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    ran = world.bring(therapist(phone="030 23125 102", languages=["Deutsch", "Türkisch"]), date=LATER)
    assert (ran.counts, ran["fields"]) == ({"updated": 1}, {"languages": 1, "phone": 1})
    assert sorted(world.changes) == [
        ("languages", ["Deutsch", "Englisch"], ["Deutsch", "Türkisch"]),
        ("phone", "030 23125 101", "030 23125 102"),
    ]
    assert world.events == ["therapist.created", "therapist.updated"]


def test_what_is_no_change(world: World) -> None:
    same: list[dict[str, Any]] = [
        {"languages": ["Englisch", "Deutsch"]},
        {"last_modified": "2025-07-08T03:13:24"},
        {"status": "modified"},
        {"status": None},
        {"city": "  Aachen "},
        {"fax": "", "therapy_methods": ["Verhaltenstherapie", " "]},
    ]
    world.bring(*(therapist(f"Vorname{n}", source_id=f"praxis{n}") for n in range(len(same))), date=FIRST)
    ran = world.bring(
        *(therapist(f"Vorname{n}", source_id=f"praxis{n}", **one) for n, one in enumerate(same)), date=LATER
    )
    assert (ran.counts, world.changes) == ({"unchanged": len(same)}, [])


HOURS = {"montag": ["09:00-10:00"]}
PROTECTED: dict[str, dict[str, Any]] = {
    "phone": {"phone": " "},
    "email": {"email": ""},
    "street": {"street": " "},
    "house_number": {"street": " ", "house_number": ""},
    "city": {"city": " "},
    "title": {"title": " "},
    "languages": {"languages": [" "]},
    "telephone_hours": {"telephone_hours": {"montag": []}},
}


def test_an_empty_or_missing_value_never_wipes_a_good_one(world: World) -> None:
    gone = [*PROTECTED.values(), *(dict.fromkeys(one) for one in PROTECTED.values())]
    full = [therapist(f"Vorname{n}", source_id=f"praxis{n}", telephone_hours=HOURS) for n in range(len(gone))]
    world.bring(*full, date=FIRST)
    before = [{name: one._mapping[name] for name in PROTECTED} for one in world.therapists]
    ran = world.bring(
        *(
            therapist(f"Vorname{n}", source_id=f"praxis{n}", **{"telephone_hours": HOURS, **one})
            for n, one in enumerate(gone)
        ),
        date=LATER,
    )
    assert (ran.counts, ran["remarks"], world.changes) == ({"unchanged": 16}, {"kept_empty": 16}, [])
    assert [{name: one._mapping[name] for name in PROTECTED} for one in world.therapists] == before
    assert all(all(one.values()) for one in before)


def test_a_missing_salutation_stays_as_it_is_and_is_never_guessed(world: World) -> None:
    world.bring(therapist(), therapist("Anna", source_id="praxis68", salutation=None), date=FIRST)
    ran = world.bring(therapist(salutation=None), therapist("Anna", source_id="praxis68", salutation=" "), date=LATER)
    assert (ran.counts, ran["remarks"]) == ({"unchanged": 2}, {})
    assert [one.salutation for one in world.therapists] == ["Herr", None]


def test_what_is_not_protected_can_be_taken_away(world: World) -> None:
    world.bring(therapist(therapy_methods=["Verhaltenstherapie"]), date=FIRST)
    assert world.bring(therapist(therapy_methods=[]), date=LATER).counts == {"updated": 1}
    assert world.therapists[0].therapy_methods is None


def test_unknown_fields_are_kept_in_extra(world: World) -> None:
    odd = therapist(waiting_time=4.5, numbers={"a": [1, None]})
    odd["contact"]["website"] = "https://www.example.org"
    world.bring(odd, date=FIRST)
    assert world.therapists[0].extra == {
        "waiting_time": 4.5,
        "numbers": {"a": [1, None]},
        "contact": {"website": "https://www.example.org"},
    }


def test_the_operators_columns_are_never_touched(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    own = {"status": "gesperrt", "sperrgrund": "full", "notes": "rang", "contact_history": [{"day": "2025-07-02"}]}
    world.change(**own)
    world.bring(therapist(phone="030 23125 102", notes="ours", contact_history=[]), date=LATER)
    world.bring(therapist(status="deleted"), date=LAST)
    [stored] = world.therapists
    assert {name: stored._mapping[name] for name in own} == own
    assert (stored.phone, stored.active) == ("030 23125 102", False)


def test_the_older_layout_without_id_and_status(world: World) -> None:
    world.put("52074.json", older_scrape(therapist(source_id=None, status=None)))
    ran = world.bring_in()
    assert (ran.code, ran.counts, ran["remarks"]) == (0, {"new": 1}, {})
    [stored] = world.therapists
    assert (stored.source_id, stored.area, stored.last_seen.isoformat()) == (None, "52XXX", "2025-07-02T03:13:24+00:00")
