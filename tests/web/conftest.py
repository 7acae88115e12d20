"""One sandbox and one server for all tests, with a Directory that is quick. Each test brings rows of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflows.sandbox.server import Sandbox
from tests.flows.hospitals.world import QUICK
from tests.web.served import Within, within


@pytest.fixture(scope="session")
def box() -> Iterator[Sandbox]:
    """The stand-ins; what tests leave in them stays."""
    quick = {"create_ms": 10.0, "creates_per_minute": 0, "calls_per_minute": 0}
    with Sandbox(seed=1, faults={"directory": quick}) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def server(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Within]:
    """A server with a token, in a thread of this process."""
    with within(tmp_path_factory.mktemp("server"), {**QUICK, **box.settings()}) as running:
        yield running
