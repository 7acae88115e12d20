"""On a terminal ``person`` asks who is meant, shows what is held, and erases after a yes only."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from dataflows.store.database import connect
from dataflows.store.practice.migrate import migrate
from dataflows.store.practice.tables import patients

if sys.platform == "win32":
    pytest.skip("needs a pseudo-terminal", allow_module_level=True)

NOW = datetime.now(UTC)
IDA = {
    **{"vorname": "Ida", "nachname": "Beispiel", "name_key": "", "possible_duplicate": False},
    **{"registered_at": NOW, "registered_generation": 1, "created_at": NOW, "updated_at": NOW},
}


@pytest.fixture
def database(tmp_path: Path) -> sa.Engine:
    engine = connect(f"sqlite:///{tmp_path / 'practice.db'}")
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(patients).values(IDA))
    engine.dispose()
    return engine


def typed(folder: Path, *arguments: str, lines: tuple[str, ...]) -> tuple[int, str, str]:
    """Run the program with lines typed on its terminal; its exit code, its stdout and what the terminal shows."""
    master, slave = os.openpty()
    command = [sys.executable, "-m", "dataflows", "--data-dir", str(folder), "person", *arguments]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "80"}
    with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=slave, env=environment) as program:
        os.write(master, "".join(f"{line}\n" for line in lines).encode())
        out, _ = program.communicate(timeout=120)
    os.close(slave)
    with os.fdopen(master, "rb", buffering=0) as terminal:
        shown = b""
        while True:
            try:
                piece = terminal.read(65536)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not piece:
                break
            shown += piece
    return program.returncode, out.decode(), shown.decode(errors="replace")


def count(database: sa.Engine) -> int:
    with database.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(patients)) or 0)


WHO = ("Ida", "Beispiel", "", "", "")


def test_it_asks_who_is_meant_and_says_how_much_there_is(database: sa.Engine, tmp_path: Path) -> None:
    code, out, shown = typed(tmp_path, "find", lines=WHO)
    assert code == 0
    assert out.startswith("held: patients: 1\npatients: row 1\nnot reached: backups")
    assert "First name: " in shown and "Date of birth, YYYY-MM-DD" in shown
    assert "Beispiel" not in out


@pytest.mark.parametrize(("answer", "code", "left"), [("n", 130, 1), ("y", 0, 0)])
def test_it_erases_after_a_yes_only(database: sa.Engine, tmp_path: Path, answer: str, code: int, left: int) -> None:
    ended, _, shown = typed(tmp_path, "erase", lines=(*WHO, answer))
    assert (ended, count(database)) == (code, left)
    assert "held: patients: 1" in shown and "Erase this for good? [y/N]" in shown
    assert ("not confirmed: nothing was erased" in shown) is (answer == "n")
