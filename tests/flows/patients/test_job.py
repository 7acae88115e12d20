"""The story of a pass: what arrives is imported once, kept, and deleted only then; and never by two at a time."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.flows.practice.patients import job
from dataflows.runs.keys import IdentifierCipher
from dataflows.store.database import connect
from dataflows.store.practice.database import lock_for
from tests.flows.patients.fatal import Victims, victims
from tests.flows.patients.world import World, name_of, registration, written
from tests.processes import gated
from tests.store.practice.frozen import thaw

__all__ = ["victims"]


def test_a_registration_is_imported_kept_and_deleted(world: World) -> None:
    body = registration()
    name = world.arrive(body)
    ran = world.bring_in()
    assert ran.code == 0, ran.err
    assert ran.figures("seen", "imported", "deleted") == [1, 1, 1]
    [patient], [kept], [consent], [tracked] = world.patients, world.registrations, world.consents, world.tracked
    assert (patient.nachname, patient.email, str(patient.geburtsdatum)) == (
        "Mustermann", "max.mustermann@example.org", "2000-01-01",
    )  # fmt: skip
    assert kept.document == body
    assert consent.consent_metadata == body["consent_metadata"]
    assert (tracked.object_name, tracked.status, tracked.deleted_at is not None) == (name, "imported", True)
    assert world.files() == {name_of(body): written(body)}
    assert world.bucket.objects == {}
    assert [event.event_type for event in world.events] == ["patient.created"]
    again = world.bring_in()
    assert (again.code, again["seen"]) == (0, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_copies_are_their_owners_alone(world: World) -> None:
    body = registration()
    world.arrive(body, after=5)
    world.bring_in()
    path = world.copies / name_of(body)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(world.copies.stat().st_mode) == 0o700


def test_the_embedded_database_is_the_default(world: World) -> None:
    world.arrive(registration())
    ran = world.bring_in(IMPORT_DATABASE_URL="")
    assert (ran.code, ran["imported"]) == (0, 1)
    path = world.data / "practice.db"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with connect(f"sqlite:///{path}").connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM patients").scalar() == 1


def test_the_report_says_what_the_page_promises(world: World) -> None:
    ran = world.bring_in()
    promised = (
        "seen", "imported", "updated", "superseded", "duplicate_file", "unrecognised", "failed", "dead", "deleted",
        "warnings",
    )  # fmt: skip
    assert set(promised) <= ran.document.keys()
    assert ran["status"] == "done"


def test_runs_show_lists_objects_by_hash(world: World) -> None:
    name = "Beispiel_Eva_2025-07-05_0b1ab67b.json"
    world.bucket.put(name, b"{}")
    ran = world.bring_in()
    shown = world.call("runs", "show", ran["run_id"], "--json")
    [item] = shown["items"]
    assert (item["code"], item["message"]) == ("invalid", "patient_data: is missing")
    assert "Beispiel" not in shown.out and len(item["key"]) == 16


def test_the_hash_of_a_mail_leads_to_the_object(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "Beispiel_Eva_2025-07-05_0b1ab67b.json"
    world.bucket.put(name, b"{}")
    world.bring_in()
    key = world.mails()[0].split("every run:")[1].split()[0]
    assert world.call("patient-import", "--show", key).code == 2  # this is no terminal
    monkeypatch.setattr("dataflows.cli.output.Output.on_terminal", True)
    assert world.call("patient-import", "--show", key).out == f"{name}\n"
    assert world.call("patient-import", "--show", "0" * 16).code == 2
    world.arrive(registration(), "not yet seen")
    waiting = IdentifierCipher.of(world.data).fingerprint("not yet seen")
    assert world.call("patient-import", "--show", waiting[:8]).out == "not yet seen\n"


def test_a_run_that_was_cut_short_is_resumed(world: World) -> None:
    world.arrive(registration())
    world.bucket.faults.set(only="list", error_next=2)
    ran = world.bring_in()
    assert (ran.code, ran["status"]) == (13, "resumable")
    resumed = world.call("runs", "resume", ran["run_id"], "--json")
    assert (resumed.code, resumed["imported"]) == (0, 1)


def test_a_database_of_the_first_version_goes_on_as_if_nothing_had_been(world: World) -> None:
    world.forget()
    thaw(world.engine)
    world.arrive(registration("Anna", "Null", email=None, geburtsdatum=None))  # the same bytes as one that is there
    world.arrive(registration("Jörg", "Großmann", after=120, token="c" * 12, telefon="3"))
    world.arrive(registration("Carl", "Beispiel"))
    ran = world.bring_in()
    assert ran.figures("imported", "updated", "duplicate_file") == [1, 1, 1]
    assert [(one.vorname, one.telefon) for one in world.patients] == [("Jörg", "3"), ("Anna", None), ("Carl", None)]


# --- never two at a time ----------------------------------------------------------------------------------------------


def two_machines(world: World) -> list[dict[str, str]]:
    return [{**world.environment, "DATA_DIR": str(world.folder / f"machine {number}")} for number in (1, 2)]


def test_of_two_machines_one_runs_and_the_other_ends_with_11(world: World, victims: Victims) -> None:
    for number in range(12):
        world.arrive(registration(after=number, token=f"{number:08}"))
        with gated(world.bucket, after=3 * number) as gate:
            codes = victims.at_once(two_machines(world), gate)
        assert sorted(codes) == [0, 11]
    assert (len(world.registrations), len(world.patients), world.bucket.objects) == (12, 1, {})
    assert [event.event_type for event in world.events] == ["patient.created"] + ["patient.updated"] * 11


def test_the_lock_ends_with_a_killed_process(world: World, victims: Victims) -> None:
    first, second = two_machines(world)
    world.arrive(registration())
    assert victims.killed_at("Bucket.download before", 1, first)
    assert world.bring_in(DATA_DIR=second["DATA_DIR"]).figures("imported", "deleted") == [1, 1]


def cut(url: str) -> None:
    """End every other session of a PostgreSQL database."""
    with connect(url).connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(sa.text(f"{others} AND pid <> pg_backend_pid()"))


@contextmanager
def somebody_else(world: World) -> Iterator[Any]:
    lock = lock_for(connect(world.url), job.COMMAND)
    try:
        yield lock
    finally:
        lock.release()


@pytest.mark.parametrize("taken", [False, True])
def test_a_session_that_is_cut_takes_the_lock_anew_or_stops(world: World, taken: bool) -> None:
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no sessions that could be cut")
    world.arrive(registration())
    with somebody_else(world) as lock:

        def meanwhile() -> None:
            cut(world.url)
            if taken:
                lock.acquire()

        world.bucket.then("download", meanwhile)
        ran = world.bring_in()
    if taken:
        assert (ran.code, ran["error"]["code"], ran["imported"]) == (11, "already_running", 0)
        assert (len(world.bucket.objects), world.registrations) == (1, [])
    else:
        assert (ran.code, ran.figures("imported", "deleted")) == (0, [1, 1])
    assert world.bring_in().code == 0
    assert (len(world.registrations), world.bucket.objects) == (1, {})


def test_windows_paths_and_blanks(world: World, tmp_path: Path) -> None:
    world.arrive(registration())
    folder = tmp_path / "Ablage für Kopien"
    assert world.bring_in(PATIENT_BACKUP_DIR=str(folder))["imported"] == 1
    assert len(list(folder.iterdir())) == 1
