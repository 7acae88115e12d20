"""The decision table of patient-import, row by row, on both databases. All people are made up."""

from __future__ import annotations

import gzip
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.flows.practice.patients.tracking import ATTEMPTS
from dataflows.runs import clock
from dataflows.store.practice.tables import outbox
from tests.flows.patients.world import BEGAN, TOKEN, World, name_of, registration, written

ANOTHER = "a" * 12


def names(world: World) -> list[str]:
    return [f"{patient.vorname} {patient.nachname}" for patient in world.patients]


# --- duplicate: same e-mail and name ----------------------------------------------------------------------------------


def test_a_newer_registration_of_the_same_person_updates_and_keeps_what_it_does_not_say(world: World) -> None:
    world.arrive(registration(telefon="030 23125 001", plz="52074", ort="Aachen", eigenes="x"))
    world.bring_in()
    world.arrive(registration(after=60, token=ANOTHER, telefon="030 23125 002", plz="", ort=None, anderes="y"))
    ran = world.bring_in()
    assert ran.figures("imported", "updated", "superseded") == [0, 1, 0]
    [patient] = world.patients
    assert (patient.telefon, patient.plz, patient.ort) == ("030 23125 002", "52074", "Aachen")
    assert patient.extra == {"eigenes": "x", "anderes": "y"}
    assert [one.document["patient_data"]["telefon"] for one in world.registrations] == [
        "030 23125 001", "030 23125 002",
    ]  # fmt: skip
    assert [event.event_type for event in world.events] == ["patient.created", "patient.updated"]
    assert world.events[1].payload["patient_data"]["telefon"] == "030 23125 002"


def test_an_older_registration_is_kept_and_changes_nothing(world: World) -> None:
    world.arrive(registration(after=60, telefon="030 23125 002"))
    world.bring_in()
    before = world.patients
    world.arrive(registration(token=ANOTHER, telefon="030 23125 001"))
    ran = world.bring_in()
    assert ran.figures("updated", "superseded", "deleted") == [0, 1, 1]
    assert world.patients == before
    assert [one.outcome for one in world.registrations] == ["imported", "superseded"]
    assert len(world.consents) == 2
    assert len(world.events) == 1


def test_an_older_registration_fills_what_the_newer_ones_left_empty_and_takes_nothing(world: World) -> None:
    world.arrive(registration(after=60, telefon="030 23125 002"))
    world.bring_in()
    world.arrive(registration(token=ANOTHER, telefon="030 23125 001", plz="52074", eigenes="x"))
    ran = world.bring_in()
    assert ran.figures("updated", "superseded") == [1, 0]
    [patient] = world.patients
    assert (patient.telefon, patient.plz, patient.extra) == ("030 23125 002", "52074", {"eigenes": "x"})
    assert (patient.registered_at - BEGAN).total_seconds() == 60
    assert [event.event_type for event in world.events] == ["patient.created", "patient.updated"]


def test_a_pass_between_a_restore_and_from_copies_loses_nothing(world: World) -> None:
    world.arrive(registration(), after=0)
    world.bring_in()
    world.arrive(registration(after=60, token=ANOTHER, telefon="2", plz="52074"), after=61)
    world.bring_in()
    kept = world.files()
    world.empty()  # and the backup had the first registration only
    folder = world.folder / "backup"
    folder.mkdir()
    for name, data in kept.items():
        if TOKEN in name:
            (folder / name).write_bytes(data)
    world.bring_in("--from-copies", str(folder))
    world.arrive(registration(after=120, token="c" * 8, telefon="3"), after=121)
    assert world.bring_in()["updated"] == 1
    assert world.bring_in("--from-copies", str(world.copies))["updated"] == 1
    [patient] = world.patients
    assert (patient.telefon, patient.plz) == ("3", "52074")


def test_a_registration_of_the_future_is_not_believed_and_blocks_nobody(world: World) -> None:
    late = registration(token=ANOTHER, telefon="1") | {"consent_metadata": {"timestamp_utc": "2099-01-01T00:00:00Z"}}
    world.arrive(late, after=1)
    ran = world.bring_in()
    assert (ran.code, ran["oddities"]) == (0, {"time_in_future": 1})
    [kept] = world.registrations
    assert ((kept.registered_at - BEGAN).total_seconds(), kept.registered_by) == (1.0, "object")
    world.arrive(registration(after=60, telefon="2"), after=61)
    assert world.bring_in()["updated"] == 1
    assert world.patients[0].telefon == "2"


