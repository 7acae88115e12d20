"""The one boundary: words in, an exit code out, two lines for an error and no traceback for anybody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflows import __version__
from dataflows.cli.arguments import options_first
from dataflows.cli.main import _command, main
from dataflows.errors import ServiceDown
from dataflows.settings import Settings

Capture = pytest.CaptureFixture[str]
Put = Callable[[Callable[[Settings], Iterator[object]]], None]


def test_help_names_commands_examples_and_every_exit_code(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "test-db" in out
    assert "Example" in out
    assert "130  interrupted" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("command", ["csc-submit", "test-db", "test-endpoint", "test-schema"])
def test_every_command_has_help_with_an_example_and_exit_codes(command: str, capsys: Capture) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "\n    dataflows" in out
    assert "Exit codes:\n      0  all done" in out
    assert max(map(len, out.splitlines())) <= 80


def test_help_needs_no_settings(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / ".env").write_text("nonsense", encoding="utf-8")
    assert main(["test-db", "--help"]) == 0
    capsys.readouterr()


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dataflows {__version__}\n"


def test_no_command_is_wrong_usage_and_shows_the_help(capsys: Capture) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: dataflows")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["tset-db"], "No such command 'tset-db'", "see: dataflows --help"),
        (["test-db", "--fast"], "No such option: --fast", "see: dataflows test-db --help"),
        (["test-db", "--data-dir"], "Option '--data-dir' requires an argument", "see: dataflows --help"),
        (
            ["test-db", "extra"],
            "dataflows test-db was given an argument that it does not take",
            "see: dataflows test-db --help",
        ),
        (["csc-submit", "--limit", "0"], "Invalid value for '--limit'", "see: dataflows csc-submit --help"),
        (["runs"], "dataflows runs needs a command", "one of list, show,"),
        (["--log-level", "loud", "test-db"], "Invalid value for '--log-level'", "see: dataflows --help"),
    ],
)
def test_wrong_usage_is_two_lines(arguments: list[str], message: str, hint: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {message}")
    assert second.startswith(f"hint: {hint}")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["csc-submit", "-n", "--data-dir", "X"], ["--data-dir", "X", "csc-submit", "-n"]),
        (["runs", "show", "7f", "--env-file=e", "-v"], ["--env-file=e", "-v", "runs", "show", "7f"]),
        (["-q", "runs", "list", "--set", "A=1"], ["-q", "--set", "A=1", "runs", "list"]),
        (["csc-submit", "--child", "--quiet", "--limit", "3"], ["csc-submit", "--child", "--quiet", "--limit", "3"]),
        (["csc-submit", "--child=-q", "-q"], ["-q", "csc-submit", "--child=-q"]),
        (["schedule", "x", "-q", "--", "--data-dir", "d"], ["-q", "schedule", "x", "--", "--data-dir", "d"]),
        (["hospitals-bulk", "-", "--quiet"], ["--quiet", "hospitals-bulk", "-"]),
        ([], []),
    ],
)
def test_options_of_the_program_are_taken_after_the_command(words: list[str], expected: list[str]) -> None:
    assert options_first(_command(), words) == expected


def test_no_command_has_an_option_of_the_program_for_itself() -> None:
    """Else the same word would mean one thing before the command and another one after it."""

    def of(command: Any) -> Iterator[str]:
        for one in getattr(command, "commands", {}).values():
            yield from (name for parameter in one.params for name in parameter.opts if name.startswith("-"))
            yield from of(one)

    assert {name for parameter in _command().params for name in parameter.opts} & set(of(_command())) == set()


def test_short_options(checks: Put, tmp_path: Path, capsys: Capture) -> None:
    checks(lambda _settings: iter(()))
    (tmp_path / ".env").write_text("FAVOURITE=1\n", encoding="utf-8")
    assert main(["test-db", "-v"]) == 0
    assert "FAVOURITE" in capsys.readouterr().err
    assert main(["test-db", "-q", "--data-dir", "here"]) == 0
    (told,) = capsys.readouterr().err.splitlines()
    assert told.endswith(f"data {tmp_path / 'here'}")
    for words in (["-h"], ["test-db", "-h"], ["runs", "show", "-h"]):
        assert main(words) == 0
        assert capsys.readouterr().out.startswith("Usage: dataflows")


def test_wrong_usage_as_json(capsys: Capture) -> None:
    assert main(["test-db", "--fast", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["exit_code"], document["run_id"]) == ("failed", 2, None)
    assert document["error"]["code"] == "wrong_usage"


def raising(error: BaseException) -> Callable[[Settings], Iterator[object]]:
    def made_up(_settings: Settings) -> Iterator[object]:
        raise error

    return made_up


def test_an_error_of_ours_is_two_lines_and_its_code(checks: Put, capsys: Capture) -> None:
    checks(raising(ServiceDown("db.example.org:1433 does not answer", reason="test", hint="try again later")))
    assert main(["test-db"]) == 13
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["error: db.example.org:1433 does not answer [test]", "hint: try again later"]
    assert lines[2].startswith("test-db: not done in ")


def test_a_bug_is_one_line_with_the_log(checks: Put, tmp_path: Path, capsys: Capture) -> None:
    checks(raising(ZeroDivisionError("Ada Example")))
    assert main(["test-db"]) == 1
    out, err = capsys.readouterr()
    (log,) = (tmp_path / "data" / "logs").iterdir()
    assert out == ""
    assert err.splitlines()[0] == f"error: this is a bug in dataflows [bug]; please report it with the log: {log}"
    assert "Traceback" not in err
    assert "Ada" not in err + log.read_text(encoding="utf-8")
    assert "ZeroDivisionError" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_outside_a_run(checks: Put, as_json: bool, capsys: Capture) -> None:
    checks(raising(KeyboardInterrupt()))
    assert main(["test-db", "--json"] if as_json else ["test-db"]) == 130
    out, err = capsys.readouterr()
    assert err.startswith("error: interrupted [interrupted]\nhint: ")
    assert not as_json or json.loads(out)["error"]["code"] == "interrupted"


def test_the_env_file_can_be_named_in_the_environment(
    checks: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Settings] = []

    def made_up(settings: Settings) -> Iterator[object]:
        seen.append(settings)
        return iter(())

    checks(made_up)
    (tmp_path / "my.env").write_text("LA_CODE=845\n", encoding="utf-8")
    monkeypatch.setenv("DATAFLOWS_ENV_FILE", str(tmp_path / "my.env"))
    assert main(["--data-dir", "here", "test-db"]) == 0
    assert (seen[0].la_code, seen[0].data_dir) == ("845", tmp_path / "here")


def test_warnings_about_the_env_file_are_shown(checks: Put, tmp_path: Path, capsys: Capture) -> None:
    checks(lambda _settings: iter(()))
    (tmp_path / ".env").write_text("FAVOURITE=1\nDATAFLOWS_TEST_DB_JSON=no\n", encoding="utf-8")
    assert main(["test-db"]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    assert "FAVOURITE" in warnings[0]


def program(*arguments: str) -> list[str]:
    code = "import sys; from dataflows.cli.main import main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments]


def test_a_folder_that_takes_no_log_is_an_error_of_two_lines(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "logs").touch()
    assert main(["--data-dir", str(tmp_path), "cqc-fetch"]) == 10
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"error: the log cannot be used: .* \(.*\) \[data-folder-unusable\]", first)
    assert second == "hint: check DATA_DIR and its permissions"


def test_utf8_into_any_pipe() -> None:
    done = subprocess.run(
        program("--schnäll"), capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "cp1252"}
    )
    assert "--schnäll".encode() in done.stderr


def test_a_reader_who_has_seen_enough_harms_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(program("--version"), stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_nobody_reading_the_errors_does_not_change_the_exit_code() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(program("--schnäll"), stdout=subprocess.PIPE, stderr=closed, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


def test_shell_completion(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("_DATAFLOWS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "dataflows test-")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert main([]) == 0
    assert "test-endpoint" in capsys.readouterr().out.split()
