"""The databases of the tests: SQLite, PostgreSQL, and a SQL Server where TEST_SQLSERVER_URL names one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dataflows.store.database import connect


@pytest.fixture(params=["sqlite", "postgresql", "mssql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database in which a test may do what it likes."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'staging.db'}"
    if request.param == "mssql":
        if "TEST_SQLSERVER_URL" not in os.environ:
            pytest.skip("SQL Server is not tested: TEST_SQLSERVER_URL is not set")
        return os.environ["TEST_SQLSERVER_URL"]
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(address: str) -> Iterator[sa.Engine]:
    engine = connect(address)
    yield engine
    engine.dispose()
