"""One pass after the other: what arrives is imported once, kept, and deleted only then."""

from __future__ import annotations

from tests.flows.patients.world import World, name_of, registration, written


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
