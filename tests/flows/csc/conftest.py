from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from tests.flows.csc.world import World


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture(params=["sqlite", "postgresql", "mssql"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """The same tests for every database; SQL Server where TEST_SQLSERVER_URL names one."""
    if request.param == "sqlite":
        yield World(tmp_path, box, capsys)
        return
    if request.param == "mssql" and "TEST_SQLSERVER_URL" not in os.environ:
        pytest.skip("SQL Server is not tested: TEST_SQLSERVER_URL is not set")
    url = os.environ["TEST_SQLSERVER_URL"] if request.param == "mssql" else request.getfixturevalue("postgres_url")
    world = World(tmp_path, box, capsys, url)
    yield world
    world.table.drop(world.engine)
    world.engine.dispose()


@pytest.fixture
def here(world: World) -> World:
    """The same world under the name that stories of one table have for it."""
    return world
