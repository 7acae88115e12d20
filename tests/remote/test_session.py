"""One request, once: what arrives, what is bounded, and whether a failure left the request unsent."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataflows import __version__
from dataflows.errors import ServiceDown, SettingUnusable
from dataflows.remote.session import Session, send
from tests.remote import loopback
from tests.remote.loopback import Answer, Request, hang_up, raw, reply, reset, serving, silence

NewSession = Callable[..., Session]


def post(session: Session, url: str, body: bytes = b"[]", **options: object) -> object:
    return send(session, "POST", url, headers={"SupplierKey": "synthetic"}, body=body, **options)  # type: ignore[arg-type]


def failure(session: Session, answer: Answer, body: bytes = b"[]") -> ServiceDown:
    with serving(answer) as server, pytest.raises(ServiceDown) as raised:
        post(session, f"{server.url}/secret-path?secret-query", body)
    assert "secret" not in f"{raised.value.message} {raised.value.hint}"
    return raised.value


def test_a_request_arrives_whole(session: Session) -> None:
    with serving(reply(200, b'["ok"]')) as server:
        answer = send(session, "POST", f"{server.url}/a/b?c=d", headers={"SupplierKey": "k"}, body=b"x" * 300_000)
    assert (answer.status, answer.body) == (200, b'["ok"]')
    assert server.requests[0].line == "POST /a/b?c=d HTTP/1.1"
    assert server.requests[0].headers["supplierkey"] == "k"
    assert server.requests[0].headers["user-agent"] == f"dataflows/{__version__}"
    assert len(server.requests[0].body) == 300_000


def test_headers_of_an_answer_are_found_whatever_their_case(session: Session) -> None:
    with serving(reply(429, Retry_After="7")) as server:
        assert send(session, "GET", server.url, headers={}).headers["retry-after"] == "7"


@pytest.mark.parametrize("status", [204, 400, 401, 403, 500, 503])
def test_every_status_is_an_answer(session: Session, status: int) -> None:
    with serving(reply(status)) as server:
        assert send(session, "POST", server.url, headers={}, body=b"[]").status == status


def test_a_connection_is_kept_for_the_next_request(session: Session) -> None:
    with serving(reply(200, b"x" * 200_000)) as server:
        for _ in range(5):
            post(session, server.url)
    assert server.connections == 1


def test_connections_are_kept_for_as_many_workers_as_there_are(new_session: NewSession) -> None:
    together = threading.Barrier(8)

    def answer(connection: socket.socket, request: Request) -> None:
        together.wait(10)
        reply(204)(connection, request)

    session = new_session(workers=8, http_timeout_seconds=20)
    with serving(answer) as server, ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            list(pool.map(lambda _: post(session, server.url), range(8)))
    assert server.connections == 8


def test_small_packets_leave_at_once(session: Session) -> None:
    with serving(reply(204)) as server:
        post(session, server.url)
        pool = session.host_connection(server.url).pool
        assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in pool.ConnectionCls.default_socket_options


def test_an_answer_in_chunks_is_put_together(session: Session) -> None:
    with serving(
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    ) as server:
        assert send(session, "GET", server.url, headers={}).body == b"abcde"


def test_a_compressed_answer_is_opened(session: Session) -> None:
    with serving(reply(200, gzip.compress(b'["ok"]'), Content_Encoding="gzip")) as server:
        assert send(session, "GET", server.url, headers={}).body == b'["ok"]'


def test_a_small_answer_that_unpacks_to_a_giant_is_stopped(session: Session) -> None:
    giant = gzip.compress(b"0" * 5_000_000)
    with serving(reply(200, giant, Content_Encoding="gzip")) as server, pytest.raises(ServiceDown, match="is larger"):
        send(session, "GET", server.url, headers={}, max_bytes=1000)


def test_redirects_are_not_followed(session: Session) -> None:
    with serving(reply(204)) as elsewhere, serving(reply(302, Location=elsewhere.url)) as server:
        assert send(session, "POST", server.url, headers={"Authorization": "Bearer x"}, body=b"").status == 302
    assert elsewhere.requests == []


@pytest.mark.parametrize("answer", [hang_up, reset], ids=["closed", "reset"])
def test_a_dropped_connection_may_have_been_served(session: Session, answer: Answer) -> None:
    error = failure(session, answer)
    assert error.sent
    assert "closed the connection without an answer" in error.message


def test_silence_is_given_up_in_time(session: Session) -> None:
    error = failure(session, silence)
    assert error.sent
    assert "did not answer within 0.5 s" in error.message


def test_an_answer_that_is_no_http_is_not_quoted(session: Session) -> None:
    error = failure(session, raw(b"secret banner of another service\r\n", close=True))
    assert error.sent
    assert "did not answer in HTTP" in error.message


BROKEN = {
    "shorter than Content-Length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[secret",
    "nothing of Content-Length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    "cut in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n[secret",
    "cut between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "no gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\nsecret",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_breaks_off_is_a_failure(session: Session, answer: bytes) -> None:
    error = failure(session, raw(answer, close=True))
    assert error.sent
    assert "broke off" in error.message


def test_a_body_that_stalls_is_given_up(session: Session) -> None:
    error = failure(session, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1"))
    assert error.sent
    assert "did not end within" in error.message


def test_a_body_that_only_drips_is_given_up_too(session: Session) -> None:
    stop = threading.Event()

    def drip(connection: socket.socket, _: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stop.wait(0.05):
            connection.sendall(b"x")

    error = failure(session, drip)
    stop.set()
    assert "did not end within" in error.message


def test_a_body_larger_than_wanted_is_refused(session: Session) -> None:
    with serving(reply(200, b"x" * 2000)) as server, pytest.raises(ServiceDown, match="larger than 1000 bytes"):
        post(session, server.url, max_bytes=1000)


def test_the_connection_of_a_broken_answer_is_not_used_again(session: Session) -> None:
    answers = loopback.in_turn(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", close=True), reply(204))
    with serving(answers) as server:
        with pytest.raises(ServiceDown):
            post(session, server.url)
        assert send(session, "POST", server.url, headers={}, body=b"[]").status == 204
    assert server.connections == 2


def test_a_request_that_nobody_takes_in_is_given_up(session: Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ServiceDown) as raised:
        post(session, f"http://127.0.0.1:{listener.getsockname()[1]}", b"x" * 20_000_000)
    assert raised.value.sent


def test_a_closed_port_was_not_sent_to(session: Session) -> None:
    with pytest.raises(ServiceDown, match="cannot be reached") as raised:
        post(session, f"http://127.0.0.1:{loopback.closed_port()}/?secret")
    assert not raised.value.sent
    assert "secret" not in raised.value.message


def test_an_unknown_name_was_not_sent_to(session: Session) -> None:
    with pytest.raises(ServiceDown, match=r"the host name of nowhere\.invalid:443 cannot be resolved") as raised:
        post(session, "https://nowhere.invalid/")
    assert not raised.value.sent


def test_a_connection_that_is_not_taken_was_not_sent_to(session: Session, full_queue: int) -> None:
    with pytest.raises(ServiceDown, match=r"did not accept a connection within 0\.5 s") as raised:
        post(session, f"http://127.0.0.1:{full_queue}")
    assert not raised.value.sent


@pytest.mark.parametrize("secret", ["two\r\nlines", "snow \N{SNOWMAN}"])
def test_a_header_that_http_cannot_carry_is_not_shown(session: Session, secret: str) -> None:
    with serving(reply(204)) as server, pytest.raises(SettingUnusable) as raised:
        send(session, "GET", server.url, headers={"SupplierKey": secret})
    assert "snow" not in raised.value.message
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("url", ["ftp://example.org/", "example.org/children", "https://", "https://host:port/", ""])
def test_what_is_no_web_address_is_a_setting_to_correct(session: Session, url: str) -> None:
    with pytest.raises(SettingUnusable, match="does not have the form https://host/path"):
        post(session, url)
