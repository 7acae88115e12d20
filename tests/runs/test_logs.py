"""The log file of a run: JSON lines, for its owner only, never with what a library or an exception quotes."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import google.auth._helpers
import pytest

from dataflows.errors import ExitCode, ServiceDown, SettingUnusable
from dataflows.events import Done, Failed, Planned
from dataflows.runs.logs import RunLog, off_the_screen
from dataflows.runs.pool import each
from dataflows.runs.runner import Outcome

PERSONAL = "Ada Example"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    made = RunLog(tmp_path, "csc-submit").attach()
    yield made
    made.detach()


def lines(log: RunLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.path.read_text(encoding="utf-8").splitlines()]


def test_name_and_place(log: RunLog, tmp_path: Path) -> None:
    log.log_start("csc-submit")
    assert log.path.parent == tmp_path / "logs"
    day, clock, milliseconds, *command = log.path.stem.split("-")
    assert (len(day), len(clock), len(milliseconds), command) == (8, 6, 3, ["csc", "submit"])


def test_no_record_no_file(log: RunLog) -> None:
    assert not log.path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_only_its_owner_can_read_it(log: RunLog) -> None:
    log.log_start("csc-submit")
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


def test_two_runs_of_one_moment_get_two_files(log: RunLog, tmp_path: Path) -> None:
    other = RunLog(tmp_path, "csc-submit")
    other.path = log.path
    log.log_start("csc-submit")
    other.emit(logging.makeLogRecord({"name": "dataflows", "msg": "x", "levelno": logging.INFO}))
    other.close()
    assert other.path.name == f"{log.path.stem}-{os.getpid()}.log"


def test_our_messages_are_written_out(log: RunLog) -> None:
    logging.getLogger("dataflows.runner").warning("%s rows", 12)
    (line,) = lines(log)
    assert (line["level"], line["logger"], line["message"]) == ("warning", "dataflows.runner", "12 rows")
    assert line["time"].endswith("+00:00")


def test_what_the_operator_is_told_is_in_the_log(log: RunLog) -> None:
    log.log_error(ServiceDown("the receiver does not answer", reason="test", hint="run the command again later"))
    assert lines(log)[0]["message"] == "service_down: the receiver does not answer [test] (run the command again later)"


def test_events_of_items_that_went_well_are_for_debug(log: RunLog) -> None:
    for event in (Planned(2, "rows"), Done("1"), Failed("2", "attribute_rule", "sex: at most 1 character")):
        log.log_event(event)
    planned, failed = lines(log)
    assert (planned["event"], planned["total"]) == ("planned", 2)
    assert (failed["event"], failed["key"], failed["code"]) == ("failed", "2", "attribute_rule")


def test_level_debug_has_every_item(tmp_path: Path) -> None:
    log = RunLog(tmp_path, "csc-submit", level="debug").attach()
    log.log_event(Done("1"))
    log.detach()
    assert lines(log)[0]["key"] == "1"


def test_of_a_library_only_template_and_place_are_written(log: RunLog) -> None:
    library = logging.getLogger("urllib3.connectionpool")
    library.warning("cannot parse %s", PERSONAL)
    library.warning(f"cannot parse {PERSONAL}")
    library.info("never written")
    first, second = lines(log)
    assert first["template"] == "cannot parse %s"
    assert "test_logs.py" in second["place"]
    assert PERSONAL not in log.path.read_text(encoding="utf-8")


def test_a_traceback_has_places_and_kinds_but_no_foreign_text(log: RunLog) -> None:
    try:
        try:
            raise KeyError(PERSONAL)
        except KeyError as error:
            raise ServiceDown("the receiver does not answer", reason="test") from error
    except ServiceDown as error:
        assert log.crash(error) == log.path
    outer, inner = lines(log)[0]["traceback"]
    assert outer["message"] == "the receiver does not answer"
    assert inner["type"] == "builtins.KeyError"
    assert "test_logs.py" in inner["frames"][0]
    assert PERSONAL not in log.path.read_text(encoding="utf-8")


def test_a_thread_that_breaks_is_logged_and_not_printed(log: RunLog, capsys: pytest.CaptureFixture[str]) -> None:
    def break_down() -> None:
        raise ValueError(PERSONAL)

    with off_the_screen():
        thread = threading.Thread(target=break_down)
        thread.start()
        thread.join()
    assert lines(log)[0]["traceback"][0]["type"] == "builtins.ValueError"
    assert capsys.readouterr().err == ""


def test_warnings_of_libraries_are_not_printed(log: RunLog, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(), off_the_screen():
        warnings.simplefilter("always")
        warnings.warn(PERSONAL, stacklevel=1)
    assert PERSONAL not in log.path.read_text(encoding="utf-8") + capsys.readouterr().err


def test_a_library_whose_logger_is_cut_off_prints_nothing(
    log: RunLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Google's libraries cut theirs off at the first request that is made with credentials."""
    apart = logging.getLogger("library.apart")
    monkeypatch.setattr(apart, "propagate", False)
    monkeypatch.setattr(logging.getLogger("google"), "propagate", False)
    monkeypatch.setattr(google.auth._helpers, "_LOGGING_INITIALIZED", False)
    with off_the_screen():
        google.auth._helpers.is_logging_enabled(logging.getLogger("google.auth"))
        apart.warning("names %s", "a person")
        logging.getLogger("google.auth.transport").warning("names %s", "a person")
    assert capsys.readouterr() == ("", "")
    written = log.path.read_text(encoding="utf-8")
    assert "google.auth.transport" in written and "a person" not in written


