"""Practice databases as former versions of the schema left them, with synthetic data. These files are never changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa


def thaw(engine: sa.Engine, version: int = 1) -> None:
    """Fill an empty database with what a version left."""
    path = Path(__file__).parent / f"v{version}_{engine.dialect.name}.sql"
    script = path.read_text(encoding="utf-8")
    with closing(engine.raw_connection()) as connection:
        raw: Any = connection.driver_connection
        if isinstance(raw, sqlite3.Connection):
            raw.executescript(script)
        else:
            raw.execute("SET search_path TO public")
            raw.execute(script)
        connection.commit()
    engine.dispose()
