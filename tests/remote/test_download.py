"""A file over real sockets: what ends it, what is not followed, and that nobody waits longer than the deadline."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest
import trustme

from dataflows.errors import DataflowsError, Interrupted, ServiceDown
from dataflows.remote.download import (
    BrokenOff,
    DownloadLimits,
    DownloadResult,
    NotFollowed,
    Oversized,
    UnknownEncoding,
    download,
)
from dataflows.remote.failures import Blocked
from dataflows.remote.session import Session
from tests.remote.loopback import Answer, Request, in_turn, raw, reply, server_tls, serving, silence

BODY = b"synthetic,file\n" * 5000
NewSession = Callable[..., Session]


class Fetch:
    """Downloads from a server and keeps what came."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.body = b""

    def __call__(
        self, url: str, *, seconds: float = 5, size: int = 10_000_000, broken_off: Callable[[], bool] | None = None
    ) -> DownloadResult:
        self.body = b""
        limits = DownloadLimits(time.monotonic() + seconds, size, broken_off)
        return download(self.session, url, self._take, headers={"Accept-Encoding": "gzip"}, limits=limits)

    def _take(self, piece: bytes) -> None:
        self.body += piece


@pytest.fixture
def fetch(new_session: NewSession) -> Fetch:
    return Fetch(new_session(http_timeout_seconds=5))


def chunked(body: bytes, end: bytes = b"0\r\n\r\n", **headers: str) -> Answer:
    lines = ["HTTP/1.1 200 Whatever", "Transfer-Encoding: chunked"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", ""]).encode() + b"%x\r\n%b\r\n" % (len(body), body) + end, close=True)


def until_closed(body: bytes) -> Answer:
    return raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body, close=True)


def dripping(head: bytes, drops: Iterator[bytes]) -> Answer:
    """Sends a byte now and then, far more often than any read would time out."""

    def send(connection: socket.socket, _: Request) -> None:
        pause = threading.Event()
        connection.sendall(head)
        for drop in drops:
            connection.sendall(drop)
            pause.wait(0.02)

    return send


@pytest.mark.parametrize("answer", [reply(200, BODY), chunked(BODY), until_closed(BODY)])
def test_a_whole_file_arrives_as_it_is(fetch: Fetch, answer: Answer) -> None:
    with serving(answer) as server:
        arrival = fetch(server.url)
    assert (arrival.status, arrival.size) == (200, len(BODY))
    assert fetch.body == BODY


PACKED = gzip.compress(BODY)


@pytest.mark.parametrize("packed", [PACKED, PACKED + b"\0" * 8, gzip.compress(BODY[:99]) + gzip.compress(BODY[99:])])
def test_gzip_is_unpacked_in_all_its_members(fetch: Fetch, packed: bytes) -> None:
    with serving(chunked(packed, Content_Encoding="gzip")) as server:
        assert fetch(server.url).size == len(BODY)
    assert fetch.body == BODY


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY[:-1]), close=True),
        chunked(BODY, end=b""),
        chunked(BODY, end=b"400\r\nabc"),
        chunked(PACKED[:-9], Content_Encoding="gzip"),
        reply(200, PACKED[: len(PACKED) // 2], Content_Encoding="gzip"),
        reply(200, PACKED[:20] + b"\0\0\0" + PACKED[23:], Content_Encoding="gzip"),
        reply(200, PACKED + b"more", Content_Encoding="gzip"),
    ],
    ids=["short", "no last chunk", "cut chunk", "gzip without end", "half a gzip", "damaged gzip", "gzip and more"],
)
def test_a_body_that_breaks_off_is_never_taken_for_whole(fetch: Fetch, answer: Answer) -> None:
    with serving(answer) as server, pytest.raises(BrokenOff):
        fetch(server.url)


def test_what_was_not_asked_for_is_not_unpacked(fetch: Fetch) -> None:
    with serving(reply(200, BODY, Content_Encoding="br")) as server, pytest.raises(UnknownEncoding):
        fetch(server.url)


@pytest.mark.parametrize(
    "answer",
    [reply(200, BODY), chunked(BODY), chunked(gzip.compress(bytes(1 << 24)), Content_Encoding="gzip")],
    ids=["declared", "not declared", "a gzip bomb"],
)
def test_a_file_that_is_too_large_is_refused(fetch: Fetch, answer: Answer) -> None:
    with serving(answer) as server, pytest.raises(Oversized):
        fetch(server.url, size=1000)
    assert len(fetch.body) <= 1000


