"""HTTP as the stand-ins speak it, and as it breaks: connections that end, stay silent, or stop in mid-answer.

Built on the standard library's server, because real servers are made to prevent exactly that (see
docs/decisions/sandbox-server.md).
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Final, TypeVar

from dataflows.sandbox.faults import Fate, FaultVerdict, endless
from dataflows.sandbox.service import Answer, Control, Exchange, Request, Route, Service

HOST: Final = "127.0.0.1"
LARGEST_BODY: Final = 64 * 1024 * 1024
_CHUNK: Final = 16 * 1024
_SLOW_STEP: Final = 0.05  # seconds
_ANSWERED = (Fate.ANSWERED, Fate.ERROR, Fate.CUT)  # the client gets an answer, or half of one

_Answered = TypeVar("_Answered", Answer, Answer | None)


class LoopbackServer(ThreadingHTTPServer):
    """One thread per connection; all of them end with the server."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    allow_reuse_address = os.name != "nt"  # there it would let two servers share a port

    def __init__(self, port: int, serve: Callable[[Request, RequestHandler], None], bugs: list[BaseException]) -> None:
        self.serve = serve
        self.bugs = bugs
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), RequestHandler)

    def server_bind(self) -> None:
        """Bind without looking up a name for the address, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def get_request(self) -> tuple[socket.socket, Any]:
        """Remember the connection, so that ``stop`` can end it."""
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Forget and end a connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; anything else is one of ours."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.bugs.append(error)

    def stop(self) -> None:
        """Stop accepting, wake all that wait, end all connections."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._lock:
            for connection in self._open:
                _end(connection)


class RequestHandler(BaseHTTPRequestHandler):
    """One connection: reads requests, and writes each answer with a single call."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LoopbackServer

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            self._turn_away(411)
        elif int(length) > LARGEST_BODY:
            self._turn_away(413)
        else:
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(length))
            headers: Any = self.headers
            if len(body) == int(length):  # less: the client went away in mid-request
                self.server.serve(Request(self.command, path, query, headers, body), self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names that the base class looks for

    def _turn_away(self, status: int) -> None:
        self.close_connection = True
        self.send(Answer.json(status, {"status": status}))

    def send(self, answer: Answer, cut: bool = False) -> None:
        """Write the whole answer, or break it off in its body."""
        if cut and not answer.body:
            self.drop()
            return
        self.close_connection = self.close_connection or answer.framing == "close"
        head = _head(answer, close=self.close_connection)
        body = answer.body[: len(answer.body) // 2] if cut else answer.body
        if answer.framing == "chunked":
            body = _chunked(body, ended=not cut)
        if answer.bytes_per_second:
            self._write_slowly(head + body, answer.bytes_per_second)
        else:
            self.wfile.write(head + body)
        if cut:
            self.drop()

    def _write_slowly(self, data: bytes, bytes_per_second: float) -> None:
        size = max(1, int(bytes_per_second * _SLOW_STEP))
        for start in range(0, len(data), size):
            self.wfile.write(data[start : start + size])
            self.wait(size / bytes_per_second)
            if self.server.stopping.is_set():
                return

    def never_end(self, how: str) -> None:
        """Write an answer that has no end, or that should not be read to it, until the client gives up."""
        self.close_connection = True
        with contextlib.suppress(OSError):  # it did
            for piece, pause in endless(how, self.path):
                self.wfile.write(piece)
                self.wait(pause)
                if self.server.stopping.is_set():
                    return

    def drop(self) -> None:
        """End the connection now, whatever the client still waits for."""
        self.close_connection = True
        _end(self.connection)

    def wait(self, seconds: float) -> None:
        """Wait, but not longer than the server lives."""
        if seconds > 0:
            self.server.stopping.wait(seconds)

    def keep_silent(self) -> None:
        """Say nothing until the client gives up or the server ends."""
        self.close_connection = True
        self.connection.settimeout(0.2)
        while not self.server.stopping.is_set():
            try:
                if not self.connection.recv(4096):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing: what arrived can be looked at under ``/_sandbox``."""


