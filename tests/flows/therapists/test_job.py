"""One pass as a whole: its report, its transaction, its lock, and how it ends early."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.flows.practice.therapists import applying, choosing, job
from dataflows.flows.practice.therapists.applying import FileContext, apply
from dataflows.flows.practice.therapists.changes import FileCounts
from dataflows.runs.journal import Journal
from dataflows.store.locks import DatabaseLock
from dataflows.store.practice.tables import import_tracking, outbox, therapists
from tests.flows.therapists.world import TABLES, World, moment, scrape, therapist

FIRST, LATER = "2025-07-01T03:00", "2025-07-08T03:00"


def test_new_therapists_are_imported(world: World) -> None:
    ran = world.bring(therapist(), therapist("Anna", "Beispiel", source_id="praxis68"))
    assert (ran.code, ran.counts) == (0, {"new": 2}), ran.err
    assert ran.files("seen", "imported", "skipped", "failed") == [1, 1, 0, 0]
    first = world.therapists[0]
    assert (first.source_id, first.area, first.active, first.status) == ("praxis67", "52XXX", True, "aktiv")
    assert first.last_seen == moment("2025-07-02T03:13:24.425211")
    assert (first.phone, first.languages) == ("030 23125 101", ["Deutsch", "Englisch"])
    assert world.tracked == [("52074.json", "success", None)]


def test_ids_that_do_not_follow_each_other_are_nobody_elses(world: World) -> None:
    """As when somebody else takes numbers of the sequence in between."""
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no sequences, and one writer at a time")
    people = [therapist(f"Name{number}", source_id=f"praxis{number}") for number in range(3)]
    with world.engine.begin() as connection:
        connection.exec_driver_sql("ALTER SEQUENCE therapists_id_seq INCREMENT BY 2")
    try:
        ran = world.bring(*people)
    finally:
        with world.engine.begin() as connection:
            connection.exec_driver_sql("ALTER SEQUENCE therapists_id_seq INCREMENT BY 1")
    assert (ran.code, ran.counts) == (0, {"new": 3}), ran.err
    [first, second, third] = [row.id for row in world.therapists]
    assert (second - first, third - second) == (2, 2)
    assert [row.key for row in world.rows(outbox)] == [str(first), str(second), str(third)]


def test_every_change_has_exactly_one_event(world: World) -> None:
    world.bring(therapist(), therapist("Anna", source_id="praxis68"), date=FIRST)
    world.bring(therapist(phone="030 23125 102"), therapist("Anna", source_id="praxis68", status="deleted"), date=LATER)
    events = world.rows(outbox)
    [first, second] = world.therapists
    assert [(row.event_type, row.key, row.topic) for row in events] == [
        ("therapist.created", str(first.id), "therapist-events"),
        ("therapist.created", str(second.id), "therapist-events"),
        ("therapist.updated", str(first.id), "therapist-events"),
        ("therapist.deleted", str(second.id), "therapist-events"),
    ]
    told = [(row.payload["therapist_data"]["phone"], row.payload["therapist_data"]["active"]) for row in events]
    assert told == [("030 23125 101", True)] * 2 + [("030 23125 102", True), ("030 23125 101", False)]


def test_events_of_new_therapists_say_all_that_is_known_of_them(world: World) -> None:
    """PostgreSQL makes them by itself, in another way than SQLite gets them; what they say is the same."""
    hours = {"mo": ["09:00-10:00"]}
    world.bring(therapist("Jörg", rank=1.5, notes={"ä": [None, True]}, telephone_hours=hours))
    [event], [row] = world.rows(outbox), world.therapists
    assert event.payload == {
        "therapist_id": row.id,
        "therapist_data": {
            "area": "52XXX", "source_id": "praxis67", "active": True,
            "salutation": "Herr", "title": "Dr.", "first_name": "Jörg", "last_name": "Muster", "full_name": None,
            "classification": None, "street": "Musterweg", "house_number": "7", "postal_code": "52074",
            "city": "Aachen", "phone": "030 23125 101", "email": "jörg.muster@example.org", "fax": None,
            "languages": ["Deutsch", "Englisch"], "therapy_methods": ["Verhaltenstherapie"], "telephone_hours": hours,
            "extra": {"rank": 1.5, "notes": {"ä": [None, True]}},
        },
    }  # fmt: skip
    assert (event.event_type, event.key, event.topic, len(event.event_id)) == (
        "therapist.created", str(row.id), "therapist-events", 36,
    )  # fmt: skip


def test_tracking_counts_add_up(world: World) -> None:
    world.bring(*(therapist(f"Vorname{n}", source_id=f"praxis{n}") for n in range(4)), date=FIRST)
    ran = world.bring(
        therapist("Vorname0", source_id="praxis0"),
        therapist("Vorname1", source_id="praxis1", city="Bonn"),
        therapist("Vorname2", source_id="praxis2", status="deleted"),
        therapist("Vorname9", source_id="praxis9"),
        "text",
        date=LATER,
    )
    assert ran.counts == {"new": 1, "updated": 1, "unchanged": 1, "deleted": 1, "refused": 1}
    row = world.rows(import_tracking)[-1]
    counts = (row.therapist_count, row.new_count, row.updated_count, row.unchanged_count, row.deleted_count)
    assert (counts, row.scrape_date) == ((5, 1, 1, 1, 1), moment(LATER))


def test_a_dry_run_says_what_would_change_and_writes_nothing(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    before = [world.rows(table) for table in TABLES]
    world.put("52066.json", scrape(therapist("Anna", source_id="praxis5"), date=LATER))
    world.put(
        "52074.json", scrape(therapist(phone="030 23125 102"), therapist("Anna", source_id="praxis6"), date=LATER)
    )
    ran = world.bring_in(dry_run=True)
    assert (ran.code, ran.counts, ran["fields"]) == (0, {"new": 1, "updated": 1, "unchanged": 1}, {"phone": 1})
    assert [world.rows(table) for table in TABLES] == before
    assert world.bring_in().counts == ran.counts


def test_a_dry_run_without_a_database_makes_none(world: World, tmp_path: Path) -> None:
    world.put("52074.json", scrape(therapist()))
    ran = world.call("therapist-import", "--dry-run", "--json", IMPORT_DATABASE_URL="", DATA_DIR=str(tmp_path / "new"))
    assert (ran.code, ran.counts) == (0, {"new": 1})
    assert not (tmp_path / "new" / "practice.db").exists()


class Broke(Exception):
    """What nobody foresaw."""


def test_nothing_of_a_file_counts_before_its_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def applied(connection: sa.Connection, context: FileContext, read: Any) -> FileCounts:
        apply(connection, context, read)
        raise Broke

    world.bring(therapist(), date=FIRST)
    before = [world.rows(table) for table in TABLES]
    world.put("52074.json", scrape(therapist(city="Bonn"), therapist("Anna", source_id="praxis5"), date=LATER))
    with monkeypatch.context() as patch:
        patch.setattr("dataflows.flows.practice.therapists.importing.apply", applied)
        assert world.bring_in().code == 1
    assert [world.rows(table) for table in TABLES] == before
    assert world.bring_in().counts == {"new": 1, "updated": 1}


def test_a_file_of_many_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "PAGE", 3)
    crowd = [therapist(f"Vorname{n}", source_id=f"praxis{n}") for n in range(10)]
    world.bring(*crowd, date=FIRST)
    twins = [therapist("Zwei", source_id=f"praxis{n}", city=f"Ort{n}") for n in (20, 21)]
    gone = [{**one, "status": "deleted"} for one in crowd[:4]]
    ran = world.bring(twins[0], *gone, *(one | {"extra": 1} for one in crowd[4:]), twins[1], date=LATER)
    assert ran.counts == {"updated": 6, "deleted": 4, "refused": 2}
    assert (len(world.names), len(world.events)) == (6, 20)


def test_a_second_host_is_refused(world: World) -> None:
    world.put("52074.json", scrape(therapist()))
    with DatabaseLock(world.engine, "dataflows therapist-import"):
        ran = world.bring_in()
    assert (ran.code, ran["error"]["code"], world.therapists) == (11, "already_running", [])


def test_a_lock_that_is_lost_lets_nothing_be_committed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataflows.errors import AlreadyRunning

    def lost(_lock: DatabaseLock) -> None:
        raise AlreadyRunning("another run has taken over", reason="test")

    world.put("52074.json", scrape(therapist()))
    monkeypatch.setattr(DatabaseLock, "check", lost)
    assert (world.bring_in().code, world.therapists, world.tracked) == (11, [], [])


def test_a_database_that_is_away_counts_no_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put("52074.json", scrape(therapist()))
    away = sa.exc.OperationalError("COPY", None, Exception("gone"), connection_invalidated=True)
    with monkeypatch.context() as patch:
        patch.setattr("dataflows.flows.practice.therapists.creating.Creating.write", _raising(away))
        ran = world.bring_in()
    assert (ran.code, world.tracked, world.mails()) == (13, [], [])
    assert world.bring_in().counts == {"new": 1}


def _raising(error: Exception) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_run_that_is_stopped_in_the_middle_of_a_large_file_writes_nothing_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "AHEAD_BYTES", 10)
    monkeypatch.setattr(choosing, "_LOOK_EVERY", 2)
    monkeypatch.setattr(choosing, "_BATCH", 1)
    take = applying._Filing._take

    def stopping(filing: Any, page: Any) -> None:
        take(filing, page)
        stops[-1].set()

    def playing(self: job._TherapistImport) -> Any:
        stops.append(self.run.stop)
        return events(self)

    stops: list[Any] = []
    events = job._TherapistImport.events
    monkeypatch.setattr(job._TherapistImport, "events", playing)
    monkeypatch.setattr(applying._Filing, "_take", stopping)
    monkeypatch.setattr(applying, "PAGE", 2)
    ran = world.bring(*(therapist(f"Vorname{n}", source_id=f"praxis{n}") for n in range(9)))
    assert (ran.code, world.therapists, world.tracked) == (130, [], [])


def test_the_journal_has_a_row_per_file_and_per_refused_entry(world: World) -> None:
    world.put("52074.json", scrape(therapist(), "text"))
    world.put("52066.json", b"{")
    ran = world.bring_in()
    journal = Journal.open(world.data)
    items = {item.key: (item.state, item.code) for item in journal.items(ran["run_id"])}
    journal.close()
    assert items == {
        "52066.json": ("failed", "failed"),
        "52074.json": ("done", "partial"),
        "52074.json#1": ("failed", "no_object"),
    }


def test_the_command_says_what_it_did(world: World) -> None:
    world.put("52074.json", scrape(therapist()))
    world.put("notes.txt", "")
    ran = world.call("therapist-import")
    assert (ran.code, ran.out.splitlines()) == (0, ["files: 1 seen, 1 imported, 1 other", "therapists: 1 new"])
    document = world.call("therapist-import", "--json").document
    assert {
        "run_id",
        "status",
        "exit_code",
        "error",
        "files",
        "therapists",
        "mismatches",
        "warnings",
    } <= document.keys()


@pytest.mark.parametrize(
    ("arguments", "settings", "code"),
    [
        (["no such file"], {}, 2),
        (["--watch", "--dry-run"], {}, 2),
        ([], {"THERAPIST_IMPORT_DIR": ""}, 10),
        ([], {"THERAPIST_IMPORT_DIR": "no such folder"}, 10),
    ],
)
def test_what_makes_no_sense_is_refused(
    world: World, arguments: list[str], settings: dict[str, str], code: int
) -> None:
    if world.engine.dialect.name == "sqlite":
        assert world.call("therapist-import", *arguments, **settings).code == code


def test_a_run_that_was_interrupted_can_be_resumed(world: World) -> None:
    path = world.put("20250708/52074.json", scrape(therapist()))
    world.put("20250708/52066.json", scrape(therapist("Anna", source_id="praxis5")))
    asked = job.Options((path,), reprocess=True, workers=3)
    kept = json.loads(json.dumps(job.options_to_json(asked)))
    assert job.options_from_json(kept) == asked
    journal = Journal.open(world.data)
    run_id = journal.start(job.COMMAND, job.target(world.settings), options=kept)
    journal.set_state(run_id, "resumable")
    journal.close()
    assert world.call("runs", "resume", run_id[:8], "--json").code == 0
    assert world.names == ["Thomas Muster"]


def test_ids_go_on_after_therapists_that_others_made(world: World) -> None:
    world.bring(therapist(), date=FIRST)
    if world.engine.dialect.name == "sqlite":
        world.double(source_id=None, natural_key="x")
    world.bring(therapist("Anna", source_id="praxis5"), date=LATER)
    with world.engine.begin() as connection:
        connection.execute(therapists.insert().values({**_bare(world.therapists[0]), "natural_key": "y"}))
    assert len({one.id for one in world.therapists}) == len(world.therapists)


def _bare(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name != "id"}


def test_half_a_character_does_not_keep_other_files_from_being_imported(world: World) -> None:
    half = json.dumps(scrape(therapist("Canary"))).replace("Canary", "\\udc00")
    world.put("52066.json", half)
    world.put("52070.json", half.replace("52XXX", "\\udc00"))
    world.put("52074.json", scrape(therapist()))
    ran = world.bring_in()
    assert (ran.code, world.names) == (3, ["Thomas Muster"])
    assert sorted(error for _, _, error in world.tracked if error) == ["no_usable_entry", "no_usable_entry"]
