"""Many rows at once mean the same on both databases, whatever stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows.store.database import connect
from dataflows.store.practice.database import insert, within
from dataflows.store.practice.tables import BIG, JSON, Instant

TABLE = sa.Table(
    "bulk_tested",
    sa.MetaData(),
    sa.Column("id", BIG, primary_key=True),
    sa.Column("text", sa.Text),
    sa.Column("flag", sa.Boolean(create_constraint=False)),
    sa.Column("moment", Instant),
    sa.Column("document", JSON),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6).map(lambda one: round(one, 3) + 0.0)
DOCUMENTS = st.recursive(
    st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner | st.none(), max_size=3) | st.dictionaries(TEXTS, inner | st.none(), max_size=3),
    max_leaves=6,
)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
ROWS = st.lists(
    st.tuples(
        st.none() | TEXTS, st.none() | st.booleans(), st.none() | MOMENTS, st.none() | DOCUMENTS
    ),
    max_size=5,
)  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    """A transaction that is taken back, with the table in it."""
    url = "sqlite://" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = connect(url)
    with engine.connect() as connection:
        TABLE.create(connection)
        yield connection
        connection.rollback()
    engine.dispose()


def rows_of(values: list[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(values, start=1):
        yield dict(zip(TABLE.c.keys(), (number, *row), strict=True))


@given(values=ROWS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_rows_come_back_as_they_were(connection: sa.Connection, values: list[tuple[Any, ...]]) -> None:
    connection.execute(TABLE.delete())
    insert(connection, TABLE, rows_of(values))  # an iterator, which is used up on the way
    found = connection.execute(sa.select(TABLE).order_by(TABLE.c.id)).mappings()
    assert [dict(row) for row in found] == list(rows_of(values))


def test_a_moment_of_another_zone_is_the_same_moment(connection: sa.Connection) -> None:
    there = datetime(2025, 7, 2, 3, 13, tzinfo=timezone(timedelta(hours=2)))
    insert(connection, TABLE, [{"id": 1, "moment": there}])
    assert connection.execute(sa.select(TABLE.c.moment)).scalar_one() == there


def test_what_the_database_refuses_is_raised_as_by_any_statement(connection: sa.Connection) -> None:
    with pytest.raises(sa.exc.IntegrityError) as refused:
        insert(connection, TABLE, [{"id": 1, "text": "Canary"}, {"id": 1, "text": "Canary"}])
    assert "Canary" not in str(refused.value)


@pytest.mark.parametrize("values", [["a\nb", 'x"', "\\", "ä", "missing"], ["{}"], []])
def test_within_finds_texts_whatever_is_in_them(connection: sa.Connection, values: list[str]) -> None:
    there = ["a\nb", 'x"', "\\", "ä", "{}", "other", None]
    insert(connection, TABLE, ({"id": number, "text": text} for number, text in enumerate(there)))
    found = connection.execute(sa.select(TABLE.c.text).where(within(connection, TABLE.c.text, values))).scalars()
    assert set(found) == set(there) & set(values)


def test_within_finds_numbers(connection: sa.Connection) -> None:
    insert(connection, TABLE, ({"id": number} for number in (1, 2, 2**62)))
    found = connection.execute(sa.select(TABLE.c.id).where(within(connection, TABLE.c.id, [2, 2**62, 5]))).scalars()
    assert set(found) == {2, 2**62}


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
@pytest.mark.parametrize("query", [{}, {"client_encoding": "latin1"}])
def test_texts_are_the_same_in_a_database_of_another_encoding(
    postgres_url: str, encoding: str, query: dict[str, str]
) -> None:
    server = connect(postgres_url)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as there:
        there.exec_driver_sql(
            f"CREATE DATABASE encoded ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        url = server.url.set(database="encoded").update_query_dict(query)
        engine = connect(url.render_as_string(hide_password=False))
        with engine.begin() as connection:
            TABLE.create(connection)
            insert(connection, TABLE, [{"id": 1, "text": "Müßig", "document": {"Mörgen": ["Französisch"]}}])
            connection.exec_driver_sql("SET client_encoding TO utf8")  # as any other program reads it
            found = connection.execute(sa.select(TABLE).where(within(connection, TABLE.c.text, ["Müßig"]))).one()
        engine.dispose()
        there.exec_driver_sql("DROP DATABASE encoded WITH (FORCE)")
    server.dispose()
    assert (found.text, found.document) == ("Müßig", {"Mörgen": ["Französisch"]})
