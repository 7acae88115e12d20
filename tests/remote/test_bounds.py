"""Answers that never end, over real sockets: each is given up in time and in size, wherever its end is missing."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from dataflows.errors import ServiceDown
from dataflows.remote.connections import LARGEST_HEAD, Stopped, TooLarge
from dataflows.remote.session import Session, send
from dataflows.sandbox.faults import endless
from tests.remote.loopback import Answer, Request, in_turn, raw, reply, server_tls, serving, silence

NewSession = Callable[..., Session]
SECONDS = 0.5


def without_end(how: str) -> Answer:
    def answer(connection: socket.socket, request: Request) -> None:
        pause = threading.Event()
        for piece, seconds in endless(how, request.line.split()[1]):
            connection.sendall(piece)
            pause.wait(seconds / 4)
        connection.close()

    return answer


def get(session: Session, url: str, **options: object) -> int:
    return send(session, "GET", url, headers={}, **options).status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("interim", ServiceDown),
        ("status", ServiceDown),
        ("headers", ServiceDown),
        ("slow headers", ServiceDown),
        ("trailers", ServiceDown),
        ("drip", ServiceDown),
        ("flood", TooLarge),
        ("bomb", TooLarge),
        ("deep", ServiceDown),
    ],
)
def test_no_answer_lasts_or_grows_beyond_its_bounds(session: Session, how: str, kind: type[ServiceDown]) -> None:
    with serving(without_end(how)) as server:
        tracemalloc.start()
        began = time.monotonic()
        with pytest.raises(kind) as raised:
            get(session, server.url, max_bytes=1_000_000)
        spent, most = time.monotonic() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert raised.value.sent
    assert spent < SECONDS + 2
    assert most < 20_000_000


def test_interim_answers_of_every_kind_are_passed_over(session: Session) -> None:
    early = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    )
    answer = raw(early + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with serving(answer) as server:
        assert [get(session, server.url) for _ in range(3)] == [200] * 3
    assert server.connections == 1


def test_interim_answers_do_not_add_up_to_a_large_head(session: Session) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 8000 + b"\r\n\r\n"
    with (
        serving(raw(early * 20 + b"HTTP/1.1 204 OK\r\n\r\n")) as server,
        pytest.raises(TooLarge, match="the header of"),
    ):
        get(session, server.url)


def test_a_usual_head_is_taken(session: Session) -> None:
    many = {f"X_{number}": "y" * 600 for number in range(90)}
    assert sum(map(len, many.values())) < LARGEST_HEAD
    with serving(reply(200, b"ok", **many)) as server:
        assert get(session, server.url) == 200


def test_a_packed_answer_may_not_be_packed_twice(session: Session) -> None:
    twice = gzip.compress(gzip.compress(b"0" * 50_000_000))
    with serving(reply(200, twice, Content_Encoding="gzip, gzip")) as server, pytest.raises(ServiceDown):
        send(session, "GET", server.url, headers={})


def test_an_answer_in_tiny_chunks_is_taken(session: Session) -> None:
    chunks = b"1\r\nx\r\n" * 20_000
    with serving(raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")) as server:
        assert len(send(session, "GET", server.url, headers={}, timeout=(1, 10)).body) == 20_000


@pytest.mark.parametrize("how", ["interim", "slow headers", "drip"])
def test_a_stop_ends_the_wait(new_session: NewSession, how: str) -> None:
    stop = threading.Event()
    session = new_session(http_timeout_seconds=60)
    with serving(without_end(how)) as server:
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            get(session, server.url, broken_off=stop.is_set)
        assert time.monotonic() - began < 3
        timer.join()


def test_a_stop_ends_the_sending_too(new_session: NewSession) -> None:
    stop = threading.Event()
    session = new_session(http_timeout_seconds=60)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        with pytest.raises(Stopped):
            send(session, "POST", url, headers={}, body=b"x" * 50_000_000, broken_off=stop.is_set)
        timer.join()


def test_a_server_that_takes_a_request_bit_by_bit_over_tls_is_given_up(
    new_session: NewSession, authority: trustme.CA, ca_bundle: Path
) -> None:
    """A TLS socket's sendall gives each record the whole timeout."""
    session = new_session(requests_ca_bundle=ca_bundle)
    context = server_tls(authority)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_read_slowly, args=(listener, context), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(ServiceDown):
            url = f"https://localhost:{listener.getsockname()[1]}"
            send(session, "POST", url, headers={}, body=b"x" * 20_000_000)
        assert time.monotonic() - began < SECONDS + 3


def _read_slowly(listener: socket.socket, context: ssl.SSLContext) -> None:
    connection = context.wrap_socket(listener.accept()[0], server_side=True)
    pause = threading.Event()
    while connection.recv(16_384):
        pause.wait(0.1)


def test_a_proxy_that_never_ends_its_answer_is_given_up(
    new_session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(without_end("slow headers")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        began = time.monotonic()
        with pytest.raises(ServiceDown) as raised:
            get(new_session(), "https://service.example.org/")
        assert time.monotonic() - began < SECONDS + 2
    assert not raised.value.sent


def test_the_next_request_is_not_hurried_by_the_last(session: Session) -> None:
    """A short wait left on the socket would end the next one, which may take its whole time."""

    def slowly(connection: socket.socket, request: Request) -> None:
        threading.Event().wait(0.3)
        reply(204)(connection, request)

    with serving(in_turn(reply(204), slowly)) as server:
        assert [get(session, server.url), get(session, server.url)] == [204, 204]
    with serving(silence) as server, pytest.raises(ServiceDown, match=r"within 0\.5 s"):
        get(session, server.url)


def test_no_cookie_is_kept(session: Session) -> None:
    with serving(reply(204, Set_Cookie="a=b")) as server:
        get(session, server.url)
        session.get(server.url)
        session.get(server.url)
    assert all("cookie" not in request.headers for request in server.requests)


def test_requests_own_calls_follow_no_redirect(session: Session) -> None:
    with serving(reply(204)) as elsewhere, serving(reply(302, Location=elsewhere.url)) as server:
        assert session.get(server.url, headers={"Authorization": "Bearer x"}).status_code == 302
    assert elsewhere.requests == []


def test_the_environment_adds_nothing_to_a_request(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login synthetic password secret\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with serving(reply(204)) as server:
        assert session.get(server.url).status_code == 204
    assert "authorization" not in server.requests[0].headers
