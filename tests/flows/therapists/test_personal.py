"""Nothing of a therapist gets into a log, the journal, an error, a mail, a report or what is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from dataflows.flows.practice.therapists.creating import Creating
from tests.flows.therapists.world import World, scrape, therapist

CANARIES = {
    "first": "Canaryfirst", "last": "Canarylast", "street": "Canaryweg", "house_number": "77q", "city": "Canarystadt",
    "phone": "030 23125 177", "email": "canary@example.org", "title": "Prof. Canary", "full_name": "Canaryfull",
    "languages": ["Canarisch"], "waiting": "Canaryextra", "salutation": "Canaryanrede", "fax": "030 23125 178",
    "therapy_methods": ["Canarymethode"], "telephone_hours": {"canarytag": ["canaryzeit"]}, "canarykey": {"canary": 1},
    "classification": "Canaryklasse",
}  # fmt: skip
MARKS = ("anary", "23125 1", "77q")  # nothing that a hash or a time could hold by chance


def told(world: World) -> Iterator[tuple[str, str]]:
    """Everything that was written outside of the database, by file."""
    for path in world.data.rglob("*"):
        if path.is_file() and not path.name.startswith("practice.db"):
            yield str(path.relative_to(world.data)), path.read_bytes().decode("utf-8", "replace")


def canary(**fields: object) -> dict[str, object]:
    """A therapist whom nobody may hear of."""
    return therapist(**{**CANARIES, **fields})  # type: ignore[arg-type]


def test_nobody_is_heard_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = canary(last="Canaryother", email=None)
    broken = canary(source_id="Canaryid", phone=["030 23125 177"])
    said = []
    for date, entries in (("2025-07-01", [canary(), broken]), ("2025-07-08", [renamed, canary(first="")])):
        world.put("52074.json", scrape(*entries, date=date))
        ran = world.call("--verbose", "therapist-import")
        said += [ran.out, ran.err]
    world.put("52066.json", json.dumps(scrape(canary()))[:-3] + "Canary")
    world.put("Canary_Max.json", "{}")
    ran = world.call("--verbose", "--log-level", "debug", "therapist-import", "--json")
    said += [ran.out, ran.err]
    world.put("52070.json", scrape(canary(first="Canarynew", source_id="praxis1")))
    for error in (sa.exc.DataError("Canary", None, Exception("Key (phone)=(Canary)")), ValueError("Canary")):
        with monkeypatch.context() as patch:
            patch.setattr(Creating, "write", _raising(error))
            ran = world.call("--verbose", "therapist-import")
        said += [ran.out, ran.err]
    assert [mark for mark in MARKS for text in said if mark in text] == []
    assert [(name, mark) for name, text in told(world) for mark in MARKS if mark in text] == []
    assert len(world.mails()) == 2


def _raising(error: Exception) -> object:
    def fail(*_: object) -> None:
        raise error

    return fail
