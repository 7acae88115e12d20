"""Connections whose every byte is bounded in time and number, and which tell "never left" from "left".

A socket's own timeout starts anew with each byte, and the libraries above it read heads, interim answers (1xx) and
trailers without an end. So what is read and written here is held against the ``RequestBounds``, whoever asks.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dataflows.errors import ServiceDown
from dataflows.hints import RESUME

LARGEST_HEAD = 64 * 1024
"""Bytes of an answer before its body: status line, headers, and all interim answers that come first."""

_BUFFER = 16 * 1024
_SLACK = 1024 * 1024  # for what frames a body: chunk sizes, trailers
_TICK = 0.5  # s: how soon a wait notices that it is broken off
_PIECE = 4 * 1024 * 1024


class NotConnected(Exception):
    """Connecting failed (name, TCP, proxy tunnel, TLS handshake): no byte of the request left. The cause says why."""


class Stopped(ServiceDown):
    """The run is to stop, so the answer was not waited for."""

    code = "stopped"


class TooLarge(ServiceDown):
    """The answer is larger than what is taken from this far side."""

    code = "answer_too_large"


@dataclass(slots=True)
class RequestBounds:
    """What one request may take.

    Attributes:
        connect: seconds for each step of connecting (TCP per address, tunnel, TLS handshake).
        total: seconds from its first byte out to the last byte in, interim answers and trailers included.
        size: the largest body in bytes, as it travels and unpacked.
        silence: the longest pause in seconds; None where ``total`` is enough.
        broken_off: asked while waiting; when it says yes, ``Stopped`` is raised.
        until: monotonic second at which all ends, connecting included; ``begin`` brings it forward.
        host: host and port for messages.
    """

    connect: float
    total: float
    size: int
    silence: float | None = None
    broken_off: Callable[[], bool] | None = None
    until: float = math.inf
    host: str = "the service"

    def begin(self) -> None:
        """The first byte is about to leave."""
        self.until = min(self.until, time.monotonic() + self.total)

    def wait(self, quiet_until: float = math.inf) -> float:
        """Seconds that the next step may wait. Raises TimeoutError when there are none left, and Stopped."""
        if self.broken_off is not None and self.broken_off():
            raise Stopped(
                f"the run is stopping, so {self.host} is not waited for",
                reason="run-stopping",
                hint=f"continue with: {RESUME}",
            )
        left = min(self.until, quiet_until) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left if self.broken_off is None else min(left, _TICK)

    def wait_at_most(self, seconds: float) -> float:
        """As ``wait``, for a step that takes its time in one piece."""
        return max(0.01, min(self.until - time.monotonic(), seconds))

    def too_large(self, limit: int) -> TooLarge:
        """The error for an answer of more bytes than ``limit``."""
        what = "the header of the answer" if limit == LARGEST_HEAD else "the answer"
        return TooLarge(
            f"{what} from {self.host} is larger than {limit} bytes",
            reason="answer-unusable",
            hint="check the address in the settings",
        )


BOUNDS: ContextVar[RequestBounds] = ContextVar("BOUNDS")
"""The bounds of the request that this thread is making; set by the adapter."""


class Incoming(io.RawIOBase):
    """What comes in over a socket, as long as the bounds allow; at first that is a head and what comes with it."""

    def __init__(self, sock: Any, bounds: RequestBounds) -> None:
        self._sock, self._bounds = sock, bounds
        self.allow(LARGEST_HEAD)
        self._below: Any = sock.makefile("rb", buffering=0)  # keeps the socket open as long as it is read

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """The buffered side, for whoever believes to have a socket."""
        return io.BufferedReader(self, _BUFFER)

    def allow(self, size: int) -> None:
        """Take so many bytes from now on, and what frames them."""
        self._limit, self._left = size, (2 * size + _SLACK) if size > LARGEST_HEAD else size + _BUFFER

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._sock.fileno())

    def readinto(self, buffer: Any) -> int:
        bounds, sock = self._bounds, self._sock
        quiet = math.inf if bounds.silence is None else time.monotonic() + bounds.silence
        while True:
            sock.settimeout(bounds.wait(quiet))
            try:
                count = int(sock.recv_into(buffer))
            except TimeoutError:
                continue  # ``wait`` says whether it was the last
            self._left -= count
            if self._left < 0:
                raise bounds.too_large(self._limit)
            return count

    def close(self) -> None:
        self._below.close()
        super().close()


def send_all(sock: socket.socket, data: bytes, bounds: RequestBounds) -> None:
    """Write everything before the bounds end. A TLS socket's ``sendall`` would give each record the whole timeout."""
    rest = memoryview(data)
    while rest:
        sock.settimeout(bounds.wait())
        try:
            rest = rest[sock.send(rest[:_PIECE]) :]
        except TimeoutError:
            continue


