from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dataflows.store.database import connect
from dataflows.store.practice.migrate import migrate
from tests.flows.therapists.world import World


@pytest.fixture(scope="session")
def therapists_url(postgres_url: str) -> str:
    """A PostgreSQL database of its own: other tests count rows too."""
    engine = connect(postgres_url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CREATE DATABASE therapists"))
    engine.dispose()
    return made(sa.make_url(postgres_url).set(database="therapists").render_as_string(hide_password=False))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty practice database, to be copied."""
    path = tmp_path_factory.mktemp("template") / "practice.db"
    made(f"sqlite:///{path}")
    return path


def made(url: str) -> str:
    """Make the tables of a practice database."""
    engine = connect(url)
    migrate(engine)
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the practice database is; both kinds have to behave the same."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("therapists_url"))
    path = shutil.copy(request.getfixturevalue("template"), tmp_path / "practice.db")
    return f"sqlite:///{path}"


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str) -> Iterator[World]:
    world = World(tmp_path, capsys, address)
    yield world
    world.empty()