def test_a_time_less_than_a_day_ahead_of_its_object_is_believed(world: World) -> None:
    world.arrive(registration(after=80_000), after=0)
    assert (world.bring_in()["oddities"], world.registrations[0].registered_by) == ({}, "consent")


def test_an_empty_database_beside_local_copies_is_said_loudly_and_once_by_mail(world: World) -> None:
    world.arrive(registration())
    assert "empty_database" not in world.bring_in().document
    world.empty()
    for _ in range(2):
        ran = world.bring_in()
        assert (ran.code, ran["empty_database"]) == (0, True)
        assert "holds no registration, but 1 local copy is in" in ran.err
        assert f'patient-import --from-copies "{world.copies}"' in ran.err
    [mail] = world.mails()
    assert mail.startswith("patient-import: the practice database is empty")
    assert world.bring_in("--from-copies", str(world.copies))["imported"] == 1
    assert "empty_database" not in world.bring_in().document
    assert len(world.mails()) == 1


def test_an_empty_database_is_said_where_only_the_journal_knows_of_earlier_imports(world: World) -> None:
    world.arrive(registration())
    world.bring_in()
    world.empty()
    for path in world.copies.iterdir():
        path.unlink()
    assert "earlier runs have imported some" in world.bring_in().err


def test_events_that_nobody_has_published_keep_their_payload_when_the_clock_jumps(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.arrive(registration())
    world.bring_in()
    with world.engine.begin() as connection:
        connection.execute(sa.update(outbox).values(created_at=datetime.now(UTC) - timedelta(days=31)))
    later = datetime.now(UTC) + timedelta(days=1500)
    monkeypatch.setattr(clock, "utc_now", lambda: later)
    ran = world.bring_in()
    assert (ran.code, ran["clock_jumped"], ran["events"]) == (0, True, {"published": 0, "waiting": 1})
    assert world.events[0].payload is not None
    monkeypatch.setattr(clock, "utc_now", lambda: datetime.now(UTC))
    assert world.bring_in()["events"] == {"published": 0, "waiting": 0}


def test_copies_need_no_file_times(world: World) -> None:
    world.arrive(registration(telefon="1"), after=1)
    late = undated(registration(token=ANOTHER, telefon="2", plz="52074"))
    world.arrive(late, "Mustermann_Max_2025-07-06_aaaaaaaa.json", after=86_400)
    world.bring_in()
    patients = world.patients
    world.empty()
    for path in world.copies.iterdir():
        os.utime(path, (315_532_800, 315_532_800) if TOKEN in path.name else None)
    ran = world.bring_in("--from-copies", str(world.copies))
    assert (ran.code, ran["oddities"].get("time_in_future")) == (0, None)
    assert [(one.telefon, one.plz) for one in world.patients] == [(one.telefon, one.plz) for one in patients]


# --- odd objects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unsaid", [["size"], ["crc32c"], ["timeCreated", "updated"], ["size", "crc32c"]])
def test_an_object_of_which_the_list_says_less_is_imported_like_others(world: World, unsaid: list[str]) -> None:
    world.bucket.put(name_of(registration("Anna")), written(registration("Anna")), unsaid=unsaid)
    world.arrive(registration(after=60))
    ran = world.bring_in()
    assert (ran.code, ran["imported"], world.bucket.objects) == (0, 2, {})


def test_an_object_that_cannot_be_told_from_its_other_versions_stays_and_the_others_are_imported(world: World) -> None:
    odd = name_of(registration("Anna"))
    world.bucket.put(odd, written(registration("Anna")), unsaid=["generation"])
    world.bucket.put(name_of(registration("Berta")), b"")
    world.arrive(registration())
    ran = world.bring_in()
    assert (ran.code, ran.figures("imported", "failed")) == (3, [1, 2])
    assert odd in world.bucket.objects
    assert world.bring_in("--dry-run")["failed"] == 2


def test_a_registration_that_is_stored_packed_is_unpacked_and_its_stored_bytes_are_kept(world: World) -> None:
    body = registration(telefon="030 23125 001")
    packed = gzip.compress(written(body))
    world.bucket.put(name_of(body), packed, content_encoding="gzip")
    ran = world.bring_in()
    assert (ran.code, ran["imported"], world.bucket.objects) == (0, 1, {})
    assert (world.patients[0].telefon, world.files()) == ("030 23125 001", {name_of(body): packed})
    world.empty()
    assert world.bring_in("--from-copies", str(world.copies))["imported"] == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (gzip.compress(b" " * 20_000_000), "too_large"),
        (gzip.compress(written(registration()))[:-30], "not_json"),
        (b"\x1f\x8bnothing", "not_json"),
    ],
)
def test_a_packed_registration_that_is_none_is_refused(world: World, data: bytes, code: str) -> None:
    world.bucket.put(name_of(registration()), data, content_encoding="gzip")
    assert world.bring_in().code == 4
    assert [one.code for one in world.tracked] == [code]


