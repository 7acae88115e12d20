from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from tests.flows.hospitals.world import World


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=1) as sandbox:
        yield sandbox


@pytest.fixture
def world(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> World:
    return World(tmp_path, box, capsys)
