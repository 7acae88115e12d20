"""`csc-submit` as operators and schedulers meet it: a process with settings, streams, signals and an exit code."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflows.sandbox.server import Sandbox
from dataflows.sandbox.service import Exchange, Request
from tests.flows.csc.children import child
from tests.flows.csc.world import QUICK, World
from tests.processes import Ended, Gate, Process, Program, gated, until

CLOSED_PORT = "postgresql+psycopg://someone@127.0.0.1:1/nowhere"


@pytest.fixture
def here(tmp_path: Path, box: Sandbox, capsys: pytest.CaptureFixture[str]) -> World:
    """A world whose staging table is in SQLite."""
    return World(tmp_path, box, capsys)


@pytest.fixture
def program(here: World) -> Program:
    return Program(here.folder / "elsewhere", here.environment)


def submit(program: Program, *arguments: str, **environment: str) -> Ended:
    return program.run("csc-submit", *arguments, "--json", **environment)


def resumable(program: Program) -> list[str]:
    listed = program.run("runs", "list", "--resumable", "--json")
    return [item["run_id"] for item in listed["items"]]


def noticed(folder: Path) -> bool:
    """Whether the log of a run says that it was asked to stop."""
    return any("stopping once" in log.read_text(encoding="utf-8") for log in (folder / "data" / "logs").glob("*.log"))


# --- exit codes ----------------------------------------------------------------------------------------------------


def test_0_with_a_report_on_stdout_and_a_last_line_on_stderr(here: World, program: Program) -> None:
    here.stage(child(1), child(2))
    ended = program.run("csc-submit")
    assert ended.code == 0
    assert ["sent", "2"] in [line.split() for line in ended.out.splitlines()]
    assert "exit" not in ended.out
    assert "2 done, 0 failed" in ended.err.splitlines()[-1]
    again = submit(program)
    assert (again.code, again["rows"], again["status"]) == (0, 0, "done")


@pytest.mark.parametrize("arguments", [["csc-submit", "--limit", "0"], ["csc-submit", "--out", "x"], ["csc-sumbit"]])
def test_2_for_wrong_usage(program: Program, arguments: list[str]) -> None:
    assert program.run(*arguments, "--json")["error"]["code"] == "wrong_usage"


def test_3_when_some_and_4_when_all_items_fail(here: World, program: Program) -> None:
    here.stage("{}")
    ended = submit(program)
    assert (ended.code, ended["failed"], ended["status"]) == (4, 1, "failed")
    here.stage(child(1), '{"la_child_id": 7}')
    ended = submit(program)
    assert (ended.code, ended["sent"], ended["new_errors"], ended["known_errors"]) == (3, 1, 1, 1)


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"LA_CODE": "99"}, "LA_CODE"), ({"SUPPLIER_KEY": ""}, "SUPPLIER_KEY"), ({"DB_CONNECTION_STRING": ""}, "staging")],
)
def test_10_for_a_setting_that_is_missing_or_unusable(
    here: World, program: Program, settings: dict[str, str], named: str
) -> None:
    here.stage(child(1))
    ended = submit(program, **settings)
    assert (ended.code, ended["error"]["code"]) == (10, "setting_unusable")
    assert named in ended["error"]["message"]


def test_12_when_access_is_refused_and_nothing_was_changed(here: World, program: Program) -> None:
    here.stage(child(1), "{}")
    before = here.rows()
    ended = submit(program, CLIENT_SECRET="wrong")
    assert (ended.code, ended["error"]["code"]) == (12, "access_refused")
    assert here.rows() == before


def test_13_when_the_database_is_down(program: Program) -> None:
    ended = submit(program, DB_CONNECTION_STRING=CLOSED_PORT)
    assert (ended.code, ended["error"]["code"]) == (13, "service_down")


def test_1_for_a_bug_whose_traceback_is_in_the_log_only(here: World, program: Program) -> None:
    here.stage(child(1))
    (here.folder / "sitecustomize.py").write_text(
        "import dataflows.flows.csc.delta as delta\ndelta.whole = lambda payload: 1 / 0\n", encoding="utf-8"
    )
    ended = submit(program, PYTHONPATH=str(here.folder))
    assert (ended.code, ended["error"]["code"]) == (1, "bug")
    [log] = (here.folder / "data" / "logs").iterdir()
    assert str(log) in ended["error"]["hint"]
    assert "ZeroDivisionError" in log.read_text(encoding="utf-8")
    assert here.statuses() == ["Pending"]


# --- interruptions -------------------------------------------------------------------------------------------------


def stop_once(process: Process, gate: Gate, folder: Path, *, politely: bool) -> Ended:
    """Ask a run to stop while a request is under way, which is answered only after that was noticed."""
    gate.wait()
    process.terminate() if politely else process.interrupt()
    until(lambda: noticed(folder), "the run notices the signal")
    gate.open()
    return process.ended().keeps_the_contract()


@pytest.mark.parametrize(
    "politely",
    [
        pytest.param(False, id="ctrl-c"),
        pytest.param(True, id="sigterm", marks=pytest.mark.skipif(sys.platform == "win32", reason="POSIX has it")),
    ],
)
def test_130_keeps_what_was_answered_and_resume_sends_the_rest(here: World, program: Program, politely: bool) -> None:
    here.stage(*(child(n) for n in range(20)))
    with gated(here.box.receiver) as gate, program.start("csc-submit", "--json", "--workers", "1", BATCH_SIZE="5") as p:
        ended = stop_once(p, gate, here.folder, politely=politely)
    assert (ended.code, ended["status"], ended["error"]["code"]) == (130, "resumable", "interrupted")
    assert (ended["sent"], ended["in_doubt"], here.statuses().count("Pending")) == (5, 0, 15)
    assert resumable(program) == [ended["run_id"]]
    resumed = program.run("runs", "resume", ended["run_id"][:8], "--json")
    assert (resumed.code, resumed["command"], resumed["sent"]) == (0, "csc-submit", 15)
    assert set(here.statuses()) == {"sent"}
    assert resumable(program) == []


@pytest.mark.parametrize("workers", ["1", "4"])
def test_a_second_ctrl_c_stops_at_once_and_the_run_can_still_be_resumed(
    here: World, program: Program, workers: str
) -> None:
    here.stage(*(child(n) for n in range(20)))
    with (
        gated(here.box.receiver) as gate,
        program.start("csc-submit", "--json", "--workers", workers, BATCH_SIZE="5") as process,
    ):
        gate.wait()
        process.interrupt()
        until(lambda: noticed(here.folder), "the run notices the signal")
        process.interrupt()
        began = time.monotonic()
        ended = process.ended().keeps_the_contract()
        seconds = time.monotonic() - began
    assert (ended.code, ended["status"]) == (130, "resumable")
    assert ended["in_doubt"] > 0
    resumed = program.run("runs", "resume", ended["run_id"], "--json")
    assert (resumed.code, resumed["in_doubt"]) == (0, 0)
    assert all(here.held(child(n)) for n in range(20))
    assert resumable(program) == []
    assert seconds < float(QUICK["HTTP_TIMEOUT_SECONDS"]) / 2


def test_a_killed_run_is_listed_until_a_run_came_to_its_end(here: World, program: Program) -> None:
    here.stage(*(child(n) for n in range(10)))
    with (
        gated(here.box.receiver) as gate,
        program.start("csc-submit", "--workers", "1", BATCH_SIZE="5") as process,
    ):
        gate.wait()
        process.kill()
    [killed] = resumable(program)
    assert submit(program)["sent"] == 10
    assert resumable(program) == []
    assert program.run("runs", "show", killed, "--json")["continued_by"] is not None


# --- two at once ---------------------------------------------------------------------------------------------------


def test_11_names_the_process_that_runs_and_two_data_folders_are_no_way_around(world: World) -> None:
    world.stage(child(1))
    program = Program(world.folder / "elsewhere", world.environment)
    patient = {"HTTP_TIMEOUT_SECONDS": "60"}  # three programs have to start meanwhile
    with gated(world.box.receiver) as gate, program.start("csc-submit", "--json", **patient) as first:
        gate.wait()
        second = submit(program)
        third = submit(program, DATA_DIR=str(world.folder / "other"))
        gate.open()
        ended = first.ended().keeps_the_contract()
    assert (second.code, second["error"]["code"]) == (11, "already_running")
    assert f"process {first.pid}," in second["error"]["message"]
    assert (third.code, third["error"]["code"]) == (11, "already_running")
    assert (ended.code, ended["sent"], world.box.receiver.figures()["requests"]) == (0, 1, 1)


# --- a receiver with troubles --------------------------------------------------------------------------------------


def test_a_receiver_that_stays_silent_ends_the_run_after_few_batches(here: World, program: Program) -> None:
    here.stage(*(child(n) for n in range(100)))
    here.box.receiver.faults.set(silent_share=1)
    ended = submit(program, HTTP_TIMEOUT_SECONDS="0.3", HTTP_ATTEMPTS="1", BATCH_SIZE="5")
    assert (ended.code, ended["error"]["code"], ended["status"]) == (13, "service_down", "resumable")
    assert 5 <= ended["batches"] <= 5 + 2 * 4
    assert ended["sent"] == 0
    assert set(here.statuses()) == {"Pending"}


def on_request(number: int, box: Sandbox, monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Do something when this request has arrived at the receiver and before it is answered."""
    arrive = box.receiver.arrived

    def arrived(request: Request) -> Exchange:
        exchange = arrive(request)
        if exchange.number == number:
            what()
        return exchange

    monkeypatch.setattr(box.receiver, "arrived", arrived)