@pytest.mark.parametrize(
    ("vorname", "nachname", "email"),
    [
        ("  max ", "MUSTERMANN", " Max.Mustermann@EXAMPLE.org"),
        ("Max", "Mustermann\u00a0", "max.mustermann@example.org"),
    ],
)
def test_names_are_compared_trimmed_and_case_folded(world: World, vorname: str, nachname: str, email: str) -> None:
    world.arrive(registration())
    world.arrive(registration(vorname, nachname, after=60, email=email), "x_y_2025-07-05_aaaaaaaa.json")
    ran = world.bring_in()
    assert ran.figures("imported", "updated") == [1, 1]


def test_umlauts_composed_and_decomposed_are_the_same(world: World) -> None:
    world.arrive(registration("J\u00f6rg", "Gro\u00df", email="a@example.org"))
    world.arrive(registration("Jo\u0308rg", "GROSS", after=60, email="a@example.org", geschlecht="ma\u0308nnlich"))
    assert world.bring_in().figures("imported", "updated") == [1, 1]
    [patient] = world.patients
    assert patient.vorname == "J\u00f6rg"


def test_the_same_person_twice_in_one_pass(world: World) -> None:
    world.arrive(registration(after=60, telefon="2"), "b_b_2025-07-05_bbbbbbbb.json", after=1)
    world.arrive(registration(telefon="1"), "a_a_2025-07-05_aaaaaaaa.json", after=2)
    ran = world.bring_in()
    assert ran.figures("imported", "updated", "superseded") == [1, 0, 1]
    [patient] = world.patients
    assert patient.telefon == "2"


def test_without_an_e_mail_there_is_never_a_match(world: World) -> None:
    world.arrive(registration(email=None))
    world.arrive(registration(email=" ", token=ANOTHER))
    ran = world.bring_in()
    assert ran["imported"] == 2
    assert [patient.possible_duplicate for patient in world.patients] == [True, True]
    assert [patient.identity_key for patient in world.patients] == [None, None]
    assert [one.flag for one in world.registrations] == ["no_email", "no_email"]


def test_twins_by_name_are_two_patients(world: World) -> None:
    world.arrive(registration())
    world.arrive(registration(after=60, token=ANOTHER, geburtsdatum="1950-02-03"))
    ran = world.bring_in()
    assert ran.figures("imported", "updated") == [2, 0]
    assert [patient.possible_duplicate for patient in world.patients] == [False, True]
    assert [one["why"] for one in ran["possible_duplicates"]] == ["birth_date"]


def test_a_date_of_birth_that_becomes_known_makes_no_new_patient(world: World) -> None:
    world.arrive(registration(geburtsdatum=None))
    world.arrive(registration(after=60, token=ANOTHER))
    world.arrive(registration(after=120, token="c" * 8, geburtsdatum=""))
    assert world.bring_in().figures("imported", "updated") == [1, 2]
    [patient] = world.patients
    assert str(patient.geburtsdatum) == "2000-01-01"


def test_a_registration_that_would_fit_two_patients_is_a_third(world: World) -> None:
    world.arrive(registration())
    world.arrive(registration(after=60, token=ANOTHER, geburtsdatum="1950-02-03"))
    world.bring_in()
    world.arrive(registration(after=120, token="c" * 8, geburtsdatum=None))
    assert [one["why"] for one in world.bring_in()["possible_duplicates"]] == ["unclear"]
    assert len(world.patients) == 3


def test_a_family_that_shares_an_e_mail(world: World) -> None:
    world.arrive(registration("Anna", email="familie@example.org"))
    world.arrive(registration("Berta", email="familie@example.org", anrede="Frau", geschlecht="weiblich"))
    ran = world.bring_in()
    assert ran["imported"] == 2
    assert [patient.possible_duplicate for patient in world.patients] == [False, True]
    assert [one["why"] for one in ran["possible_duplicates"]] == ["shared_email"]
    assert "who may be duplicates: 1" in ran.err


