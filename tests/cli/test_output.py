"""What is printed where: results on stdout, everything else on stderr, the last line always."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataflows.cli.output import Output
from dataflows.errors import AccessRefused, DataflowsError, ExitCode, SettingUnusable
from dataflows.events import Done, Failed, Skipped, Warned
from dataflows.runs.runner import Bug, Outcome

Capture = pytest.CaptureFixture[str]


def outcome(code: ExitCode = ExitCode.OK, error: DataflowsError | None = None, log: Path | None = None) -> Outcome:
    return Outcome(
        exit_code=code,
        run_id="7f3a1c22-0000-4000-8000-000000000000",
        command="csc-submit",
        state="done" if code is ExitCode.OK else "failed",
        counts={"done": 412, "failed": 3, "skipped": 20, "pending": 0},
        seconds=48.3,
        report={"rows_read": 435, "sent": {"full": 400, "delta": 12}, "seconds": 48.3, "failures": [{"row": 17}]},
        error=error,
        log_file=log,
    )


def output(**flags: bool) -> Output:
    made = Output(**flags)
    made.command = "csc-submit"
    return made


def failed(row: int, *, known: bool = False) -> Failed:
    return Failed(str(row), "attribute_rule", "social_care_episodes[0].referral_source: at most 2 characters", known)


def test_the_result_on_stdout_and_the_last_line_on_stderr(capsys: Capture, tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.touch()
    made = output()
    made.data_dir = tmp_path
    assert made.finish(outcome(log=log)) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["rows read   435", "sent full   400", "sent delta  12", "seconds     48.3"]
    assert err.splitlines() == [
        f"run 7f3a1c22 csc-submit: 412 done, 3 failed, 20 unchanged in 48 s -> exit 0, log {log}, data {tmp_path}"
    ]


def test_a_log_that_was_never_written_is_not_named(capsys: Capture, tmp_path: Path) -> None:
    output().finish(outcome(log=tmp_path / "absent.log"))
    assert "absent" not in capsys.readouterr().err


def test_json_is_one_document(capsys: Capture) -> None:
    assert output(as_json=True).finish(outcome(ExitCode.SOME_FAILED)) == 3
    document = json.loads(capsys.readouterr().out)
    assert list(document)[:5] == ["run_id", "command", "status", "exit_code", "counts"]
    assert (document["exit_code"], document["rows_read"], document["error"]) == (3, 435, None)
    assert document["failures"] == [{"row": 17}]


def test_failures_are_listed_new_ones_first(capsys: Capture) -> None:
    made = output()
    for event in (failed(5, known=True), failed(17), Done("1")):
        made.listener(event)
    made.finish(outcome(ExitCode.SOME_FAILED))
    assert capsys.readouterr().err.splitlines()[:2] == [
        "failed  row 17  attribute_rule  social_care_episodes[0].referral_source: at most 2 characters",
        "failed  row 5  attribute_rule  social_care_episodes[0].referral_source: at most 2 characters  (known)",
    ]


def test_only_the_first_twenty_failures_are_listed(capsys: Capture) -> None:
    made = output()
    for row in range(25):
        made.listener(failed(row))
    made.finish(outcome(ExitCode.SOME_FAILED))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[20] == "and 5 more, see: dataflows runs show 7f3a1c22"


def test_an_error_of_the_run_is_two_lines(capsys: Capture) -> None:
    error = AccessRefused("token endpoint answered 401", reason="test", hint="check CLIENT_ID and CLIENT_SECRET")
    assert output().finish(outcome(ExitCode.ACCESS_REFUSED, error)) == 12
    assert capsys.readouterr().err.splitlines()[:2] == [
        "error: token endpoint answered 401 [test]",
        "hint: check CLIENT_ID and CLIENT_SECRET",
    ]


def test_a_bug_is_one_line(capsys: Capture) -> None:
    error = Bug(
        "unexpected KeyError: this is a bug in dataflows", reason="bug", hint="please report it with the log: x.log"
    )
    output().finish(outcome(ExitCode.BUG, error))
    lines = capsys.readouterr().err.splitlines()
    assert (
        lines[0] == "error: unexpected KeyError: this is a bug in dataflows [bug]; please report it with the log: x.log"
    )
    assert len(lines) == 2


def test_quiet_keeps_errors_and_the_last_line(capsys: Capture) -> None:
    made = output(quiet=True)
    for event in (Warned("the clock is slow", reason="test"), failed(17)):
        made.listener(event)
    made.finish(outcome(ExitCode.SOME_FAILED))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[0] for line in err.splitlines()] == ["failed", "run"]


def test_verbose_shows_every_item(capsys: Capture) -> None:
    made = output(verbose=True)
    for event in (Done("1", "full"), Skipped("2")):
        made.listener(event)
    assert capsys.readouterr().err.splitlines() == ["done  row 1  full", "unchanged  row 2"]


def test_warnings_go_to_stderr(capsys: Capture) -> None:
    output().listener(Warned("12 purges held back", "look, then: --allow-mass-delete", reason="test"))
    out, err = capsys.readouterr()
    assert (out, err) == ("", "warning: 12 purges held back [test]\nhint: look, then: --allow-mass-delete\n")


def test_what_kept_a_command_from_running(capsys: Capture) -> None:
    assert output().failed(SettingUnusable("LA_CODE is not set", reason="test", hint="add it to .env")) == 10
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["error: LA_CODE is not set [test]", "hint: add it to .env"]
    assert lines[2].startswith("csc-submit: not done in 0.0 s -> exit 10")


def test_what_kept_a_command_from_running_as_json(capsys: Capture) -> None:
    output(as_json=True).failed(SettingUnusable("LA_CODE is not set", reason="test", hint="add it to .env"))
    assert json.loads(capsys.readouterr().out) == {
        "run_id": None,
        "status": "failed",
        "exit_code": 10,
        "error": {
            "code": "setting_unusable",
            "reason": "test",
            "message": "LA_CODE is not set",
            "hint": "add it to .env",
        },
    }


def test_a_table_in_plain_columns(capsys: Capture) -> None:
    output().table(["run", "state"], [["7f3a1c22", "done"], ["1", None]])
    assert capsys.readouterr().out.splitlines() == ["run       state", "7f3a1c22  done", "1"]


def test_no_control_characters_where_nobody_looks(capsys: Capture) -> None:
    made = output(verbose=True)
    for event in (Warned("w", "h", reason="test"), failed(1), Done("2")):
        made.listener(event)
    made.finish(outcome(ExitCode.SOME_FAILED, SettingUnusable("e", reason="test", hint="h")))
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\r" not in out + err
