"""What breaks on the way: the bucket, the line, the database, the mail server, the file itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from dataflows.flows.practice.patients import intake, recording, tracking
from dataflows.flows.practice.patients.identity import PatientIdentity, match
from dataflows.remote import ping
from dataflows.sandbox.service import Answer
from dataflows.store.practice.database import writing
from dataflows.store.practice.tables import patients
from tests.flows.patients.world import BEGAN, World, name_of, registration, written

ANOTHER = "a" * 12


def kinds(world: World) -> list[str]:
    """The kinds of requests that changed or fetched objects, in order."""
    return [one.method for one in world.bucket.requests if "/o/" in one.path]


def spoil(world: World, name: str = "Beispiel_Eva_2025-07-05_0b1ab67b.json") -> str:
    """Put a file there that is no registration."""
    world.bucket.put(name, b'{"patient_data": {"nachname": 7}}')
    return name


def subjects(world: World) -> list[str]:
    return [text.splitlines()[0] for text in world.mails()]


# --- transient faults -------------------------------------------------------------------------------------------------

TRANSIENT: list[dict[str, Any]] = [
    {"only": "download", "error_next": 2},
    {"only": "download", "cut_next": 2},
    {"only": "download", "drop_next": 2},
    {"bad_hash_next": 2},
    {"damaged_next": 2},
]


@pytest.mark.parametrize("faults", TRANSIENT, ids=lambda faults: "-".join(map(str, faults.values())))
def test_a_download_that_fails_waits_and_is_no_attempt(world: World, faults: dict[str, Any]) -> None:
    world.arrive(registration())
    for _ in range(6):  # more often than bad content is tried
        world.bucket.faults.set(**faults)
        ran = world.bring_in()
        assert ran.code in (3, 13), ran.err
        assert ran.figures("waiting", "imported", "failed", "dead") == [1, 0, 0, 0]
    assert (world.tracked, world.files()) == ([], {})
    assert not any("failed" in text.splitlines()[0] for text in world.mails())
    assert len(world.bucket.objects) == 1
    assert world.bring_in().figures("imported", "deleted") == [1, 1]


@pytest.mark.parametrize("fault", ["error_next", "cut_next", "drop_next"])
def test_one_fault_is_ridden_out_within_the_pass(world: World, fault: str) -> None:
    world.arrive(registration())
    world.bucket.faults.set(only="download", **{fault: 1})
    assert world.bring_in().figures("imported", "deleted") == [1, 1]


def test_a_bucket_that_is_away_ends_the_run_early(world: World) -> None:
    for number in range(7):
        world.arrive(registration(f"V{'abcdefg'[number]}"))
    world.bucket.faults.set(only="download", error_next=1000)
    ran = world.bring_in()
    assert (ran.code, ran["error"]["code"], ran["seen"]) == (13, "service_down", 5)
    world.bucket.faults.set(only="list")
    ran = world.bring_in()
    assert (ran.code, ran["seen"]) == (13, 0)
    world.bucket.faults.clear()
    assert world.bring_in()["imported"] == 7


@pytest.mark.parametrize("denied", ["list", "get", "delete"])
def test_a_right_that_is_missing(world: World, denied: str) -> None:
    world.arrive(registration())
    world.bucket.faults.set(deny=denied)
    ran = world.bring_in()
    assert (ran.code, ran["error"]["code"]) == (12, "access_refused")
    assert ran["imported"] == (denied == "delete")
    world.bucket.faults.clear()
    assert world.bring_in()["deleted"] == 1
    assert len(world.registrations) == 1


def test_a_bucket_that_is_not_there(world: World) -> None:
    ran = world.bring_in(GCS_BUCKET="another-bucket")
    assert (ran.code, ran["error"]["code"]) == (10, "setting_unusable")


# --- deleting ---------------------------------------------------------------------------------------------------------


def test_a_delete_whose_answer_is_lost(world: World) -> None:
    world.arrive(registration())
    world.bucket.faults.set(only="delete", lost_next=1)
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "deleted")) == (0, [1, 1])
    assert kinds(world) == ["GET", "DELETE", "DELETE"]
    assert world.tracked[0].deleted_at is not None


def test_a_delete_that_does_not_come_through_is_done_by_the_next_pass(world: World) -> None:
    world.arrive(registration())
    world.bucket.faults.set(only="delete", error_next=2)
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "deleted")) == (13, [1, 0])
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "deleted")) == (0, [0, 1])
    assert kinds(world) == ["GET", "DELETE", "DELETE", "DELETE"]
    assert (len(world.registrations), world.tracked[0].deleted_at is not None) == (1, True)


def test_a_lost_delete_and_the_end_of_the_pass(world: World) -> None:
    world.arrive(registration())
    world.bucket.faults.set(only="delete", lost_next=1)
    assert world.bring_in(HTTP_ATTEMPTS="1").code == 13
    assert (world.bucket.objects, world.tracked[0].deleted_at) == ({}, None)
    assert world.bring_in().code == 0
    assert world.tracked[0].deleted_at is not None


def test_an_object_that_somebody_else_deleted_meanwhile(world: World) -> None:
    name = world.arrive(registration())
    world.bucket.then("download", lambda: world.bucket._shelf.remove(name))
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "deleted")) == (0, [1, 1])


def test_a_new_version_after_the_download_is_imported_and_not_deleted_unseen(world: World) -> None:
    name = world.arrive(registration(telefon="1"))
    newer = written(registration(after=60, telefon="2"))
    world.bucket.then("download", lambda: world.bucket.put(name, newer))
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "deleted")) == (0, [1, 0])
    assert world.bucket.objects[name][1] == newer
    ran = world.bring_in()
    assert (ran.code, ran.figures("updated", "deleted")) == (0, [1, 1])
    assert (world.patients[0].telefon, world.bucket.objects, len(world.files())) == ("2", {}, 2)


def test_a_new_version_after_the_list_is_left_for_the_next_pass(world: World) -> None:
    name = world.arrive(registration(telefon="1"))
    world.bucket.then("list", lambda: world.bucket.put(name, written(registration(after=60, telefon="2"))))
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "vanished")) == (0, [0, 1])
    assert world.bring_in()["imported"] == 1
    assert [one.document["patient_data"]["telefon"] for one in world.registrations] == ["2"]


# --- bad content ------------------------------------------------------------------------------------------------------


def test_a_poison_file_is_tried_five_times_told_twice_and_left_alone(world: World) -> None:
    name = spoil(world)
    for attempt in range(1, 8):
        ran = world.bring_in()
        [row] = world.tracked
        assert (row.attempts, row.status) == (min(attempt, 5), "dead" if attempt >= 5 else "failed")
        assert ran.code == (4 if attempt == 1 else 3 if attempt <= 5 else 0)
    assert subjects(world) == ["patient-import: 1 failed", "patient-import: 1 dead"]
    assert kinds(world).count("GET") == 5
    assert list(world.bucket.objects) == [name]
    assert sorted(world.files()) == [f"quarantine/{name}", f"quarantine/{name}.reason.json"]
    reason = json.loads(world.files()[f"quarantine/{name}.reason.json"])
    assert (reason["code"], reason["attempts"]) == ("invalid", 5)
    assert "patient_data.nachname: has to be text" in reason["why"]


def test_a_changed_object_starts_anew(world: World) -> None:
    name = spoil(world)
    for _ in range(5):
        world.bring_in()
    world.bucket.put(name, b"[]")
    assert world.bring_in()["failed"] == 1
    assert [(row.status, row.attempts) for row in world.tracked] == [("dead", 5), ("failed", 1)]
    body = registration("Eva", "Beispiel")
    world.bucket.put(name, written(body))
    ran = world.bring_in()
    assert (ran.code, ran["imported"]) == (0, 1)
    assert subjects(world)[-1] == "patient-import: 1 recovered"
    assert world.bring_in().code == 0
    assert len(world.mails()) == 4


@pytest.mark.parametrize("how", ["--retry-dead", "name", "hash"])
def test_a_dead_object_is_tried_again_when_asked(world: World, how: str) -> None:
    name = spoil(world)
    for _ in range(5):
        world.bring_in()
    key = world.mails()[0].split("every run:")[1].split()[0]
    ran = world.bring_in(*([how] if how.startswith("-") else ["--retry", name if how == "name" else key]))
    assert (ran.code, ran["failed"], world.tracked[0].attempts) == (3, 1, 1)
    assert list(world.files()) == [name]


def test_a_retry_that_fits_nothing(world: World) -> None:
    ran = world.bring_in("--retry", "Niemand_Nie_2025-07-05_0b1ab67b.json")
    assert (ran.code, ran["error"]["code"]) == (14, "bad_input")
    assert "Niemand" not in ran.err


def test_many_failures_are_one_mail(world: World) -> None:
    for letter in "abc":
        spoil(world, f"Beispiel_{letter}_2025-07-05_0b1ab67b.json")
    world.arrive(registration(), "what is this")
    world.arrive(registration())
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "failed", "unrecognised")) == (3, [1, 3, 1])
    assert subjects(world) == ["patient-import: 3 failed, 1 unrecognised"]


def test_a_file_above_the_limit_is_not_fetched(world: World) -> None:
    world.arrive(registration())
    ran = world.bring_in(PATIENT_MAX_BYTES="100")
    assert (ran.code, ran["failed"], kinds(world)) == (4, 1, [])
    assert world.tracked[0].code == "too_large"
    assert world.bring_in().figures("imported", "deleted") == [1, 1]
    assert subjects(world) == ["patient-import: 1 failed", "patient-import: 1 recovered"]


# --- database, disk and mail server -----------------------------------------------------------------------------------


def test_a_database_that_is_away_loses_nothing_and_costs_no_attempt(world: World) -> None:
    world.arrive(registration())
    for _ in range(6):
        ran = world.bring_in(IMPORT_DATABASE_URL="postgresql+psycopg://nobody@127.0.0.1:1/none")
        assert (ran.code, ran["error"]["code"]) == (13, "service_down")
    assert (len(world.bucket.objects), world.files()) == (1, {})
    assert world.bring_in()["imported"] == 1


def test_a_database_that_goes_away_between_copy_and_commit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.arrive(registration())

    def away(*_: Any) -> Any:
        raise exc.OperationalError("INSERT", {}, Exception("server closed the connection"))

    with monkeypatch.context() as patch:
        patch.setattr(intake, "record", away)
        assert world.bring_in().code == 13
    assert (world.tracked, len(world.files()), len(world.bucket.objects)) == ([], 1, 1)
    assert world.bring_in().figures("imported", "deleted") == [1, 1]
    assert len(world.files()) == 1


def test_a_commit_whose_answer_is_lost_is_repeated_without_harm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.arrive(registration())
    failures = ["once"]

    @contextmanager
    def losing(engine: Any, *, keep: bool = True) -> Iterator[Any]:
        with writing(engine, keep=keep) as connection:
            yield connection
        if failures:
            failures.clear()
            raise exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))

    monkeypatch.setattr(tracking, "writing", losing)
    ran = world.bring_in()
    assert (ran.code, ran["imported"], failures) == (0, 1, [])
    assert (len(world.patients), len(world.registrations), len(world.events)) == (1, 1, 1)


def test_another_program_that_enters_the_same_person_at_this_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unique key decides, and the transaction is tried again with what is there by then."""
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets nobody write beside a transaction")
    world.bring_in()
    world.arrive(registration(after=60, telefon="2"))
    meanwhile = ["once"]

    def late(who: PatientIdentity, sharing: Any) -> Any:
        if meanwhile:
            meanwhile.clear()
            with world.engine.begin() as connection:
                connection.execute(sa.insert(patients).values(entered_by_hand(who)))
        return match(who, sharing)

    monkeypatch.setattr(recording, "match", late)
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "updated")) == (0, [0, 1])
    assert [one.telefon for one in world.patients] == ["2"]


