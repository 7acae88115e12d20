"""One sandbox for all tests of the server, with a Directory that is quick."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflows.sandbox.server import Sandbox


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """The stand-ins; what tests leave in them stays, so each brings rows of its own."""
    quick = {"create_ms": 10.0, "creates_per_minute": 0, "calls_per_minute": 0}
    with Sandbox(seed=1, faults={"directory": quick}) as sandbox:
        yield sandbox
