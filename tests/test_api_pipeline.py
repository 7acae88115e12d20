"""The program ``csc_api_pipeline``: the seed's four commands, carried out by dataflows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import api_pipeline.__main__ as pipeline

Capture = pytest.CaptureFixture[str]

HELP = """\
CSC API Pipeline CLI

Usage:
  csc_api_pipeline [command]

Commands:
  run             Run the full API submission process
  test-endpoint   Check API connectivity and token authentication
  test-db         Check database connection
  test-schema     Validate required table structure/schema
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What dataflows was asked."""
    calls: list[list[str]] = []

    def dataflows(arguments: list[str]) -> int:
        calls.append(arguments)
        return 3

    monkeypatch.setattr(pipeline, "dataflows", dataflows)
    return calls


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["csc-submit"]),
        (["--set", "LA_CODE=998", "run"], ["--set", "LA_CODE=998", "csc-submit"]),
        (["--set=LA_CODE=998", "--data-dir", "d"], ["--set=LA_CODE=998", "--data-dir", "d", "csc-submit"]),
        (["run"], ["csc-submit"]),
        (["run", "--limit", "5"], ["csc-submit", "--limit", "5"]),
        (["--dry-run"], ["csc-submit", "--dry-run"]),
        (["test-endpoint", "--json"], ["test-endpoint", "--target", "csc", "--json"]),
        (["test-db"], ["test-db", "--target", "staging"]),
        (["test-schema"], ["test-schema"]),
        (["test-db-connection"], ["test-db", "--target", "staging"]),
        (["run-smoke", "--json"], ["test-endpoint", "--target", "csc", "--json"]),
        (["run", "-h"], ["csc-submit", "-h"]),
        (["--quiet", "test-db", "-h"], ["--quiet", "test-db", "--target", "staging", "-h"]),
        (["--env-file", "C:\\csc\\.env"], ["--env-file", "C:\\csc\\.env", "csc-submit"]),
        (["--data-dir=d", "--quiet", "test-db"], ["--data-dir=d", "--quiet", "test-db", "--target", "staging"]),
        (["--version"], ["--version"]),
    ],
)
def test_commands_and_options_are_passed_on(arguments: list[str], expected: list[str], asked: list[list[str]]) -> None:
    assert pipeline.main(arguments) == 3
    assert asked == [expected]


@pytest.mark.skipif(sys.platform == "win32", reason="the program is called csc_api_pipeline.exe there")
def test_help_is_the_seeds(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys, "argv", ["csc_api_pipeline"])
    for asked_for in (["--help"], ["-h"]):
        assert pipeline.main(asked_for) == 0
        assert capsys.readouterr().out == HELP


def test_help_of_the_exe(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    pipeline.main(["--help"])
    assert capsys.readouterr().out == HELP.replace("csc_api_pipeline", "csc_api_pipeline.exe")


def test_an_unknown_command_is_wrong_usage(asked: list[list[str]], capsys: Capture) -> None:
    assert pipeline.main(["rnu", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "wrong_usage"
    assert "run, test-endpoint, test-db, test-schema" in err
    assert asked == []


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "api_pipeline", "rnu"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
