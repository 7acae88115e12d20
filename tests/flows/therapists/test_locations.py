"""One person with several listings: each has its own updates, and none of them ever pushes another one aside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dataflows.flows.practice.therapists.applying import FileContext, apply
from dataflows.flows.practice.therapists.identity import FileOrigin
from dataflows.flows.practice.therapists.record import item_of
from dataflows.store.practice.migrate import migrate
from dataflows.store.practice.tables import outbox, therapist_changes, therapist_locations, therapists
from tests.flows.therapists.world import TABLES, World, scrape, therapist

FIRST, LATER, LAST = "2025-07-01T03:00", "2025-07-08T03:00", "2025-07-15T03:00"


def second(**fields: Any) -> Any:
    """A further listing of the same person: another id, another street."""
    return therapist(**{"source_id": "praxis5", "street": "Neuweg", "house_number": "3", **fields})


def streets(world: World) -> list[tuple[str, str, str, bool]]:
    """Street, phone and state of all listings: of therapists, then further ones."""
    rows = [*world.therapists, *world.rows(therapist_locations)]
    return [(row.street, row.source_id, row.phone, row.active) for row in rows]


def test_a_second_listing_of_a_known_therapist_does_not_stop_the_updates_of_the_first(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    ran = world.bring(therapist(), second(phone="030 23125 105"), date=LATER)
    assert (ran.code, ran.counts) == (0, {"updated": 1, "unchanged": 1, "locations": 1})
    ran = world.bring(therapist(phone="030 23125 109"), second(phone="030 23125 106"), date=LAST)
    assert (ran.code, ran.counts) == (0, {"updated": 2})
    assert streets(world) == [
        ("Musterweg", "praxis67", "030 23125 109", True),
        ("Neuweg", "praxis5", "030 23125 106", True),
    ]
    assert world.names == ["Thomas Muster"]
    assert [change[0] for change in world.changes] == ["locations", "phone", "locations.phone"]


def test_two_listings_of_somebody_new_in_one_file(world: World) -> None:
    ran = world.bring(therapist(), second(), therapist("Anna", source_id="praxis6"), date=FIRST)
    assert (ran.code, ran.counts) == (0, {"new": 2, "updated": 1, "locations": 1})
    assert [row[0] for row in streets(world)] == ["Musterweg", "Musterweg", "Neuweg"]
    assert world.events == ["therapist.created", "therapist.created", "therapist.updated"]
    told = world.rows(outbox)[-1].payload["therapist_data"]["locations"]
    assert [(one["street"], one["source_id"]) for one in told] == [("Neuweg", "praxis5")]


def test_two_listings_in_the_files_of_two_zip_codes_do_not_flap(world: World) -> None:
    for date in (FIRST, LATER, LAST):
        world.put("52074.json", scrape(therapist(), date=date))
        world.put("52066.json", scrape(second(), date=date))
        assert world.bring_in().code == 0
    assert world.events == ["therapist.created", "therapist.updated"]
    assert [row[0] for row in streets(world)] == ["Neuweg", "Musterweg"]


def test_one_id_at_two_addresses_in_the_files_of_two_zip_codes_does_not_flap(world: World) -> None:
    for date in (FIRST, LATER, LAST):
        world.put("52074.json", scrape(therapist(), date=date))
        world.put("52066.json", scrape(therapist(postal_code="52066", street="Neuweg"), date=date))
        assert world.bring_in().code == 0
    assert world.events == ["therapist.created", "therapist.updated"]


def test_a_further_listing_that_is_deleted_leaves_the_therapist(world: World) -> None:
    world.bring(therapist(), second(), date=FIRST)
    ran = world.bring(therapist(), second(status="deleted"), date=LATER)
    assert ran.counts == {"unchanged": 1, "deleted": 1}
    assert [row[3] for row in streets(world)] == [True, False]
    assert world.events[-1] == "therapist.updated"
    assert world.bring(therapist(), second(), date=LAST).counts == {"unchanged": 1, "updated": 1, "revived": 1}
    assert [row[3] for row in streets(world)] == [True, True]


def test_the_first_listing_that_is_deleted_leaves_a_therapist_at_the_address_of_another_one(world: World) -> None:
    world.bring(therapist(), second(phone="030 23125 105"), date=FIRST)
    ran = world.bring(therapist(status="deleted"), second(phone="030 23125 106"), date=LATER)
    assert (ran.counts, ran["remarks"]) == ({"updated": 2}, {"shown_elsewhere": 1})
    assert world.names == ["Thomas Muster"]
    assert streets(world)[0] == ("Neuweg", "praxis5", "030 23125 106", True)
    assert streets(world)[1][:2] == ("Musterweg", "praxis67") and not streets(world)[1][3]
    assert ("street", "Musterweg", "Neuweg") in world.changes
    told = world.rows(outbox)[-1]
    assert told.event_type == "therapist.updated"
    assert told.payload["therapist_data"]["street"] == "Neuweg" and not told.payload["therapist_data"]["locations"]


def test_a_first_listing_that_comes_back_is_a_further_one(world: World) -> None:
    world.bring(therapist(), second(), date=FIRST)
    world.bring(therapist(status="deleted"), second(), date=LATER)
    ran = world.bring(therapist(), second(), date=LAST)
    assert ran.counts == {"unchanged": 1, "updated": 1, "revived": 1}
    assert [(row[0], row[3]) for row in streets(world)] == [("Neuweg", True), ("Musterweg", True)]


@pytest.mark.parametrize("order", [("52074.json", "52066.json"), ("52066.json", "52074.json")])
def test_the_order_of_the_files_does_not_matter_for_a_first_listing_that_is_deleted(
    world: World, order: tuple[str, str]
) -> None:
    world.bring(therapist(), second(), date=FIRST)
    files = {"52074.json": therapist(status="deleted"), "52066.json": second()}
    for name in order:
        world.put(name, scrape(files[name], date=LATER))
        assert world.bring_in().code == 0
    assert world.names == ["Thomas Muster"]
    assert [(row[0], row[3]) for row in streets(world)] == [("Neuweg", True), ("Musterweg", False)]


def test_an_address_without_a_telephone_keeps_the_number_that_is_known(world: World) -> None:
    world.bring(therapist(phone="030 23125 101"), second(phone=None, house_number=None), date=FIRST)
    world.bring(therapist(status="deleted"), second(phone=None, house_number=None), date=LATER)
    (row,) = world.therapists
    assert (row.street, row.house_number, row.phone) == ("Neuweg", None, "030 23125 101")


def test_a_therapist_whose_listings_are_all_deleted_is_gone(world: World) -> None:
    world.put("52074.json", scrape(therapist(), second(), date=FIRST))
    world.bring_in()
    world.put("52074.json", scrape(therapist(status="deleted"), second(status="deleted"), date=FIRST))
    world.bring_in()
    assert world.names == []
    assert not any(row[3] for row in streets(world))


def test_a_therapist_who_was_deleted_comes_back_by_another_listing(world: World) -> None:
    world.bring(therapist(), second(), date=FIRST)
    world.bring(therapist(status="deleted"), date=LATER)
    assert world.names == []
    ran = world.bring(second(), date=LAST)
    assert (ran.counts, world.names) == ({"unchanged": 1, "revived": 1}, ["Thomas Muster"])
    assert ("active", False, True) in world.changes and ("street", "Musterweg", "Neuweg") in world.changes
    assert [(row[0], row[3]) for row in streets(world)] == [("Neuweg", True), ("Musterweg", False)]


def test_two_new_listings_of_somebody_who_is_known_by_another_postcode(world: World) -> None:
    """The id says who the first one is, and the first one says who the second one is."""
    world.bring(therapist(postal_code="52066", street="Altweg", email=None), date=FIRST, file="52066.json")
    both = (therapist(email=None), therapist(source_id="praxis9", street="Ringweg", email=None))
    ran = world.bring(*both, date=LATER)
    assert (ran.code, ran.counts) == (0, {"updated": 2, "locations": 2})
    assert [row[0] for row in streets(world)] == ["Altweg", "Musterweg", "Ringweg"]


def test_a_deletion_of_a_listing_that_nobody_knows_deletes_nobody(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    ran = world.bring(second(status="deleted"), date=LATER)
    assert (ran.code, world.names) == (0, ["Thomas Muster"])
    assert [row[3] for row in streets(world)] == [True, False]


def test_importing_the_files_again_changes_nothing(world: World) -> None:
    world.put("52074.json", scrape(therapist(), second(), date=FIRST))
    world.bring_in()
    before = (streets(world), world.events, world.changes)
    assert world.bring_in(reprocess=True).counts == {"unchanged": 2}
    assert (streets(world), world.events, world.changes) == before


def test_an_id_that_moves_from_place_to_place_is_one_listing_while_the_street_is_the_same(world: World) -> None:
    world.bring(therapist(), second(), date=FIRST)
    ran = world.bring(therapist(source_id="praxis1"), second(source_id="praxis2"), date=LATER)
    assert (ran.counts, world.rows(therapist_locations)[0].source_id) == ({"unchanged": 2}, "praxis2")


def test_apostrophes_hyphens_and_blanks_are_compared_as_they_are_meant(world: World) -> None:
    world.bring(therapist("Jean-Paul", "d'Arc von Berg", email=None), date=FIRST)
    typed = therapist("Jean\u2010Paul", "D\u2019Arc\u00a0von  Berg", source_id=None, email=None)
    assert world.bring(typed, date=LATER).code == 0
    assert len(world.therapists) == 1


LISTINGS = [  # of one person: id, street, postcode, the file in which each stands
    ("praxis67", "Musterweg", "52074", "52074.json"),
    ("praxis5", "Neuweg", "52074", "52066.json"),
    ("praxis67", "Altweg", "52066", "52066.json"),
    ("praxis9", "Ringweg", "52074", "52074.json"),
]


@cache
def empty_database() -> sa.Engine:
    """A database of its own, made once."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    migrate(engine)
    return engine


