"""Jobs over HTTP: one at a time, seen from elsewhere, resumable whatever ends the server."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from dataflows.web.server import listen
from tests.processes import PATIENCE, Process, gated, until
from tests.web.world import TOKEN, Answer, Served, World

HEADERS = {"X_Auth_Token": TOKEN}
ROWS = 40


@contextmanager
def meanwhile(call: Any, *arguments: Any) -> Iterator[Future[Answer]]:
    """A call that goes on during the block."""
    with ThreadPoolExecutor(1) as caller:
        yield caller.submit(call, *arguments)


def is_known(served: Served, batch_id: str) -> bool:
    return served.get(f"/hospitals/progress/{batch_id}").status == 200


def state(served: Served, batch_id: str) -> str:
    return str(served.get(f"/batch/{batch_id}/progress")["processing_status"])


# --- one at a time ----------------------------------------------------------------------------------------------------


def test_a_second_run_gets_409_and_the_first_ones_status_ends_with_its_document(world: World) -> None:
    with world.serving() as served, gated(world.box.cqc) as gate:
        first = served.post("/run?wait=0.01", **HEADERS)
        assert (first.status, first["status"]) == (202, "running")
        gate.wait()
        second = served.post("/run", **HEADERS)
        assert (second.status, second["run_id"], second["status_url"]) == (409, first["run_id"], first["status_url"])
        assert served.get(first["status_url"], **HEADERS).status == 202
        gate.open()
        until(lambda: served.get(first["status_url"], **HEADERS).status == 200, "the run ends")
        answer = served.get(first["status_url"], **HEADERS)
    assert (answer["status"], set(answer.json)) == ("ok", {"status", "saved_to", "results"})
    with world.serving() as served:  # another process knows it as well
        assert served.get(first["status_url"], **HEADERS).json == answer.json
        assert served.get("/run/550e8400-e29b-41d4-a716-446655440000", **HEADERS).status == 404


def test_the_same_rows_are_carried_once(world: World) -> None:
    file = world.write(3)
    with world.serving() as served, gated(world.directory) as gate:
        first = served.upload("/batch/upload-csv", file)
        gate.wait()
        second = served.upload("/hospitals/bulk", file)
        assert (second.status, second["batch_id"]) == (409, first["batch_id"])
        gate.open()
        until(lambda: state(served, first["batch_id"]) == "completed", "the first one ends")
        third = served.upload("/hospitals/bulk", file)
    assert (third.status, third["batch_id"], third["batch_activated"]) == (200, first["batch_id"], True)
    assert len(world.names(active=True)) == len(world.names()) == 3


@pytest.mark.parametrize("path", ["/hospitals/bulk", "/batch/upload-csv"])
def test_again_creates_them_once_more_under_another_batch(path: str, world: World) -> None:
    file = world.write(3)
    with world.serving() as served:
        first = served.upload("/hospitals/bulk", file)
        again = served.upload(f"{path}?again=true", file)
        assert again["batch_id"] != first["batch_id"]
        until(lambda: state(served, again["batch_id"]) == "completed", "the second one ends")
    assert len(world.names(active=True)) == 6


def test_a_bulk_that_takes_longer_than_the_caller_waits(world: World) -> None:
    with world.serving() as served, gated(world.directory) as gate:
        answer = served.upload("/hospitals/bulk?wait=0.01", world.write(3))
        assert (answer.status, answer["is_completed"]) == (202, False)
        gate.open()
        until(lambda: bool(served.get(answer.headers["location"])["is_completed"]), "it ends")


def test_what_waits_for_its_turn_is_pending(world: World) -> None:
    with world.serving() as served, gated(world.directory) as gate:
        batches = [
            served.upload("/batch/upload-csv", world.write(3, tag=tag))["batch_id"] for tag in ("a", "b", "c", "d", "e")
        ]
        until(lambda: state(served, batches[0]) in ("pending", "processing"), "they are known")
        waiting = {served.get(f"/batch/{one}/progress")["current_message"] for one in batches}
        assert "waiting for its turn" in waiting
        assert {state(served, one) for one in batches} <= {"pending", "processing"}
        gate.open()
        until(lambda: all(state(served, one) == "completed" for one in batches), "all end")


def test_a_thousand_rows_at_most(world: World) -> None:
    with world.serving() as served:
        refused = served.upload("/batch/upload-csv", world.write(1001))
        assert (refused.status, refused["error"]["code"]) == (422, "bad_input")
        accepted = served.upload("/batch/upload-csv", world.write(1000, tag="x"))
        assert (accepted.status, accepted["total_hospitals"]) == (202, 1000)
        assert served.upload("/hospitals/bulk", world.write(21)).status == 422  # MAX_CSV_SIZE


# --- seen from elsewhere ----------------------------------------------------------------------------------------------


def test_a_command_follows_what_began_over_http(world: World) -> None:
    with world.serving() as served, gated(world.directory, after=15) as gate:
        answer = served.upload("/batch/upload-csv", world.write(ROWS))
        gate.wait()
        with world.program.start("runs", "show", answer["batch_id"], "--follow") as follower:
            assert re.match(r"run \w{8} hospitals-bulk: 0 done, 0 failed of 40; \w+", follower.line())
            gate.open()
            ended = follower.ended()
    assert "done" in ended.out


def test_http_follows_what_a_command_began(world: World) -> None:
    file = world.write(20)
    with world.serving() as served, gated(world.directory, after=10) as gate:
        with world.program.start("hospitals-bulk", str(file)) as command:
            gate.wait()
            until(lambda: bool(served.get("/runs", **HEADERS).body.count(b"hospitals-bulk")), "it is listed")
            twice = served.upload("/hospitals/bulk", file)
            assert twice.status == 409
            batch_id = twice["batch_id"]
            assert served.get(f"/hospitals/progress/{batch_id}")["is_completed"] is False
            gate.open()
            assert command.ended().code == 0
        assert served.get(f"/hospitals/progress/{batch_id}")["is_completed"] is True


# --- whatever ends the server -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", [3, 12, 30])
def test_killed_and_resumed_every_row_is_there_once(moment: int, world: World) -> None:
    file = world.write(ROWS)
    with world.serving() as served, gated(world.directory, after=moment) as gate:
        batch_id = served.upload("/batch/upload-csv", file)["batch_id"]
        gate.wait()
        served.process.kill()
    with world.serving() as served:
        [one] = served.get("/hospitals/resumable").json
        assert (one["batch_id"], one["total_hospitals"]) == (batch_id, ROWS)
        answer = served.post(f"/hospitals/resume/{batch_id}")
        assert (answer.status, answer["processed_hospitals"], answer["batch_activated"]) == (200, ROWS, True)
        assert served.get("/hospitals/resumable").json == []
    assert len(world.names(active=True)) == len(set(world.names())) == len(world.names()) == ROWS


@pytest.mark.skipif(sys.platform == "win32", reason="terminate is a kill there")
def test_sigterm_answers_who_waits_and_leaves_everything_resumable(world: World) -> None:
    with world.serving() as served, gated(world.directory, after=2) as gate:
        waiting_batches = [served.upload("/batch/upload-csv", world.write(3, tag=tag))["batch_id"] for tag in "abcd"]
        with meanwhile(served.upload, "/hospitals/bulk", world.write(20)) as answer:
            until(lambda: world.running() == 5, "all are taken in")
            gate.wait()
            served.process.terminate()
            gate.open()
            assert answer.result(PATIENCE).status in (200, 503)  # 200 where nothing of it was left to do
        ended = served.process.ended()
    assert ended.code == 130
    assert "Traceback" not in ended.err
    with world.serving() as served:
        resumable = {one["batch_id"] for one in served.get("/hospitals/resumable").json}
        done = {one for one in waiting_batches if state(served, one) == "completed"}
        assert resumable >= set(waiting_batches) - done
        for batch_id in sorted(resumable):
            assert served.post(f"/hospitals/resume/{batch_id}")["batch_activated"] is True
    assert len(world.names(active=True)) == len(world.names()) == 32


# --- besides ----------------------------------------------------------------------------------------------------------


def test_health_answers_while_everything_else_is_at_work(world: World) -> None:
    with world.serving(HTTP_TIMEOUT_SECONDS="60") as served:  # wine needs seconds for what follows
        assert served.post("/run", **HEADERS).status == 200
        with gated(world.directory) as directory, gated(world.box.cqc) as cqc, ThreadPoolExecutor(16) as callers:
            calls = [callers.submit(served.upload, "/hospitals/bulk", world.write(3, tag=tag)) for tag in "abc"]
            calls.append(callers.submit(served.post, "/run", **HEADERS))
            directory.wait()
            cqc.wait()
            calls += [callers.submit(served.get, "/files/latest/homecare", **HEADERS) for _ in range(10)]
            for _ in range(50):
                assert served.get("/health").json == {"ok": True}
            assert [call.done() for call in calls[:4]] == [False] * 4
            directory.open()
            cqc.open()
            assert {call.result(PATIENCE).status for call in calls} == {200}


def test_another_uvicorn_serves_the_same_app(world: World) -> None:
    with _uvicorn(world) as served:
        assert served.get("/health").json == {"ok": True}
        assert served.upload("/hospitals/bulk", world.write(3))["batch_activated"] is True
        assert served.post("/run").status == 401
        assert served.get(f"/files/latest/homecare?token={TOKEN}").status == 404
        served.process.interrupt()
        ended = served.process.ended()
    assert TOKEN not in ended.out + ended.err
    assert "/files/latest/homecare" in ended.out + ended.err


@contextmanager
def _uvicorn(world: World) -> Iterator[Served]:
    popen = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "dataflows.web:app", "--port", "0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=world.program.folder,
        env=world.program.environment, creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )  # fmt: skip
    with Process((), popen) as process:
        assert popen.stderr is not None
        for line in popen.stderr:
            if found := re.search(rb"running on (http://\S+)", line):
                yield Served(process, found[1].decode())
                return
        raise AssertionError("uvicorn did not start")


def test_kept_connections_are_answered_without_delay() -> None:
    listening = listen("127.0.0.1", 0)
    try:
        assert {one.proto for one in listening} == {socket.IPPROTO_TCP}  # by which asyncio knows TCP_NODELAY applies
    finally:
        for one in listening:
            one.close()
