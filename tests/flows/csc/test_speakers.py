"""Who speaks for a child: what SQL narrows and our parser decides must be what reading the whole table would say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from sqlalchemy.dialects import mssql

from dataflows.flows.csc import indexes
from dataflows.flows.csc.indexes import UNDECIDED, child_key, named_child
from dataflows.flows.csc.names import NamedRows, Seeming
from dataflows.flows.csc.reading import SUPERSEDED, Reading, read_row
from dataflows.flows.csc.schema import built_in
from dataflows.flows.csc.speakers import Speakers, SpeakingRows
from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import staging_table
from dataflows.runs.journal import Journal
from dataflows.store.database import connect
from tests.flows.csc.world import TABLE, Loader

NAMES = ["A1", "a1", "B2"]


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A payload as some loader writes it, or what is none: blanks, escapes, keys twice, below and inside of texts."""
    name = draw(st.sampled_from(NAMES))
    key = draw(st.sampled_from(['"la_child_id"', '"la\\u005fchild_id"', '"la_child\\u005Fid"', '"LA_CHILD_ID"']))
    value = draw(st.sampled_from([f'"{name}"', f'"\\u0041{name[1:]}"', "null", "7", '""', f'"{name}\\u0020"', '"ü"']))
    blank = st.sampled_from(["", " ", "\n\t ", " " * 90])
    pair = f"{key}{draw(blank)}:{draw(blank)}{value}"
    other = draw(st.sampled_from(["", '"mis_child_id": "m\\u00fc"', '"x": "\\"la_child_id\\": \\"B2\\""']))
    below = draw(st.sampled_from(["", '"child_details": {"la_child_id": "B2"}', '"la_child_id": "B2"']))
    parts = draw(st.permutations([part for part in (pair, other, below) if part]))
    whole = "{" + ",".join(parts) + "}"
    return draw(st.sampled_from([whole, whole, whole, whole[:-1], f" {whole} ", f"[{whole}]", "", "{", "[]", "nul"]))


