"""What narrows a search of the staging table: expressions over payloads, and the indexes offered for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import sqlalchemy as sa

from dataflows.errors import DataflowsError
from dataflows.flows.csc.table import place_and_name
from dataflows.store.failures import all_results, in_statements, translated

UNDECIDED: Final = "?"
_KEY: Final = '"la_child_id"'
_LOOK_AHEAD: Final = 64  # characters behind the key: 20 of the identifier, quotes, colon, and blanks


class _Words(NamedTuple):
    """How one database says it: patterns with the names of their operands."""

    position: str
    part: str
    rest: str
    escaped: str  # whether a letter, digit or underscore may be written as \u00NN
    blanks: tuple[str, ...]
    literal: str
    column: str


# binary collations: the databases' own may ignore case, and lower() of some makes no i of I
_WORDS: Final[Mapping[str, _Words]] = {
    "sqlite": _Words(
        "instr({text}, {what})", "substr({text}, {start}, {size})", "substr({text}, {start})",
        "{text} GLOB '*\\u00[3-7]*'", ("char(9)", "char(10)", "char(13)"), "'{}'", "{}",
    ),
    "postgresql": _Words(
        "strpos({text}, {what})", "substr({text}, {start}, {size})", "substr({text}, {start})",
        "{text} ~ '\\\\u00[3-7]'", ("chr(9)", "chr(10)", "chr(13)"), "'{}'", '({} COLLATE "C")',
    ),
    "mssql": _Words(
        "CHARINDEX({what}, {text})", "SUBSTRING({text}, {start}, {size})", "SUBSTRING({text}, {start}, 2147483647)",
        "{text} LIKE N'%\\u00[3-7]%'", ("NCHAR(9)", "NCHAR(10)", "NCHAR(13)"), "N'{}'",
        "({} COLLATE Latin1_General_BIN2)",
    ),
}  # fmt: skip


def named_child(dialect: str) -> str:
    """Return the expression, over json_payload, previous_json_payload and row_state, letter for letter.

    A deleted row whose json_payload names nobody speaks by its previous payload; which of the two can be read is for
    the parser, so where they differ the row is undecided.
    """
    words = _WORDS[dialect]
    now, before = (_seems(words, words.column.format(name)) for name in ("json_payload", "previous_json_payload"))
    state, empty = words.column.format("row_state"), words.literal.format("")
    deleted = f"LOWER(LTRIM(RTRIM({state}))) = {words.literal.format('deleted')}"
    previous = f"COALESCE({words.column.format('previous_json_payload')}, {empty})"
    undecided = words.literal.format(UNDECIDED)
    return f"CASE WHEN {deleted} AND {previous} <> {empty} AND {now} <> {before} THEN {undecided} ELSE {now} END"


def child_key(dialect: str) -> str:
    """Return the expression of the offered index: ``named_child`` in lower case, since receivers may ignore case."""
    return f"LOWER({named_child(dialect)})"


def _seems(words: _Words, text: str) -> str:
    key, empty, undecided = (words.literal.format(value) for value in (_KEY, "", UNDECIDED))
    found = words.position.format(text=text, what=key)
    behind = f"{found} + {len(_KEY)}"
    # looked for first, as plain text is found faster than a pattern; names are not escaped as a rule
    escape = words.position.format(text=text, what=words.literal.format("\\u00"))
    again = words.position.format(text=words.rest.format(text=text, start=behind), what=key)
    value = words.part.format(text=text, start=behind, size=_LOOK_AHEAD)
    for blank in (words.literal.format(" "), *words.blanks):
        value = f"REPLACE({value}, {blank}, {empty})"
    opening = words.literal.format(':"')
    inside = words.part.format(text=value, start=3, size=_LOOK_AHEAD)
    closing = words.position.format(text=inside, what=words.literal.format('"'))
    return (
        f"CASE WHEN {escape} > 0 AND {words.escaped.format(text=text)} THEN {undecided}"
        f" WHEN COALESCE({found}, 0) = 0 THEN {empty}"
        f" WHEN {again} > 0 OR {words.part.format(text=value, start=1, size=2)} <> {opening} OR {closing} = 0"
        f" THEN {undecided}"
        f" ELSE {words.part.format(text=inside, start=1, size=f'{closing} - 1')} END"
    )


STATES, CHILD, PERSON = "states", "child", "person"
CHILD_KEY = "child_key"  # the computed column of SQL Server: the la_child_id in lower case, as far as SQL can tell
_COMPARED = 1000  # rows, where the server cannot word a definition


class Offered(NamedTuple):
    """One index: ``columns`` lead it, under whatever name; ``script`` makes it, ``called`` so.

    ``replaced`` says what stands in its way: the same name over another expression, which is not used.
    """

    name: str
    purpose: str
    columns: tuple[str, ...]
    script: str
    called: str
    replaced: str = ""


def offered(engine: sa.Engine, table: sa.Table) -> list[Offered]:
    """Return the indexes that are offered for this table."""
    dialect, named = engine.dialect.name, engine.dialect.identifier_preparer.format_table(table)

    def index(name: str, purpose: str, leading: tuple[str, ...], columns: str, before: str = "") -> Offered:
        called = f"ix_{table.name}_{name}"
        quoted = engine.dialect.identifier_preparer.quote(called)
        return Offered(name, purpose, leading, f"{before}CREATE INDEX {quoted} ON {named} ({columns})", called)

    child, before = f"({child_key(dialect)})", ""
    if dialect == "mssql":  # has indexes over columns only, so a computed one goes before
        child = CHILD_KEY
        before = f"ALTER TABLE {named} ADD {CHILD_KEY} AS {_computed()}; "
    child += ", id" if dialect == "postgresql" else ""
    states = "submission_status, row_state" + (", id" if dialect == "postgresql" else "")  # the others have id in it
    return [
        index(STATES, "what is pending", ("submission_status", "row_state"), states),
        index(CHILD, "the rows of one child", (CHILD_KEY,), child, before),
        index(PERSON, "the rows of one person", ("person_id",), "person_id"),
    ]


def _computed() -> str:
    return f"CAST({child_key('mssql')} AS NVARCHAR(64))"


def missing(engine: sa.Engine, table: sa.Table) -> list[Offered]:
    """Return those that the table lacks, for people. Raises as ``translated``."""
    with translated("DB_CONNECTION_STRING"):
        there = _there(engine, table)
        lacking = [index for index in offered(engine, table) if not _is_there(engine, table, index, there)]
        return [_replacing(engine, table, index, there) for index in lacking]


def present(engine: sa.Engine, table: sa.Table) -> frozenset[str]:
    """Return the names (STATES ...) of those that are there; an account that may not ask is told of none."""
    try:
        with translated("DB_CONNECTION_STRING"):
            there = _there(engine, table)
            found = [index.name for index in offered(engine, table) if _is_there(engine, table, index, there)]
    except DataflowsError:
        return frozenset()
    return frozenset(found)


_There: TypeAlias = Mapping[str, tuple[str, ...]]  # the leading columns of each index by its name, in lower case


def _is_there(engine: sa.Engine, table: sa.Table, index: Offered, there: _There) -> bool:
    """Tell whether some index does what an offered one is for, whatever it is called.

    Of the one over an expression a name says nothing: over another expression it would narrow to the wrong rows.
    """
    if index.name == CHILD and engine.dialect.name != "mssql":
        return _has_an_index_over(engine, table, child_key(engine.dialect.name))
    led = any(columns[: len(index.columns)] == index.columns for columns in there.values())
    return led and (index.name != CHILD or _is_computed_so(engine, table))


def _has_an_index_over(engine: sa.Engine, table: sa.Table, expression: str) -> bool:
    """Ask the planner: it compares expressions as the database reads them."""
    asked = f"SELECT id FROM {engine.dialect.identifier_preparer.format_table(table)} WHERE {expression} = ''"  # noqa: S608
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}").all()
        return any("SEARCH" in str(line) for line in plan)
    told = f"SET enable_seqscan = off; EXPLAIN {asked}; RESET enable_seqscan"  # otherwise it walks a small table
    return any("Index Cond" in str(line) for line in in_statements(engine, lambda one: all_results(one, told)))


def _is_computed_so(engine: sa.Engine, table: sa.Table) -> bool:
    """Tell whether the column is computed as ours is: by its definition, where the server can word it.

    Some that speak SQL Server's language cannot: there the newest rows tell.
    """
    try:
        return _is_defined_so(engine, table)
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        return _is_the_same_in_rows(engine, table)


def _is_defined_so(engine: sa.Engine, table: sa.Table) -> bool:
    """Compare its definition with ours as the server words it, in a table of this session's own."""
    columns = "json_payload NVARCHAR(MAX), previous_json_payload NVARCHAR(MAX), row_state NVARCHAR(10)"
    with engine.connect() as connection:
        theirs = _definition(connection, *place_and_name(connection.dialect, table))
        connection.exec_driver_sql(f"CREATE TABLE #csc_child ({columns}, {CHILD_KEY} AS {_computed()})")
        ours = _definition(connection, "tempdb", "tempdb..#csc_child")
        connection.exec_driver_sql("DROP TABLE #csc_child")
    return theirs is not None and theirs == ours


