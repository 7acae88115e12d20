"""A patient asks what is held, or to be forgotten: all of it goes, of nobody else, and it does not come back unseen."""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.flows.practice import person as job
from dataflows.flows.practice.patients import holdings
from dataflows.flows.practice.patients.bucket import BucketClient
from dataflows.remote import unsent
from dataflows.runs import clock
from dataflows.runs.keys import KEY_FILE
from dataflows.sandbox.server import Sandbox
from dataflows.store.practice.tables import erasures, outbox
from tests.flows.patients.world import BEGAN, Ran, World, name_of, registration, written
from tests.flows.people import asking, forget_erasures, left_of


@pytest.fixture
def world(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], address: str) -> Iterator[World]:
    world = World(tmp_path, box, capsys, address)
    yield world
    world.empty()
    forget_erasures(world.engine)


@pytest.fixture
def small(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    """For what has nothing to do with the kind of database."""
    world = World(tmp_path, box, capsys, f"sqlite:///{tmp_path / 'practice.db'}")
    yield world
    world.engine.dispose()


def word() -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(16))


class Max:
    """A person of made-up words that are found nowhere else, in every place that there is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.first, self.last, self.street = word(), word(), word()
        self.words = [self.first, self.last, self.street]
        self.email = f"{word()}@example.org"

    @property
    def who(self) -> dict[str, str]:
        return {"first_name": self.first, "last_name": self.last}

    def says(self, *, after: float = 0.0, **data: Any) -> dict[str, Any]:
        fields = {"email": self.email, "strasse": self.street, **data}
        return registration(self.first, self.last, after=after, token=secrets.token_hex(8), **fields)

    def arrives(self, body: dict[str, Any], name: str | None = None) -> str:
        return self.world.arrive(body, name or name_of(body))

    def is_everywhere(self) -> None:
        """Imported, updated, superseded, sent twice; failed, given up, unrecognised; told of by mail."""
        first, broken = self.says(after=10), self.says(after=20, anrede="Dr.")
        self.arrives(first)
        self.arrives(first, "Copy_" + name_of(first))
        self.arrives(self.says(after=5))
        self.arrives(broken)
        self.world.bucket.put(f"{self.last} {self.first}.pdf", b"%PDF of the person")
        self.world.bucket.put("upload.bin", written(self.says(after=30)))
        for _ in range(4):
            self.world.bring_in()
        self.arrives(self.says(after=40, geschlecht="?"))
        self.arrives(self.says(after=50))
        ran = self.world.bring_in()
        assert ran.figures("dead", "failed", "updated") == [1, 1, 1]

    def remains(self) -> list[str]:
        return left_of(self.words, self.world.engine, self.world.folder)


def test_after_an_erasure_no_file_holds_a_word_of_the_person(world: World) -> None:
    person = Max(world)
    person.is_everywhere()
    other = registration("Ida", "Mustermann", email=person.email, token="1" * 8)
    world.arrive(other)
    world.bring_in()
    found = asking(world.call, "find", "--json", **person.who)
    assert (found.code, found["held"]) == (
        0,
        {
            **{"patients": 1, "patient_registrations": 3, "patient_consents": 3, "patient_tracking": 8},
            **{"copies": 4, "quarantine": 1, "bucket": 4},
            **{"therapists": 0, "therapist_locations": 0, "therapist_changes": 0, "events": 2, "mails": 2},
        },
    )
    rehearsed = asking(world.call, "erase", "--dry-run", "--json", **person.who)
    assert (rehearsed["held"], rehearsed["dry_run"]) == (found["held"], True)
    assert len(world.patients) == 2
    assert {leak.split(" in ")[0] for leak in person.remains() if "practice.db" in leak or "/base/" in leak} == {
        *person.words
    }
    erased = asking(world.call, "erase", "--yes", "--json", **person.who)
    assert (erased.code, erased["erased"], erased["left"]) == (0, found["held"], [])
    assert person.remains() == []
    assert [row.vorname for row in world.patients] == ["Ida"]
    assert len(world.registrations) == len(world.consents) == len(world.events) == len(world.files()) == 1
    assert list(world.bucket.objects) == []
    assert asking(world.call, "find", **person.who).code == 14


def test_one_of_a_family_with_a_shared_address_goes_alone(world: World) -> None:
    address = "familie@example.org"
    for first, born in (("Max", "2000-01-01"), ("Max", "1970-01-01"), ("Ida", "2000-01-01")):
        body = registration(first, "Mustermann", email=address, geburtsdatum=born, token=secrets.token_hex(8))
        world.arrive(body)
    broken = registration("Max", "Mustermann", email=address, geburtsdatum="1970-01-01", anrede="Dr.", token="2" * 8)
    world.arrive(broken)
    world.bring_in()
    who = {"first_name": "max", "last_name": " MUSTERMANN ", "email": address}
    unsure = asking(world.call, "erase", "--yes", "--json", **who)
    assert (unsure.code, unsure["error"]["code"], len(world.patients)) == (14, "several_people", 3)
    ids = [row.id for row in world.patients]
    assert unsure["error"]["message"] == f"2 people fit: patient {ids[0]}, patient {ids[1]}"
    erased = asking(world.call, "erase", "--yes", "--json", **who, date_of_birth="2000-01-01")
    assert (erased.code, erased["patients"], erased["erased"]["bucket"]) == (0, [ids[0]], 0)
    assert [row.id for row in world.patients] == ids[1:]
    assert list(world.bucket.objects) == [name_of(broken)]
    last = asking(world.call, "erase", "--yes", "--json", "--patient", str(ids[1]), **who)
    assert (last.code, last["erased"]["bucket"], list(world.bucket.objects)) == (0, 1, [])
    assert [row.vorname for row in world.patients] == ["Ida"]


def test_the_same_object_and_a_restored_copy_are_known_again_and_said(world: World) -> None:
    body = registration()
    name = world.arrive(body)
    world.bring_in()
    shutil.copytree(world.copies, world.folder / "backup")
    assert asking(world.call, "erase", "--yes", first_name="Max", last_name="Mustermann").code == 0
    world.arrive(body)
    world.arrive(body, "Anders_Name_2025-07-05_0b1ab67c.json")
    again = world.bring_in()
    assert (again.code, *again.figures("seen", "erased", "imported")) == (0, 2, 2, 0)
    assert "2 registrations of people who were erased came again" in again.err
    restored = world.bring_in("--from-copies", str(world.folder / "backup"))
    assert restored.figures("seen", "erased", "imported") == [1, 1, 0]
    assert world.bring_in("--dry-run")["erased"] == 2
    assert (world.patients, world.tracked, world.files()) == ([], [], {})
    assert name in list(world.bucket.objects)
    fresh = registration(after=100, token="3" * 8)
    world.arrive(fresh)
    assert world.bring_in().figures("erased", "imported") == [2, 1]  # who registers anew is welcome


def test_an_older_database_or_an_empty_one_does_not_bring_the_person_back_unseen(small: World) -> None:
    small.arrive(registration())
    small.bring_in()
    small.engine.dispose()
    database = Path(small.folder / "practice.db")
    shutil.copy(database, small.folder / "yesterday.db")
    backup = small.files()
    assert asking(small.call, "erase", "--yes", first_name="Max", last_name="Mustermann").code == 0
    shutil.copy(small.folder / "yesterday.db", database)
    assert "holds 1 registrations of people who were erased" in small.bring_in().err
    small.engine.dispose()
    database.unlink()
    (small.folder / "restored").mkdir()
    for name, data in backup.items():
        (small.folder / "restored" / name).write_bytes(data)
    assert small.bring_in("--from-copies", str(small.folder / "restored")).figures("erased", "imported") == [1, 0]


def test_a_person_who_is_in_no_database_yet_is_erased_and_known_again(small: World) -> None:
    body = registration()
    name = small.arrive(body)
    small.arrive(registration("Ida", token="7" * 8))
    ran = asking(small.call, "erase", "--yes", "--json", first_name="Max", last_name="Mustermann")
    assert (ran.code, ran["erased"]["bucket"], name in small.bucket.objects) == (0, 1, False)
    small.arrive(body)
    assert small.bring_in().figures("imported", "erased") == [1, 1]
    again = asking(small.call, "erase", "--yes", "--json", first_name="Max", last_name="Mustermann")
    assert (again.code, again["erased"]["bucket"], small.bucket.objects) == (0, 1, {})


def test_of_what_could_be_a_namesakes_nothing_is_touched(small: World) -> None:
    small.arrive(registration())
    small.bring_in()
    unreadable = "Mustermann_Max_2025-07-06_88888888.json"
    other_address = registration(email="other@example.org", geburtsdatum=None, token="9" * 8)
    small.bucket.put(unreadable, b"no registration")
    small.bucket.put("form.bin", written(other_address))
    who = {"first_name": "Max", "last_name": "Mustermann"}
    found = asking(small.call, "find", "--json", **who)
    assert (found.code, found["held"]["bucket"], len(found["unclear"])) == (3, 1, 1)  # alone of that name: it is theirs
    asked = asking(small.call, "find", "--json", **who, date_of_birth="1950-01-01")
    assert (asked.code, asked["patients"], asked["held"]["bucket"], len(asked["unclear"])) == (3, [], 0, 2)
    assert asking(small.call, "erase", "--yes", **who, date_of_birth="1950-01-01").code == 3
    assert len(small.bucket.objects) == 2 and len(small.patients) == 1


def test_marks_name_nobody_and_those_of_another_key_are_said(small: World) -> None:
    small.arrive(registration())
    small.bring_in()
    sha256 = small.registrations[0].sha256
    asking(small.call, "erase", "--yes", first_name="Max", last_name="Mustermann")
    marks = small.rows(erasures)
    assert len(marks) == 2 and sha256 not in str(marks)
    (small.data / KEY_FILE).rename(small.folder / "lost.key")
    assert "2 marks of erasures were made with another journal.key" in small.bring_in().err


def test_what_cannot_be_reached_is_said_and_goes_when_it_can(small: World) -> None:
    small.arrive(registration(anrede="Dr."))
    small.bring_in()
    reader = sqlite3.connect(small.folder / "practice.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM patient_tracking").fetchone()
    who = {"first_name": "Max", "last_name": "Mustermann"}
    here = small.environment["STORAGE_EMULATOR_HOST"]
    small.environment["STORAGE_EMULATOR_HOST"] = "http://127.0.0.1:9"
    ran = asking(small.call, "erase", "--yes", "--json", **who)
    assert (ran.code, ran["status"]) == (3, "partial")
    assert [one["place"] for one in ran["out_of_reach"]] == ["bucket"]
    assert [one["why"] for one in ran["left"]] == [
        "the write-ahead log of the practice database could not be emptied: another program reads it"
    ]
    assert small.tracked == [] and small.files() == {}
    reader.close()
    small.environment["STORAGE_EMULATOR_HOST"] = here
    again = asking(small.call, "erase", "--yes", "--json", **who)
    assert (again.code, again["erased"]["bucket"], small.bucket.objects) == (0, 1, {})


STEPS = [
    (holdings, "delete_objects"),
    (holdings, "delete_copies"),
    (unsent, "take_out"),
    (job, "delete"),
    (job, "compact"),
]


@pytest.mark.parametrize(("place", "name"), STEPS, ids=[name for _, name in STEPS])
def test_an_erasure_that_breaks_off_brings_nobody_back_and_is_repeated(
    small: World, monkeypatch: pytest.MonkeyPatch, place: object, name: str
) -> None:
    person = Max(small)
    person.arrives(person.says())
    person.arrives(person.says(after=5, anrede="Dr."))
    small.bring_in()

    def broken(*_: Any) -> Any:
        raise RuntimeError(person.words)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, broken)
        assert asking(small.call, "erase", "--yes", **person.who).code == 1
    person.arrives(person.says(after=5, anrede="Dr."))  # what was sent before, under the same name or another
    ran = small.bring_in()
    assert ran["imported"] == 0
    assert asking(small.call, "erase", "--yes", **person.who).code == 0
    assert person.remains() == []


def test_free_pages_that_an_erasure_could_not_empty_are_emptied_by_the_next_call(small: World) -> None:
    person = Max(small)
    person.arrives(person.says())
    small.bring_in()
    reader = sqlite3.connect(small.folder / "practice.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM patients").fetchone()
    for _ in range(2):
        assert asking(small.call, "erase", "--yes", **person.who).code == 3
        assert person.remains() != []
    reader.close()
    assert asking(small.call, "erase", "--yes", **person.who).code == 14
    assert person.remains() == []


def test_a_row_of_another_program_keeps_the_rows_and_is_said(world: World) -> None:
    world.arrive(registration())
    world.bring_in()
    with world.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE matches (patient_id BIGINT REFERENCES patients (id))")
        connection.exec_driver_sql(f"INSERT INTO matches VALUES ({world.patients[0].id})")
    try:
        ran = asking(world.call, "erase", "--yes", "--json", first_name="Max", last_name="Mustermann")
        assert (ran.code, ran["error"]["code"], len(world.patients)) == (3, "still_referred", 1)
        assert "Muster" not in ran.err
    finally:
        with world.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE matches")
    assert asking(world.call, "erase", "--yes", first_name="Max", last_name="Mustermann").code == 0


def test_an_import_at_work_is_not_disturbed(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    small.arrive(registration())
    codes = []

    def meanwhile(*_: Any) -> Any:
        codes.append(asking(small.call, "erase", "--yes", first_name="Max", last_name="Mustermann").code)
        return listed(*_)

    listed = BucketClient._listed
    monkeypatch.setattr(BucketClient, "_listed", lambda *_: meanwhile(*_) if not codes else listed(*_))
    small.call("patient-import")
    assert codes == [11]


def test_an_export_is_the_persons_own_data_and_a_file_of_its_owner(small: World) -> None:
    person = Max(small)
    person.is_everywhere()
    out = small.folder / "export" / "person.json"
    ran = asking(small.call, "export", "--out", str(out), "--json", **person.who)
    assert (ran.code, out.stat().st_mode & 0o077) == (0, 0)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["patients"][0]["strasse"] == person.street
    assert [len(found[name]) for name in ("patient_registrations", "copies", "bucket", "outbox")] == [3, 5, 4, 2]
    assert person.first in json.dumps(found["copies"]) and not set(person.words) & set(ran.out.split('"'))
    again = asking(small.call, "export", "--out", str(out), **person.who)
    assert (again.code, "already exists" in again.err) == (2, True)
    printed = asking(small.call, "export", **person.who)
    assert json.loads(printed.out)["patients"] == found["patients"]
    assert not any(one in printed.err for one in person.words)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("no json", "stdin does not say who is meant"),
        ('{"first_name": "Max"}', "first_name and last_name are needed"),
        ('{"first_name": "Max", "last_name": "M", "date_of_birth": "1.1.2000"}', "date_of_birth is not of the form"),
        ('{"vorname": "Max"}', "a field has another name"),
    ],
)
def test_who_is_meant_has_to_be_said_whole(small: World, given: str, why: str) -> None:
    from tests.flows.people import on_stdin

    with on_stdin(given):
        ran = small.call("person", "find")
    assert (ran.code, why in ran.err, "Max" in ran.err) == (14, True, False)


def test_nobody_is_erased_without_a_yes(small: World) -> None:
    small.arrive(registration())
    small.bring_in()
    ran: Ran = asking(small.call, "erase", first_name="Max", last_name="Mustermann")
    assert (ran.code, len(small.patients)) == (2, 1)


def test_what_looks_and_what_erases_is_recorded_without_a_name(small: World) -> None:
    person = Max(small)
    person.arrives(person.says())
    small.bring_in()
    asking(small.call, "find", **person.who)
    asking(small.call, "erase", "--yes", **person.who)
    told = small.call("runs", "list").out
    assert "person-find" in told and "person-erase" in told
    assert person.remains() == []


def test_a_looking_glass_without_a_database_makes_none(small: World) -> None:
    assert asking(small.call, "find", first_name="Max", last_name="Mustermann").code == 14
    assert not (small.folder / "practice.db").exists()


def test_copies_are_kept_for_good_unless_a_setting_bounds_them(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = registration(token="4" * 8), registration("Ida", token="5" * 8)
    small.arrive(old, after=0)
    small.bucket.put(name_of(new), written(new))
    small.bucket.put("Kaputt_Max_2025-07-05_66666666.json", b"{}", updated=BEGAN)
    for _ in range(5):
        small.bring_in()
    assert len(small.files()) == 4
    assert small.bring_in("--dry-run", PATIENT_KEEP_DAYS="30")["copies_removed"] == 0
    later = datetime.now(UTC) + timedelta(days=20)
    with monkeypatch.context() as patch:
        patch.setattr(clock, "utc_now", lambda: later)
        ran = small.bring_in(PATIENT_KEEP_DAYS="10")
    assert (ran["clock_jumped"], ran["copies_removed"], len(small.files())) == (True, 0, 4)
    assert small.bring_in(PATIENT_KEEP_DAYS="30")["copies_removed"] == 2
    assert list(small.files()) == [name_of(new)]


def test_events_that_nobody_takes_say_nothing_of_a_person_after_the_days_that_are_set(small: World) -> None:
    small.arrive(registration())
    small.bring_in()
    with small.engine.begin() as connection:
        connection.execute(sa.update(outbox).values(created_at=datetime.now(UTC) - timedelta(days=8)))
    small.bring_in()
    assert small.events[0].payload is not None
    small.bring_in(OUTBOX_KEEP_DAYS="7")
    assert small.events[0].payload is None
