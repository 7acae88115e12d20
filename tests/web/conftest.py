from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from tests.web.world import Served, World


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for the tests of a file that do not disturb each other."""
    with Sandbox(seed=1) as box:
        yield World(tmp_path_factory.mktemp("web"), box)


@pytest.fixture(scope="module")
def served(shared: World) -> Iterator[Served]:
    """A server in that world, on loopback and with a token."""
    with shared.serving() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of a test's own."""
    with Sandbox(seed=1) as box:
        yield World(tmp_path, box)
