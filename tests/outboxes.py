"""An empty practice database of either kind, for tests of events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dataflows.store.database import connect
from dataflows.store.practice.migrate import migrate
from dataflows.store.practice.tables import outbox

_NAME = "outboxes"


@pytest.fixture(scope="session")
def outboxes_url(postgres_url: str) -> str:
    """A PostgreSQL database of its own, with the tables in it."""
    with connect(postgres_url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"CREATE DATABASE {_NAME}"))
    url = sa.make_url(postgres_url).set(database=_NAME).render_as_string(hide_password=False)
    migrate(connect(url))
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def practice(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A practice database whose outbox is empty."""
    if request.param == "sqlite":
        engine = connect(f"sqlite:///{tmp_path / 'practice.db'}")
        migrate(engine)
    else:
        engine = connect(request.getfixturevalue("outboxes_url"))
        with engine.begin() as connection:
            connection.execute(sa.delete(outbox))
    yield engine
    engine.dispose()
