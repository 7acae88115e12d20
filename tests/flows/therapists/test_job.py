"""One pass after the other: which files are imported, and what is kept of them."""

from __future__ import annotations

from tests.flows.therapists.world import World, moment, therapist


def test_new_therapists_are_imported(world: World) -> None:
    ran = world.bring(therapist(), therapist("Anna", "Beispiel", id="praxis68"))
    assert (ran.code, ran.counts) == (0, {"new": 2}), ran.err
    assert ran.files("seen", "imported", "skipped", "failed") == [1, 1, 0, 0]
    first = world.therapists[0]
    assert (first.source_id, first.area, first.active, first.status) == ("praxis67", "52XXX", True, "aktiv")
    assert first.last_seen == moment("2025-07-02T03:13:24.425211")
    assert (first.phone, first.languages) == ("030 23125 101", ["Deutsch", "Englisch"])
    assert world.tracked == [("52074.json", "success", None)]
    assert world.events == ["therapist.created"] * 2