def _head(answer: Answer, *, close: bool) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}", "Server: dataflows-sandbox"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.status != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Type: {answer.content_type}")
        lines += _framing(answer)
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _framing(answer: Answer) -> list[str]:
    if answer.framing == "length":
        return [f"Content-Length: {len(answer.body)}"]
    return ["Transfer-Encoding: chunked"] if answer.framing == "chunked" else []


def _chunked(body: bytes, *, ended: bool) -> bytes:
    """A body in chunks; without its end, the last chunk says that more is to come."""
    parts = [body[start : start + _CHUNK] for start in range(0, len(body), _CHUNK)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return chunks + (b"0\r\n\r\n" if ended else b"4000\r\n")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Synthetic"


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already gone
        connection.shutdown(socket.SHUT_RDWR)


class RequestRouter:
    """Finds who answers a request, and lets the faults of that service have their way."""

    def __init__(self, services: Sequence[Service]) -> None:
        self.bugs: list[BaseException] = []
        self.faults = {name: faults for service in services for name, faults in service.all_faults().items()}
        self._control = Control({service.name: service for service in services}, self.faults)
        self._routes = [(route, service) for service in services for route in service.routes()]

    def serve(self, request: Request, line: RequestHandler) -> None:
        """Answer one request on its line, or do not."""
        if request.path.startswith("/_sandbox"):
            line.send(self._worked(self._control.answer, request))
            return
        status = 404
        for route, service in self._routes:
            match = route.pattern.fullmatch(request.path)
            if match and route.method == request.method:
                self._through_faults(service, route, replace(request, parts=match.groupdict()), line)
                return
            status = 405 if match else status
        line.send(Answer.json(status, {"status": status}))

    def _through_faults(self, service: Service, route: Route, request: Request, line: RequestHandler) -> None:
        exchange = service.arrived(request)
        verdict = service.judge(request, route.kind)
        refused = self._at_arrival(verdict, route, request, exchange)
        if refused is None:
            line.wait(verdict.wait)
        answer = refused or self._answered(verdict, route, request, exchange)
        answered = verdict.fate in _ANSWERED
        service.leaves(request, exchange, verdict.fate.value, answer.status if answer and answered else None)
        if answer and answered:
            line.send(answer, cut=verdict.fate is Fate.CUT)
        elif verdict.endless:
            line.never_end(verdict.endless)
        elif verdict.silently or verdict.fate is Fate.SILENT:
            line.keep_silent()
        else:
            line.drop()
        if verdict.fate is Fate.LATE and refused is None:
            line.wait(verdict.late)
            self._commit(route, request, exchange)

    def _at_arrival(self, verdict: FaultVerdict, route: Route, request: Request, exchange: Exchange) -> Answer | None:
        """What is clear before any latency. An error strikes all the same, but the request has been counted."""
        if route.admit is None or verdict.fate in (Fate.DROPPED, Fate.SILENT):
            return None
        answer = self._worked(route.admit, request)
        if answer is None or verdict.fate is Fate.ERROR:
            return None
        exchange.committed = True
        return answer

    def _answered(self, verdict: FaultVerdict, route: Route, request: Request, exchange: Exchange) -> Answer | None:
        if verdict.fate is Fate.ERROR:
            headers = {"Retry-After": verdict.retry_after} if verdict.retry_after else {}
            return Answer(verdict.status, b"<html><body>A synthetic error.</body></html>", "text/html", headers)
        if verdict.fate in (Fate.ANSWERED, Fate.LOST, Fate.CUT, Fate.ENDLESS):
            return self._commit(route, request, exchange)
        return None

    def _commit(self, route: Route, request: Request, exchange: Exchange) -> Answer:
        exchange.committed = True
        return self._worked(route.answer, request)

    def _worked(self, answer: Callable[[Request], _Answered], request: Request) -> _Answered | Answer:
        try:
            return answer(request)
        except Exception as error:  # a bug of ours: stop() raises it
            self.bugs.append(error)
            return Answer.json(500, {"status": 500, "errors": ["the sandbox itself failed"]})
