"""``--help`` answers at once, because what is heavy is loaded by the command that needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "pydantic_settings",
    "requests",
    "urllib3",
    "msal",
    "sqlalchemy",
    "rich",
    "pyodbc",
    "psycopg",
    "cryptography",
    "orjson",
    "tenacity",
    "filelock",
    "google",
    "alembic",
    "fastapi",
    "uvicorn",
    "starlette",
    "jinja2",
}
DATABASES = {"sqlalchemy", "alembic", "psycopg", "pyodbc", "greenlet", "pandas", "numpy"}
PROGRAM = """
import sys
from dataflows.cli.main import main
code = main(sys.argv[1:])
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["csc-submit", "--help"], ["cqc-fetch", "--help"], ["patient-import", "--help"]),
        *(["serve", "--help"], ["--version"]),
    ],
)
def test_no_heavy_library_is_loaded(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0
    assert HEAVY & set(done.stderr.split()) == set()


def test_the_help_of_the_program_does_without_pydantic() -> None:  # Typer itself loads it to check values
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--help"], capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert "pydantic" not in done.stderr.split()


@pytest.mark.parametrize("command", ["hospitals-bulk", "cqc-fetch"])
def test_what_needs_no_database_loads_no_library_for_one(command: str, tmp_path: Path) -> None:
    hospitals = tmp_path / "hospitals.csv"
    hospitals.write_text("name,address,phone\nSynthetic General Hospital,1 Example Street,\n", encoding="utf-8")
    arguments = {"hospitals-bulk": [str(hospitals)], "cqc-fetch": ["--output", str(tmp_path / "files")]}[command]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, command, *arguments, "--dry-run"],
        capture_output=True, text=True, check=False, encoding="utf-8",
        env={**os.environ, "DATA_DIR": str(tmp_path / "data")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "journal.db").exists(), "it was a run"
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "dataflows" in loaded
    assert DATABASES & loaded == set()


def test_alembic_is_loaded_only_where_the_schema_is_not_the_newest(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    settings = {"DATA_DIR": str(tmp_path / "data"), "THERAPIST_IMPORT_DIR": str(tmp_path / "files")}
    loaded = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "therapist-import", "--json"],
            capture_output=True, text=True, check=False, encoding="utf-8", env={**os.environ, **settings},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        loaded.append("alembic" in done.stderr.split())
    assert loaded == [True, False]