@st.composite
def tables(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows with ids below and above zero, in any state and status, most of them of few children."""
    plain = st.sampled_from(NAMES).map(lambda name: json.dumps({"la_child_id": name}))
    payload = plain | plain | texts()
    row = st.fixed_dictionaries(
        {
            "json_payload": payload,
            "previous_json_payload": st.none() | payload,
            "row_state": st.sampled_from(["New", "Deleted", " deleted ", None]),
            "submission_status": st.sampled_from(["Pending", "sent", "error"]),
            "api_response": st.sampled_from([None, "receipt", f"{SUPERSEDED}9", f"{SUPERSEDED}x"]),
        }
    )
    ids = draw(st.lists(st.integers(-9, 9), max_size=7, unique=True))
    return [{"id": row_id, **draw(row)} for row_id in ids]


class Place:
    """A staging table with and without the offered index."""

    def __init__(self, url: str, *, indexed: bool) -> None:
        self.loader = Loader(url)
        self.engine, self.table = self.loader.engine, self.loader.table
        if indexed:
            with self.engine.begin() as connection:
                for offered in indexes.offered(self.engine, self.table):
                    for statement in offered.script.split("; "):
                        connection.exec_driver_sql(statement)

    def fill(self, rows: list[dict[str, Any]]) -> None:
        with self.engine.begin() as connection:
            connection.execute(self.table.delete())
            if rows:
                connection.execute(self.table.insert(), rows)

    @contextmanager
    def speakers(self, pending: int | None, listed: Sequence[int] = ()) -> Iterator[tuple[Speakers, list[Reading]]]:
        journal = Journal.in_memory()
        staging = StagingTable(self.engine, TABLE)
        names = NamedRows(staging, journal, self.engine)
        names.expect(listed)
        names.pending = pending
        with self.engine.connect() as connection:
            ids = connection.execute(sa.select(self.table.c.id)).scalars().all()
        readings = [read_row(row, built_in()) for row in staging.rows(list(ids))]
        yield Speakers(names), readings
        journal.close()


KINDS = ("sqlite", "postgresql", "mssql")


@pytest.fixture(scope="module", params=[f"{kind}{how}" for kind in KINDS for how in ("", " indexed")])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    kind, _, indexed = request.param.partition(" ")
    url = f"sqlite:///{tmp_path_factory.mktemp('who') / 'staging.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
    elif kind == "mssql":
        if "TEST_SQLSERVER_URL" not in os.environ:
            pytest.skip("SQL Server is not tested: TEST_SQLSERVER_URL is not set")
        url = os.environ["TEST_SQLSERVER_URL"]
    place = Place(url, indexed=bool(indexed))
    assert (indexes.CHILD in indexes.present(place.engine, place.table)) is bool(indexed)
    yield place
    place.table.drop(place.engine)
    place.engine.dispose()


# --- what SQL says of a row ------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(now=texts(), before=st.none() | texts(), state=st.sampled_from(["New", "Deleted", None]))
@example(now='{"la_child_id": "B2"}', before='{"la_child_id": "A1"}', state="Deleted")
@example(now='{"la_child_id": "B2"', before='{"la_child_id": "A1"}', state="Deleted")
@example(now="", before='{"la_child_id": "A1"}', state="deleted")
def test_a_row_is_found_under_the_child_that_our_parser_reads_or_is_read(
    place: Place, now: str, before: str | None, state: str | None
) -> None:
    place.fill([{"id": 1, "json_payload": now, "previous_json_payload": before, "row_state": state}])
    dialect = place.engine.dialect.name
    expressions = named_child(dialect), child_key(dialect)
    columns: list[sa.ColumnElement[Any]] = [sa.literal_column(expression) for expression in expressions]
    with place.engine.connect() as connection:
        said, key = connection.execute(sa.select(*columns).select_from(place.table)).one()
    (row,) = StagingTable(place.engine, TABLE).rows([1])
    name = read_row(row, built_in()).name
    assert name is None or said in (name, UNDECIDED)
    assert key == said.lower()


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ('{"la_child_id": "A1", "sex": "M\\u00fc"}', "A1"),
        ('{"la_child_id"\r\n\t: "A1"}', "A1"),
        ('{"mis_child_id": "m", "la_child_id":"A1"', "A1"),
        ('{"social_care_episodes": []}', ""),
    ],
)
def test_what_loaders_write_as_a_rule_needs_no_reading(place: Place, payload: str, found: str) -> None:
    place.fill([{"id": 1, "json_payload": payload}])
    said: sa.ColumnElement[Any] = sa.literal_column(named_child(place.engine.dialect.name))
    with place.engine.connect() as connection:
        assert connection.execute(sa.select(said).select_from(place.table)).scalar() == found


def test_the_index_answers_a_look_up(place: Place) -> None:
    if indexes.CHILD not in indexes.present(place.engine, place.table):
        pytest.skip("there is none here")
    if place.engine.dialect.name == "mssql":
        pytest.skip("it is over a column of its own there, which the look-up names")
    key = child_key(place.engine.dialect.name)
    explain = "EXPLAIN" if place.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    with place.engine.begin() as connection:
        if place.engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = connection.exec_driver_sql(f"{explain} SELECT id FROM {TABLE} WHERE {key} IN ('a1', 'b2')").all()
    assert f"ix_{TABLE}_child" in str(plan)


def test_sql_server_gets_words_that_it_knows() -> None:
    engine = sa.create_mock_engine("mssql+pyodbc://", lambda *_: None)
    statement: sa.Select[Any] = sa.select(sa.literal_column(child_key("mssql"))).select_from(staging_table(TABLE))
    said = str(statement.compile(dialect=mssql.dialect()))  # type: ignore[no-untyped-call]
    assert "CHARINDEX" in said and "Latin1_General_BIN2" in said
    assert not any(word in said for word in ("JSON", "instr", "strpos", "GLOB", "MERGE", "substr("))
    script = next(one.script for one in indexes.offered(engine, staging_table(TABLE)) if one.name == indexes.CHILD)  # type: ignore[arg-type]
    assert script.startswith(f"ALTER TABLE {TABLE} ADD child_key AS CAST(LOWER(")


# --- who speaks ------------------------------------------------------------------------------------------------------


def truth(name: str, readings: list[Reading]) -> tuple[int | None, bool, bool]:
    """Who speaks, read off the rules: the speaker, whether a living row stands against it, in this or other case."""
    own = sorted((one for one in readings if one.name == name), key=lambda one: one.row.id)
    if own and not own[-1].goes:
        return own[-1].row.id, False, False
    variants = {one.name for one in readings if one.name and one.name != name and one.name.lower() == name.lower()}
    last = [max((one for one in readings if one.name == other), key=lambda one: one.row.id) for other in variants]
    living = any(one.living for one in own)
    return own[-1].row.id if own else None, living, any(not one.goes for one in last)


def said(standing: SpeakingRows) -> tuple[int | None, bool, bool]:
    return standing.speaker, standing.living is not None, standing.variant is not None


@settings(max_examples=100)
@given(rows=tables(), known=st.integers(0, 7), pending=st.sampled_from([None, 0, 1, 1000]))
def test_it_is_what_reading_the_whole_table_would_say(
    place: Place, rows: list[dict[str, Any]], known: int, pending: int | None
) -> None:
    place.fill(rows)
    with place.speakers(pending) as (speakers, readings):
        page = [reading for reading in readings[:known] if reading.name]
        wanted = {name: truth(name, readings) for name in NAMES}
        found = speakers.of(page, NAMES)
        assert {name: said(found[name]) for name in NAMES} == wanted
        now = speakers.now(NAMES)
        assert {name: said(now[name]) for name in NAMES} == wanted


@settings(max_examples=100)
@given(data=st.data(), rows=tables())
def test_so_it_is_page_by_page_of_what_is_pending(
    place: Place, data: st.DataObject, rows: list[dict[str, Any]]
) -> None:
    """Rows that are read anyway are not walked over, whoever they are; some wait no more, some pages are never read."""
    place.fill(rows)
    ids = sorted((row["id"] for row in rows), reverse=True)
    listed = [row_id for row_id in ids if data.draw(st.integers(0, 4))]
    dropped = {row_id for row_id in listed if not data.draw(st.integers(0, 4))}
    size, read = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 9))
    with place.speakers(len(listed), listed) as (speakers, readings):
        by_id = {reading.row.id: reading for reading in readings}
        wanted = {name: truth(name, readings) for name in NAMES}
        for start in range(0, min(read, len(listed)), size):
            page = [by_id[row_id] for row_id in listed[start : start + size] if row_id not in dropped]
            found = speakers.of(page, None if data.draw(st.booleans()) else ())
            assert {name: said(one) for name, one in found.items() if name in NAMES} == {
                name: wanted[name] for name in found if name in NAMES
            }
        found = speakers.of((), NAMES)
        assert {name: said(found[name]) for name in NAMES} == wanted


def test_a_table_that_is_all_pending_is_not_walked_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages tell who names whom; a row that is deleted makes the run look at those below it as well."""
    place.fill([{"id": n, "json_payload": json.dumps({"la_child_id": f"SYN{n}"})} for n in range(40)])
    looked: list[int] = []
    look = NamedRows._page
    monkeypatch.setattr(NamedRows, "_page", lambda names, sql: [*map(_noted(looked), look(names, sql))])
    with place.speakers(39, range(39, 0, -1)) as (speakers, readings):
        by_id = {reading.row.id: reading for reading in readings}
        assert len(speakers.of([by_id[39], by_id[38]])) == 2
        if indexes.CHILD not in indexes.present(place.engine, place.table):
            assert looked == [0]
        assert said(speakers.of((), ["SYN5"])["SYN5"]) == (5, False, False)


def _noted(row_ids: list[int]) -> Callable[[Seeming], Seeming]:
    def note(one: Seeming) -> Seeming:
        row_ids.append(one.row_id)
        return one

    return note


@pytest.mark.parametrize("state", ["New", "Deleted"])
def test_a_table_of_old_rows_is_not_read_for_the_newest(
    place: Place, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A loader that adds a row a night: the older ones are superseded, and never read again."""
    payload = json.dumps({"la_child_id": "A1"})
    old = {"json_payload": payload, "submission_status": "error", "api_response": f"{SUPERSEDED}50"}
    place.fill([{"id": n, "row_state": "New", **old} for n in range(50)])
    fresh = {"json_payload": payload, "submission_status": "Pending", "row_state": state}
    with place.engine.begin() as connection:
        connection.execute(place.table.insert().values(id=50, **fresh))
    with place.speakers(0) as (speakers, readings):
        monkeypatch.setattr(StagingTable, "rows", None)
        page = [one for one in readings if one.row.id == 50]
        assert said(speakers.of(page)["A1"]) == (50, False, False)


def test_no_identifier_is_in_what_a_walk_notes(place: Place) -> None:
    place.fill([{"id": n, "json_payload": json.dumps({"la_child_id": f"SYN{n}"})} for n in range(40)])
    journal = Journal.in_memory()
    names = NamedRows(StagingTable(place.engine, TABLE), journal, place.engine)
    assert names.walk().rows == 40
    with journal.reading() as db:
        stored = db.execute("SELECT name FROM csc_named").fetchall()
    assert len(stored) == 40
    assert not any(b"syn" in row[0].lower() for row in stored)
    assert names.unnamed(["SYN3", "SYN99", "syn7"]) == ["SYN99"]
    journal.close()


def test_connect_is_the_one_that_the_program_uses(place: Place) -> None:
    """The expressions use nothing that our own connections teach the database: the loader writes through others."""
    url = place.engine.url.render_as_string(hide_password=False)
    engine = sa.create_engine(url)
    assert connect(url).dialect.name == engine.dialect.name
    with engine.begin() as connection:
        connection.execute(place.table.insert().values(id=1234, json_payload='{"la_child_id": "Z1"}'))
        connection.execute(place.table.delete().where(place.table.c.id == 1234))
    engine.dispose()
