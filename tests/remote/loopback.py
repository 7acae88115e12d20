"""A server on loopback that answers with raw bytes, so that every fault of the wire can be played."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from dataflows.settings import Secret, Settings


@dataclass
class Request:
    """What arrived: the first line, the headers by lower-case name, the body."""

    line: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[socket.socket, Request], None]


@dataclass
class Loopback:
    """The running server: its address, what arrived, and how many connections were opened."""

    url: str
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Loopback]:
    """Run a server that calls ``answer`` for each request; a connection ends when ``answer`` closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        scheme = "https" if tls else "http"
        seen = Loopback(f"{scheme}://localhost:{listener.getsockname()[1]}")
        opened: list[socket.socket] = []
        threading.Thread(target=_accept, args=(listener, answer, tls, seen, opened), daemon=True).start()
        try:
            yield seen
        finally:
            for connection in opened:
                connection.close()


def _accept(
    listener: socket.socket, answer: Answer, tls: ssl.SSLContext | None, seen: Loopback, opened: list[socket.socket]
) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            opened.append(connection)
            seen.connections += 1
            threading.Thread(target=_talk, args=(connection, answer, tls, seen), daemon=True).start()


def _talk(connection: socket.socket, answer: Answer, tls: ssl.SSLContext | None, seen: Loopback) -> None:
    with suppress(OSError):
        if tls:
            connection = tls.wrap_socket(connection, server_side=True)
        while request := read_request(connection):
            seen.requests.append(request)
            answer(connection, request)


def read_request(connection: socket.socket) -> Request | None:
    """The next request of a connection, None at its end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return None
        head += byte
    first, *rest = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    body = b""
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(1 << 16)
    return Request(first, headers, body)


def reply(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """An answer of these bytes with the right Content-Length; ``Retry_After="2"`` becomes a header."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", ""]).encode() + body)


def raw(answer: bytes, close: bool = False) -> Answer:
    """An answer of just these bytes, after which the connection may be closed."""

    def send(connection: socket.socket, _: Request) -> None:
        connection.sendall(answer)
        if close:
            connection.close()

    return send


def in_turn(*answers: Answer) -> Answer:
    """The first answer for the first request and so on; the last one for all that follow."""
    left = list(answers)

    def send(connection: socket.socket, request: Request) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(connection, request)

    return send


def hang_up(connection: socket.socket, _: Request) -> None:
    """Close the connection without a word."""
    connection.close()


def reset(connection: socket.socket, _: Request) -> None:
    """Tear the connection down (RST)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silence(_: socket.socket, __: Request) -> None:
    """Take the request and say nothing."""


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def server_tls(authority: trustme.CA, *names: str, whole: bool = False) -> ssl.SSLContext:
    """The server side of TLS with a certificate that ``authority`` made for ``names`` (localhost without any).

    ``whole``: it shows the certificate of the authority too, as careless servers do.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own = authority.issue_cert(*(names or ("localhost",)))
    shown = own.private_key_and_cert_chain_pem.bytes() + (authority.cert_pem.bytes() if whole else b"")
    with trustme.Blob(shown).tempfile() as path:
        context.load_cert_chain(path)
    return context


def settings(folder: Path, **changed: object) -> Settings:
    """Settings with short timeouts and synthetic credentials."""
    usual: dict[str, object] = {
        "data_dir": folder,
        "http_timeout_seconds": 0.5,
        "http_connect_timeout_seconds": 0.5,
        "client_id": "synthetic-client",
        "client_secret": Secret("synthetic-secret"),
        "scope": "api://example.org/.default",
    }
    return Settings(**{**usual, **changed})  # type: ignore[arg-type]
