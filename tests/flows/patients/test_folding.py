"""A patient's row is the fold of all registrations, whatever order they arrive in. All people are made up."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows.flows.practice.patients.identity import COLUMNS
from dataflows.flows.practice.patients.objects import ListedObject
from dataflows.flows.practice.patients.recording import ReceivedRegistration, record
from dataflows.flows.practice.patients.registration import read
from dataflows.store.database import connect
from dataflows.store.practice.database import writing
from dataflows.store.practice.migrate import migrate
from dataflows.store.practice.tables import metadata, patients
from tests.flows.patients.world import BEGAN, registration, written


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    url = "sqlite://" if request.param == "sqlite" else str(request.getfixturevalue("registrations_url"))
    engine = connect(url)
    migrate(engine)
    yield engine
    engine.dispose()


def arrival(number: int, after: int, ahead: int, said: dict[str, Any]) -> ReceivedRegistration:
    """A registration made ``after`` so many minutes, of which its own clock says ``ahead`` days more."""
    body = registration(after=after * 60 + ahead * 86_400, token=f"{number:08x}", **said)
    made = BEGAN + timedelta(minutes=after, seconds=number)
    about = ListedObject(f"object {number}", 1_000 + number, None, "", made)
    return ReceivedRegistration("bucket", about, read(written(body), max_bytes=10**6).dated(made), "copy", "run")


FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "telefon": st.sampled_from(["1", "2", ""]),
        "plz": st.sampled_from(["52074", "52066", None]),
        "geburtsdatum": st.sampled_from(["2000-01-01", None]),
        "symptome": st.sampled_from([["Angst"], "Angst", []]),
        "vorname": st.sampled_from(["Max", " max "]),
        "email": st.sampled_from(["max.mustermann@example.org", "MAX.Mustermann@example.org"]),
        "eigenes": st.sampled_from(["x", "y"]),
    },
)
ARRIVALS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 300]), FIELDS), min_size=1, max_size=6).map(
    lambda found: [arrival(number, *one) for number, one in enumerate(found)]
)


def row_after(connection: sa.Connection, arrivals: list[ReceivedRegistration]) -> dict[str, Any]:
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())
    for one in arrivals:
        record(connection, one)
    [row] = connection.execute(patients.select())
    return {
        name: row._mapping[name]
        for name in (*COLUMNS, "extra", "identity_key", "registered_at", "registered_generation")
    }


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(arrivals=ARRIVALS, seed=st.integers(0, 1000))
def test_the_order_in_which_registrations_arrive_does_not_matter(
    engine: sa.Engine, arrivals: list[ReceivedRegistration], seed: int
) -> None:
    shuffled = arrivals[:]
    random.Random(seed).shuffle(shuffled)
    with writing(engine, keep=False) as connection:
        expected = row_after(connection, arrivals)
        assert row_after(connection, shuffled) == expected
    in_order = sorted(arrivals, key=lambda one: (one.registration.registered_at or BEGAN, one.about.generation))
    assert expected["telefon"] == next(
        (one.registration.fields["telefon"] for one in reversed(in_order) if "telefon" in one.registration.fields), None
    )
