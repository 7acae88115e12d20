"""The three diagnostics: all checks are shown, the gravest failure decides."""

from __future__ import annotations

import json
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataflows.cli.diagnostics import gravest
from dataflows.cli.main import main
from dataflows.errors import ExitCode
from dataflows.settings import Settings

Capture = pytest.CaptureFixture[str]
Put = Callable[[Callable[[Settings], Iterator[object]]], None]


@dataclass
class MadeUp:
    name: str
    passed: bool | None
    text: str
    hint: str = ""
    exit_code: ExitCode = ExitCode.OK
    reason: str = ""


FOUND = (
    MadeUp("driver", True, "ODBC Driver 18"),
    MadeUp("connection", False, "db.example.org does not answer", "is the VPN up?", ExitCode.SERVICE_DOWN, "no-answer"),
    MadeUp("write", None, "no connection"),
)


@pytest.mark.parametrize("command", ["test-db", "test-endpoint", "test-schema"])
def test_each_check_is_a_line(command: str, checks: Put, capsys: Capture) -> None:
    checks(lambda _settings: iter(FOUND))
    assert main([command]) == 13
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "ok    driver  ODBC Driver 18",
        "FAIL  connection  db.example.org does not answer [no-answer]",
        "      hint: is the VPN up?",
        "skip  write  no connection",
    ]
    assert err.startswith(f"{command}: 1 passed, 1 failed, 1 skipped in ")
    assert "-> exit 13" in err


def test_as_json(checks: Put, capsys: Capture) -> None:
    checks(lambda _settings: iter(FOUND))
    assert main(["test-db", "--json"]) == 13
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["exit_code"], document["run_id"]) == ("failed", 13, None)
    assert document["items"][2] == {"name": "write", "passed": None, "text": "no connection", "hint": "", "reason": ""}
    assert document["error"]["message"] == "connection: db.example.org does not answer"


def test_all_well(checks: Put, capsys: Capture) -> None:
    checks(lambda _settings: iter(FOUND[:1]))
    assert main(["test-db", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["error"]) == ("done", None)


def test_the_gravest_failure_decides() -> None:
    assert gravest([ExitCode.SETTINGS, ExitCode.SERVICE_DOWN, ExitCode.ACCESS_REFUSED]) is ExitCode.ACCESS_REFUSED
    assert gravest([ExitCode.SETTINGS, ExitCode.SERVICE_DOWN]) is ExitCode.SERVICE_DOWN
    assert gravest([]) is ExitCode.OK


def test_create_makes_the_embedded_table(checks: Put, tmp_path: Path, capsys: Capture) -> None:
    checks(lambda _settings: iter(()))
    assert main(["test-schema", "--create"]) == 0
    with closing(sqlite3.connect(tmp_path / "data" / "staging.db")) as database:
        columns = database.execute("SELECT json_payload FROM ssd_api_data_staging").description
    assert len(columns) == 1
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "data" / "staging.db").stat().st_mode) == 0o600
    assert "the table ssd_api_data_staging exists" in capsys.readouterr().err


def test_an_embedded_table_that_cannot_be_made_is_told(checks: Put, tmp_path: Path, capsys: Capture) -> None:
    checks(lambda _settings: iter(()))
    (tmp_path / "data" / "staging.db").mkdir(parents=True)
    assert main(["test-schema", "--create"]) == 10
    assert f"the database file cannot be used: {tmp_path / 'data' / 'staging.db'}" in capsys.readouterr().err
