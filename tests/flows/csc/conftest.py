from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from tests.flows.csc.world import World


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture(params=["sqlite", "postgresql"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    """The same tests for both databases: SQL Server runs the same statements."""
    if request.param == "sqlite":
        yield World(tmp_path, box, capsys)
        return
    world = World(tmp_path, box, capsys, request.getfixturevalue("postgres_url"))
    yield world
    world.table.drop(world.engine)
    world.engine.dispose()
