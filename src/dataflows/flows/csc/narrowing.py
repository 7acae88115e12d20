"""Which rows may name a child: SQL that narrows and never decides, and never fails on what is no JSON.

Per row it gives one text: the la_child_id that the row seems to name, ``''`` for nobody, or ``?`` where only our parser
can tell (the key stands twice, or is hidden by an escape such as ``\\u005f``, or blanks fill more than a line). A row
that our parser takes for a child's is always found under that child or under ``?``; the opposite need not be true.
Only string functions are used, which all three databases have, so it may stand in an index or a computed column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

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
