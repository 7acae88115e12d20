"""Callers that take their time: half requests, bodies by the byte, connections that say nothing."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from dataflows.web import bounds, uploads
from dataflows.web import server as listening
from tests.processes import PATIENCE, until
from tests.web.served import HEADER, TOKEN, Within, form, rest_of

CHUNKED = "Transfer-Encoding: chunked\r\n"
SOON = 0.15  # seconds


@dataclass
class Slow:
    """One connection of a caller that goes on, byte by byte, until the server has had enough."""

    socket: socket.socket

    def trickle(self, byte: bytes) -> bytes:
        """Send a byte now and then until the server closes; returns what it answered."""
        got = b""
        for _ in range(int(PATIENCE / 0.01)):
            try:
                self.socket.sendall(byte)
                if select.select([self.socket], [], [], 0.01)[0]:
                    part = self.socket.recv(65_536)
                    got += part
                    if not part:
                        return got
            except ConnectionError:
                return got
        raise AssertionError("the server never had enough")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUEST_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(listening, name, SOON)


@pytest.fixture
def slow(server: Within) -> Iterator[Slow]:
    with server.connected() as one:
        yield Slow(one)


def start_of(path: str, *headers: str) -> bytes:
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\n{HEADER}: {TOKEN}\r\n" + "".join(headers)).encode()


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"GET", b"GET / HTTP/1.1\r\nX-Long: "])
def test_half_a_head_is_not_waited_for(slow: Slow, start: bytes) -> None:
    slow.socket.sendall(start)
    assert rest_of(slow.socket) == b""


def test_a_head_by_the_byte_is_not_waited_for(slow: Slow) -> None:
    slow.socket.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
    assert slow.trickle(b"x") == b""


def test_the_next_head_by_the_byte_is_not_waited_for(slow: Slow) -> None:
    slow.socket.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert slow.socket.recv(15) == b"HTTP/1.1 200 OK"
    assert slow.trickle(b"G").endswith(b'{"ok":true}')


def test_silent_connections_make_room(server: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "REQUEST_SECONDS", PATIENCE)
    monkeypatch.setattr(listening, "MOST_CONNECTIONS", 20)
    with ExitStack() as closing:
        half = [closing.enter_context(server.connected()) for _ in range(100)]
        for one in half[::2]:
            one.sendall(b"GET /health HTTP/1.1\r\n")
        assert [server.get("/health").status for _ in range(30)] == [200] * 30
        closed, alive = half[0], closing.enter_context(server.connected())
        assert rest_of(closed) == b""
        alive.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert rest_of(alive).endswith(b'{"ok":true}')


def test_a_connection_with_a_request_under_way_is_not_closed_for_others(
    server: Within, monkeypatch: pytest.MonkeyPatch, slow: Slow
) -> None:
    body, kind = form("name,address\n")
    slow.socket.sendall(start_of("/hospitals/validate", f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"))
    until(lambda: server.get("/health").status == 200, "the request")
    monkeypatch.setattr(listening, "MOST_CONNECTIONS", 2)
    with server.connected() as silent:
        assert server.get("/health").status == 200
        assert rest_of(silent) == b""
    slow.socket.sendall(body)
    assert slow.socket.recv(15) == b"HTTP/1.1 200 OK"


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/hospitals/validate", "/batch/upload-csv", "/runs/enter"])
def test_a_body_by_the_byte_is_answered_with_408(slow: Slow, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_SECONDS", SOON)
    part = b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\n'
    head = start_of(path, CHUNKED, "Content-Type: multipart/form-data; boundary=b\r\n\r\n")
    slow.socket.sendall(head + b"%x\r\n%b\r\n" % (len(part), part))
    answered = slow.trickle(b"1\r\nx\r\n")
    assert answered.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"too_slow"' in answered


@pytest.mark.parametrize("path", ["/run?wait=x", "/hospitals/progress/cleanup", "/nothing"])
def test_who_goes_on_after_the_answer_is_let_go(slow: Slow, path: str) -> None:
    slow.socket.sendall(start_of(path, CHUNKED, "\r\n"))
    assert slow.trickle(b"1\r\nx\r\n").count(b"HTTP/1.1 ") == 1


def test_rubbish_after_the_answer_ends_the_connection(slow: Slow) -> None:
    slow.socket.sendall(start_of("/nothing", CHUNKED, "\r\n"))
    assert slow.socket.recv(12) == b"HTTP/1.1 404"
    slow.socket.sendall(b"rubbish\r\n" * 3)
    assert b"HTTP/1.1" not in rest_of(slow.socket)


def test_a_second_request_in_one_go_has_its_own_time(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    body, kind = form("name,address\n")
    head = start_of("/hospitals/validate", f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n")
    slow.socket.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + head + body[:5])
    got = b""
    while not got.endswith(b'{"ok":true}'):
        got += slow.socket.recv(65_536)
    longer = 3 * SOON  # than the rest of a request that was answered is waited for
    assert select.select([slow.socket], [], [], longer)[0] == [], "it is closed"
    slow.socket.sendall(body[5:])
    slow.socket.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert rest_of(slow.socket).count(b"HTTP/1.1 200 OK") == 2


def test_slow_uploads_hold_up_no_other_route(server: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_WAITING", 5)
    monkeypatch.setattr(uploads, "ROOM_SECONDS", PATIENCE)
    head = start_of("/hospitals/validate", CHUNKED, "Content-Type: multipart/form-data; boundary=b\r\n\r\n")
    with ExitStack() as closing:
        several = [closing.enter_context(server.connected()) for _ in range(uploads.MOST_ARRIVING + 6)]
        for one in several:
            one.sendall(head)
        busy, _, _ = select.select(several, [], [], PATIENCE)
        assert busy[0].recv(12) == b"HTTP/1.1 503"
        assert [server.get(path).status for path in ("/health", "/", "/metrics")] == [200] * 3
    until(lambda: server.upload("/hospitals/validate", "name,address\n").status == 200, "room for the next one")


def test_uploads_that_drip_make_room_for_one_that_does_not(server: Within, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "ROOM_SECONDS", SOON)
    head = start_of("/hospitals/validate", CHUNKED, "Content-Type: multipart/form-data; boundary=b\r\n\r\n")
    with ExitStack() as closing:
        several = [closing.enter_context(server.connected()) for _ in range(2 * uploads.MOST_ARRIVING)]
        for one in several:
            one.sendall(head + b"1\r\n-\r\n")
        assert server.upload("/hospitals/validate", "name,address\n").status == 200
        gone, _, _ = select.select(several, [], [], PATIENCE)
        assert gone[0].recv(12) == b"HTTP/1.1 408"
        assert len(gone) < len(several), "one place was made for each that waited, and bodies may take a minute"


def test_a_body_that_does_not_keep_up_is_answered_with_408(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_GRACE_SECONDS", SOON)
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n'
    head = start_of("/hospitals/validate", CHUNKED, "Content-Type: multipart/form-data; boundary=b\r\n\r\n")
    slow.socket.sendall(head + b"%x\r\n%b\r\n" % (len(part), part))
    assert slow.trickle(b"1\r\nx\r\n").startswith(b"HTTP/1.1 408 ")


def test_a_body_that_keeps_up_has_its_time(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BODY_GRACE_SECONDS", SOON)
    body, kind = form("name,address\n" + "x" * 60_000)
    length = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    slow.socket.sendall(start_of("/hospitals/validate", length) + body[:50_000])
    assert select.select([slow.socket], [], [], 3 * SOON)[0] == [], "it is closed"
    slow.socket.sendall(body[50_000:])
    assert slow.socket.recv(15) == b"HTTP/1.1 200 OK"


def test_too_many_requests_at_once_are_refused_and_health_answers(
    server: Within, monkeypatch: pytest.MonkeyPatch, slow: Slow
) -> None:
    slow.socket.sendall(
        start_of("/hospitals/validate", CHUNKED, "Content-Type: multipart/form-data; boundary=b\r\n\r\n")
    )
    until(lambda: server.get("/").status == 200, "the request")
    monkeypatch.setattr(bounds, "MOST_REQUESTS", 1)
    until(lambda: server.get("/").status == 503, "the refusal")
    answer = server.get("/")
    assert (answer.code, answer.headers["Retry-After"]) == ("busy", "5")
    assert server.get("/health").status == 200