def test_a_last_name_null_is_a_name(world: World) -> None:
    world.arrive(registration("Max", "Null"))
    assert world.bring_in().code == 0
    assert names(world) == ["Max Null"]


# --- newer ------------------------------------------------------------------------------------------------------------


def undated(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "consent_metadata": {}, "registration_timestamp": None}


def test_the_consent_says_when_it_was(world: World) -> None:
    body = registration()
    world.arrive({**body, "registration_timestamp": "2030-01-01 00:00:00"})
    world.bring_in()
    [kept], [consent] = world.registrations, world.consents
    assert (kept.registered_at, kept.registered_by) == (BEGAN, "consent")
    assert (consent.consented_at, consent.registration_timestamp) == (BEGAN, "2030-01-01 00:00:00")


def test_else_the_body_says_it_in_utc(world: World) -> None:
    body = registration()
    world.arrive({**body, "consent_metadata": {"timestamp_utc": "yesterday"}})
    world.bring_in()
    [kept] = world.registrations
    assert (kept.registered_at, kept.registered_by) == (BEGAN, "body")


def test_else_the_object_does_and_its_generation_decides_between_equals(world: World) -> None:
    world.arrive(undated(registration(telefon="1")), after=5)
    world.bring_in()
    world.arrive(undated(registration(telefon="2", token=ANOTHER)), after=5)
    ran = world.bring_in()
    assert (ran["updated"], ran["oddities"]) == (1, {"time_missing": 1})
    assert {one.registered_by for one in world.registrations} == {"object"}
    [patient] = world.patients
    assert (patient.telefon, (patient.registered_at - BEGAN).total_seconds()) == ("2", 5.0)


# --- token, consent, names --------------------------------------------------------------------------------------------


def test_a_token_that_differs_is_imported_with_a_warning(world: World) -> None:
    world.arrive(registration(), "Mustermann_Max_2025-07-05_ffffffff.json")
    ran = world.bring_in()
    assert (ran.code, ran["imported"], ran["warnings"], ran["oddities"]) == (0, 1, 1, {"token_differs": 1})
    assert "1 registration: the token differs from" in ran.err


def test_every_registration_has_a_consent_of_its_own(world: World) -> None:
    bodies = [registration(), registration(after=60, token=ANOTHER), registration(after=-60, token="c" * 8)]
    for body in bodies:
        world.arrive(body)
    assert world.bring_in().figures("imported", "updated", "superseded") == [1, 1, 1]
    found = {one.file_sha256: one for one in world.consents}
    assert len(found) == 3
    for kept in world.registrations:
        consent = found[kept.sha256]
        assert (consent.registration_id, consent.patient_id) == (kept.id, world.patients[0].id)
        assert consent.consent_metadata == kept.document["consent_metadata"]
        assert consent.registration_token == kept.document["registration_token"]


def test_a_body_without_consent_is_imported_with_a_warning(world: World) -> None:
    body = registration()
    del body["consent_metadata"]
    world.arrive(body)
    ran = world.bring_in()
    assert (ran.code, ran["oddities"]) == (0, {"consent_missing": 1})
    assert [one.consent_metadata for one in world.consents] == [None]


@pytest.mark.parametrize("name", ["notes.txt", "Mustermann_2025-07-05_0b1ab67b.json", "a/b_c_2025-07-05_0b1ab67b.json"])
def test_another_name_is_left_where_it_is_and_told_once(world: World, name: str) -> None:
    world.arrive(registration(), name)
    for _ in range(3):
        ran = world.bring_in()
        assert (ran.code, ran["unrecognised"], ran["imported"], ran["deleted"]) == (0, 1, 0, 0)
    assert list(world.bucket.objects) == [name]
    assert [text.splitlines()[0] for text in world.mails()] == ["patient-import: 1 unrecognised"]
    assert world.files() == {}


def test_a_pattern_takes_what_was_not_recognised(world: World) -> None:
    world.arrive(registration(), "form-7.json")
    world.bring_in()
    ran = world.bring_in("--pattern", r"form-\d+\.json")
    assert ran.figures("imported", "unrecognised", "deleted", "warnings") == [1, 0, 1, 0]
    assert list(world.files()) == ["form-7.json"]


def test_a_pattern_that_is_none(world: World) -> None:
    ran = world.bring_in("--pattern", "form-(")
    assert (ran.code, ran["error"]["code"]) == (2, "wrong_usage")