def entered_by_hand(who: PatientIdentity) -> dict[str, Any]:
    """The row of a patient as another program would write it."""
    keys = {"identity_key": who.identity_key, "email_key": who.email_key, "name_key": who.name_key}
    moments = {"registered_at": BEGAN, "created_at": BEGAN, "updated_at": BEGAN}
    names = {"vorname": "Max", "nachname": "Mustermann", "geburtsdatum": who.born}
    return {**keys, **moments, **names, "registered_generation": 1, "possible_duplicate": False}


def test_an_object_that_is_held_does_not_hold_up_the_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    held = world.arrive(registration("Anna"), after=1)
    world.arrive(registration("Berta"), after=2)
    answer = world.bucket._worked
    refusal = Answer.json(403, {"error": {"code": 403, "message": "held", "errors": [{"reason": "retention"}]}})

    def worked(call: Any, kind: str, work: Any) -> Answer:
        return refusal if kind == "delete" and call.name == held else answer(call, kind, work)

    monkeypatch.setattr(world.bucket, "_worked", worked)
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "deleted")) == (12, [2, 1])
    assert list(world.bucket.objects) == [held]


def test_an_object_that_is_listed_again_is_not_forgotten(world: World) -> None:
    """Its generation was taken for gone, such as when another bucket of the same name was asked in between."""
    name = spoil(world)
    world.bring_in()
    data = world.bucket._shelf.get(name)
    world.bucket._shelf.remove(name)
    world.bring_in()
    assert data is not None
    world.bucket._shelf._objects[name] = data
    for _ in range(5):
        world.bring_in()
    assert [(row.status, row.attempts, row.deleted_at) for row in world.tracked] == [("dead", 5, None)]