# --- time -----------------------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        silence,
        raw(HEAD + b"and then nothing"),
        dripping(HEAD, repeat(b"x")),
        dripping(b"HTTP/1.1 200 OK\r\nX: ", repeat(b"x")),
    ],
    ids=["silent", "stalled", "dripping body", "dripping headers"],
)
def test_no_server_is_waited_for_longer_than_the_deadline(fetch: Fetch, answer: Answer) -> None:
    with serving(answer) as server:
        began = time.monotonic()
        with pytest.raises(ServiceDown) as caught:
            fetch(server.url, seconds=0.3)
        assert time.monotonic() - began < 1
    assert not isinstance(caught.value, Blocked)


def test_a_pause_longer_than_the_timeout_is_the_end_of_an_attempt(new_session: NewSession) -> None:
    with serving(raw(HEAD + b"and then nothing")) as server, pytest.raises(BrokenOff, match=r"did not end within 0\.2"):
        Fetch(new_session(http_timeout_seconds=0.2))(server.url)


@pytest.mark.parametrize("answer", [silence, raw(HEAD), dripping(HEAD, repeat(b"x"))])
def test_what_breaks_it_off_ends_the_waiting_at_once(fetch: Fetch, answer: Answer) -> None:
    stop = threading.Event()
    with serving(answer) as server:
        timer = threading.Timer(0.1, stop.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            fetch(server.url, seconds=60, broken_off=stop.is_set)
        assert time.monotonic() - began < 2
        timer.join()


# --- redirects ------------------------------------------------------------------------------------------------------


def moved(location: str, status: int = 302) -> Answer:
    return reply(status, b"", Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_host_is_followed(fetch: Fetch, status: int) -> None:
    with serving(in_turn(moved("/there?a=b", status), reply(200, BODY))) as server:
        assert fetch(f"{server.url}/here").status == 200
        assert [request.line.split()[1] for request in server.requests] == ["/here", "/there?a=b"]


def test_a_redirect_to_another_host_is_not_followed(fetch: Fetch) -> None:
    with serving(reply(200, BODY)) as other:
        for location in (other.url, other.url.replace("http:", ""), "https://example.org/", "http://[bad/", ""):
            with serving(moved(location)) as server, pytest.raises(NotFollowed):
                fetch(server.url)
        assert other.requests == []


def test_a_redirect_never_leaves_https(new_session: NewSession, authority: trustme.CA, ca_bundle: Path) -> None:
    fetch = Fetch(new_session(requests_ca_bundle=ca_bundle))
    seen = []

    def to_http(connection: socket.socket, request: Request) -> None:
        seen.append(request)
        port = connection.getsockname()[1]
        moved(f"http://localhost:{port}/")(connection, request)

    with serving(to_http, server_tls(authority)) as server, pytest.raises(NotFollowed):
        fetch(server.url)
    assert len(seen) == 1


def test_a_file_over_tls_arrives(new_session: NewSession, authority: trustme.CA, ca_bundle: Path) -> None:
    fetch = Fetch(new_session(requests_ca_bundle=ca_bundle))
    with serving(reply(200, BODY), server_tls(authority)) as server:
        assert fetch(server.url).size == len(BODY)


def test_a_circle_of_redirects_ends(fetch: Fetch) -> None:
    with serving(moved("/again")) as server:
        with pytest.raises(NotFollowed):
            fetch(server.url)
        assert len(server.requests) == 6


# --- other answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [204, 304, 403, 404])
def test_another_status_is_the_callers_to_judge(fetch: Fetch, status: int) -> None:
    with serving(raw(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n".encode())) as server:
        assert fetch(server.url).status == status
    assert fetch.body == b""


@pytest.mark.parametrize(("told", "wait"), [("3", 3.0), ("soon", None), ("-5", None), ("1.5", None)])
def test_a_busy_service_says_how_long_to_wait(fetch: Fetch, told: str, wait: float | None) -> None:
    with serving(reply(429, b"", Retry_After=told)) as server, pytest.raises(ServiceDown) as caught:
        fetch(server.url)
    assert caught.value.wait == wait


def test_what_the_taker_raises_ends_the_download(fetch: Fetch) -> None:
    def refuse(_: bytes) -> None:
        raise DataflowsError("unfit", reason="test")

    limits = DownloadLimits(time.monotonic() + 5, 10_000_000)
    with serving(reply(200, BODY)) as server, pytest.raises(DataflowsError, match="unfit"):
        download(fetch.session, server.url, refuse, headers={}, limits=limits)
