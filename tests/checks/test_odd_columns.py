"""A staging table whose columns are not as they should be: what ``test-schema`` says of each.

The columns are as SQLAlchemy's inspector tells them of a SQL Server.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql

from dataflows.flows.csc.columns import refusal
from dataflows.flows.csc.table import staging_table
from dataflows.store import schema

FITS, WARNED, REFUSED = "fits", "warning", "refused"


class Odd(NamedTuple):
    """A column, and what it gets; ``also`` is another column of the table beside it."""

    name: str
    type: sa.types.TypeEngine[Any]
    verdict: str
    words: str = ""
    nullable: bool = True
    computed: bool = False
    also: tuple[str, sa.types.TypeEngine[Any]] | None = None


MAX = mssql.NVARCHAR(None)
ODD = [
    Odd("id", mssql.BIGINT(), FITS),
    Odd("id", mssql.SMALLINT(), WARNED),
    Odd("id", mssql.NVARCHAR(36), REFUSED, "whole numbers"),
    Odd("id", mssql.UNIQUEIDENTIFIER(), REFUSED, "whole numbers"),
    Odd("id", mssql.DECIMAL(18, 2), REFUSED, "whole numbers"),
    Odd("person_id", mssql.INTEGER(), WARNED),
    Odd("person_id", mssql.NVARCHAR(10), WARNED),
    Odd("person_id", mssql.UNIQUEIDENTIFIER(), WARNED),
    Odd("legacy_id", mssql.VARCHAR(36), WARNED),
    Odd("json_payload", mssql.NTEXT(), REFUSED, "compared"),
    Odd("json_payload", mssql.TEXT(), REFUSED, "compared"),
    Odd("json_payload", mssql.NVARCHAR(4000), WARNED),
    Odd("json_payload", mssql.VARBINARY(None), REFUSED, "text"),  # type: ignore[no-untyped-call]
    Odd("json_payload", mssql.XML(), REFUSED, "compared"),
    Odd("previous_json_payload", MAX, REFUSED, "NULL", nullable=False),
    Odd("previous_json_payload", mssql.NTEXT(), REFUSED, "compared"),
    Odd("previous_json_payload", MAX, REFUSED, "computed", computed=True),
    Odd("partial_json_payload", MAX, REFUSED, "NULL", nullable=False),
    Odd("current_hash", mssql.NVARCHAR(64), WARNED),
    Odd("previous_hash", mssql.BINARY(32), REFUSED, "current_hash", also=("current_hash", mssql.NVARCHAR(64))),
    Odd("previous_hash", mssql.NVARCHAR(64), WARNED, also=("current_hash", mssql.NVARCHAR(64))),
    Odd("previous_hash", mssql.BINARY(32), REFUSED, "NULL", nullable=False),
    Odd("submission_status", mssql.NVARCHAR(5), REFUSED, "7 characters"),
    Odd("submission_status", mssql.NVARCHAR(20), WARNED),
    Odd("submission_status", mssql.BIT(), REFUSED, "text"),
    Odd("submission_timestamp", mssql.DATETIME2(), FITS),  # type: ignore[no-untyped-call]
    Odd("submission_timestamp", mssql.BIGINT(), REFUSED, "date and time"),
    Odd("submission_timestamp", mssql.NVARCHAR(30), WARNED),
    Odd("api_response", mssql.NVARCHAR(40), REFUSED, "64 characters"),
    Odd("api_response", mssql.NVARCHAR(255), WARNED),
    Odd("api_response", mssql.NCHAR(200), WARNED),
    Odd("api_response", mssql.CHAR(40), REFUSED, "64 characters"),
    Odd("api_response", mssql.NTEXT(), REFUSED, "compared"),
    Odd("row_state", mssql.NVARCHAR(8), REFUSED, "9 characters"),
    Odd("row_state", mssql.NCHAR(10), FITS),
    Odd("last_updated", mssql.DATE(), WARNED),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: f"{odd.name} {odd.type!r} {odd.verdict}")
def test_an_odd_column(odd: Odd) -> None:
    dialect = sa.dialects.registry.load("mssql")()
    columns: dict[str, Any] = {
        "current_hash": {"name": "current_hash", "type": mssql.BINARY(32), "nullable": True},
        odd.name: {"name": odd.name, "type": odd.type, "nullable": odd.nullable}
        | ({"computed": {"sqltext": "x"}} if odd.computed else {}),
    }
    if odd.also:
        columns[odd.also[0]] = {"name": odd.also[0], "type": odd.also[1], "nullable": True}
    found = schema._finding(dialect, staging_table("dbo.staging").c[odd.name], columns, refusal)
    assert (FITS if found.fits else REFUSED if found.refused else WARNED) == odd.verdict, found
    assert odd.words in found.refused
    assert bool(found.mend) is (odd.verdict != FITS)