def test_the_health_check_is_told_how_runs_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(ping, "ping", lambda settings, job, what: told.append(f"{job} {what}"))
    address = {"HEALTHCHECK_URL_PATIENT_IMPORT": "https://health.example.org/secret"}
    assert world.bring_in(**address).code == 0
    assert world.bring_in(GCS_BUCKET="another-bucket", **address).code == 10
    world.bring_in("--dry-run", **address)
    assert told == [f"patient-import {what}" for what in ("start", "success", "start", "failure")]


def test_a_folder_of_copies_that_cannot_be_used(world: World) -> None:
    world.arrive(registration())
    (world.folder / "a file").write_text("", encoding="utf-8")
    ran = world.bring_in(PATIENT_BACKUP_DIR=str(world.folder / "a file"))
    assert (ran.code, ran["error"]["code"]) == (10, "setting_unusable")
    assert (len(world.bucket.objects), world.tracked) == (1, [])


def test_a_mail_server_that_is_down_fails_nothing_and_is_tried_again(world: World) -> None:
    settings = {name: text for name, text in world.box.settings().items() if name.startswith(("SMTP", "MAIL"))}
    spoil(world)
    world.arrive(registration())
    ran = world.bring_in(**{**settings, "SMTP_PORT": "1"})
    assert (ran.code, ran["imported"]) == (3, 1)
    assert "a mail was not sent" in ran.err
    world.bring_in(**settings)
    assert [mail.message["Subject"] for mail in world.box.mailbox.messages] == ["patient-import: 1 failed"]
    world.bring_in(**settings)
    assert len(world.box.mailbox.messages) == 1


def test_names_that_no_file_system_takes(world: World) -> None:
    body = registration()
    name = "CON?Muster: mann_Max._2025-07-05_0b1ab67b.json"
    world.arrive(body, name)
    assert world.bring_in()["imported"] == 1
    assert world.files() == {"CON_Muster_ mann_Max._2025-07-05_0b1ab67b.json": written(body)}
    assert name_of(body) not in world.files()


def test_damaged_bytes_without_a_checksum_of_their_own_are_seen_by_that_of_the_list(world: World) -> None:
    world.arrive(registration())
    world.bucket.faults.set(only="download", no_hash_next=10, damaged_next=10)
    ran = world.bring_in()
    assert (ran.code, ran["waiting"], ran["imported"], len(world.bucket.objects)) == (3, 1, 0, 1)
    assert world.files() == {}
    world.bucket.faults.clear()
    assert world.bring_in()["imported"] == 1
