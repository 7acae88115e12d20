"""What a column of the staging table must be for a run to work; anything else that works is only worth a warning.

The rules follow what a run reads (json_payload, previous_json_payload, the states) and writes (``write_back``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dataflows.flows.csc.write_back import WRITTEN
from dataflows.store import schema
from dataflows.store.schema import ColumnFinding, family

if TYPE_CHECKING:
    import sqlalchemy as sa

_RECEIPT = 64  # characters that a receipt has: a date, a uuid and an ending
_LEAST: Mapping[str, int] = {  # characters of what is written there
    "submission_status": len("Pending"),
    "row_state": len("unchanged"),
    "api_response": _RECEIPT,
}
_EMPTIED = ("previous_json_payload", "partial_json_payload", "previous_hash")  # by a purge, or after a whole child
_NEVER_COMPARED = ("TEXT", "NTEXT", "XML")  # SQL Server compares nothing with them


def refusal(dialect: str, name: str, columns: Mapping[str, Any]) -> str:
    """Return why a run cannot work with a column as it is; empty where it can.

    Args:
        dialect: of the database; SQLite takes anything everywhere but in ``id``.
        name: of the column.
        columns: the table's columns by their names in lower case, as SQLAlchemy's inspector tells them.
    """
    there = columns.get(name)
    if there is None:
        return ""
    if name == "id" and family(there["type"]) not in ("number", "small number"):
        return "row ids must be whole numbers"
    if dialect == "sqlite":
        return ""
    return _refused_type(dialect, name, there["type"], columns) or _refused_write(name, there)


def _refused_type(dialect: str, name: str, kind: Any, columns: Mapping[str, Any]) -> str:
    if dialect == "mssql" and type(kind).__name__ in _NEVER_COMPARED:
        return f"{type(kind).__name__} cannot be compared"
    if name in _TEXTS and family(kind) != "text":
        return "it must hold text"
    if name == "previous_hash" and (current := columns.get("current_hash")) is not None:
        return (
            ""
            if family(kind) == family(current["type"])
            else "it is filled from current_hash, which has a different type"
        )
    if name == "submission_timestamp" and family(kind) in ("number", "small number", "bytes"):
        return "it must hold a date and time"
    return ""


_TEXTS = (
    "json_payload", "previous_json_payload", "partial_json_payload", "submission_status", "row_state", "api_response",
)  # fmt: skip


def _refused_write(name: str, there: Mapping[str, Any]) -> str:
    if name not in WRITTEN:
        return ""
    length = getattr(there["type"], "length", None)
    if there.get("computed"):
        return "it is computed, so it cannot be written"
    if name in _EMPTIED and there.get("nullable") is False:
        return "it must allow NULL, which is written there when a child is removed or was sent whole"
    if isinstance(length, int) and length < _LEAST.get(name, 0):
        return f"it must have room for {_LEAST[name]} characters"
    return ""


def findings(engine: sa.Engine, table: sa.Table) -> list[ColumnFinding] | None:
    """Compare the columns of a staging table with those of ``table``; None where it is not there."""
    return schema.findings(engine, table, refusal)


def trial(table: sa.Table) -> sa.Update:
    """Return what writes, in one row, into the columns that a run writes what they hold already."""
    import sqlalchemy as sa

    newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
    return sa.update(table).where(table.c.id == newest).values({name: table.c[name] for name in WRITTEN})
