"""The page on moving from SQLite to PostgreSQL: its program, run as it stands there, moves everything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.store.database import connect
from dataflows.store.practice.migrate import migrate
from dataflows.store.practice.tables import metadata
from tests.store.practice.frozen import thaw

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sqlite-to-postgresql.md"


@pytest.fixture
def target(postgres_url: str) -> Iterator[str]:
    """An empty PostgreSQL database."""
    server = connect(postgres_url)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CREATE DATABASE moved"))
        yield server.url.set(database="moved").render_as_string(hide_password=False)
        connection.execute(sa.text("DROP DATABASE moved WITH (FORCE)"))
    server.dispose()


def moved(tmp_path: Path, old: Path, target: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "move.py"
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    program.write_text(code, encoding="utf-8")
    environment = {**os.environ, "IMPORT_DATABASE_URL": target}
    return subprocess.run(
        [sys.executable, str(program), str(old)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    engine = connect(url)
    with engine.connect() as connection:
        found = {
            table.name: [tuple(row) for row in connection.execute(table.select().order_by(*table.primary_key.columns))]
            for table in metadata.sorted_tables
        }
    engine.dispose()
    return found


def test_everything_goes_along_and_ids_go_on(tmp_path: Path, target: str) -> None:
    old = tmp_path / "practice.db"
    url = f"sqlite:///{old}"
    engine = connect(url)
    thaw(engine, 2)
    assert "run an import on it first" in moved(tmp_path, old, target).stderr
    migrate(engine)
    engine.dispose()
    ran = moved(tmp_path, old, target)
    assert ran.returncode == 0, ran.stderr
    assert contents(target) == contents(url)
    new = connect(target)
    highest = max(row[0] for row in contents(url)["therapists"])
    with new.begin() as connection:
        assert connection.execute(sa.text("SELECT nextval('therapists_id_seq')")).scalar() == highest + 1
    new.dispose()
    assert "the new database is not empty" in moved(tmp_path, old, target).stderr