def test_a_receiver_that_is_down_for_a_second_loses_nothing(
    here: World, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.stage(*(child(n) for n in range(60)))
    faults = here.box.receiver.faults
    on_request(2, here.box, monkeypatch, lambda: faults.set(error_seconds=1.0))
    ended = submit(program, HTTP_ATTEMPTS="100", HTTP_MAX_WAIT_SECONDS="0.2", BATCH_SIZE="10")
    assert (ended.code, ended["sent"], ended["in_doubt"]) == (0, 60, 0)
    assert here.box.receiver.figures()["status_503"] == ended["retries"] > 0


def test_a_token_that_expires_in_mid_run_is_renewed_once_for_8_workers(
    here: World, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.stage(*(child(n) for n in range(400)))
    on_request(20, here.box, monkeypatch, here.box.token.expire_all)
    here.box.receiver.faults.set(latency_ms=20)  # keeps several requests under way when it happens
    ended = submit(program, "--workers", "8", BATCH_SIZE="5")
    assert (ended.code, ended["sent"], ended["failed"]) == (0, 400, 0)
    assert ended["most_in_flight"] > 1
    assert here.box.receiver.figures()["status_401"] > 1
    assert here.box.token.issued == 2


# --- words, folders, settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("surroundings", [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "LANG": "C"}])
def test_a_pipe_gets_utf_8_also_from_a_data_folder_with_blanks_and_umlauts(
    here: World, program: Program, surroundings: dict[str, str]
) -> None:
    if "LC_ALL" in surroundings and not sys.prefix.isascii():
        pytest.skip("Python itself does not start from such a folder there: it reads its .pth files as ASCII")
    here.stage(child(1))
    data = here.folder / "Größe der Fälle – Łódź"
    ended = program.run("csc-submit", DATA_DIR=str(data), **surroundings)
    assert ended.code == 0
    assert ended.err.endswith(f", data {data}\n".replace("\n", "\r\n" if sys.platform == "win32" else "\n"))
    [listed] = program.run("runs", "list", "--json", DATA_DIR=str(data), **surroundings)["items"]
    assert Path(listed["log_file"]).parent == data / "logs"


def test_settings_from_a_named_env_file_while_the_working_folder_is_elsewhere(here: World) -> None:
    here.stage(child(1))
    file = here.folder / "settings of tonight.env"
    settings = {**here.environment, "DATA_DIR": "data beside the file"}
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), encoding="utf-8")
    program = Program(here.folder / "elsewhere", {})
    ended = program.run("--env-file", str(file), "csc-submit", "--json")
    assert (ended.code, ended["sent"]) == (0, 1)
    assert (here.folder / "data beside the file" / "journal.db").exists()
    assert list(program.folder.iterdir()) == []


def test_the_pipeline_program_is_the_same_program(here: World) -> None:
    here.stage(child(1), "{}")
    pipeline = Program(here.folder / "elsewhere", here.environment, module="api_pipeline")
    ended = pipeline.run()
    assert (ended.code, here.statuses()) == (3, ["sent", "error"])
    ended = pipeline.run("run", "--json", CLIENT_SECRET="wrong")
    assert (ended.code, json.loads(ended.out)["error"]["code"]) == (12, "access_refused")