def _definition(connection: sa.Connection, database: str, name: str) -> str | None:
    """Return how a computed column is defined; None where there is none, or where we may not know."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    asked = sa.text(
        f"SELECT definition FROM {f'{quote(database)}.' if database else ''}sys.computed_columns"  # noqa: S608
        f" WHERE object_id = OBJECT_ID(:name) AND lower(name) = '{CHILD_KEY}'"
    )
    found = connection.execute(asked, {"name": name}).scalar()
    return None if found is None else str(found)


def _is_the_same_in_rows(engine: sa.Engine, table: sa.Table) -> bool:
    key: sa.ColumnElement[str] = sa.literal_column(CHILD_KEY)
    ours: sa.ColumnElement[str] = sa.literal_column(_computed())
    newest = sa.select(key.label("theirs"), ours.label("ours")).select_from(table)
    rows = newest.order_by(table.c.id.desc()).limit(_COMPARED).subquery()
    other = sa.select(rows.c.ours).where(sa.func.coalesce(rows.c.theirs, "?") != sa.func.coalesce(rows.c.ours, "?"))
    with engine.connect() as connection:
        return connection.execute(other.limit(1)).first() is None


def _replacing(engine: sa.Engine, table: sa.Table, index: Offered, there: _There) -> Offered:
    """Put in front of the script what takes away its namesake over another expression."""
    if index.name != CHILD:
        return index
    quoted, named = engine.dialect.identifier_preparer, engine.dialect.identifier_preparer.format_table(table)
    if engine.dialect.name == "mssql":
        columns = {str(one["name"]).lower() for one in sa.inspect(engine).get_columns(table.name, schema=table.schema)}
        if CHILD_KEY not in columns:
            return index
        over = [name for name, leading in there.items() if leading[:1] == (CHILD_KEY,)]
        drops = [f"DROP INDEX {quoted.quote(name)} ON {named}" for name in over]
        drops.append(f"ALTER TABLE {named} DROP COLUMN {CHILD_KEY}")
        return index._replace(replaced=f"the column {CHILD_KEY}", script="; ".join([*drops, index.script]))
    if index.called.lower() not in there:
        return index
    schema = f"{quoted.quote_schema(table.schema)}." if table.schema else ""
    drop = f"DROP INDEX {schema}{quoted.quote(index.called)}"
    return index._replace(replaced="the index of this name", script=f"{drop}; {index.script}")


def _there(engine: sa.Engine, table: sa.Table) -> _There:
    """Ask for all indexes and their columns at once; an expression has no name."""
    name, catalogue = engine.dialect.identifier_preparer.format_table(table), ""
    if engine.dialect.name == "sqlite":
        name = table.name
    elif engine.dialect.name == "mssql":
        place, name = place_and_name(engine.dialect, table)
        catalogue = f"{engine.dialect.identifier_preparer.quote_identifier(place)}." if place else ""
    asked = sa.text(_ASKED[engine.dialect.name].replace("sys.", f"{catalogue}sys."))
    columns: dict[str, tuple[str, ...]] = {}
    for index, column in in_statements(engine, lambda connection: connection.execute(asked, {"table": name}).all()):
        columns[str(index).lower()] = (*columns.get(str(index).lower(), ()), str(column).lower())
    return columns


# one row per column; SQLAlchemy asks several times, and passes over expressions
_ASKED = {
    "sqlite": "SELECT i.name, c.name FROM pragma_index_list(:table) AS i, pragma_index_info(i.name) AS c"
    " ORDER BY i.name, c.seqno",
    "postgresql": "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (number, place)"
    " LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number"
    " WHERE i.indisvalid AND i.indrelid = to_regclass(:table) ORDER BY c.relname, k.place",
    "mssql": "SELECT i.name, c.name FROM sys.indexes i"
    " JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id"
    " JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id"
    " WHERE i.object_id = OBJECT_ID(:table) AND i.name IS NOT NULL AND k.is_included_column = 0"
    " AND i.is_disabled = 0 ORDER BY i.index_id, k.key_ordinal",
}
