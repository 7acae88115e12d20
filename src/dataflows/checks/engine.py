"""What the checks of every database share: its address, a connection, and a file that must be there."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from dataflows.checks.check import Check

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dataflows.settings import Settings


class Opened:
    """The database of a setting, opened by its first check."""

    def __init__(self, settings: Settings, name: str, open_engine: Callable[[Settings], sa.Engine]) -> None:
        self._settings, self._name, self._open = settings, name, open_engine

    @cached_property
    def engine(self) -> sa.Engine:
        """Its engine. Raises SettingUnusable as whatever opens it."""
        return self._open(self._settings)

    def address(self) -> str:
        """Say where the address came from and what it leads to. Raises SettingUnusable for a file that is not there."""
        from dataflows.store.sqlite_files import file_of, refuse_missing

        if self.engine.dialect.name == "sqlite" and (path := file_of(self.engine.url)) is not None:
            refuse_missing(path, self._name)
        return f"{self.whence()}: {self.engine.dialect.name} by {self.engine.dialect.driver}"

    def privacy(self) -> Iterator[Check]:
        """Say which files of a SQLite database every account of this machine can read; nothing where none is."""
        from dataflows.store.sqlite_files import file_of, open_to_all

        path = file_of(self.engine.url) if self.engine.dialect.name == "sqlite" else None
        if path is not None and (found := open_to_all(path)):
            names = " ".join(shlex.quote(str(one)) for one in found)
            text = f"warning: every account of this machine can read or change {', '.join(map(str, found))}"
            yield Check("database file", True, text, f"chmod o-rwx {names}")

    def whence(self) -> str:
        """Say where the address came from."""
        if getattr(self._settings, self._name.lower()) is None:
            return "embedded default in DATA_DIR"
        return f"from the {self._settings.origin(self._name)}"

    def connection(self) -> str:
        """Say which driver and server answered, and how fast. Raises as ``store.database.translated``."""
        import sqlalchemy as sa

        from dataflows.store.database import translated

        with translated(self._name), self.engine.connect() as connection:
            began = time.perf_counter()
            connection.execute(sa.text("SELECT 1"))
            took = time.perf_counter() - began
            version = ".".join(map(str, self.engine.dialect.server_version_info or ()))
            return f"{_driver(connection)}server version {version}, answered in {1000 * took:.1f} ms"

    def close(self) -> None:
        """Close its connections."""
        if "engine" in vars(self):
            self.engine.dispose()


def _driver(connection: sa.Connection) -> str:
    """The ODBC driver's own name and version, where there is one (ODBC, SQLGetInfo)."""
    if connection.dialect.driver != "pyodbc":
        return ""
    import pyodbc

    raw = connection.connection.dbapi_connection
    return f"{raw.getinfo(pyodbc.SQL_DRIVER_NAME)} {raw.getinfo(pyodbc.SQL_DRIVER_VER)}, " if raw else ""
