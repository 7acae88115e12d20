"""A therapist asks to be forgotten: rows, listings, changes and events go, and the next file brings nothing back."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.store.practice.tables import outbox, therapist_changes, therapist_locations
from tests.flows.people import asking, forget_erasures, left_of
from tests.flows.therapists.world import World, scrape, therapist


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str) -> Iterator[World]:
    world = World(tmp_path, capsys, address)
    yield world
    world.empty()
    forget_erasures(world.engine)


def word() -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(16))


def test_a_therapist_goes_with_all_listings_and_changes_and_the_next_file_says_so(world: World) -> None:
    first, last, street, phone = word(), word(), word(), word()
    entry = therapist(first, last, phone=phone, email=f"{last}@example.org")
    elsewhere = therapist(first, last, street=street, source_id="praxis90", email=f"{last}@example.org")
    other = therapist("Ida", last, source_id="praxis68")
    world.bring(entry, elsewhere, other)
    world.bring({**entry, "languages": ["Deutsch", word()]}, elsewhere, other, date="2025-07-09T03:13:24")
    words, who = [first, street, phone], {"first_name": first.upper(), "last_name": last}
    assert len(world.therapists) == 2 and len(world.rows(therapist_locations)) == 1
    found = asking(world.call, "find", "--json", **who)
    assert (found.code, found["held"]["therapists"], found["held"]["therapist_locations"]) == (0, 1, 1)
    asking(world.call, "export", "--out", str(world.folder / "out.json"), **who)
    document = json.loads((world.folder / "out.json").read_text(encoding="utf-8"))
    assert [row["phone"] for row in document["therapists"]] == [phone]
    (world.folder / "out.json").unlink()
    erased = asking(world.call, "erase", "--yes", "--json", **who)
    assert (erased.code, erased["erased"], erased["left"]) == (0, found["held"], [])
    for file in world.dir.iterdir():
        file.unlink()  # the scraper's own, which the report names among what is not reached
    assert left_of(words, world.engine, world.folder) == []
    assert world.names == [f"Ida {last}"]
    assert {row.therapist_id for row in world.rows(therapist_changes)} <= {row.id for row in world.therapists}
    assert {row.key for row in world.rows(outbox)} == {str(row.id) for row in world.therapists}
    moved = therapist(first, last, postal_code="52066", email=f"{last}@example.org")
    again = world.bring(entry, moved, other, date="2025-07-16T03:13:24")
    assert (again.code, again.counts) == (0, {"unchanged": 1, "erased": 2})
    assert "2 entries of therapists who were erased" in again.err
    assert world.names == [f"Ida {last}"]
    assert left_of(words, world.engine, world.data) == []


def test_a_namesake_in_another_place_stays(world: World) -> None:
    world.bring(therapist(), therapist(postal_code="10115", email="t@example.org", source_id="praxis70"))
    who = {"first_name": "Thomas", "last_name": "Muster"}
    unsure = asking(world.call, "erase", "--yes", "--json", **who)
    assert (unsure.code, unsure["error"]["code"]) == (14, "several_people")
    assert asking(world.call, "erase", "--yes", **who, postcode="10115").code == 0
    assert [row.postal_code for row in world.therapists] == ["52074"]
    world.put("52074.json", scrape(therapist(), date="2025-07-20T03:13:24"))
    assert world.bring_in().counts == {"unchanged": 1}


def test_a_rehearsal_knows_the_erased_too(world: World) -> None:
    world.bring(therapist())
    assert asking(world.call, "erase", "--yes", first_name="Thomas", last_name="Muster").code == 0
    world.put("52074.json", scrape(therapist(phone="1"), date="2025-07-09T03:13:24"))
    assert world.bring_in(dry_run=True).counts == {"erased": 1}
