"""The databases that can run inside a test: SQLite in a file, and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dataflows.store.database import connect


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'staging.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(address: str) -> Iterator[sa.Engine]:
    engine = connect(address)
    yield engine
    engine.dispose()