def test_without_a_log_nothing_is_printed_either(capsys: pytest.CaptureFixture[str]) -> None:
    with off_the_screen():
        logging.getLogger("urllib3").error("cannot parse %s", PERSONAL)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("jumped", [False, True])
def test_old_logs_are_swept_when_a_run_ends_unless_its_clock_has_jumped(log: RunLog, jumped: bool) -> None:
    folder = log.path.parent
    folder.mkdir()
    for name, age in (("old.log", 31), ("young.log", 29), ("old.txt", 31)):
        (folder / name).touch()
        os.utime(folder / name, (0, time.time() - age * 86_400))
    log.log_start("csc-submit")
    log.log_end(Outcome(ExitCode.OK, "7f3a", "csc-submit", "done", {}, 0.1, {}, None, log.path, jumped))
    kept = {"young.log", "old.txt", log.path.name} | ({"old.log"} if jumped else set())
    assert {path.name for path in folder.iterdir()} == kept


def test_a_folder_that_cannot_be_used_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    log = RunLog(tmp_path / "data", "csc-submit").attach()
    with pytest.raises(SettingUnusable, match="the log cannot be used"):
        log.log_start("csc-submit")
    log.detach()


def test_a_bug_is_reported_even_when_no_log_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    log = RunLog(tmp_path / "data", "csc-submit").attach()
    assert log.crash(ValueError()) is None
    log.detach()


def test_of_two_runs_in_one_process_each_log_has_its_own_lines(tmp_path: Path) -> None:
    barrier = threading.Barrier(2)
    logs = [RunLog(tmp_path / name, name) for name in ("one", "two")]

    def play(log: RunLog) -> None:
        log.attach()
        barrier.wait()
        for _ in each(lambda word: logging.getLogger("dataflows").warning(word), [log.path.stem] * 4,
                      workers=2, stop=threading.Event()):  # fmt: skip
            pass
        barrier.wait()
        log.detach()

    threads = [threading.Thread(target=play, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [{line["message"] for line in lines(log)} for log in logs] == [{log.path.stem} for log in logs]


def test_many_runs_of_one_moment_have_a_log_each(tmp_path: Path) -> None:
    logs = [RunLog(tmp_path, "serve") for _ in range(50)]
    assert len({log.path for log in logs}) == 50


def test_what_comes_after_its_end_is_left_out(tmp_path: Path) -> None:
    log = RunLog(tmp_path, "serve").attach()
    log.detach()
    log.handle(logging.makeLogRecord({"name": "dataflows.web", "msg": "late"}))
    assert not log.path.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_stops_neither_the_run_nor_its_end(tmp_path: Path) -> None:
    log = RunLog(tmp_path, "csc-submit").attach()
    log._stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - the log closes it
    log.log_start("csc-submit")
    log.detach()
    assert log._stream is None


HOSTILE = "\x9b31m \u202efdp.exe \x7f \x1b]0;x\x07 \u2028 \u200b \U000e0041 \r\n"


def test_what_comes_from_outside_moves_no_cursor_and_turns_no_line_round(log: RunLog) -> None:
    logging.getLogger("dataflows.web").warning("GET /%s", HOSTILE)
    log.log_event(Failed("1", "invalid", HOSTILE))
    text = log.path.read_text(encoding="utf-8")
    assert {one for one in text if not one.isprintable()} == {"\n"}
    assert lines(log)[0]["message"] == f"GET /{HOSTILE}", "and a reader of JSON gets it as it was"
