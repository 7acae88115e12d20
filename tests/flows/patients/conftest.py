from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dataflows.sandbox.server import Sandbox
from dataflows.store.database import connect
from tests.flows.patients.world import World


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def registrations_url(postgres_url: str) -> str:
    """A PostgreSQL database of its own: other tests count rows too."""
    engine = connect(postgres_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CREATE DATABASE registrations"))
    engine.dispose()
    return sa.make_url(postgres_url).set(database="registrations").render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the practice database is; both kinds have to behave the same."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'practice.db'}"
    return str(request.getfixturevalue("registrations_url"))


@pytest.fixture
def world(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str], address: str) -> Iterator[World]:
    world = World(tmp_path, box, capsys, address)
    yield world
    world.empty()
