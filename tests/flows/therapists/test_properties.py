"""Identity rules as properties: the order in which files arrive does not matter, importing twice changes nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows.flows.practice.therapists.applying import FileContext, apply
from dataflows.flows.practice.therapists.identity import FileOrigin
from dataflows.flows.practice.therapists.record import item_of
from dataflows.store.database import connect
from dataflows.store.practice.database import writing
from dataflows.store.practice.migrate import migrate
from dataflows.store.practice.tables import outbox, therapist_changes, therapist_locations, therapists
from tests.flows.therapists.world import moment, therapist

OURS = ("id", "created_at", "updated_at")
NEVER_SEEN = ("natural_key", "active", "deleted_at")
TABLES = (therapist_changes, therapist_locations, therapists, outbox)


class File(NamedTuple):
    """One file: its name, its date, its entries."""

    name: str
    date: str
    entries: tuple[Any, ...]


# few values, so that people meet: ids move between them, they appear in several files, and are deleted
PEOPLE = st.sampled_from([("Anna", "Muster"), ("Anna", "Beispiel"), ("Bernd", "Muster"), ("Jürgen", "Größer")])
ENTRIES = st.builds(
    lambda who, number, status, phone: therapist(
        *who, source_id=f"praxis{number}", status=status, phone=f"030 23125 10{phone}", house_number=str(len(who[1]))
    ),
    PEOPLE,
    st.integers(1, 3),
    st.sampled_from(["new", "unchanged", "modified", "deleted", None]),
    st.integers(0, 9),
)
FILES = st.lists(
    st.builds(
        File,
        st.sampled_from(["52001.json", "52002.json", "52003.json", "52004.json"]),
        st.sampled_from(["2025-07-01T03:00", "2025-07-01T09:00", "2025-07-08T03:00", "2025-07-15T03:00"]),
        st.lists(ENTRIES, min_size=1, max_size=3, unique_by=lambda e: tuple(e["basic_info"].values())).map(tuple),
    ),
    max_size=5,
    unique_by=lambda file: (file.name, file.date[:10]),  # of a file that changes within a day the last one counts
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    url = "sqlite://" if request.param == "sqlite" else str(request.getfixturevalue("therapists_url"))
    engine = connect(url)
    migrate(engine)
    yield engine
    engine.dispose()


class Practice:
    """A database in which files can be applied and then forgotten."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def apply(self, files: Sequence[File]) -> None:
        """Apply files in this order."""
        for file in files:
            items = [item_of(at, entry) for at, entry in enumerate(file.entries)]
            context = FileContext(FileOrigin(moment(file.date), file.name, "52XXX"), "run", allow_mass_delete=True)
            apply(self.connection, context, lambda items=items: items)  # type: ignore[misc]

    def therapists(self) -> list[dict[str, Any]]:
        """Who there is, without what is ours; of those who were only ever deleted, that they are not there."""
        rows = self.connection.execute(therapists.select().order_by(therapists.c.natural_key)).mappings()
        return [
            {
                name: value
                for name, value in row.items()
                if (name in NEVER_SEEN if not row["last_seen"] else name not in OURS)
            }
            for row in rows
        ]

    def count(self, table: sa.Table) -> int:
        """How many rows a table has."""
        return int(self.connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())

    def forget(self) -> None:
        """Start anew."""
        for table in TABLES:
            self.connection.execute(table.delete())


@pytest.fixture
def practice(engine: sa.Engine) -> Iterator[Practice]:
    with writing(engine, keep=False) as connection:
        yield Practice(connection)


RUNS = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@RUNS
@given(files=FILES, seed=st.integers(0, 1000))
def test_the_order_in_which_files_arrive_does_not_matter(practice: Practice, files: list[File], seed: int) -> None:
    practice.forget()
    practice.apply(sorted(files, key=lambda file: (file.date, file.name)))
    expected = practice.therapists()
    practice.forget()
    shuffled = files[:]
    random.Random(seed).shuffle(shuffled)
    practice.apply(shuffled)
    assert practice.therapists() == expected


@RUNS
@given(files=FILES)
def test_importing_twice_changes_nothing(practice: Practice, files: list[File]) -> None:
    practice.forget()
    practice.apply(files)
    before, counts = practice.therapists(), [practice.count(table) for table in TABLES]
    practice.apply(files)
    assert (practice.therapists(), [practice.count(table) for table in TABLES]) == (before, counts)


@RUNS
@given(files=FILES)
def test_every_change_has_one_event_and_nobody_is_there_twice(practice: Practice, files: list[File]) -> None:
    practice.forget()
    practice.apply(files)
    keys = [one["natural_key"] for one in practice.therapists()]
    assert len(keys) == len(set(keys))
    created = sa.select(sa.func.count()).where(outbox.c.event_type == "therapist.created")
    assert practice.connection.execute(created).scalar_one() == len(keys)
    assert (practice.count(therapist_changes) == 0) == (practice.count(outbox) == len(keys))
