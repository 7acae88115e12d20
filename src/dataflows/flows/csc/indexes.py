"""What narrows a search of the staging table: expressions over payloads, and the indexes offered for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa

from dataflows.errors import DataflowsError
from dataflows.store.failures import translated

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


class Offered(NamedTuple):
    """One index: ``columns`` lead it where it is there under whatever name; ``script`` makes it, ``called`` so."""

    name: str
    purpose: str
    columns: tuple[str, ...]
    script: str
    called: str

    def among(self, there: Sequence[tuple[str, tuple[str, ...]]]) -> bool:
        """Tell whether it is there, as it is called in ``script`` or under another name."""
        length = len(self.columns)
        return any(name == self.called.lower() or columns[:length] == self.columns for name, columns in there)


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
        before = f"ALTER TABLE {named} ADD {CHILD_KEY} AS CAST({child_key('mssql')} AS NVARCHAR(64)); "
    child += ", id" if dialect == "postgresql" else ""
    states = "submission_status, row_state" + (", id" if dialect == "postgresql" else "")  # the others have id in it
    return [
        index(STATES, "what is pending", ("submission_status", "row_state"), states),
        index(CHILD, "the rows of one child", (CHILD_KEY,), child, before),
        index(PERSON, "the rows of one person", ("person_id",), "person_id"),
    ]


def missing(engine: sa.Engine, table: sa.Table) -> list[Offered]:
    """Return those that the table lacks. Raises as ``translated``."""
    there = _there(engine, table)
    return [index for index in offered(engine, table) if not index.among(there)]


def present(engine: sa.Engine, table: sa.Table) -> frozenset[str]:
    """Return the names (STATES ...) of those that are there; an account that may not ask is told of none."""
    try:
        there = _there(engine, table)
    except DataflowsError:
        return frozenset()
    return frozenset(index.name for index in offered(engine, table) if index.among(there))


def _there(engine: sa.Engine, table: sa.Table) -> list[tuple[str, tuple[str, ...]]]:
    """Return name and leading columns of each index of the table, in lower case."""
    with translated("DB_CONNECTION_STRING"):
        if engine.dialect.name == "sqlite":
            return _in_sqlite(engine, table)
        found = sa.inspect(engine).get_indexes(table.name, schema=table.schema)
    return [(str(one["name"]).lower(), tuple(str(name).lower() for name in one["column_names"])) for one in found]


def _in_sqlite(engine: sa.Engine, table: sa.Table) -> list[tuple[str, tuple[str, ...]]]:
    """SQLAlchemy passes over indexes on expressions here."""
    asked = sa.text(
        "SELECT i.name, c.name FROM pragma_index_list(:table) AS i, pragma_index_info(i.name) AS c"
        " ORDER BY i.name, c.seqno"
    )
    columns: dict[str, tuple[str, ...]] = {}
    with engine.connect() as connection:
        for index, column in connection.execute(asked, {"table": table.name}):
            columns[str(index).lower()] = (*columns.get(str(index).lower(), ()), str(column).lower())
    return list(columns.items())
