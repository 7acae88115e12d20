"""What is written from the code is up to date, and the example of an env file can be used as it is."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dataflows.cli.main import main
from dataflows.settings import load, table

ROOT = Path(__file__).resolve().parent.parent
REQUIRED = {
    "csc-submit": {
        "DB_CONNECTION_STRING": "sqlite:///table.db",
        "API_ENDPOINT": "http://127.0.0.1:9",
        "LA_CODE": "999",
        "TOKEN_ENDPOINT": "http://127.0.0.1:9",
        "CLIENT_ID": "synthetic",
        "CLIENT_SECRET": "synthetic",
        "SCOPE": "synthetic/.default",
        "SUPPLIER_KEY": "synthetic",
    },
    "therapist-import": {"THERAPIST_IMPORT_DIR": "nowhere"},
    "report": {"REPORT_EMAIL": "", "REPORT_URL": ""},
    "serve": {"RUN_TOKEN": ""},
}
"""Values that a command takes as far as it goes without a network, so that only the missing one keeps it from it."""
OPTIONS = {"serve": ("--host", "0.0.0.0")}


@pytest.fixture(autouse=True)
def clean_world(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in table():
        monkeypatch.delenv(spec.name, raising=False)


def test_nothing_has_drifted() -> None:
    command = [sys.executable, str(ROOT / "tools" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_example_means_the_defaults() -> None:
    settings = load(ROOT / ".env.example")
    assert settings.warnings == ()
    assert {settings.origin(spec.name) for spec in table()} == {"default"}


def test_the_defaults_in_the_example_are_the_real_ones(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = {f"#{spec.name}=" for spec in table()}
    lines = [line[1:] for line in text.splitlines() if line.partition("=")[0] + "=" in named]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    settings = load(tmp_path / ".env")
    with_default = [spec for spec in table() if spec.default is not None]
    assert len(lines) == len(with_default)
    assert all(getattr(settings, spec.name.lower()) == spec.default for spec in with_default)


def test_the_page_names_what_is_required() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([A-Z_]+)` \| [^|]*\| ([a-z-]+)[^|]*\|", page, re.MULTILINE)
    assert set(told) == {(name, command) for command, names in REQUIRED.items() for name in names}


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, names in REQUIRED.items() for name in names]
)
def test_a_command_does_not_run_without_it(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "table.db")) as staging:
        staging.executescript((ROOT / "samples" / "staging.sql").read_text(encoding="utf-8"))
    for other, value in REQUIRED[command].items():
        if other != name:
            monkeypatch.setenv(other, value)
    assert main([command, *OPTIONS.get(command, ())]) == 10
    assert name in capsys.readouterr().err


def test_nothing_else_is_required() -> None:
    """Whatever the code asks of the settings has a default, or stands on the page."""
    defaults = {spec.name for spec in table() if spec.default is not None}
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    asked = {name for call in re.findall(r"\brequire\(([^)]*)\)", source) for name in re.findall(r'"([A-Z_]+)"', call)}
    assert asked
    assert asked - defaults <= {name for names in REQUIRED.values() for name in names}