# --- the same bytes ---------------------------------------------------------------------------------------------------


def test_the_same_bytes_under_another_name(world: World) -> None:
    body = registration()
    world.arrive(body)
    world.bring_in()
    world.arrive(body, "Mustermann_Max_2025-07-06_0b1ab67b.json")
    ran = world.bring_in()
    assert ran.figures("imported", "updated", "duplicate_file", "deleted") == [0, 0, 1, 1]
    assert (len(world.patients), len(world.registrations), len(world.consents), len(world.events)) == (1, 1, 1, 1)
    first, second = world.tracked
    assert (second.status, second.consent_id, second.patient_id) == (
        "duplicate_file", first.consent_id, first.patient_id,
    )  # fmt: skip
    assert world.files() == {name_of(body): written(body)}


# --- nothing that a patient sent is lost ------------------------------------------------------------------------------


def test_unknown_fields_are_kept_and_named(world: World) -> None:
    body = registration(neue_frage="ja", Max="kein Feld", hat_ptv11=True)
    world.arrive(body)
    ran = world.bring_in()
    [patient] = world.patients
    assert patient.extra == {"neue_frage": "ja", "Max": "kein Feld"}
    assert patient.psychotherapeutische_sprechstunde is True
    assert ran["unknown_fields"] == {"neue_frage": 1}
    assert "fields without a column: neue_frage" in ran.err


def test_every_field_comes_out_as_it_went_in(world: World) -> None:
    full: dict[str, Any] = {
        "anrede": "Frau",
        "geschlecht": "keine_Angabe",
        "strasse": "Beispielweg 1",
        "plz": "01067",
        "ort": "Dresden",
        "telefon": "030 23125 001",
        "hausarzt": "Dr. Beispiel",
        "krankenkasse": "Beispielkasse",
        "krankenversicherungsnummer": "A000000000",
        "diagnose": "F32.1",
        "symptome": ["Schlafstörungen", "Ängste"],
        "erfahrung_mit_psychotherapie": False,
        "vertraege_unterschrieben": True,
        "psychotherapeutische_sprechstunde": True,
        "offen_fuer_gruppentherapie": False,
        "offen_fuer_diga": True,
        "empfehler_der_unterstuetzung": "eine Freundin",
        "zeitliche_verfuegbarkeit": {"montag": ["09:00-12:00"], "freitag": []},
        "raeumliche_verfuegbarkeit": {"max_km": 30},
        "verkehrsmittel": "ÖPNV",
        "bevorzugtes_therapeutengeschlecht": "Weiblich",
        "bevorzugtes_therapieverfahren": "tiefenpsychologisch_fundierte_Psychotherapie",
        "ausgeschlossene_therapeuten": [17, "Beispiel"],
    }
    world.arrive(registration(letzte_sitzung_vorherige_psychotherapie="2024-02-29", **full))
    ran = world.bring_in()
    assert (ran.code, ran["warnings"]) == (0, 0)
    row = world.patients[0]._mapping
    assert {name: row[name] for name in full} == full
    assert str(row["letzte_sitzung_vorherige_psychotherapie"]) == "2024-02-29"
    told = world.events[0].payload["patient_data"]
    assert {name: told[name] for name in full} == full


# --- the job ----------------------------------------------------------------------------------------------------------


def test_the_oldest_object_comes_first(world: World) -> None:
    for number in (3, 1, 2):
        world.arrive(registration(f"N{'abc'[number - 1]}"), f"x_{number}_2025-07-05_aaaaaaaa.json", after=number)
    world.bring_in()
    assert names(world) == ["Na Mustermann", "Nb Mustermann", "Nc Mustermann"]


def test_a_dry_run_says_what_would_be_and_does_nothing(world: World) -> None:
    world.arrive(registration())
    world.bring_in()
    world.arrive(registration(after=60, token=ANOTHER))
    world.arrive(registration("Berta"))
    world.arrive(registration("Carl", anrede="Dr."))
    world.arrive(registration(), "notes.txt")
    before = (world.patients, world.tracked, world.events, world.files(), world.bucket.objects)
    ran = world.bring_in("--dry-run")
    assert ran.code == 3
    assert ran.figures("seen", "imported", "updated", "unrecognised", "failed", "deleted") == [4, 1, 1, 1, 1, 0]
    assert (world.patients, world.tracked, world.events, world.files(), world.bucket.objects) == before
    assert world.mails() == []


