"""Every error is JSON and tells nothing; nothing blocks, nothing is lost between two callers, nothing is left over."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from dataflows.errors import ServiceDown, SettingUnusable
from dataflows.events import Done, Event
from dataflows.runs.background import Background
from dataflows.runs.journal import RUNNING
from dataflows.runs.logs import RunLog
from dataflows.runs.runner import Order, Run
from dataflows.sandbox.server import Sandbox
from tests.flows.hospitals.world import QUICK
from tests.processes import PATIENCE, gated, until
from tests.web.served import CSV, Answer, Within, form, rest_of, within

SECRET = "Ada Example"
PATIENT = {"HTTP_TIMEOUT_SECONDS": "60", "HOSPITALS_WAKE_SECONDS": "60"}


@pytest.fixture(scope="module")
def server(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Within]:
    """A server with bugs in some routes."""

    def with_bugs(app: FastAPI) -> None:
        async def begun() -> AsyncIterator[bytes]:
            yield b"begun"
            raise ValueError(SECRET)

        async def awaited() -> None:
            raise ValueError(SECRET)

        def in_thread() -> None:
            raise KeyError(SECRET)

        for route in (awaited, in_thread):
            app.add_api_route(f"/{route.__name__}", route)
        app.add_api_route("/begun", lambda: StreamingResponse(begun()))

    folder = tmp_path_factory.mktemp("server")
    with within(folder, {**QUICK, **box.settings(), **PATIENT}, change=with_bugs) as running:
        yield running


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/%2e%2e/etc/passwd", 404, "not_found"),
        ("GET", "//", 404, "not_found"),
        ("GET", "http://site.example/health", 404, "not_found"),
        ("OPTIONS", "*", 404, "not_found"),
        ("GET", "/run", 405, "method_not_allowed"),
        ("TRACE", "/health", 405, "method_not_allowed"),
        ("X" * 5000, "/health", 405, "method_not_allowed"),
        ("POST", "/run?wait=soon", 422, "invalid"),
        ("POST", "/run?wait=nan", 422, "invalid"),
        ("POST", "/hospitals/resume/nothing", 404, "not_found"),
        ("DELETE", "/hospitals/batch/%00/abandon", 404, "not_found"),
        ("GET", "/hospitals/progress/%ff", 404, "not_found"),
        ("GET", "/documentation/..%2f__init__.py", 404, "not_found"),
        ("GET", "/documentation/%2e%2e%5c__init__.py", 404, "not_found"),
        ("GET", "/awaited", 500, "bug"),
        ("GET", "/in_thread", 500, "bug"),
    ],
)
def test_every_error_is_json(server: Within, method: str, path: str, status: int, code: str) -> None:
    answer = server.call(method, path)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert SECRET.encode() not in answer.body


POST = b"POST /run HTTP/1.1\r\nHost: x\r\n"
BROKEN = {
    "words": b"this is no HTTP\r\n\r\n",
    "binary": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no version": b"GET /health\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "no length": POST + b"Content-Length: +5\r\n\r\n",
    "negative length": POST + b"Content-Length: -5\r\n\r\n",
    "huge length": POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "blank before colon": POST + b"Transfer-Encoding : chunked\r\n\r\n",
    "bare return": b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n",
    "NUL": b"GET /health HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n",
    "raw bytes in the path": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a blank in the path": b"GET /run x HTTP/1.1\r\nHost: x\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_http_is_answered_once_and_ended(server: Within, kind: str) -> None:
    answered = server.raw(BROKEN[kind] + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answered.count(b"HTTP/1.1 ") == 1
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert b'"error":{"code":' in answered


@pytest.mark.parametrize("coding", ["identity", "gzip, chunked", "xchunked", "chunked, identity"])
def test_another_transfer_coding_is_refused(server: Within, coding: str) -> None:
    head = f"POST /run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"
    assert server.raw(head.encode()).startswith(b"HTTP/1.1 400 ")


def test_an_upgrade_is_not_taken(server: Within) -> None:
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n"
    assert server.raw(head).startswith(b"HTTP/1.1 200 ")


def test_a_bug_is_told_to_the_log_without_what_it_quotes(server: Within, tmp_path: Path) -> None:
    log = RunLog(tmp_path, "serve").attach()
    try:
        server.get("/awaited")
        until(lambda: "GET /awaited 500" in log.path.read_text(), "the line in the log")
    finally:
        log.detach()
    text = log.path.read_text()
    assert "builtins.ValueError" in text
    assert SECRET not in text


def test_a_bug_in_the_middle_of_an_answer_breaks_it_off(server: Within, capfd: pytest.CaptureFixture[str]) -> None:
    with server.connected() as one:
        one.sendall(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
        answered = rest_of(one)
    assert answered.endswith(b"begun\r\n"), "no last chunk, so that the caller sees that it is not all"
    assert SECRET not in capfd.readouterr().err


# --- two at once ------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken_off(server: Within, box: Sandbox, request: pytest.FixtureRequest) -> str:
    """A batch that stands at the Directory in part."""
    csv = "name,address,phone\n" + "".join(f"{request.node.name} {row},Example Street {row},\n" for row in range(3))
    box.directory.faults_of("activate").set(error_next=50)
    answer = server.upload("/hospitals/bulk", csv)
    box.directory.faults_of("activate").set(error_next=0)
    assert answer.status == 503
    return str(answer.document["batch_id"])


def together(server: Within, *calls: tuple[str, str]) -> list[Answer]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: server.call(*call), calls))


def test_of_two_that_resume_one_is_told_of_the_other(server: Within, box: Sandbox, broken_off: str) -> None:
    resume = ("POST", f"/hospitals/resume/{broken_off}")
    with gated(box.directory) as gate, ThreadPoolExecutor() as pool:
        first = pool.submit(server.call, *resume)
        gate.wait()
        second = server.call(*resume)
        third = server.call("DELETE", f"/hospitals/batch/{broken_off}/abandon")
        gate.open()
    assert (first.result().status, second.status, third.status) == (200, 409, 409)
    assert first.result().document["batch_activated"] is True
    assert len(in_directory(box, broken_off)) == 3


def test_resume_and_abandon_at_the_same_moment(server: Within, box: Sandbox, broken_off: str) -> None:
    abandon = ("DELETE", f"/hospitals/batch/{broken_off}/abandon")
    answers = together(server, ("POST", f"/hospitals/resume/{broken_off}"), abandon, abandon, abandon)
    assert {answer.status for answer in answers} <= {200, 409}
    assert [answer.status for answer in answers].count(200) >= 1
    until(lambda: not server.context.background.running(), "the end")
    found = in_directory(box, broken_off)
    assert [record["active"] for record in found] in ([], [True] * 3)


def in_directory(box: Sandbox, batch_id: str) -> list[dict[str, object]]:
    return [record for record in box.directory.records if record["creation_batch_id"] == batch_id]


def test_a_second_run_is_told_of_the_first(server: Within, box: Sandbox) -> None:
    with gated(box.cqc) as gate, ThreadPoolExecutor() as pool:
        first = pool.submit(server.post, "/run")
        gate.wait()
        second = server.post("/run")
        gate.open()
    assert (first.result().status, second.status) == (200, 409)
    assert second.document["run_id"] == first.result().headers["X-Run-Id"]


def test_health_answers_while_the_journal_is_held(server: Within, box: Sandbox) -> None:
    with gated(box.cqc) as gate, ThreadPoolExecutor() as pool:
        first = pool.submit(server.post, "/run")
        gate.wait()
        with server.context.journal.reading():
            waiting = [pool.submit(server.post, "/run") for _ in range(5)]
            waiting += [pool.submit(server.get, "/runs") for _ in range(3)]
            assert [server.get("/health").status for _ in range(5)] == [200] * 5
            assert not any(one.done() for one in waiting[:5])
        gate.open()
    assert {one.result().status for one in waiting} == {200, 409}
    assert first.result().status == 200


def test_a_server_that_stops_takes_nothing_in(box: Sandbox, tmp_path: Path) -> None:
    with within(tmp_path, {**QUICK, **box.settings(), **PATIENT}) as server:
        with gated(box.cqc) as gate, ThreadPoolExecutor() as pool:
            first = pool.submit(server.post, "/run")
            gate.wait()
            server.context.background.stop()
            refused = [server.post("/run"), server.upload("/batch/upload-csv", CSV.format("Late"))]
            gate.open()
        assert [(answer.status, answer.code) for answer in refused] == [(503, "service_down")] * 2
        assert refused[0].headers["Retry-After"] == "30"
        assert (first.result().status, first.result().code) == (503, "interrupted")
        assert server.context.journal.runs(state=RUNNING) == []
        assert server.get("/health").status == 200


# --- what is left over ------------------------------------------------------------------------------------------------


def open_things() -> int:
    """How many files and connections this process has open."""
    process = psutil.Process()
    count = getattr(process, "num_handles", None) or process.num_fds
    return int(count())


def test_nothing_stays_open_after_uploads_that_break_off(server: Within) -> None:
    def break_off() -> None:
        body, kind = form("x" * 2_000_000)
        head = (
            f"POST /hospitals/validate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nContent-Type: {kind}\r\n"
        )
        with server.connected() as one:
            one.sendall(head.encode() + f"X-Auth-Token: {server.token}\r\n\r\n".encode() + body[:-100])

    break_off()
    server.upload("/hospitals/bulk", CSV.format("Leaks"))
    until(lambda: server.get("/health").status == 200, "the server")
    before = open_things()
    for _ in range(40):
        break_off()
    until(lambda: open_things() <= before + 5, "the end of the uploads")


def quick(_: Run) -> Iterator[Event]:
    yield Done("1")


def test_two_hundred_jobs_leave_no_thread_and_no_file_open(tmp_path: Path) -> None:
    background = Background()
    files, handlers = open_things(), len(logging.getLogger().handlers)
    for wave in range(10):
        works = []
        for number in range(20):
            log = RunLog(tmp_path, "test")
            works.append(background.start(Order("leaky", f"{wave} {number}", {}, tmp_path), quick, log))
        assert {work.ended.result(PATIENCE).exit_code for work in works} == {0}
    assert background.join(PATIENCE)
    assert background.running() == set()
    assert [thread for thread in threading.enumerate() if thread.name == "leaky"] == []
    assert len(logging.getLogger().handlers) == handlers
    assert open_things() <= files + 2


def test_a_job_whose_log_cannot_be_written_is_told_and_forgotten(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    background = Background()
    work = background.start(Order("test", "x", {}, tmp_path), quick, RunLog(tmp_path, "test"))
    for future in (work.begun, work.ended):
        assert isinstance(future.exception(PATIENCE), SettingUnusable)
    assert background.join(PATIENCE)


def test_a_job_has_ended_as_it_has_whoever_can_be_told(tmp_path: Path) -> None:
    def told(_: object) -> None:
        raise BrokenPipeError

    background = Background(told)
    work = background.start(Order("test", "x", {}, tmp_path), quick, RunLog(tmp_path, "test"))
    assert work.ended.result(PATIENCE).exit_code == 0


def test_a_machine_without_threads_refuses_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    background, order = Background(), Order("test", "x", {}, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        for _ in range(100):
            with pytest.raises(ServiceDown, match="too busy"):
                background.start(order, quick, RunLog(tmp_path, "test"))
            with pytest.raises(ServiceDown, match="too busy"):
                background.do(lambda stop: None, "nothing")
    assert background.start(order, quick, RunLog(tmp_path, "test")).ended.result(PATIENCE).exit_code == 0
