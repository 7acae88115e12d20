"""Status against data, deletions and their guard, and data that comes late (therapists.md)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flows.therapists.world import World, moment, scrape, therapist

FIRST, LATER, LAST = "2025-07-01T03:00", "2025-07-08T03:00", "2025-07-15T03:00"


def crowd(number: int, **fields: str) -> list[dict[str, object]]:
    """So many therapists."""
    return [therapist(f"Vorname{n}", source_id=f"praxis{n}", **fields) for n in range(number)]


def test_unchanged_is_skipped_when_the_hash_agrees_and_they_were_seen_again(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    ran = world.bring(therapist(status="unchanged"), date=LATER)
    assert (ran.counts, ran["mismatches"]) == ({"unchanged": 1}, 0)
    assert world.therapists[0].last_seen == moment(LATER)


def test_data_beats_the_status(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    ran = world.bring(therapist(status="unchanged", phone="030 23125 102"), date=LATER)
    assert (ran.counts, ran["mismatches"]) == ({"updated": 1}, 1)


def test_an_unknown_therapist_is_created_whatever_the_status(world: World) -> None:
    statuses = ["new", "modified", "unchanged", "deleted", "no such status", None]
    ran = world.bring(
        *(therapist(f"Vorname{n}", source_id=f"praxis{n}", status=status) for n, status in enumerate(statuses))
    )
    assert (ran.counts, ran["remarks"]) == ({"new": 6}, {"unknown_status": 1})
    assert [one.active for one in world.therapists] == [status != "deleted" for status in statuses]


def test_deleted_is_soft_and_comes_back_when_seen_again(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    assert world.bring(therapist(status="deleted"), date=LATER).counts == {"deleted": 1}
    [gone] = world.therapists
    assert (gone.active, gone.deleted_at, gone.phone) == (False, moment(LATER), "030 23125 101")
    assert world.bring(therapist(status="unchanged"), date=LAST).counts == {"updated": 1, "revived": 1}
    [back] = world.therapists
    assert (back.active, back.deleted_at) == (True, None)
    assert world.changes == [("active", True, False), ("active", False, True)]
    assert world.events == ["therapist.created", "therapist.deleted", "therapist.updated"]


def test_absence_is_no_deletion(world: World) -> None:
    world.bring(*crowd(3, status="new"), date=FIRST)
    world.bring(*crowd(1, status="new"), date=LATER)
    assert len(world.names) == 3


def test_a_deletion_does_not_count_where_another_file_of_that_date_shows_them(world: World) -> None:
    world.put("52066.json", scrape(therapist(source_id="praxis5"), date="2025-07-08T01:00"))
    world.put("52074.json", scrape(therapist(status="deleted"), date="2025-07-08T03:00"))
    ran = world.bring_in()
    assert (ran.counts, ran["remarks"]) == ({"new": 1, "unchanged": 1}, {"shown_elsewhere": 1})
    assert world.names == ["Thomas Muster"]


def test_a_file_that_shows_and_deletes_the_same_person_shows_them(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    ran = world.bring(therapist(status="deleted"), therapist(source_id="praxis68"), date=LATER)
    assert (ran.counts, ran["remarks"]) == ({"unchanged": 2}, {"shown_elsewhere": 1})
    assert [(one.active, one.source_id) for one in world.therapists] == [(True, "praxis68")]


def test_a_deletion_that_comes_before_its_therapist_counts_too(world: World) -> None:
    world.put("52074.json", scrape(therapist(status="deleted"), date=LATER))
    assert world.bring_in().counts == {"new": 1}
    world.put("52066.json", scrape(therapist(source_id="praxis5", phone="030 23125 102"), date=FIRST))
    assert world.bring_in().counts == {"updated": 1}
    [stored] = world.therapists
    assert (stored.active, stored.phone) == (False, "030 23125 102")


def test_more_than_a_fifth_of_an_area_is_not_deleted_at_once(world: World) -> None:
    world.bring(*crowd(29, status="new"), date=FIRST)
    world.put("52074.json", scrape(*crowd(6, status="deleted"), date=LATER))
    ran = world.bring_in()
    assert (ran.code, ran["error"]["code"], ran.counts) == (3, "suspicious", {})
    assert world.tracked[-1] == ("52074.json", "failed", "suspicious 6 of 29")
    assert len(world.names) == 29
    allowed = world.bring_in(allow_mass_delete=True)
    assert (allowed.code, allowed.counts) == (0, {"deleted": 6})
    assert [row[1:] for row in world.tracked] == [("success", None), ("success", None)]


@pytest.mark.parametrize(("of", "deleted"), [(30, 6), (10, 5)], ids=["a fifth", "five"])
def test_a_fifth_and_five_are_believed(world: World, of: int, deleted: int) -> None:
    world.bring(*crowd(of, status="new"), date=FIRST)
    assert world.bring(*crowd(deleted, status="deleted"), date=LATER).counts == {"deleted": deleted}


def test_older_data_never_changes_newer(world: World) -> None:
    world.bring(therapist(phone="030 23125 102"), date=LATER)
    ran = world.bring(therapist(), therapist("Anna", source_id="praxis68"), file="52066.json", date=FIRST)
    assert ran.counts == {"new": 1, "unchanged": 1, "older": 1}
    assert [(one.phone, one.last_seen) for one in world.therapists] == [
        ("030 23125 102", moment(LATER)),
        ("030 23125 101", moment(FIRST)),
    ]


def test_an_older_deletion_does_not_count(world: World) -> None:
    world.bring(therapist(), date=LATER)
    ran = world.bring(therapist(status="deleted"), file="52066.json", date=FIRST)
    assert (ran.counts, world.names) == ({"unchanged": 1}, ["Thomas Muster"])


def test_counts_are_checked_against_the_metadata(world: World) -> None:
    right: dict[str, Any] = {
        "total_therapists": 2,
        "new_therapists": 1,
        "modified_therapists": 0,
        "deleted_therapists": 1,
    }
    entries = therapist(), therapist("Anna", source_id="praxis68", status="deleted")
    assert world.bring(*entries, **right)["remarks"] == {}
    wrong: dict[str, Any] = {
        "total_therapists": 100,
        "new_therapists": 1,
        "modified_therapists": 1,
        "deleted_therapists": 1,
    }
    assert world.bring(*entries, **wrong)["remarks"] == {"count_mismatch": 2}