class BoundedResponse(http.client.HTTPResponse):
    """An answer that is read within the bounds, from its first byte on."""

    def __init__(self, sock: Any, *args: Any, **rest: Any) -> None:
        self._bounds = BOUNDS.get()
        self._incoming = Incoming(sock, self._bounds)
        super().__init__(self._incoming, *args, **rest)  # type: ignore[arg-type]  # of a socket it wants makefile

    def begin(self, **options: Any) -> None:
        """Read the head; interim answers of all kinds are passed over (RFC 9110, 15.2)."""
        super().begin(**options)
        self._incoming.allow(max(self._bounds.size, LARGEST_HEAD + 1))

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        interim = 100 < status < 200 and status != http.HTTPStatus.SWITCHING_PROTOCOLS
        return version, http.HTTPStatus.CONTINUE if interim else status, reason  # which ``begin`` passes over


@dataclass(slots=True)
class HostConnection:
    """How one scheme, host and port are reached: its pool, its proxy (``host:port``), the certificate shown (DER)."""

    pool: HTTPConnectionPool
    host: str
    proxy: str | None
    whole_url: bool
    certificate: bytes | None = None


class _BoundedConnection:
    """What both kinds of connection have in common."""

    sock: Any

    def connect(self) -> None:
        """Connect. Whatever fails in here fails before the first byte of the request, so it may safely be repeated."""
        bounds = BOUNDS.get()
        with _connecting(bounds):
            super().connect()  # type: ignore[misc]

    def request(self, *args: Any, **rest: Any) -> None:
        """Send one request; its time begins once there is a connection."""
        if self.sock is None:
            self.connect()
        BOUNDS.get().begin()
        super().request(*args, **rest)  # type: ignore[misc]

    def send(self, data: Any) -> None:
        """Write a part of the request."""
        send_all(self.sock, data, BOUNDS.get())


class PlainConnection(_BoundedConnection, HTTPConnection):
    """A connection without TLS."""

    response_class = BoundedResponse

    def __init__(self, *args: Any, host_connection: HostConnection, **rest: Any) -> None:
        super().__init__(*args, **rest)


class TlsConnection(_BoundedConnection, HTTPSConnection):
    """A connection with TLS; it notes the certificate that was shown."""

    response_class = BoundedResponse

    def __init__(self, *args: Any, host_connection: HostConnection, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._host_connection = host_connection

    def connect(self) -> None:
        super().connect()
        if isinstance(self.sock, ssl.SSLSocket):
            self._host_connection.certificate = self.sock.getpeercert(binary_form=True)


class PlainPool(HTTPConnectionPool):
    ConnectionCls = PlainConnection


class TlsPool(HTTPSConnectionPool):
    ConnectionCls = TlsConnection


@contextmanager
def _connecting(bounds: RequestBounds) -> Iterator[None]:
    until = bounds.until
    bounds.until = min(until, time.monotonic() + bounds.connect)  # for what a proxy answers
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        raise NotConnected from error
    finally:
        bounds.until = until
