"""Sandboxes with a Directory that is quick, and servers beside them: for all tests, for a file, for a single test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from dataflows.web import access
from tests.flows.hospitals.world import QUICK
from tests.web.served import Within, within
from tests.web.world import Served, World


@pytest.fixture(scope="session", autouse=True)
def _guesses_at_once() -> Iterator[None]:
    """All tests call from one address: what slows its guesses is told apart in tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(access, "FREE_GUESSES", 1_000_000)
        yield


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """The stand-ins; what tests leave in them stays, so each brings rows of its own."""
    quick = {"create_ms": 10.0, "creates_per_minute": 0, "calls_per_minute": 0}
    with Sandbox(seed=1, faults={"directory": quick}) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def server(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Within]:
    """A server with a token, in a thread of this process."""
    with within(tmp_path_factory.mktemp("server"), {**QUICK, **box.settings()}) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for the tests of a file that do not disturb each other."""
    with Sandbox(seed=1) as box:
        yield World(tmp_path_factory.mktemp("web"), box)


@pytest.fixture(scope="module")
def served(shared: World) -> Iterator[Served]:
    """A server in that world as a process, on loopback and with a token."""
    with shared.serving() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of a test's own."""
    with Sandbox(seed=1) as box:
        yield World(tmp_path, box)