class Listings(RuleBasedStateMachine):
    """Weeks of files of two ZIP codes, with any of the listings of one person, whose phones change now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = empty_database().connect()
        for table in TABLES:
            self.connection.execute(table.delete())
        self.week = 0
        self.phones = dict.fromkeys(range(len(LISTINGS)), 0)
        self.shown: set[int] = set()
        self.gone: set[int] = set()

    @rule(
        shown=st.sets(st.sampled_from(range(len(LISTINGS))), min_size=1),
        changed=st.sets(st.sampled_from(range(len(LISTINGS)))),
        deleted=st.sets(st.sampled_from(range(len(LISTINGS))), max_size=2),
        turned=st.booleans(),
    )
    def week_of_files(self, shown: set[int], changed: set[int], deleted: set[int], turned: bool) -> None:
        """One week: the files of both ZIP codes, in either order."""
        self.week += 1
        deleted = (deleted & self.shown) - shown
        for number in changed & shown:
            self.phones[number] += 1
        before = self.count()
        told = shown | deleted
        for name in sorted({LISTINGS[number][3] for number in told}, reverse=turned):
            self.apply(name, sorted(number for number in told if LISTINGS[number][3] == name), deleted)
        known = self.shown & shown
        news = len(shown - self.shown) + len(changed & known)
        moves = deleted or self.gone  # listings take the place of others, and people come back
        assert moves or self.count() - before <= news, "somebody has flapped"
        self.shown |= shown
        self.gone = (self.gone | deleted) - shown

    def apply(self, name: str, numbers: list[int], deleted: set[int]) -> None:
        """Apply one file."""
        entries = [{**self.entry(number), **({"status": "deleted"} if number in deleted else {})} for number in numbers]
        items = [item_of(at, entry) for at, entry in enumerate(entries)]
        origin = FileOrigin(datetime(2025, 7, 1, tzinfo=UTC) + timedelta(weeks=self.week), name, "52XXX")
        figures = apply(self.connection, FileContext(origin, "run"), lambda: items)
        assert figures.refused == 0

    def entry(self, number: int) -> Any:
        """An entry as the source shows it now."""
        source_id, street, postal_code, _ = LISTINGS[number]
        phone = f"030 23125 1{number}{self.phones[number]}"
        return therapist(source_id=source_id, street=street, postal_code=postal_code, phone=phone, email=None)

    def count(self) -> int:
        """How many changes were noted."""
        query = sa.select(sa.func.count()).select_from(therapist_changes)
        return int(self.connection.execute(query).scalar_one()) + self.people()

    def people(self) -> int:
        """How many therapists there are."""
        return int(self.connection.execute(sa.select(sa.func.count()).select_from(therapists)).scalar_one())

    @invariant()
    def every_listing_says_what_it_said_last(self) -> None:
        """Nobody is lost and nothing is pushed aside."""
        held = {
            (row.street, row.phone)
            for table in (therapists, therapist_locations)
            for row in self.connection.execute(table.select())
        }
        wanted = {(LISTINGS[number][1], self.entry(number)["contact"]["phone"]) for number in self.shown}
        assert held == wanted

    @invariant()
    def who_has_a_listing_is_there_and_at_its_address(self) -> None:
        """The row in therapists is a listing that is shown, as long as there is one."""
        there = {LISTINGS[number][1] for number in self.shown - self.gone}
        first = self.connection.execute(therapists.select()).all()
        further = self.connection.execute(therapist_locations.select()).all()
        assert {row.street for row in (*first, *further) if row.active} == there
        for one in first:
            others = [row for row in further if row.therapist_id == one.id]
            assert one.active is (one.street in there), "the row says what is not so"
            # absence is no deletion, so a listing may outlive its therapist; one that is seen since may not
            assert one.active or not any(row.active and row.last_seen >= one.deleted_at for row in others)

    def teardown(self) -> None:
        """Close the database."""
        self.connection.close()


TestListings = Listings.TestCase
EXAMPLES = settings().max_examples if settings().max_examples > 100 else 40
# a week takes long on a busy machine: 40 examples are enough every time, and the deep profile has its own number
TestListings.settings = settings(max_examples=EXAMPLES, stateful_step_count=8)