def test_a_dry_run_meets_a_silent_bucket_as_the_run_does(world: World) -> None:
    for number in range(7):
        world.arrive(registration(f"N{'abcdefg'[number]}"))
    world.bucket.faults.set(only="download", error_next=1000)
    figures = [(ran.code, ran["waiting"]) for ran in (world.bring_in("--dry-run"), world.bring_in())]
    assert figures == [(13, 5), (13, 5)]


def test_a_dry_run_gives_up_what_the_run_would_give_up_and_puts_nothing_aside(world: World) -> None:
    world.arrive(registration(anrede="Dr."))
    for _ in range(ATTEMPTS - 1):
        world.bring_in()
    before = (world.tracked, world.files())
    rehearsed = world.bring_in("--dry-run")
    assert (world.tracked, world.files()) == before
    assert rehearsed.figures("failed", "dead") == world.bring_in().figures("failed", "dead") == [0, 1]
    assert world.files().keys() != before[1].keys()


def test_a_dry_run_makes_no_database(world: World) -> None:
    world.arrive(registration())
    missing = world.folder / "not there.db"
    ran = world.bring_in("--dry-run", IMPORT_DATABASE_URL=f"sqlite:///{missing}")
    assert (ran.code, ran["imported"], missing.exists(), len(world.bucket.objects)) == (0, 1, False, 1)


def test_copies_bring_a_lost_database_back(world: World) -> None:
    world.arrive(registration(telefon="1"), after=1)
    world.arrive(registration(after=60, token=ANOTHER, telefon="2"), after=2)
    world.arrive(undated(registration("Berta")), after=3)
    world.bring_in()
    kept, patients = world.files(), world.patients
    world.empty()
    ran = world.bring_in("--from-copies", str(world.copies))
    assert (ran.code, ran.figures("seen", "imported", "updated", "deleted")) == (0, [3, 2, 1, 0])
    assert [(one.vorname, one.telefon, one.registered_at) for one in world.patients] == [
        (one.vorname, one.telefon, one.registered_at) for one in patients
    ]
    assert world.files() == kept
    again = world.bring_in("--from-copies", str(world.copies))
    assert again.figures("imported", "updated", "superseded", "duplicate_file") == [0, 0, 0, 3]


def test_copies_from_another_folder_that_are_broken(world: World) -> None:
    folder = world.folder / "restored"
    folder.mkdir()
    (folder / "broken.json").write_text("{", encoding="utf-8")
    (folder / "good-1234.json").write_bytes(written(registration()))
    ran = world.bring_in("--from-copies", str(folder))
    assert (ran.code, ran.figures("seen", "imported", "failed")) == (3, [2, 1, 1])
    assert list(world.files()) == ["good-1234.json"]


def test_copies_whose_names_an_archive_has_broken(world: World, tmp_path: Path) -> None:
    if sys.platform in ("win32", "darwin"):
        pytest.skip("file systems there take no bytes that are no text")
    folder = tmp_path / "restored"
    folder.mkdir()
    (folder / os.fsdecode(b"Gro\xe1mann_J\x94rg_2025-07-05_0b1ab67b.json")).write_bytes(written(registration()))
    assert world.bring_in("--from-copies", str(folder), "--dry-run").code == 0
    assert world.bring_in("--from-copies", str(folder))["imported"] == 1


def test_times_at_the_end_of_the_calendar_on_a_server_of_another_zone(world: World) -> None:
    if world.engine.dialect.name == "postgresql":
        with world.engine.begin() as connection:
            connection.exec_driver_sql("ALTER DATABASE registrations SET timezone TO 'Europe/Berlin'")
        world.engine.dispose()
    last = {"consent_metadata": {"timestamp_utc": "9999-12-31T23:59:59Z"}}
    world.arrive(registration() | last)
    assert world.bring_in()["imported"] == 1
    world.arrive(registration(after=60, token="f" * 8))
    assert world.bring_in()["superseded"] == 1
    if world.engine.dialect.name == "postgresql":
        with world.engine.begin() as connection:
            connection.exec_driver_sql("ALTER DATABASE registrations RESET timezone")


def test_an_object_whose_name_no_database_holds_is_left_where_it_is(world: World) -> None:
    world.bucket.put("a\0b", b"{}")
    ran = world.bring_in()
    assert (ran.code, ran["unrecognised"], len(world.bucket.objects)) == (0, 1, 1)
