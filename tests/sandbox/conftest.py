"""A running sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflows.sandbox.server import Sandbox


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A sandbox without faults."""
    with Sandbox(seed=1) as running:
        yield running
